"""Plans: what the ledger can reserve, and how a record becomes one again.

Whoever touches private data in a new way adds a plan, and pays for it as a training does:

1. A frozen dataclass in a module of its own, as :mod:`pellucid.privacy.boosting` has one, with what
   :class:`LedgerPlan` asks for. Its numbers are public; ``__post_init__`` refuses those out of range with ``BadPlan``.
   ``events`` are made of the classes in :mod:`pellucid.privacy.events`; one that is not there yet needs a row in the
   table of :mod:`pellucid.privacy.capabilities` and an oracle in ``tests/privacy/test_mechanisms.py``.
2. ``epsilon`` is :func:`pellucid.privacy.accounting.epsilon` of ``events`` at ``delta``, and never less: the ledger's
   fold refuses a reservation whose events or claim are not those of its plan.
3. ``record()`` names its ``mechanism``, and ``from_record`` reads it back to an equal plan. A line in :data:`PLANS`
   makes :func:`plan_from_record` know it. The record is in the log for good: a field is never removed, and a new one
   has a default that old records stand for.
4. Who reserves calls :meth:`pellucid.privacy.Ledger.admit` with the log locked, appends a ``reserve`` record with the
   plan's ``record()``, ``events``, ``epsilon`` and ``delta``, and settles when it is done, as
   :mod:`pellucid.project.run` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from pellucid.privacy.boosting import BoostPlan
from pellucid.privacy.plan import Plan
from pellucid.privacy.statistics import StatisticsPlan
from pellucid.privacy.tuning import TuningPlan

__all__ = ["PLANS", "AnyPlan", "LedgerPlan", "plan_from_record"]


class LedgerPlan(Protocol):
    """What the ledger asks of a plan; all of it is decided before the first look at private data."""

    @property
    def epsilon(self) -> float:
        """The claim at :attr:`delta`, rounded up in millionths."""

    @property
    def delta(self) -> float:
        """Of the claim, below 1/units."""

    @property
    def steps(self) -> int:
        """How many mechanisms the plan runs: the sum of the counts of :attr:`events`."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the accountant composes, in the order in which it is taken."""

    def record(self) -> dict[str, Any]:
        """The plan as JSON, from which :func:`plan_from_record` makes it again."""


AnyPlan: TypeAlias = Plan | BoostPlan
"""The plans that make a model."""

PLANS: Final[Mapping[str, Callable[..., LedgerPlan]]] = {
    "boosting": BoostPlan.from_record,
    "statistics": StatisticsPlan.from_record,
    "tuning": TuningPlan.from_record,
}
"""By the ``mechanism`` in the record; all others are those of :class:`~pellucid.privacy.plan.Plan`."""


def plan_from_record(record: Any, *, where: str = "plan") -> LedgerPlan:
    """The plan in ``record``, of whichever mechanism it names.

    Raises:
        BadPlan: A field is missing, unknown or out of its range.
    """
    mechanism = record.get("mechanism") if isinstance(record, Mapping) else None  # what is no table, Plan refuses
    read = PLANS.get(mechanism, Plan.from_record) if isinstance(mechanism, str) else Plan.from_record
    return read(record, where=where)
