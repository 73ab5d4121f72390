"""Conformal sets: the promise over many seeds, naive twins, and abstention by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadData, UnknownName
from pellucid.evidence import Evidence, canonical
from pellucid.explain.predictions import Predictions
from pellucid.explain.uncertainty import conformal_scores, conformal_threshold, measure_uncertainty, risk_coverage


def drawn(n: int, seed: int, classes: int = 2, sure: float = 3.0) -> Predictions:
    """Labels drawn from a softmax; the model says ``sure`` times its logits, which is too sure above 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes))
    weights = np.exp(logits)
    summed = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    labels = (rng.random(n)[:, None] > summed).sum(axis=1).clip(max=classes - 1)
    return Predictions(sure * (logits[:, 1] - logits[:, 0]) if classes == 2 else sure * logits, labels)


@pytest.mark.parametrize(("classes", "method"), [(2, "lac"), (2, "aps"), (4, "lac"), (4, "aps")])
def test_coverage_is_at_least_promised_in_the_mean_over_many_seeds(classes: int, method: str) -> None:
    found = [measure_uncertainty(drawn(300, s, classes), alpha=0.2, method=method, seed=s) for s in range(150)]
    shares = np.array([f.coverage.value for f in found])
    assert shares.mean() >= 0.8 - 2.5 * shares.std() / np.sqrt(150)
    assert shares.mean() <= 0.84  # and not by taking everything in
    assert np.mean([f.size.value for f in found]) < classes - 0.3


def hard(n: int, seed: int) -> tuple[Predictions, dict[str, np.ndarray]]:
    """For one person in five the model guesses."""
    rng = np.random.default_rng(seed)
    labels, guess = rng.integers(0, 2, n), rng.random(n) < 0.2
    logits = np.where(guess, rng.normal(size=n), 2 * (2 * labels - 1) + rng.normal(size=n))
    return Predictions(logits, labels), {"kind": np.where(guess, "hard", "easy")}


def test_thresholds_by_group_keep_the_promise_in_each_group_where_one_threshold_does_not() -> None:
    shares: dict[str, list[float]] = {"one": [], "own": []}
    for seed in range(60):
        p, groups = hard(1000, seed)
        for name, by in (("one", None), ("own", "kind")):
            found = measure_uncertainty(p, alpha=0.2, method="lac", groups=groups, by=by, seed=seed)
            shares[name].append(found.columns["kind"].groups["hard"].value)
    assert np.mean(shares["one"]) < 0.7
    assert np.mean(shares["own"]) >= 0.8 - 2.5 * np.std(shares["own"]) / np.sqrt(60)


def test_small_groups_share_a_threshold() -> None:
    p, _ = hard(1000, 0)
    groups = {"g": np.repeat(["big", "large", "s1", "s2"], [500, 470, 12, 18])}
    found = measure_uncertainty(p, groups=groups, by="g")
    assert set(found.thresholds) == {"<pooled>", "big", "large"}
    assert found.how()["by"].startswith("g:")
    assert not any(str(limit)[:6] in repr(found) + str(found.how()) for limit in found.thresholds.values())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_the_threshold_is_the_promised_order_statistic(values: list[float], alpha: float) -> None:
    place = math.ceil((len(values) + 1) * (1 - alpha) - 1e-9)
    expected = sorted(values)[place - 1] if place <= len(values) else math.inf
    assert conformal_threshold(np.array(values), alpha) == expected


def test_too_few_rows_for_the_promise_put_every_label_into_every_set() -> None:
    found = measure_uncertainty(drawn(40, 0), alpha=0.01)
    assert (found.coverage.value, found.size.value) == (1.0, 2.0)
    assert found.thresholds == {}


def test_scores_equal_plain_loops() -> None:
    p, luck = drawn(50, 1, 4).probability, np.random.default_rng(0).random(50)
    lac, aps = conformal_scores(p, "lac", luck), conformal_scores(p, "aps", luck)
    for row in range(50):
        for label in range(4):
            above = sum(q for q in p[row] if q > p[row, label])
            assert lac[row, label] == pytest.approx(1 - p[row, label], abs=1e-12)
            assert aps[row, label] == pytest.approx(above + luck[row] * p[row, label], abs=1e-12)


def test_sets_equal_a_plain_loop() -> None:
    p = drawn(400, 2)
    found = measure_uncertainty(p, alpha=0.1, seed=7)
    order = np.random.default_rng(7).permutation(400)
    limit, held, sizes = found.thresholds[""], [], []
    for row in order[200:]:
        labels = [y for y in (0, 1) if 1 - (p.probability[row] if y else 1 - p.probability[row]) <= limit]
        held.append(p.labels[row] in labels)
        sizes.append(len(labels))
    scores = sorted(1 - (p.probability[r] if p.labels[r] else 1 - p.probability[r]) for r in order[:200])
    assert limit == pytest.approx(scores[180], abs=1e-12)  # the 181st, from 201 · 0.9
    assert found.coverage.value == pytest.approx(np.mean(held), abs=0.0026)
    assert found.size.value == pytest.approx(np.mean(sizes), abs=0.006)
    assert found.certain.value == pytest.approx(np.mean(np.array(sizes) == 1), abs=0.0026)
    assert found.empty.value == pytest.approx(np.mean(np.array(sizes) == 0), abs=0.0026)


def test_abstention_by_hand() -> None:
    # the 100 least sure of 400 are all wrong, the others all right
    wrong = np.repeat([True, False], [100, 300])
    curve = risk_coverage(np.linspace(0.5, 1, 400), wrong)
    assert [share for share, _ in curve] == pytest.approx(np.linspace(1, 0.5, 11))
    assert curve[0][1].value == 0.25
    assert curve[2][1].value == pytest.approx(60 / 360, abs=0.003)
    assert [error.value for share, error in curve if share <= 0.75] == [0.0] * 6


def test_people_of_equal_confidence_share_their_errors_in_any_order() -> None:
    rng = np.random.default_rng(0)
    confidence, wrong = rng.integers(5, 10, 300) / 10, rng.random(300) < 0.3
    order = rng.permutation(300)
    assert risk_coverage(confidence, wrong) == risk_coverage(confidence[order], wrong[order])
    same = risk_coverage(np.full(300, 0.7), np.arange(300) < 90)
    assert [error.value for _, error in same] == pytest.approx([0.3] * 11, abs=0.01)


def test_points_of_the_curve_are_ten_people_apart() -> None:
    assert len(risk_coverage(np.linspace(0, 1, 20), np.zeros(20, dtype=bool))) == 2
    assert len(risk_coverage(np.linspace(0, 1, 100), np.zeros(100, dtype=bool))) == 6


def test_groups_below_ten_measured_people_are_suppressed_with_another() -> None:
    p = drawn(600, 0)
    groups = {"g": np.repeat(["a", "b", "c", "tiny"], [250, 240, 102, 8])}
    column = measure_uncertainty(p, groups=groups).columns["g"]
    assert column.suppressed == ("c", "tiny")
    assert set(column.groups) == {"a", "b"}
    alone = measure_uncertainty(p, groups={"id": np.arange(600).astype(str)}).columns["id"]
    assert alone.groups == {}


def test_a_seed_makes_it_repeatable_and_is_recorded() -> None:
    p = drawn(300, 0)
    assert measure_uncertainty(p, seed=3) == measure_uncertainty(p, seed=3)
    assert measure_uncertainty(p, seed=3).thresholds != measure_uncertainty(p, seed=5).thresholds
    assert measure_uncertainty(p, seed=3).how()["seed"] == 3


def test_evidence_is_uncovered_for_auditors_and_canonical(subject) -> None:
    p, groups = hard(345, 1)
    found = measure_uncertainty(p, groups=groups, by="kind").evidence(subject)
    assert (found.kind, found.coverage, found.tier) == ("uncertainty", "uncovered", "auditor")
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
    assert found.values["coverage"]["n"] == 170
    assert "columns" not in measure_uncertainty(p).values()


def test_bad_input_is_refused() -> None:
    p, groups = hard(100, 0)
    for alpha in (0.0, 1.0, float("nan")):
        with pytest.raises(BadData, match="between 0 and 1"):
            measure_uncertainty(p, alpha=alpha)
    with pytest.raises(BadData, match="lac or aps"):
        measure_uncertainty(p, method="raps")
    with pytest.raises(UnknownName, match="kind"):
        measure_uncertainty(p, groups=groups, by="kinds")
    with pytest.raises(BadData, match="one class"):
        measure_uncertainty(Predictions(np.zeros(30), np.zeros(30, dtype=np.int64)))
    with pytest.raises(BadData, match="one name a row"):
        measure_uncertainty(p, groups={"kind": np.array(["a"])})
