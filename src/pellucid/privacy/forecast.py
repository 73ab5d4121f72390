"""What a plan would cost now, and how many such plans are left: asked without reserving anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pellucid.errors import BudgetExceeded
from pellucid.privacy.admission import cost_of, is_registered
from pellucid.privacy.budget import Ledger
from pellucid.privacy.events import round_epsilon_down, round_epsilon_up
from pellucid.privacy.plans import LedgerPlan
from pellucid.privacy.spending import divergence_of

__all__ = ["MOST_RUNS", "Forecast", "forecast"]

MOST_RUNS: Final = 1_000_000
"""More such runs than this are not counted."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan would do to one budget.

    Attributes:
        name: Whose budget.
        budget: Its epsilon; None if none was set.
        claim: What the plan's model would claim, at the plan's delta.
        cost: What it would add to what is spent and reserved, at the budget's delta; None if that cannot be told.
        left: Of the budget, after it.
        runs: How many such plans, one after the other, the budget still holds; at most :data:`MOST_RUNS`.
        refunds: Whether steps that it does not take would come back; not so of what only PLD admits, and of a set.
        registered: Whether it is a member of a registered set, and so paid for already.
        refused: Why it would be refused, and what would fit; None if it would be admitted.
    """

    name: str
    budget: float | None
    claim: float
    cost: float | None
    left: float | None
    runs: int
    refunds: bool
    registered: bool
    refused: str | None

    def document(self) -> dict[str, Any]:
        """As ``pellucid budget plan --json`` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def forecast(ledgers: Sequence[Ledger], plan: LedgerPlan, purpose: str) -> list[Forecast]:
    """One forecast for each ledger that the plan counts in; see :func:`pellucid.privacy.ledgers_of`.

    Raises:
        Unverified: No accountant can compose the plan.
    """
    return [_forecast(ledger, plan, purpose) for ledger in ledgers]


def _forecast(ledger: Ledger, plan: LedgerPlan, purpose: str) -> Forecast:
    registered = is_registered(ledger, plan, purpose)
    cost = 0.0 if registered else cost_of(ledger, [plan])
    refused = None
    try:
        ledger.admit(plan, purpose)
    except BudgetExceeded as error:
        refused = f"{error.what}; {error.fix}" if error.fix else error.what
    left = ledger.left
    known = math.isfinite(cost)
    after = round_epsilon_down(max(left - cost, 0.0)) if left is not None and known and refused is None else left
    return Forecast(
        name=ledger.name,
        budget=None if ledger.budget is None else ledger.budget.epsilon,
        claim=plan.epsilon,
        cost=(round_epsilon_up(cost) if cost > 0 else 0.0) if known else None,
        left=after,
        runs=_runs(ledger, plan, admitted=refused is None),
        refunds=refused is None and not registered and _by_filter(ledger, plan),
        registered=registered,
        refused=refused,
    )


def _by_filter(ledger: Ledger, plan: LedgerPlan) -> bool:
    """Whether the filter holds the plan, as :meth:`pellucid.privacy.spending.RunSpending.counted_steps` asks later."""
    budget = ledger.budget
    return budget is not None and divergence_of(plan.events, plan.steps, budget.order) <= budget.cap


def _runs(ledger: Ledger, plan: LedgerPlan, *, admitted: bool) -> int:
    """By the filter, from what counts already; one, if only what was fixed beforehand may be held to PLD."""
    if ledger.budget is None:
        return 0
    room = ledger.budget.cap - ledger.divergence()
    one = divergence_of(plan.events, plan.steps, ledger.budget.order)
    by_filter = math.floor(room / one * (1 - 1e-12)) if room > 0 and math.isfinite(one) else 0
    return min(max(by_filter, int(admitted)), MOST_RUNS)
