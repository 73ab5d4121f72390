"""Scores from a noisy histogram: right where there is no noise, and intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from pellucid.privacy.scores import BINS, of_model, rates, roc_area

ALPHA = 1e-9
(VECTOR,) = of_model("m@1").vectors
EDGES = np.asarray(VECTOR.edges)


def people(rng: np.random.Generator, n: int, base: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds and labels of people whom a model tells apart somewhat."""
    labels = (rng.random(n) < base).astype(int)
    return rng.normal(1.6 * labels - 0.8, 1.0), labels


def cells(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    places = labels * (EDGES.size + 1) + np.searchsorted(EDGES, logits, side="right")
    return np.bincount(places, minlength=VECTOR.size).astype(float)


def test_the_middle_edge_is_where_the_prediction_changes() -> None:
    assert EDGES[BINS // 2 - 1] == 0.0
    assert VECTOR.size == 2 * BINS
    (plain,) = of_model("m@1", ranked=False).vectors
    assert plain.size == 2


def test_without_noise_the_scores_are_the_truth() -> None:
    logits, labels = people(np.random.default_rng(3), 4000)
    found = rates(list(cells(logits, labels)), 1e-9, 4000)
    assert found["accuracy"].value == pytest.approx(((logits >= 0) == labels).mean())
    assert found["base_rate"].value == pytest.approx(labels.mean())
    area = roc_area(list(cells(logits, labels)), 1e-9, 4000)
    assert area.low < roc_auc_score(labels, logits) < area.high
    assert area.value == pytest.approx(roc_auc_score(labels, logits), abs=0.005)


def test_right_and_wrong_alone_give_the_accuracy() -> None:
    found = rates([250.0, 750.0], 3.0, 1000)
    assert set(found) == {"accuracy"}
    assert found["accuracy"].value == 0.75
    assert 0.72 < found["accuracy"].low < 0.725
    # the noise widens it
    assert rates([250.0, 750.0], 30.0, 1000)["accuracy"].low < found["accuracy"].low


@pytest.mark.parametrize("sigma", [1.0, 8.0])
def test_intervals_hold_the_truth_about_all_people_as_often_as_they_say(sigma: float) -> None:
    rng, runs, held = np.random.default_rng(5), 400, {"auc": 0, "accuracy": 0, "base_rate": 0, "plain": 0}
    logits, labels = people(rng, 400_000)
    right = ((logits >= 0) == labels).mean()
    truth = {"auc": roc_auc_score(labels, logits), "accuracy": right, "base_rate": labels.mean(), "plain": right}
    for _ in range(runs):
        logits, labels = people(rng, 1500)
        noisy = list(cells(logits, labels) + rng.normal(0, sigma, VECTOR.size))
        correct = ((logits >= 0) == labels).sum()
        plain = [1500 - correct + rng.normal(0, sigma), correct + rng.normal(0, sigma)]
        found = {"auc": roc_area(noisy, sigma, 1500), **rates(noisy, sigma, 1500)}
        found["plain"] = rates(plain, sigma, 1500)["accuracy"]
        for name, estimate in found.items():
            held[name] += estimate.low <= truth[name] <= estimate.high
    for name, times in held.items():
        assert stats.binom.cdf(times, runs, 0.93) > ALPHA, f"{name}: {times} of {runs}"
    assert min(held.values()) < runs


def test_where_noise_may_be_all_there_is_nothing_is_known() -> None:
    for cells in ([3.0, 4.0], [-5.0, 1.0]):
        assert (rates(cells, 5.0, 10)["accuracy"].low, rates(cells, 5.0, 10)["accuracy"].high) == (0.0, 1.0)
    area = roc_area([1.0] * VECTOR.size, 5.0, 64)
    assert (area.value, area.low, area.high) == (0.5, 0.0, 1.0)


def test_a_perfect_model_is_not_beyond_1() -> None:
    labels = people(np.random.default_rng(1), 2000)[1]
    area = roc_area(list(cells(np.where(labels == 1, 3.0, -3.0), labels)), 2.0, 2000)
    assert area.low < area.value <= area.high <= 1.0
    assert rates([0.0, 2000.0], 2.0, 2000)["accuracy"].high <= 1.0
