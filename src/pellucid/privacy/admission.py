"""Whether a budget holds a plan or a set of plans, and if not, what of the same kind it would hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pellucid.errors import BadPlan, BudgetExceeded, Unverified
from pellucid.privacy import accounting
from pellucid.privacy.calibration import least_noise
from pellucid.privacy.events import round_epsilon_up
from pellucid.privacy.folding import matching_member
from pellucid.privacy.plan import Plan
from pellucid.privacy.plans import LedgerPlan
from pellucid.privacy.spending import Budget, divergence_of, sum_up

if TYPE_CHECKING:
    from pellucid.privacy.budget import Ledger

__all__ = ["admit", "cost_of", "is_registered"]


def is_registered(ledger: Ledger, plan: LedgerPlan, purpose: str | None) -> bool:
    """Whether ``plan`` is a member, not yet taken up, of a pre-registered set of this ledger."""
    return purpose is not None and matching_member(ledger.runs, ledger.dataset, plan.record(), purpose) is not None


def admit(ledger: Ledger, plans: Sequence[LedgerPlan], purpose: str | None) -> None:
    """Returns if ``ledger`` holds ``plans`` too, as they are fixed now; see :meth:`pellucid.privacy.Ledger.admit`.

    Raises:
        BudgetExceeded: It does not.
        Unverified: No accountant can compose the plans together.
    """
    if ledger.budget is None:
        raise BudgetExceeded(
            "no privacy budget was ever set, so nothing may be spent",
            where=ledger.name,
            fix=f"an owner sets one: pellucid budget set {ledger.dataset} --epsilon E --delta D",
        )
    if len(plans) == 1 and is_registered(ledger, plans[0], purpose):
        return
    budget, total = ledger.budget, ledger.divergence()
    joint = sum_up([total, *(divergence_of(plan.events, plan.steps, budget.order) for plan in plans)])
    if joint <= budget.cap:
        return
    first = ledger.untouched
    asked = cost_of(ledger, plans)
    if first and asked <= budget.epsilon:
        return
    if not math.isfinite(asked):
        raise BudgetExceeded(
            "nothing of this kind can be added: its mechanisms, or those reserved before, have no finite Rényi"
            " divergence, and only plans fixed before anything was released can do without",
            where=ledger.name,
            fix="register such plans together, before the first of them: pellucid budget register",
        )
    what = "the plan adds" if len(plans) == 1 else f"the {len(plans)} plans together add"
    raise BudgetExceeded(
        f"{what} epsilon {_up(asked)} and {ledger.left} is left of {budget.epsilon}"
        f" ({ledger.spent} spent, {ledger.reserved} reserved)",
        where=ledger.name,
        fix=_fitting(plans, budget, total, first=first),
    )


def cost_of(ledger: Ledger, plans: Sequence[LedgerPlan]) -> float:
    """What ``plans`` would add to the ledger's epsilon at its delta, not rounded; inf if that cannot be told.

    Raises:
        Unverified: Nothing was released before, and no accountant can compose the plans together.
    """
    budget = ledger.budget
    if budget is None:
        return math.inf
    joint = sum_up([ledger.divergence(), *(divergence_of(plan.events, plan.steps, budget.order) for plan in plans)])
    by_filter = budget.epsilon_of(joint) - ledger.epsilon(ledger.runs)
    if not ledger.untouched:
        return by_filter if math.isfinite(by_filter) else math.inf
    (alone,) = accounting.epsilon_each([event for plan in plans for event in plan.events], [budget.delta])
    return min(alone, by_filter) if math.isfinite(by_filter) else alone


def _up(epsilon: float) -> float:
    return round_epsilon_up(epsilon) if epsilon > 0 else 0.0


def _fitting(plans: Sequence[LedgerPlan], budget: Budget, total: float, *, first: bool) -> str:
    """What of the same kind would fit, as advice."""
    owner = "ask an owner for a larger budget"
    if first:
        return f"calibrate the plan to epsilon {budget.epsilon} at delta {budget.delta}, or {owner}"
    plan = plans[0]
    if len(plans) > 1 or not isinstance(plan, Plan):
        return f"calibrate to a smaller epsilon, or {owner}"
    room = budget.cap - total
    one = divergence_of(plan.events, 1, budget.order)
    steps = int(room / one * (1 - 1e-9)) * plan.bands if room > 0 else 0
    if steps < 1:
        return f"not one step of it fits any more; {owner}"

    def divergence(noise: float) -> float:
        return divergence_of(replace(plan, noise_multiplier=noise).events, plan.steps, budget.order)

    try:
        noise = f"a noise multiplier of {least_noise(divergence, room, plan.noise_multiplier)} fits, or "
    except (BadPlan, Unverified):
        noise = ""
    return f"{noise}{steps} of its {plan.steps} steps fit; or {owner}"
