"""What is spent, in the one currency that adaptively chosen plans add up in: Rényi divergence at a fixed order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from pellucid.errors import BadPlan, Unverified
from pellucid.privacy import accounting

__all__ = [
    "STATUSES",
    "Budget",
    "RunSpending",
    "check_numbers",
    "divergence_of",
    "first_steps",
    "order_for",
    "sum_up",
]

STATUSES: Final = ("complete", "stopped", "abandoned")
"""What a settlement may say; before it, a run is ``reserved``."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What everything ever done with a data set may cost together.

    Attributes:
        epsilon: Above 0.
        delta: In [1e-12, 1).
        order: The Rényi order at which spending adds up, fixed before the first plan.
    """

    epsilon: float
    delta: float
    order: float

    @property
    def cap(self) -> float:
        """The Rényi divergence at ``order`` that converts to ``epsilon`` at ``delta``, rounded down; may be below 0."""
        cap = self.epsilon - accounting.rdp_to_epsilon(0.0, self.order, self.delta)
        return cap - 1e-12 * max(1.0, abs(cap))

    def epsilon_of(self, divergence: float) -> float:
        """Epsilon at ``delta`` of a total divergence at ``order``; 0 only of none. Not rounded."""
        return max(0.0, accounting.rdp_to_epsilon(divergence, self.order, self.delta)) if divergence > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RunSpending:
    """What one run, release or member of a pre-registered set reserved, and what it took.

    Attributes:
        reservation: Its name in the log.
        run: What it makes, as ``credit-risk@1``.
        epsilon: The claim of its plan.
        delta: Of the claim.
        steps_planned: Steps reserved.
        steps_taken: Steps settled, or None before it settled.
        status: ``registered``, ``reserved``, or one of :data:`STATUSES`.
        events: What was reserved, for the accountant.
        under: The budget in force when it was reserved; None if there was none, in the ledger of related data.
        purpose: What for.
        dataset: Whose data; not the ledger's own where data sets share people.
        registration: The pre-registered set it belongs to, or None.
        reserved_at: When it was reserved or registered, in UTC.
        settled_at: When it settled.
        plan: The plan's record, by which a member of a set is known.
    """

    reservation: str
    run: str
    epsilon: float
    delta: float
    steps_planned: int
    steps_taken: int | None
    status: str
    events: Sequence[Mapping[str, Any]] = field(repr=False, hash=False)
    under: Budget | None = field(repr=False)
    purpose: str = ""
    dataset: str = ""
    registration: str | None = None
    reserved_at: str = ""
    settled_at: str | None = None
    plan: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)

    def counted_steps(self) -> int:
        """How many steps the ledger counts: those taken if the run was stopped, else those planned.

        An abandoned or open run counts whole: nobody knows what it took. So does what only PLD admitted, a first plan
        or a pre-registered set: a filter knows no refund for it, unless a first plan took no step at all and so gave
        nothing to choose by.
        """
        if self.status != "stopped" or self.steps_taken is None or self.registration is not None:
            return self.steps_planned
        if self.steps_taken == 0:
            return 0
        whole = self.under is None or (
            divergence_of(self.events, self.steps_planned, self.under.order) > self.under.cap
        )
        return self.steps_planned if whole else self.steps_taken

    def divergence(self, order: float) -> float:
        """Rényi divergence at ``order`` of what the ledger counts, rounded up; inf where it is not finite."""
        return divergence_of(self.events, self.counted_steps(), order)

    def document(self) -> dict[str, Any]:
        """The run in ``pellucid budget --json``."""
        return {
            "reservation": self.reservation,
            "run": self.run,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "steps": self.steps_taken,
            "steps_planned": self.steps_planned,
            "status": self.status,
            "purpose": self.purpose,
            "dataset": self.dataset,
            "registration": self.registration,
        }


def order_for(epsilon: float, delta: float) -> float:
    """The Rényi order to fix with a budget: the one at which the largest composition of Gaussians fits.

    Gaussians that add up to ``rho`` have divergence ``rho·a`` at order ``a``, so it maximises ``cap(a) / a``. Whole
    orders only: there the divergence of a Poisson step is a finite sum; between them it is a series that the library
    bounds from above, by up to 70 % too much, and that need not converge.

    Args:
        epsilon: Above 0.
        delta: In [1e-12, 1).

    Raises:
        BadPlan: Out of range, or so small a budget that no order leaves room for anything.
    """
    check_numbers(epsilon, delta)
    orders = [order for order in accounting.ORDERS if order.is_integer()]
    best = max(orders, key=lambda order: Budget(epsilon, delta, order).cap / order)
    if Budget(epsilon, delta, best).cap <= 0:
        raise BadPlan("this budget is too small to do anything with", where="epsilon", fix="a larger epsilon or delta")
    return best


def first_steps(events: Sequence[Mapping[str, Any]], steps: int) -> list[dict[str, Any]]:
    """The first ``steps`` steps of ``events``, in the order in which they are taken; none if there are none."""
    taken, rest = [], steps
    for event in events:
        if rest > 0:
            taken.append({**event, "count": min(rest, event["count"])})
            rest -= taken[-1]["count"]
    return taken


def divergence_of(events: Sequence[Mapping[str, Any]], steps: int, order: float) -> float:
    """Divergence of the first ``steps`` steps of ``events``; inf where it is not finite, or has no Rényi accountant."""
    taken = first_steps(events, steps)
    return _divergence(json.dumps(taken, sort_keys=True), order) if taken else 0.0


@lru_cache(maxsize=4096)
def _divergence(events: str, order: float) -> float:
    try:
        return accounting.rdp(json.loads(events), order)
    except Unverified:  # the fold has parsed them: what is left is a divergence that is not finite, or not to be had
        return math.inf


def sum_up(divergences: Sequence[float]) -> float:
    """The sum rounded up: adding a divergence never lowers it, however small."""
    total = math.fsum(divergences)
    return math.nextafter(total, math.inf) if total > 0 else total


def check_numbers(epsilon: Any, delta: Any) -> None:
    """Raises BadPlan unless ``epsilon`` and ``delta`` are numbers that a budget may have."""
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            such = {"epsilon": "a few units, such as 8", "delta": "far below 1 over the number of people, such as 1e-6"}
            raise BadPlan(f"{name} must be a finite number above 0", where=name, fix=such[name])
    if not accounting.MIN_DELTA <= delta < 1:
        raise BadPlan(
            f"delta must be in [{accounting.MIN_DELTA:g}, 1)",
            where="delta",
            fix="far below 1 over the number of people, such as 1e-6",
        )
