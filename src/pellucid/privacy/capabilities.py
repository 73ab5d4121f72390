"""Which accountant can compose which event, for which neighbours: measured on dp-accounting 0.6; a test holds it so.

``pld`` composes privacy loss distributions and ``rdp`` Rényi divergences; see :mod:`pellucid.privacy.accounting`. A
list of events can be composed by those that can compose each of them. What none can is refused, before anything is
reserved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pellucid.errors import Unverified, nearest
from pellucid.privacy.events import KINDS, AnyEvent, RepeatAndSelect

__all__ = ["ACCOUNTANTS", "ADJACENCIES", "CAPABLE", "Accountant", "Adjacency", "can", "capable", "check_adjacency"]

Accountant = Literal["pld", "rdp"]
ACCOUNTANTS: Final[tuple[Accountant, ...]] = ("pld", "rdp")
"""Tightest first: the first that can makes the claim, the next the second opinion."""
Adjacency = Literal["add-or-remove-one", "replace-one"]
ADJACENCIES: Final[tuple[Adjacency, ...]] = ("add-or-remove-one", "replace-one")
"""Who are neighbours: with and without one unit, or with another unit in its place."""

CAPABLE: Final[Mapping[str, Mapping[Adjacency, tuple[Accountant, ...]]]] = {
    "gaussian": {"add-or-remove-one": ("pld", "rdp"), "replace-one": ("pld", "rdp")},
    "poisson_gaussian": {"add-or-remove-one": ("pld", "rdp"), "replace-one": ("pld",)},
    # the theorem that carries it is about adding or removing
    "banded_gaussian": {"add-or-remove-one": ("pld", "rdp"), "replace-one": ()},
    "laplace": {"add-or-remove-one": ("pld", "rdp"), "replace-one": ("pld", "rdp")},
    "truncated_poisson_gaussian": {"add-or-remove-one": ("pld",), "replace-one": ("pld",)},
    # its Rényi divergence is ours: the library has none
    "mixture_gaussian": {"add-or-remove-one": ("pld", "rdp"), "replace-one": ()},
    # and of what it selects from, Rényi has to be able
    "repeat_and_select": {"add-or-remove-one": ("rdp",), "replace-one": ("rdp",)},
}


def capable(event: AnyEvent, adjacency: Adjacency) -> tuple[Accountant, ...]:
    """Who can compose ``event``, tightest first."""
    found = CAPABLE[event.kind][adjacency]
    if isinstance(event, RepeatAndSelect):
        return tuple(name for name in found if all(name in capable(inner, adjacency) for inner in event.events))
    return found


def can(events: Iterable[AnyEvent], adjacency: Adjacency) -> tuple[Accountant, ...]:
    """Who can compose all of ``events`` together, tightest first; at least one.

    Raises:
        Unverified: Nobody can; says which kinds stand in the way.
    """
    events = tuple(events)
    found = tuple(name for name in ACCOUNTANTS if all(name in capable(event, adjacency) for event in events))
    if not found:
        able = {event.kind: capable(event, adjacency) for event in sorted(events, key=lambda e: KINDS.index(e.kind))}
        said = ", ".join(f"{kind} by {' and '.join(names) or 'none'}" for kind, names in able.items())
        raise Unverified(
            f"no accountant can compose these events for {adjacency}: {said}",
            where="events",
            fix="use mechanisms that one accountant can compose; the table is in docs/budget.md",
        )
    return found


def check_adjacency(adjacency: str) -> None:
    """Refuses what is no name of :data:`ADJACENCIES`.

    Raises:
        Unverified: It is none.
    """
    if adjacency not in ADJACENCIES:
        raise Unverified(f'unknown adjacency "{adjacency}"{nearest(str(adjacency), ADJACENCIES)}', where="adjacency")
