"""Events: what the accountant composed, as evidence and the log carry it, and the two directed roundings.

One event is ``{"kind": "poisson_gaussian", "sample_rate": "0.02…", "noise_multiplier": "1.1", "count": 880}``, or the
same of kind ``banded_gaussian`` with ``"bands": 8``, or of kind ``gaussian`` without a rate: everybody is in every
step. Rates and multipliers are decimal strings, so that the trainer, the accountant and a verifier in any language read
one number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from pellucid.errors import Unverified, nearest

__all__ = [
    "MAX_COUNT",
    "MAX_EVENTS",
    "NOISE_RANGE",
    "Event",
    "as_poisson",
    "decimal_text",
    "parse_events",
    "round_epsilon_down",
    "round_epsilon_up",
]

KINDS: Final = ("poisson_gaussian", "banded_gaussian", "gaussian")
MAX_COUNT: Final = 10**9
"""Most steps in one event: no training is longer, and integers of JSON stay exact."""
MAX_EVENTS: Final = 256
"""Most events in one list, so that hostile evidence cannot hold a verifier for hours."""
NOISE_RANGE: Final = (1e-3, 1e6)
"""Noise multipliers that the accountants compute without overflow; below there is no privacy, above no signal."""

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "poisson_gaussian": frozenset({"kind", "sample_rate", "noise_multiplier", "count"}),
    "banded_gaussian": frozenset({"kind", "sample_rate", "noise_multiplier", "count", "bands"}),
    "gaussian": frozenset({"kind", "noise_multiplier", "count"}),
}
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,48})?")
_MILLIONTH: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """``count`` steps of the Gaussian mechanism on Poisson samples.

    Attributes:
        sample_rate: Chance of each unit to be in a step's sample, over its group and the sample, in (0, 1]; 1 without
            bands is the Gaussian mechanism on everybody, and its record has no rate.
        noise_multiplier: Standard deviation of the noise over the L2 sensitivity, in :data:`NOISE_RANGE`.
        count: Steps, in [1, :data:`MAX_COUNT`].
        bands: Of the noise's strategy matrix, and as many groups take turns; 1 is independent noise and no groups.
    """

    sample_rate: float
    noise_multiplier: float
    count: int
    bands: int = 1

    def record(self) -> dict[str, Any]:
        """The event as JSON."""
        common = {"noise_multiplier": decimal_text(self.noise_multiplier), "count": self.count}
        if self.bands == 1 and self.sample_rate == 1:
            return {"kind": "gaussian", **common}
        rated = {"sample_rate": decimal_text(self.sample_rate), **common}
        if self.bands == 1:
            return {"kind": "poisson_gaussian", **rated}
        return {"kind": "banded_gaussian", **rated, "bands": self.bands}

    def poisson(self) -> Event:
        """The event of independent noise that costs as much: its dominating pairs dominate this one's too.

        ``ceil(count / bands)`` steps at rate ``min(1, sample_rate · bands)``: a unit's turn comes once in ``bands``
        steps, and the noise that hides one turn of it hides no other. The theorem, what it needs and why are in
        :mod:`pellucid.privacy.banded`. The rate is that very float, with which the trainer samples.
        """
        if self.bands == 1:
            return self
        return Event(min(1.0, self.sample_rate * self.bands), self.noise_multiplier, -(-self.count // self.bands))


def decimal_text(number: float) -> str:
    """The shortest plain decimal (no exponent) whose ``float`` is exactly ``number``."""
    return format(Decimal(repr(float(number))), "f")


def round_epsilon_up(epsilon: float) -> float:
    """``epsilon`` in millionths, never less than given and never 0. Idempotent.

    The shortest decimal of the float is rounded, not its binary expansion: the latter would add a millionth to a
    number that is one already.
    """
    return float(max(Decimal(repr(float(epsilon))).quantize(_MILLIONTH, ROUND_CEILING), _MILLIONTH))


def round_epsilon_down(epsilon: float) -> float:
    """``epsilon`` in millionths, never more than given and never below 0. Idempotent."""
    return float(max(Decimal(repr(float(epsilon))).quantize(_MILLIONTH, ROUND_FLOOR), Decimal(0)))


def as_poisson(events: Iterable[Event]) -> tuple[Event, ...]:
    """What the accountants compose: every event's :meth:`Event.poisson`, equal ones merged, in a canonical order."""
    counts: dict[tuple[float, float], int] = {}
    for event in (event.poisson() for event in events):
        key = (event.sample_rate, event.noise_multiplier)
        counts[key] = counts.get(key, 0) + event.count
    return tuple(sorted(Event(q, sigma, count) for (q, sigma), count in counts.items()))


def parse_events(records: Iterable[Mapping[str, Any]], *, where: str = "events") -> tuple[Event, ...]:
    """The events in ``records``: equal Poisson mechanisms merged, in a canonical order.

    Composition does not depend on the order, so that lists that mean the same have one parse. Banded events stay apart:
    two runs of 2 steps with 4 bands may meet a unit twice, and one run of 4 steps only once.

    Raises:
        Unverified: No event, too many, an unknown kind (refused, never skipped), an unknown or missing field, a
            number that is not a plain positive decimal string in range, or a count that is not a positive integer.
    """
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise Unverified("events must be a list", where=where)
    counts: dict[tuple[float, float], int] = {}
    banded: list[Event] = []
    for index, record in enumerate(records):
        place = f"{where}[{index}]"
        if index >= MAX_EVENTS:
            raise Unverified(f"more than {MAX_EVENTS} events", where=where)
        event = _event(record, place)
        if event.bands > 1:
            banded.append(event)
            continue
        key = (event.sample_rate, event.noise_multiplier)
        counts[key] = counts.get(key, 0) + event.count
        if counts[key] > MAX_COUNT:
            raise Unverified(f"more than {MAX_COUNT} steps", where=place)
    if not counts and not banded:
        raise Unverified("no event: nothing was accounted", where=where)
    return tuple(sorted([*(Event(q, sigma, count) for (q, sigma), count in counts.items()), *banded]))


def _event(record: Any, where: str) -> Event:
    if not isinstance(record, Mapping):
        raise Unverified("an event must be a table", where=where)
    kind = record.get("kind")
    if kind not in KINDS:
        raise Unverified(
            f'unknown kind of event "{kind}"{nearest(str(kind), KINDS)}',
            where=where,
            fix="what cannot be accounted cannot be claimed; verify with a Pellucid that knows this kind",
        )
    fields = _FIELDS[kind]
    if set(record) != fields:
        raise Unverified(f"an event of kind {kind} has exactly the fields {', '.join(sorted(fields))}", where=where)
    return Event(
        1.0 if kind == "gaussian" else _decimal(record["sample_rate"], 0.0, 1.0, f"{where}.sample_rate"),
        _decimal(record["noise_multiplier"], *NOISE_RANGE, f"{where}.noise_multiplier"),
        _whole(record, "count", 1, where),
        _whole(record, "bands", 2, where) if kind == "banded_gaussian" else 1,
    )


def _whole(record: Mapping[str, Any], name: str, least: int, where: str) -> int:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_COUNT:
        raise Unverified(f"{name} must be an integer from {least} to {MAX_COUNT}", where=where)
    return value


def _decimal(text: Any, low: float, high: float, where: str) -> float:
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise Unverified('this must be a plain decimal string such as "0.0125"', where=where)
    number = float(text)
    if not (math.isfinite(number) and number > 0 and low <= number <= high):
        raise Unverified(f"this must be above 0 and within [{low:g}, {high:g}]", where=where)
    return number
