"""The attack's bound: never above the truth beyond its error, and high where there is a leak."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pellucid.errors import BadData, BadPlan
from pellucid.privacy import AttackBound, membership_bound
from pellucid.privacy.attack import LEAST_SCORES, _auc_interval, _lower_limit


def randomised_response(rng, size: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Each person answers truthfully with chance e^eps / (1 + e^eps): exactly (epsilon, 0)-private, and tight."""
    truth = 1 / (1 + math.exp(-epsilon))
    return (rng.random(size) < truth).astype(float), (rng.random(size) >= truth).astype(float)


def test_a_private_mechanism_is_bounded_above_its_epsilon_no_oftener_than_the_confidence_says():
    epsilon, wrong = 1.0, 0
    for seed in range(300):
        found = membership_bound(*randomised_response(np.random.default_rng(seed), 400, epsilon), delta=0.0)
        wrong += found.epsilon_lower > epsilon
    assert wrong <= stats.binom.ppf(0.9999, 300, 0.05)


def test_a_gaussian_mechanism_is_bounded_above_its_epsilon_no_oftener_than_the_confidence_says():
    mu, delta, wrong = 1.0, 1e-5, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found = membership_bound(rng.normal(mu, 1, 300), rng.normal(0, 1, 300), delta=delta, confidence=0.8)
        wrong += found.epsilon_lower > 4.37718  # closed form at mu = 1
    assert wrong <= stats.binom.ppf(0.9999, 100, 0.2)


def test_a_tight_mechanism_is_bounded_close_to_its_epsilon():
    found = membership_bound(*randomised_response(np.random.default_rng(1), 20_000, 2.0), delta=0.0)
    assert 1.75 < found.epsilon_lower <= 2.0


def test_a_leaking_scorer_gives_a_high_bound_that_reaches_the_ceiling():
    rng = np.random.default_rng(0)
    found = membership_bound(rng.normal(100, 1, 2000), rng.normal(0, 1, 2000), delta=1e-5)
    assert found.epsilon_lower == found.epsilon_ceiling > 5
    assert found.auc.value == found.auc.high == 1.0
    assert found.auc.low < 1.0


def test_a_leak_of_non_members_only_is_found_by_the_other_direction():
    """Half the non-members stand out and nobody else: only taking low scores for non-members shows it."""
    inside = np.zeros(2000)
    outside = np.where(np.arange(2000) % 4 < 2, -1.0, 0.0)
    assert membership_bound(inside, outside, delta=1e-5).epsilon_lower > 4
    assert membership_bound(-outside, -inside, delta=1e-5).epsilon_lower > 4


def test_scores_without_a_leak_give_zero_never_less():
    for inside, outside in ((np.ones(100), np.ones(100)), (np.zeros(100), np.ones(100))):
        assert membership_bound(inside, outside, delta=1e-5).epsilon_lower == 0.0


def test_the_same_scores_give_the_same_bound():
    rng = np.random.default_rng(3)
    inside, outside = rng.normal(1, 1, 500), rng.normal(0, 1, 400)
    assert membership_bound(inside, outside, delta=1e-5) == membership_bound(list(inside), outside.copy(), delta=1e-5)


def test_only_the_order_of_scores_matters_and_infinities_are_admitted():
    rng = np.random.default_rng(4)
    inside, outside = rng.normal(1, 1, 500), rng.normal(0, 1, 400)
    same = membership_bound(np.exp(inside), np.exp(outside), delta=1e-5)
    assert same == membership_bound(inside, outside, delta=1e-5)
    inside[3], outside[8] = math.inf, -math.inf
    assert membership_bound(inside, outside, delta=1e-5).epsilon_lower >= 0


def test_the_bound_is_that_of_a_naive_twin():
    """Scores at even places choose, those at odd places are measured; scipy's own Clopper-Pearson."""
    rng = np.random.default_rng(5)
    inside, outside = rng.normal(1.5, 1, 301), rng.normal(0, 1, 300)

    def bound(right, positives, wrong, negatives):
        low = stats.binomtest(right, positives, alternative="greater").proportion_ci(1 - 0.05 / 4).low
        high = stats.binomtest(wrong, negatives, alternative="less").proportion_ci(1 - 0.05 / 4).high
        return math.log((low - 1e-5) / high) if low > 1e-5 else -math.inf

    def direction(positive, negative):
        choose, against = positive[::2], negative[::2]
        best, threshold = -math.inf, None
        for candidate in sorted({*choose, *against}):
            found = bound(sum(choose >= candidate), len(choose), sum(against >= candidate), len(against))
            if found > best + 1e-12:
                best, threshold = found, candidate
        measure, against = positive[1::2], negative[1::2]
        return bound(sum(measure >= threshold), len(measure), sum(against >= threshold), len(against))

    expected = max(direction(inside, outside), direction(-outside, -inside), 0.0)
    assert expected > 0.5
    assert membership_bound(inside, outside, delta=1e-5).epsilon_lower == pytest.approx(expected, abs=2e-6)


@given(st.lists(st.integers(0, 5), min_size=20, max_size=40), st.lists(st.integers(0, 5), min_size=20, max_size=40))
def test_the_auc_is_that_of_a_naive_twin(inside, outside):
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    found = membership_bound(inside, outside, delta=1e-5).auc
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_the_auc_interval_covers_the_truth_about_as_often_as_it_says():
    for shift in (0.0, 1.0, 2.5):
        truth, missed = stats.norm.cdf(shift / math.sqrt(2)), 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            auc = membership_bound(rng.normal(shift, 1, 60), rng.normal(0, 1, 40), delta=1e-5).auc
            missed += not auc.low <= truth <= auc.high
        assert missed <= stats.binom.ppf(0.9999, 200, 0.07)


def test_the_auc_interval_is_symmetric():
    low, high = _auc_interval(0.8, 60, 40, 0.95)
    assert _auc_interval(0.2, 60, 40, 0.95) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("successes", [0, 1, 7, 49, 50])
def test_the_lower_limit_is_that_of_scipy(successes):
    expected = stats.binomtest(successes, 50, alternative="greater").proportion_ci(0.99).low
    assert float(_lower_limit(successes, 50, 0.01)) == pytest.approx(expected, abs=1e-12)


def test_more_people_give_the_attack_more_power():
    ceilings = [membership_bound(np.zeros(n), np.zeros(n), delta=1e-5).epsilon_ceiling for n in (20, 200, 2000)]
    assert ceilings == sorted(ceilings)
    assert ceilings[0] < ceilings[-1]


def test_exact_counts_do_not_show():
    first = membership_bound(np.zeros(201), np.zeros(205), delta=1e-5)
    second = membership_bound(np.zeros(204), np.zeros(203), delta=1e-5)
    assert (first.epsilon_ceiling, first.n) == (second.epsilon_ceiling, second.n)
    assert first.values()["auc"]["n"] == 400


def test_evidence_holds_the_bound_its_confidence_and_how_it_was_made():
    found = membership_bound(np.zeros(100), np.zeros(100), delta=1e-5)
    assert isinstance(found, AttackBound)
    assert found.values().keys() == {"epsilon_lower", "epsilon_ceiling", "delta", "confidence", "auc", "method"}
    assert found.how()["threshold_chosen_on"] == "scores at even places"
    assert found.confidence == 0.95


@pytest.mark.parametrize(
    "scores",
    [np.zeros(LEAST_SCORES - 1), np.zeros((20, 2)), np.array([math.nan] * 30), []],
    ids=["few", "matrix", "nan", "none"],
)
def test_scores_that_say_nothing_are_refused(scores):
    with pytest.raises(BadData) as caught:
        membership_bound(scores, np.zeros(50), delta=1e-5)
    assert caught.value.where == "member_scores"
    with pytest.raises(BadData) as caught:
        membership_bound(np.zeros(50), scores, delta=1e-5)
    assert caught.value.where == "nonmember_scores"


@pytest.mark.parametrize(
    ("delta", "confidence"), [(-0.1, 0.95), (1.0, 0.95), (math.nan, 0.95), (0.0, 0.0), (0.0, 1.0), (0.0, math.nan)]
)
def test_a_delta_or_confidence_that_is_none_is_refused(delta, confidence):
    with pytest.raises(BadPlan):
        membership_bound(np.zeros(50), np.zeros(50), delta=delta, confidence=confidence)
