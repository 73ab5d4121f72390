"""Calibration: loops, known answers, the debiasing against draws, coverage by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Evidence, canonical
from pellucid.explain import Predictions, measure_calibration
from pellucid.explain.calibration import bin_edges, debiased_ece


def made(probability: np.ndarray, labels: np.ndarray) -> Predictions:
    return Predictions(np.log(probability / (1 - probability)), labels.astype(np.int64))


def drawn(n: int, seed: int, shift: float = 0.0) -> Predictions:
    """Labels drawn from the predicted probability moved by ``shift``."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.75, n)
    return made(p, rng.random(n) < p + shift)


def naive_ece(p: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for k in range(10):
        rows = [i for i in range(len(p)) if k / 10 <= p[i] < (k + 1) / 10]
        if rows:
            total += len(rows) / len(p) * abs(np.mean(p[rows]) - np.mean(y[rows]))
    return total


def test_the_plug_in_equals_a_plain_loop() -> None:
    p = drawn(5000, 1, 0.1)
    assert measure_calibration(p, resamples=10).plugin == pytest.approx(naive_ece(p.probability, p.labels), abs=1e-12)


def test_known_answer_eighty_percent_said_and_half_seen() -> None:
    found = measure_calibration(made(np.full(1000, 0.8), np.arange(1000) < 500))
    assert found.ece.value == pytest.approx(0.3, abs=1e-9)
    assert found.ece.low < 0.3 < found.ece.high
    assert found.brier.value == pytest.approx((0.8**2 + 0.2**2) / 2, abs=1e-9)
    (only,) = found.bins
    assert (only.low, only.high, only.observed.value) == (0.0, 1.0, 0.5)


def test_brier_equals_sklearn() -> None:
    p = drawn(800, 2)
    assert measure_calibration(p, resamples=5).brier.value == pytest.approx(
        brier_score_loss(p.labels, p.probability), abs=1e-12
    )


def test_the_closed_form_of_the_bias_equals_the_mean_over_draws() -> None:
    counts = np.array([40, 100, 12, 300])
    predicted, observed = np.array([0.1, 0.35, 0.6, 0.9]), np.array([0.15, 0.35, 1.0, 0.8])
    rng = np.random.default_rng(0)
    noisy = rng.normal(observed, np.sqrt(observed * (1 - observed) / counts), size=(200_000, 4))
    weight = counts / counts.sum()
    plugin = float(weight @ np.abs(predicted - observed))
    bias = float((np.abs(predicted - noisy) @ weight).mean()) - plugin
    assert debiased_ece(counts, predicted, observed) == pytest.approx((plugin - bias, plugin), abs=2e-4)


def test_debiasing_brings_a_perfect_model_nearer_to_zero_than_the_plug_in() -> None:
    found = [measure_calibration(drawn(400, seed), resamples=2) for seed in range(60)]
    assert np.mean([f.ece.value for f in found]) < 0.7 * np.mean([f.plugin for f in found])


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.15])
def test_the_interval_covers_the_calibration_error_95_percent_of_the_time(shift: float) -> None:
    # labels follow p + shift, hence every bin is off by shift
    found = [measure_calibration(drawn(500, seed, shift), resamples=60).ece for seed in range(80)]
    hits = [estimate.low <= shift + 1e-12 and shift <= estimate.high for estimate in found]
    assert np.mean(hits) >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / 80)


@given(st.lists(st.floats(0, 1), min_size=10, max_size=300))
def test_every_bin_has_ten_people_and_bins_tile_zero_to_one(values: list[float]) -> None:
    p = np.array(values)
    edges = bin_edges(p)
    assert edges[0] == 0
    assert edges[-1] == 1
    assert (np.diff(edges) > 0).all()
    place = np.searchsorted(edges[1:-1], p, side="right")
    assert np.bincount(place, minlength=len(edges) - 1).min() >= 10


def test_bins_with_enough_people_are_not_merged() -> None:
    assert bin_edges(np.repeat(np.arange(10) / 10 + 0.05, 10)).tolist() == pytest.approx(np.linspace(0, 1, 11).tolist())


def test_a_seed_makes_it_repeatable_and_is_recorded() -> None:
    p = drawn(300, 0)
    assert measure_calibration(p, seed=3) == measure_calibration(p, seed=3)
    assert measure_calibration(p, seed=3).ece != measure_calibration(p, seed=4).ece
    assert measure_calibration(p, seed=3).how()["seed"] == 3


def test_evidence_is_uncovered_for_auditors_and_canonical(subject) -> None:
    found = measure_calibration(drawn(345, 0)).evidence(subject)
    assert (found.kind, found.coverage, found.tier) == ("calibration", "uncovered", "auditor")
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
    assert found.values["ece"]["n"] == 340
    assert found.values["bins"][0].keys() == {"low", "high", "predicted", "observed"}


def test_one_class_and_many_classes_are_refused() -> None:
    with pytest.raises(BadData, match="one class"):
        measure_calibration(Predictions(np.zeros(30), np.zeros(30, dtype=np.int64)))
    with pytest.raises(BadData, match="two resamples"):
        measure_calibration(drawn(100, 0), resamples=1)
    with pytest.raises(UnsupportedModel, match="two classes"):
        measure_calibration(Predictions(np.zeros((30, 3)), np.arange(30) % 3))
