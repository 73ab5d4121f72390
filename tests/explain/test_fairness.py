"""Fairness against loops and fairlearn, suppression as a property, bootstrap against resampled rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Evidence, canonical
from pellucid.explain import Predictions, compare_groups
from pellucid.explain.fairness import suppressed_groups
from pellucid.explain.ranking import auc, publish_auc


def made(sizes: dict[str, int], seed: int = 3) -> tuple[Predictions, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows = np.repeat(list(sizes), list(sizes.values()))
    labels = (rng.random(len(rows)) < 0.4).astype(np.int64)
    shift = np.array([0.3 * list(sizes).index(name) for name in rows])
    return Predictions(rng.normal(size=len(rows)) + labels - 0.5 + shift, labels), {"kind": rows}


def test_rates_of_every_group_equal_a_plain_loop() -> None:
    p, groups = made({"a": 1000, "b": 500, "c": 2000})
    column = compare_groups(p, groups).columns["kind"]
    assert [g.group for g in column.groups] == ["a", "b", "c"]
    for found in column.groups:
        rows = [i for i, name in enumerate(groups["kind"]) if name == found.group]
        y, d = [int(p.labels[i]) for i in rows], [int(p.logits[i] > 0) for i in rows]
        step = 0.002 if found.group == "b" else 0.001
        hits = sum(a == b for a, b in zip(y, d, strict=True))
        assert found.accuracy.value == pytest.approx(hits / len(rows), abs=step)
        assert found.selection_rate.value == pytest.approx(sum(d) / len(rows), abs=step)
        tp = sum(1 for a, b in zip(y, d, strict=True) if a and b)
        fp = sum(1 for a, b in zip(y, d, strict=True) if not a and b)
        assert found.true_positive_rate.value == pytest.approx(tp / sum(y), abs=0.003)
        assert found.false_positive_rate.value == pytest.approx(fp / (len(y) - sum(y)), abs=0.003)
        assert found.auc == publish_auc(auc(p.logits[rows], p.labels[rows] == 1), min(sum(y), len(y) - sum(y)))
        assert found.n == len(rows)


def test_differences_equal_fairlearn() -> None:
    p, groups = made({"a": 3000, "b": 3000, "c": 2000})
    column = compare_groups(p, groups).columns["kind"]
    theirs = {"y_true": p.labels, "y_pred": p.predicted, "sensitive_features": groups["kind"]}
    assert column.demographic_parity_difference.value == pytest.approx(
        demographic_parity_difference(**theirs), abs=1e-3
    )
    assert column.equalized_odds_difference.value == pytest.approx(equalized_odds_difference(**theirs), abs=2e-3)


def test_a_difference_is_largest_minus_smallest_published_rate() -> None:
    p, groups = made({"a": 300, "b": 400, "c": 200})
    column = compare_groups(p, groups).columns["kind"]
    selected = [g.selection_rate.value for g in column.groups]
    assert column.demographic_parity_difference.value == pytest.approx(max(selected) - min(selected), abs=1e-9)


def test_equal_groups_have_a_difference_of_zero_by_hand() -> None:
    # every group: 20 positives and 20 negatives, half of each selected
    labels = np.tile(np.repeat([0, 1], 20), 3)
    logits = np.tile([1.0, -1.0], 60)
    column = compare_groups(Predictions(logits, labels), {"g": np.repeat(["a", "b", "c"], 40)}).columns["g"]
    assert column.demographic_parity_difference.value == 0
    assert column.equalized_odds_difference.value == 0
    assert all(g.true_positive_rate.value == g.false_positive_rate.value == 0.5 for g in column.groups)


def test_the_multinomial_bootstrap_is_the_bootstrap_of_rows() -> None:
    p, groups = made({"a": 300, "b": 250})
    p = Predictions(p.logits + 0.8 * (groups["kind"] == "b"), p.labels)  # selection far from the share of class 1
    found = compare_groups(p, groups, resamples=2000).columns["kind"]
    rng, parity, odds = np.random.default_rng(8), [], []
    for _ in range(400):
        rows = rng.integers(0, 550, 550)
        y, d, g = p.labels[rows], p.predicted[rows], groups["kind"][rows]
        rates = {(k, t): d[(g == k) & (y == t)].mean() for k in "ab" for t in (0, 1)}
        parity.append(abs(d[g == "a"].mean() - d[g == "b"].mean()))
        odds.append(max(abs(rates["a", t] - rates["b", t]) for t in (0, 1)))
    for estimate, drawn in (
        (found.demographic_parity_difference, parity),
        (found.equalized_odds_difference, odds),
    ):
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.025)


sizes = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1)


@given(sizes)
def test_what_is_left_when_published_groups_are_taken_from_the_total_is_never_one_small_group(
    sizes: dict[str, int],
) -> None:
    hidden = suppressed_groups(sizes)
    shown = set(sizes) - set(hidden)
    assert all(sizes[name] >= 10 for name in shown)
    if hidden and shown:
        assert len(hidden) >= 2
        assert sum(sizes[name] for name in hidden) >= 10
        assert len(shown) >= 2
    if min(sizes.values()) >= 10:
        assert hidden == ()


def test_a_small_group_takes_the_next_smallest_with_it() -> None:
    p, groups = made({"a": 200, "b": 40, "c": 3, "d": 300})
    column = compare_groups(p, groups).columns["kind"]
    assert column.suppressed == ("b", "c")
    assert [g.group for g in column.groups] == ["a", "d"]
    assert column.demographic_parity_difference.n == 500


def test_a_group_of_one_beside_one_other_group_leaves_nothing_to_publish() -> None:
    p, groups = made({"a": 200, "b": 1})
    values = compare_groups(p, groups).values()["columns"]["kind"]
    assert values == {"groups": [], "suppressed": ["a", "b"]}


def test_a_single_group_has_rates_but_no_difference() -> None:
    p, groups = made({"a": 200})
    values = compare_groups(p, groups).values()["columns"]["kind"]
    assert "demographic_parity_difference" not in values
    assert "equalized_odds_difference" not in values
    assert len(values["groups"]) == 1


def test_a_group_of_one_class_has_no_auc_and_no_rate_by_truth_rather_than_zero() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(100) % 2, np.zeros(50, dtype=np.int64), np.arange(100) % 2])
    p = Predictions(rng.normal(size=250), labels)
    column = compare_groups(p, {"g": np.repeat(["a", "b", "c"], [100, 50, 100])}).values()["columns"]["g"]
    one = column["groups"][1]
    assert one.keys() == {"group", "n", "accuracy", "selection_rate"}
    assert "equalized_odds_difference" in column  # between the two that have both classes


def test_fewer_than_ten_of_a_class_in_a_group_hide_both_rates_by_truth() -> None:
    labels = np.concatenate([np.arange(100) % 2, (np.arange(50) < 9).astype(np.int64)])
    p = Predictions(np.linspace(-1, 1, 150), labels)
    column = compare_groups(p, {"g": np.repeat(["a", "b"], [100, 50])}).columns["g"]
    assert column.groups[1].true_positive_rate is None
    assert column.groups[1].false_positive_rate is None
    assert column.equalized_odds_difference is None
    assert column.demographic_parity_difference is not None


def test_a_seed_makes_it_repeatable_and_is_recorded() -> None:
    p, groups = made({"a": 200, "b": 300})
    one, two, other = (compare_groups(p, groups, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one.values() != other.values()
    assert one.how()["seed"] == 1


def test_evidence_is_uncovered_for_auditors_and_canonical(subject) -> None:
    p, groups = made({"a": 203, "b": 307})
    found = compare_groups(p, {"one": groups["kind"], "two": groups["kind"].astype(object)}).evidence(subject)
    assert (found.kind, found.coverage, found.tier) == ("fairness", "uncovered", "auditor")
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
    assert found.values["minimum_cell"] == 10
    assert [g["n"] for g in found.values["columns"]["two"]["groups"]] == [200, 300]


def test_bad_groups_are_refused_and_no_name_is_shown() -> None:
    p, groups = made({"a": 200, "b": 300})
    with pytest.raises(BadData, match="one name a row"):
        compare_groups(p, {"kind": groups["kind"][:-1]})
    with pytest.raises(BadData, match="not a text") as caught:
        compare_groups(p, {"kind": np.array(["secret"] * 499 + [None], dtype=object)})
    assert "secret" not in str(caught.value)
    with pytest.raises(BadData, match="no column"):
        compare_groups(p, {})
    with pytest.raises(BadData, match="below 10"):
        compare_groups(p, groups, minimum_cell=5)
    with pytest.raises(BadData, match="two resamples"):
        compare_groups(p, groups, resamples=0)
    with pytest.raises(UnsupportedModel, match="two classes"):
        compare_groups(Predictions(np.zeros((30, 3)), np.arange(30) % 3), {"g": np.array(["a"] * 30)})
