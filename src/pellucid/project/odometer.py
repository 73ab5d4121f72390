"""Epsilon on the way, for whoever watches a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from pellucid.privacy import AnyPlan, accounting

__all__ = ["odometer"]

PARTS: Final = 20  # of a plan, at whose ends the Rényi epsilon is computed: some 20 ms each


def odometer(plan: AnyPlan) -> Callable[[int], float | None]:
    """A function of steps taken to an upper bound on their epsilon at the plan's delta.

    It is the lesser of the Rényi epsilon at the end of the present twentieth of the plan and, before the last step, of
    the tighter epsilon of all steps but the last; after it, the plan's own claim. So the whole claim is read only when
    the whole plan is taken. No model may claim less: whoever stops when it reads well has chosen by what the steps
    gave, and the claim of a plan stays that of all its steps. None for plans whose events are not one for each step.
    """

    def cost(steps: int, accountant: accounting.Accountant) -> float:
        rest, taken = steps, []
        for event in plan.events:
            if rest > 0:
                taken.append({**event, "count": min(rest, event["count"])})
                rest -= taken[-1]["count"]
        return accounting.epsilon(taken, plan.delta, accountant)

    @cache
    def before_the_last() -> float:
        return min(cost(plan.steps - 1, "pld"), plan.epsilon)

    @cache
    def at(part: int) -> float:
        return min(cost(-(-plan.steps * part // PARTS), "rdp"), before_the_last())

    def read(steps: int) -> float | None:
        if plan.mechanism == "banded":
            return None
        if steps >= plan.steps:
            return plan.epsilon
        return at(-(-steps * PARTS // plan.steps)) if steps else 0.0

    return read
