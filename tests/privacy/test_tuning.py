"""What a tuning costs, and that the number of its trials is drawn as was accounted for."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from pellucid.errors import BadPlan
from pellucid.privacy import BoostPlan, Plan, TuningPlan, accounting, plan_from_record
from pellucid.privacy.selection import stopping_rate
from pellucid.privacy.tuning import DISTRIBUTIONS, draw_trials

BASE = Plan.of(noise_multiplier=1.1, delta=1e-5, units=60_000, test=0.0, batch=256, epochs=60, clip=1.0)
"""TF Privacy's MNIST tutorial, 60 epochs: epsilon 2.38 by PLD (docs of tests/vectors/accounting.json)."""
SMALL = Plan.of(noise_multiplier=2.0, delta=1e-5, units=3000, test=0.3, batch=256, epochs=2, clip=1.0)
BOOSTED = BoostPlan.calibrate(epsilon=1.0, delta=1e-5, units=3000, test=0.3, columns=3, rounds=5)
ALPHA = 1e-9


def tuning(base: Plan | BoostPlan = SMALL, **more) -> TuningPlan:
    return TuningPlan.of(base, **{"trials": 10, "score_noise": 20.0, **more})


@pytest.mark.parametrize(
    ("distribution", "trials", "epsilon"),
    # Papernot & Steinke's bounds for this base, computed with dp-accounting 0.6 by its own RepeatAndSelect
    [
        ("logarithmic", 3, 3.71),
        ("logarithmic", 10, 4.29),
        ("logarithmic", 30, 4.71),
        ("logarithmic", 100, 5.11),
        ("geometric", 3, 4.12),
        ("geometric", 10, 5.05),
        ("geometric", 100, 6.37),
        ("poisson", 3, 3.60),
        ("poisson", 10, 5.75),
        ("all", 10, 8.92),
        ("all", 2, 3.50),
    ],
)
def test_best_of_many_costs_what_is_published(distribution: str, trials: int, epsilon: float) -> None:
    made = tuning(BASE, trials=trials, distribution=distribution, score_noise=None)
    assert made.epsilon == pytest.approx(epsilon, abs=0.0051)


def test_private_selection_costs_far_less_than_releasing_all() -> None:
    assert tuning(BASE).epsilon < 0.6 * tuning(BASE, distribution="all").epsilon


@pytest.mark.parametrize("base", [SMALL, BOOSTED], ids=["gradients", "boosting"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("noise", [None, 20.0])
def test_the_claim_is_what_the_events_cost_and_the_record_gives_the_plan_back(base, distribution, noise) -> None:
    made = TuningPlan.calibrate(base, epsilon=2.0, trials=4, distribution=distribution, score_noise=noise)
    assert 1.9 < made.epsilon <= 2.0
    assert accounting.epsilon(made.events, made.delta) == made.epsilon
    assert sum(event["count"] for event in made.events) == made.steps
    assert plan_from_record(made.record()) == made
    assert made.hidden == (distribution != "all")


def test_a_noisy_score_is_paid_for_in_every_trial() -> None:
    assert tuning(score_noise=2.0).epsilon > tuning(score_noise=50.0).epsilon > tuning(score_noise=None).epsilon


@pytest.mark.parametrize(
    "wrong",
    [
        {"trials": 0},
        {"trials": 1},
        {"trials": -3},
        {"trials": math.nan},
        {"trials": 1001},
        {"trials": "10"},
        {"trials": 2.5, "distribution": "all"},
        {"distribution": "uniform"},
        {"score_noise": 0.0},
        {"score_noise": math.inf},
        {"score_noise": -1.0},
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(wrong) -> None:
    with pytest.raises(BadPlan):
        tuning(**wrong)
    with pytest.raises(BadPlan):
        TuningPlan.calibrate(SMALL, **{"epsilon": 1.0, "trials": 10, "score_noise": None, **wrong})


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, 501])
def test_an_epsilon_that_cannot_be_meant_is_refused(epsilon) -> None:
    with pytest.raises(BadPlan):
        TuningPlan.calibrate(SMALL, epsilon=epsilon, trials=10, score_noise=None)


def test_a_score_that_costs_more_than_all_is_refused_and_the_remedy_is_not_of_the_training() -> None:
    with pytest.raises(BadPlan, match="with 10 trials") as caught:
        TuningPlan.calibrate(SMALL, epsilon=0.1, trials=10, score_noise=1.0)
    assert caught.value.fix == "a score_noise above 1, fewer trials or a larger epsilon"
    with pytest.raises(BadPlan) as caught:
        TuningPlan.calibrate(SMALL, epsilon=0.001, trials=900, distribution="poisson", score_noise=None)
    assert caught.value.fix == "fewer trials or a larger epsilon"


@pytest.mark.parametrize(
    "broken",
    [{"base": None}, {"base": {"epsilon": 1}}, {"trials": "3"}, {"surplus": 1}, {"delta": 1e-6}, {"epsilon": None}],
)
def test_a_record_that_is_no_plan_is_refused(broken) -> None:
    with pytest.raises(BadPlan):
        plan_from_record({**tuning().record(), **broken})
    with pytest.raises(BadPlan, match="missing"):
        plan_from_record({name: value for name, value in tuning().record().items() if name != "trials"})


# -- the number of trials ---------------------------------------------------------------------------------------------


def chances(distribution: str, mean: float, most: int = 4000) -> np.ndarray:
    """P[K = k] for k = 0, 1, …, by a second way: scipy's negative binomial, cut at 1; log-series; Poisson."""
    k = np.arange(most)
    if distribution == "poisson":
        return stats.poisson(mean).pmf(k)
    gamma = stopping_rate(mean, DISTRIBUTIONS[distribution])
    if distribution == "logarithmic":
        return stats.logser(1 - gamma).pmf(k)
    found = stats.nbinom(DISTRIBUTIONS[distribution], gamma).pmf(k)
    found[0] = 0.0
    return found / found.sum()


@pytest.mark.parametrize("distribution", ["logarithmic", "geometric", "poisson"])
@pytest.mark.parametrize("mean", [1.5, 10, 60])
def test_the_number_of_trials_has_the_distribution_that_was_accounted_for(distribution: str, mean: float) -> None:
    plan, draws = tuning(trials=mean, distribution=distribution), 4000
    expected = chances(distribution, mean) * draws
    assert expected @ np.arange(expected.size) / draws == pytest.approx(mean, rel=1e-3)
    counts = Counter(draw_trials(plan) for _ in range(draws))
    seen = np.array([counts[k] for k in range(expected.size)], dtype=float)
    # cells of at least 20 expected, the rest together
    groups, group, held = [], [], 0.0
    for k in range(expected.size):
        group.append(k)
        held += expected[k]
        if held >= 20:
            groups.append(group)
            group, held = [], 0.0
    groups[-1] += group
    observed = [seen[g].sum() for g in groups]
    wanted = np.array([expected[g].sum() for g in groups])
    assert sum(observed) == draws
    assert stats.chisquare(observed, wanted * draws / wanted.sum()).pvalue > ALPHA


@pytest.mark.parametrize("distribution", ["logarithmic", "geometric", "poisson"])
def test_the_draw_inverts_the_distribution_function_exactly(distribution: str) -> None:
    plan = tuning(trials=10, distribution=distribution)
    upto = np.cumsum(chances(distribution, 10))
    for u in (1e-9, 0.01, 0.3, 0.5, 0.9, 0.999):
        (drawn,) = {draw_trials(plan, lambda bits, u=u: int(u * 2**bits))}
        assert drawn == int(np.searchsorted(upto, u))


def test_the_least_and_the_greatest_draw_end() -> None:
    for distribution in ("logarithmic", "geometric", "poisson"):
        plan = tuning(trials=1000, distribution=distribution)
        least = 0 if distribution == "poisson" else 1
        assert draw_trials(plan, lambda _: 0) >= least
        assert draw_trials(plan, lambda bits: 2**bits - 1) > 1000


def test_all_trials_are_as_many_as_were_registered() -> None:
    assert draw_trials(tuning(trials=7, distribution="all")) == 7
