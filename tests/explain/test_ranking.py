"""Ranks against SciPy and scikit-learn, DeLong against its definition, coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import roc_auc_score

from pellucid.evidence import Estimate
from pellucid.explain.ranking import auc, macro_auc, midranks, placements, publish_auc, spearman

coarse = arrays(np.float64, st.integers(4, 40), elements=st.integers(-3, 3).map(float))  # many ties


@given(coarse)
def test_midranks_equal_scipy(values: np.ndarray) -> None:
    assert midranks(values).tolist() == stats.rankdata(values).tolist()


def naive_delong(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """DeLong by its definition: every positive against every negative."""
    kernel = [[1.0 if p > n else 0.5 if p == n else 0.0 for n in scores[~positive]] for p in scores[positive]]
    table = np.array(kernel)
    value = table.mean()
    m, n = table.shape
    v10, v01 = table.mean(axis=1), table.mean(axis=0)
    variance = ((v10 - value) ** 2).sum() / (m - 1) / m + ((v01 - value) ** 2).sum() / (n - 1) / n
    return float(value), float(variance)


@given(coarse, st.randoms(use_true_random=False))
def test_fast_delong_equals_its_definition(scores: np.ndarray, random) -> None:
    positive = np.array([True, True, False, False] + [random.random() < 0.5 for _ in scores[4:]])
    value, variance = naive_delong(scores, positive)
    found = placements(scores, positive)
    assert found.auc == pytest.approx(value, abs=1e-12)
    assert found.auc == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert found.variance == pytest.approx(variance, abs=1e-12)


def test_auc_known_answer_by_hand() -> None:
    # positives 3, 1; negatives 2, 0: three of four pairs in order; V10 = (1, 1/2), V01 = (1/2, 1)
    found = auc(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False]))
    assert found.value == 0.75
    assert found.low == pytest.approx(max(0, 0.75 - 1.959964 * np.sqrt(0.125 / 2 + 0.125 / 2)), abs=1e-6)


def test_perfect_separation_does_not_claim_certainty() -> None:
    positive = np.arange(100) >= 60
    found = auc(np.arange(100.0), positive)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.025 ** (1 / 40))
    assert auc(-np.arange(100.0), positive).high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_constant_scores_have_auc_one_half() -> None:
    assert auc(np.zeros(50), np.arange(50) < 20).value == 0.5


def test_delong_interval_covers_the_truth_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(11)
    truth = stats.norm.cdf(1 / np.sqrt(2))  # binormal, one standard deviation apart
    positive = np.arange(300) < 100
    hits = 0
    for _ in range(600):
        found = auc(rng.normal(size=300) + positive, positive)
        hits += found.low <= truth <= found.high
    assert hits >= 600 * 0.95 - 4 * np.sqrt(600 * 0.95 * 0.05)


def test_macro_auc_equals_sklearn_one_versus_rest() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 400)
    logits = rng.normal(size=(400, 4)) + 1.5 * np.eye(4)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = macro_auc(scores, labels)
    assert found.value == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr", average="macro"), abs=1e-12)
    draws = [
        np.mean([roc_auc_score(labels[rows] == c, scores[rows, c]) for c in range(4)])
        for rows in (rng.integers(0, 400, 400) for _ in range(150))
    ]
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(np.std(draws), rel=0.3)


def test_macro_auc_of_two_classes_has_delongs_interval() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 2000)
    score = rng.normal(size=2000) + labels
    two, one = macro_auc(np.stack([-score, score], axis=1), labels), auc(score, labels == 1)
    assert (two.value, two.low, two.high) == pytest.approx((one.value, one.low, one.high), abs=2e-4)


@given(coarse, st.randoms(use_true_random=False))
def test_spearman_equals_scipy(left: np.ndarray, random) -> None:
    right = np.array([float(random.randint(0, 4)) for _ in left])
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        assert spearman(left, right) is None
    else:
        assert spearman(left, right) == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)


def test_spearman_of_two_values_is_absent() -> None:
    assert spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


@given(st.integers(10, 60), st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_a_published_auc_is_on_the_grid_of_the_smaller_class_and_its_interval_only_wider(
    m: int, n: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=m + n).round(1)
    exact = auc(scores, np.arange(m + n) < m)
    found = publish_auc(exact, min(m, n))
    grid = next(g for g in (0.02, 0.05, 0.1) if g >= 1 / (min(m, n) // 10 * 10) - 1e-12)
    for number in (found.value, found.low, found.high):
        assert number / grid == pytest.approx(round(number / grid), abs=1e-6)
    assert abs(found.value - exact.value) <= grid / 2 + 1e-9
    assert 0 <= found.low <= exact.low + 1e-9
    assert exact.high - 1e-9 <= found.high <= 1
    assert found.low <= found.value <= found.high
    assert exact.low - found.low < grid
    assert found.high - exact.high < grid


def test_many_aucs_of_other_counts_are_published_as_one_number() -> None:
    published = {publish_auc(Estimate(k / 357, 0.7, 0.9, 30), 17).value for k in range(276, 295)}
    assert published == {0.8}
