"""The forecast says what admission would do, and counts what is left as reserving one after the other would."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pellucid.errors import BudgetExceeded
from pellucid.privacy import Ledger, Plan, accounting, order_for
from pellucid.privacy.forecast import MOST_RUNS, forecast
from pellucid.privacy.spending import Budget, RunSpending

DELTA = 1e-5
NUMBERS = {"delta": DELTA, "units": 32_000, "test": 0.3, "batch": 512, "epochs": 2.0, "clip": 1.0}
BIG, SMALL = (Plan.of(noise_multiplier=noise, **NUMBERS) for noise in (1.5, 5.0))


def ledger(epsilon: float, *plans: Plan) -> Ledger:
    budget = Budget(epsilon, DELTA, order_for(epsilon, DELTA))
    runs = tuple(
        RunSpending(str(i), f"m@{i}", p.epsilon, p.delta, p.steps, p.steps, "complete", p.events, budget)
        for i, p in enumerate(plans)
    )
    return Ledger("applicants", budget, runs)


@pytest.mark.parametrize("before", [(), (SMALL,), (BIG, SMALL)])
def test_as_many_runs_are_left_as_can_be_reserved_one_after_the_other(before):
    book = ledger(1.5, *before)
    (told,) = forecast([book], SMALL, "x")
    admitted = 0
    while True:
        try:
            book.admit(SMALL)
        except BudgetExceeded:
            break
        admitted += 1
        book = ledger(1.5, *before, *[SMALL] * admitted)
    assert told.runs == admitted > 0
    assert told.refused is None


def test_what_it_would_cost_is_what_it_then_costs():
    for before in ((), (BIG,)):
        (told,) = forecast([ledger(3.0, *before)], BIG, "x")
        after = ledger(3.0, *before, BIG)
        assert told.cost == pytest.approx(after.spent - ledger(3.0, *before).spent, abs=3e-6)
        assert told.left == pytest.approx(after.left, abs=3e-6)
        assert told.claim == BIG.epsilon


def test_what_would_be_refused_is_told_with_what_would_fit():
    (told,) = forecast([ledger(1.0, BIG)], BIG, "x")
    assert (told.runs, told.left) == (0, ledger(1.0, BIG).left)
    assert "the plan adds epsilon" in told.refused
    assert "of it fits any more" in told.refused
    (none,) = forecast([Ledger("applicants", None)], BIG, "x")
    assert (none.budget, none.runs, none.cost, none.left) == (None, 0, None, None)
    for one in (told, none):
        json.dumps(one.document(), allow_nan=False)


def test_a_first_plan_that_only_pld_admits_is_one_run():
    (told,) = forecast([ledger(BIG.epsilon)], BIG, "x")
    assert (told.runs, told.cost, told.left) == (1, BIG.epsilon, 0.0)
    assert not told.refunds


@pytest.mark.parametrize(("budget", "before"), [(BIG.epsilon, ()), (3 * BIG.epsilon, ()), (3 * BIG.epsilon, (SMALL,))])
def test_what_would_come_back_of_a_run_that_stops_early_is_told_beforehand(budget, before):
    book = ledger(budget, *before)
    (told,) = forecast([book], BIG, "x")
    stopped = RunSpending("r", "m@9", BIG.epsilon, DELTA, BIG.steps, 1, "stopped", BIG.events, book.budget)
    assert told.refunds == (stopped.counted_steps() < BIG.steps) == (budget > BIG.epsilon)


def test_a_plan_that_hardly_costs_is_not_counted_for_ever():
    free = dataclasses.replace(BIG, noise_multiplier=1e6, epsilon=1e-6)
    assert accounting.epsilon(free.events, DELTA) == 1e-6
    (told,) = forecast([ledger(8.0)], free, "x")
    assert told.runs == MOST_RUNS
