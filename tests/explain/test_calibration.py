"""Calibration: loops, known answers, the debiasing against draws, coverage by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from pellucid.errors import BadData
from pellucid.evidence import Evidence, canonical
from pellucid.explain import Predictions, measure_calibration
from pellucid.explain.brier import brier_terms
from pellucid.explain.reliability import bin_edges, debiased_ece


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


def test_one_class_is_refused() -> None:
    with pytest.raises(BadData, match="one class"):
        measure_calibration(Predictions(np.zeros(30), np.zeros(30, dtype=np.int64)))
    with pytest.raises(BadData, match="two resamples"):
        measure_calibration(drawn(100, 0), resamples=1)


def three(n: int, seed: int) -> Predictions:
    """Labels of three classes drawn from a probability that the model overstates."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3))
    weights = np.exp(logits)
    labels = (rng.random(n)[:, None] > np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    return Predictions(2 * logits, labels)


def test_over_three_classes_the_error_is_that_of_the_most_probable_class() -> None:
    p = three(3000, 1)
    found = measure_calibration(p, resamples=20)
    top, right = p.probability.max(axis=1), (p.predicted == p.labels).astype(float)
    merged = bin_edges(top)
    place = np.searchsorted(merged[1:-1], top, side="right")
    parts = [place == k for k in range(len(merged) - 1)]
    assert found.plugin == pytest.approx(sum(r.mean() * abs(top[r].mean() - right[r].mean()) for r in parts), abs=1e-12)
    assert found.ece.low > 0.05  # overstated
    assert found.how()["classes"] == 3


def test_over_three_classes_the_brier_score_is_a_plain_loop() -> None:
    p = three(300, 2)
    total = 0.0
    for row in range(300):
        for number in range(3):
            total += (p.probability[row, number] - (p.labels[row] == number)) ** 2
    found = measure_calibration(p, resamples=5, split=True)
    assert found.brier.value == pytest.approx(total / 300, abs=1e-12)
    assert whole(found.split) == pytest.approx(found.brier.value, abs=1e-12)


def whole(split) -> float:
    return split.reliability.value - split.resolution.value + split.uncertainty.value + split.within_bins.value


@given(st.integers(0, 10_000), st.integers(20, 200), st.floats(-0.2, 0.2))
def test_the_terms_add_up_to_the_brier_score_exactly(seed: int, n: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    outcome = (rng.random(n) < p + shift).astype(float)
    weight = rng.integers(0, 3, n).astype(float)
    weight[0] = 1
    place = np.searchsorted(bin_edges(p)[1:-1], p, side="right")
    rel, res, unc, within, _ = brier_terms(p, outcome, place, weight)
    assert rel - res + unc + within == pytest.approx(np.average((p - outcome) ** 2, weights=weight), abs=1e-12)


def test_the_terms_of_the_brier_score_equal_plain_loops() -> None:
    p = drawn(500, 3, 0.1)
    split = measure_calibration(p, resamples=5, split=True).split
    edges = bin_edges(p.probability)
    place = np.searchsorted(edges[1:-1], p.probability, side="right")
    reliability = resolution = 0.0
    for k in range(len(edges) - 1):
        rows = place == k
        reliability += rows.sum() / 500 * (p.probability[rows].mean() - p.labels[rows].mean()) ** 2
        resolution += rows.sum() / 500 * (p.labels[rows].mean() - p.labels.mean()) ** 2
    assert split.reliability.value == pytest.approx(reliability, abs=1e-12)
    assert split.resolution.value == pytest.approx(resolution, abs=1e-12)
    assert split.uncertainty.value == pytest.approx(p.labels.mean() * (1 - p.labels.mean()), abs=1e-12)


def test_a_constant_prediction_has_no_resolution_and_the_square_of_its_error_as_reliability() -> None:
    split = measure_calibration(made(np.full(1000, 0.8), np.arange(1000) < 500), resamples=50, split=True).split
    assert split.reliability.value == pytest.approx(0.09, abs=1e-9)
    assert split.resolution.value == pytest.approx(0, abs=1e-12)
    assert split.uncertainty.value == pytest.approx(0.25, abs=1e-12)
    assert split.within_bins.value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.15])
def test_the_interval_covers_the_reliability_95_percent_of_the_time(shift: float) -> None:
    found = [measure_calibration(drawn(500, seed, shift), resamples=40, split=True).split for seed in range(80)]
    hits = [s.reliability.low <= shift**2 + 1e-12 and shift**2 <= s.reliability.high for s in found]
    assert np.mean(hits) >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / 80)


def test_the_interval_covers_the_uncertainty_and_resolution_of_many_people() -> None:
    p = drawn(200_000, 9)
    place = np.searchsorted(np.linspace(0, 1, 11)[1:-1], p.probability, side="right")
    truth = brier_terms(p.probability, p.labels.astype(float), place, np.ones(len(p)))
    found = [measure_calibration(drawn(1000, seed), resamples=40, split=True).split for seed in range(60)]
    for number, name in ((1, "resolution"), (2, "uncertainty")):
        hits = [getattr(s, name).low <= truth[number] <= getattr(s, name).high for s in found]
        assert np.mean(hits) >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / 60)


def test_a_group_is_measured_as_if_it_were_alone() -> None:
    p, rng = drawn(1200, 4), np.random.default_rng(0)
    groups = rng.choice(["a", "b", "c"], 1200)
    shifted = made(np.where(groups == "b", np.minimum(0.95, p.probability + 0.2), p.probability), p.labels)
    column = measure_calibration(shifted, resamples=50, groups={"g": groups}).columns["g"]
    assert [g.group for g in column.groups] == ["a", "b", "c"]
    for found in column.groups:
        rows = groups == found.group
        alone = measure_calibration(Predictions(shifted.logits[rows], shifted.labels[rows]), resamples=5)
        assert found.ece.value == pytest.approx(alone.ece.value, abs=1e-12)
        assert found.brier == alone.brier
        assert found.n == rows.sum() // 10 * 10
    assert column.groups[1].ece.low > max(column.groups[0].ece.value, column.groups[2].ece.value)


def test_a_group_with_fewer_than_ten_of_a_class_is_suppressed_and_not_alone() -> None:
    labels = np.concatenate([np.arange(200) % 2, np.arange(60) < 9, np.arange(80) % 2, np.arange(300) % 2])
    p = made(np.random.default_rng(0).uniform(0.1, 0.9, 640), labels)
    groups = np.repeat(["a", "one-sided", "small", "z"], [200, 60, 80, 300])
    column = measure_calibration(p, resamples=5, groups={"g": groups}).columns["g"]
    assert column.suppressed == ("one-sided", "small")
    assert [g.group for g in column.groups] == ["a", "z"]


def test_groups_of_one_member_are_suppressed_together() -> None:
    p = drawn(100, 0)
    values = measure_calibration(p, resamples=5, groups={"id": np.arange(100).astype(str)}).values()
    assert values["columns"]["id"]["groups"] == []
    with pytest.raises(BadData, match="one name a row"):
        measure_calibration(p, groups={"id": np.array(["a"])})


def test_what_was_not_asked_for_has_no_key_and_changes_nothing(subject) -> None:
    p = drawn(300, 0)
    plain = measure_calibration(p, resamples=20)
    more = measure_calibration(p, resamples=20, split=True, groups={"g": np.array(["a"] * 300)})
    assert plain.values().keys() == {"ece", "brier", "bins"}
    assert more.values().keys() == {"ece", "brier", "bins", "split", "columns"}
    assert {name: more.values()[name] for name in plain.values()} == plain.values()
    assert more.values()["split"].keys() == {"reliability", "resolution", "uncertainty", "within_bins"}
    found = more.evidence(subject)
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
