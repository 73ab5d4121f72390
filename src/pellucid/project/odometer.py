"""Epsilon on the way, for whoever watches a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from pellucid.privacy import Plan, accounting

__all__ = ["odometer"]

PARTS: Final = 20  # of a plan, at whose ends epsilon is computed: 8 ms each


def odometer(plan: Plan) -> Callable[[int], float | None]:
    """A function of steps taken to an upper bound on their epsilon at the plan's delta.

    It is the lesser of the Rényi epsilon at the end of the present twentieth of the plan and of the plan's own claim.
    No model may claim it: whoever stops when it reads well has chosen by what the steps gave, and the claim of a plan
    stays that of all its steps. None for plans whose events are not one for each step.
    """

    @cache
    def at(part: int) -> float | None:
        rest = -(-plan.steps * part // PARTS)
        taken = []
        for event in plan.events:
            if rest > 0:
                taken.append({**event, "count": min(rest, event["count"])})
                rest -= taken[-1]["count"]
        return min(accounting.epsilon(taken, plan.delta, "rdp"), plan.epsilon)

    def read(steps: int) -> float | None:
        if plan.mechanism == "banded":
            return None
        return at(-(-steps * PARTS // plan.steps)) if steps else 0.0

    return read
