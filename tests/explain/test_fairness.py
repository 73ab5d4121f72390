"""Fairness against loops and fairlearn, suppression as a property, bootstrap against resampled rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from scipy.stats import fisher_exact

from pellucid.disclosure import suppressed_cells
from pellucid.errors import BadData
from pellucid.evidence import Estimate, Evidence, canonical
from pellucid.explain import Predictions, compare_groups
from pellucid.explain.disparities import Disparities
from pellucid.explain.intervals import rate, wilson
from pellucid.explain.ranking import auc, publish_auc
from pellucid.explain.rates import newcombe, widest


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


def sorted_out(sizes: dict[str, int], classes: int = 3, seed: int = 3) -> tuple[Predictions, dict[str, np.ndarray]]:
    """People of several classes; the first class is found less often in later groups."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(list(sizes), list(sizes.values()))
    labels = rng.integers(0, classes, len(rows))
    logits = rng.normal(size=(len(rows), classes)) + 1.5 * np.eye(classes)[labels]
    logits[:, 0] -= 0.4 * np.array([list(sizes).index(name) for name in rows])
    return Predictions(logits, labels), {"kind": rows}


@pytest.mark.parametrize("classes", [3, 5])
def test_differences_of_several_classes_are_fairlearn_s_of_the_worst_class_against_the_rest(classes: int) -> None:
    p, groups = sorted_out({"a": 4000, "b": 4000, "c": 3000}, classes)
    column = compare_groups(p, groups).columns["kind"]
    each = [
        {"y_true": p.labels == k, "y_pred": p.predicted == k, "sensitive_features": groups["kind"]}
        for k in range(classes)
    ]
    parity = max(demographic_parity_difference(**one) for one in each)
    odds = max(equalized_odds_difference(**one) for one in each)
    assert column.demographic_parity_difference.value == pytest.approx(parity, abs=1e-3)
    assert column.equalized_odds_difference.value == pytest.approx(odds, abs=2e-3)
    assert column.demographic_parity_difference.low <= parity <= column.demographic_parity_difference.high
    for found in column.groups:
        rows = groups["kind"] == found.group
        assert found.accuracy.value == pytest.approx((p.predicted == p.labels)[rows].mean(), abs=1e-3)
        assert found.values().keys() == {"group", "n", "accuracy"}


def test_of_several_classes_a_group_without_ten_people_of_each_has_no_part_in_equalized_odds() -> None:
    p, groups = sorted_out({"a": 400, "b": 400, "c": 100})
    few = (groups["kind"] == "c") & (p.labels == 2)
    keep = ~few | (np.cumsum(few) <= 9)
    p, groups = Predictions(p.logits[keep], p.labels[keep]), {"kind": groups["kind"][keep]}
    column = compare_groups(p, groups).columns["kind"]
    without = groups["kind"] != "c"
    alone = compare_groups(
        Predictions(p.logits[without], p.labels[without]), {"kind": groups["kind"][without]}
    ).columns["kind"]
    assert len(column.groups) == 3
    assert column.equalized_odds_difference.value == alone.equalized_odds_difference.value
    assert column.demographic_parity_difference.value > alone.demographic_parity_difference.value


def test_of_several_classes_accuracy_is_tested_and_how_says_what_a_gap_is() -> None:
    p, groups = sorted_out({"a": 2000, "b": 2000, "c": 2000})
    found = compare_groups(p, groups, level=0.1, intersections=False)
    assert found.disparities is not None
    assert {test.metric for test in found.disparities.tests} == {"accuracy"}
    right = p.predicted == p.labels
    (last,) = (test for test in found.disparities.tests if test.group == "c")
    mine, others = groups["kind"] == "c", groups["kind"] != "c"
    table = [[right[rows].sum(), (~right[rows]).sum()] for rows in (mine, others)]
    exact = max(fisher_exact(table).pvalue, 1e-6)
    assert 0.95 * exact <= last.p <= 1.5 * exact
    assert found.how()["differences"].startswith("each class against the rest")
    assert "auc" not in found.how()


def test_equal_groups_have_a_difference_of_zero_by_hand() -> None:
    # every group: 20 positives and 20 negatives, half of each selected
    labels = np.tile(np.repeat([0, 1], 20), 3)
    logits = np.tile([1.0, -1.0], 60)
    column = compare_groups(Predictions(logits, labels), {"g": np.repeat(["a", "b", "c"], 40)}).columns["g"]
    assert column.demographic_parity_difference.value == 0
    assert column.equalized_odds_difference.value == 0
    assert all(g.true_positive_rate.value == g.false_positive_rate.value == 0.5 for g in column.groups)


@pytest.mark.parametrize(("shares", "n"), [((0.5, 0.5), 200), ((0.02, 0.02), 400), ((0.4, 0.4, 0.4, 0.4), 150),
                                           ((0.3, 0.45), 200), ((0.1, 0.2, 0.4), 100)])  # fmt: skip
def test_the_interval_of_a_gap_covers_the_true_gap_also_where_groups_are_treated_alike(
    shares: tuple[float, ...], n: int
) -> None:
    rng, covered = np.random.default_rng(5), 0
    gap = max(shares) - min(shares)
    for _ in range(1000):
        found = widest([[rate(rng.binomial(n, share) / n, n) for share in shares]], n)
        assert found is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        covered += found.low - 1e-9 <= gap <= found.high + 1e-9
    assert covered >= 940


def test_what_is_said_of_groups_follows_from_their_published_rates_alone() -> None:
    """Whoever knows a seed cannot try counts against it: people who change no published rate change nothing."""
    truth = np.repeat([1, 0, 1, 0], [130, 174, 301, 701])
    rows = np.repeat(["f", "m"], [304, 1002])
    records = []
    for found_women in (54, 55):
        parts = ((130, found_women), (174, 40), (301, 215), (701, 161))
        guess = np.concatenate([np.arange(n) < k for n, k in parts])
        found = compare_groups(Predictions(np.where(guess, 1.0, -1.0), truth), {"gender": rows}, level=0.1)
        column = found.columns["gender"].values()
        for group in column["groups"]:
            del group["auc"]  # on a grid of its own
        assert found.disparities is not None
        records.append((column, found.disparities.values()))
    assert records[0] == records[1]


def test_a_class_of_which_a_few_people_came_or_went_has_no_rates_by_truth() -> None:
    p, groups = made({"a": 400, "b": 400})
    rows = groups["kind"] == "a"
    positives = int(p.labels[rows].sum())
    shown = positives - positives % 10
    for published, there in ((shown, True), (shown - 10, False), (shown + 10, False), (shown - 20, True)):
        before = {"kind": [{("a", 1): published, ("b", 0): 40}]}
        found = {g.group: g for g in compare_groups(p, groups, classes_before=before).columns["kind"].groups}
        assert (found["a"].true_positive_rate is not None) == there
        assert (found["a"].false_positive_rate is not None, found["a"].auc is not None) == (there, there)
        assert found["a"].accuracy is not None
        assert found["b"].true_positive_rate is not None


def test_a_pair_of_rates_has_newcombe_s_interval() -> None:
    one, two = rate(0.5, 400), rate(0.3, 300)
    found = widest([[one, None, two]], 700)
    assert found is not None
    alone = newcombe(one, two)
    assert (found.value, found.low, found.high, found.n) == (alone.value, alone.low, alone.high, 700)
    assert widest([[one, None]], 400) is None
    several = widest([[one, two], [two, rate(0.35, 400)]], 700)
    assert several is not None
    assert several.value == found.value
    assert several.low < found.low  # two pairs hold together
    assert several.high > found.high


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
    with pytest.raises(BadData, match="fewer than 10 held-out people of a class"):
        compare_groups(Predictions(np.zeros((29, 3)), np.arange(29) % 3), {"g": np.array(["a"] * 29)})


def benjamini_hochberg(p: list[float]) -> list[float]:
    """By the definition: the least level at which a test is still rejected."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    found = [0.0] * len(p)
    for rank, place in enumerate(order):
        found[place] = min(1.0, *(p[order[later]] * len(p) / (later + 1) for later in range(rank, len(p))))
    return found


def test_p_is_no_smaller_than_fisher_s_of_the_exact_counts_and_q_follows_from_it() -> None:
    p, groups = made({"a": 300, "b": 400, "c": 200})
    tests = compare_groups(p, groups, level=0.05).disparities.tests
    assert len(tests) == 12
    exact = []
    for test in tests:
        mine, rest = groups["kind"] == test.group, groups["kind"] != test.group
        right = p.predicted == p.labels if test.metric == "accuracy" else p.predicted == 1
        of = {"true_positive_rate": p.labels == 1, "false_positive_rate": p.labels == 0}.get(test.metric, p.labels >= 0)
        table = [[int((right & of & part).sum()), int((~right & of & part).sum())] for part in (mine, rest)]
        exact.append(float(fisher_exact(table).pvalue))
        value = table[0][0] / sum(table[0]) - table[1][0] / sum(table[1])
        assert test.difference.value == pytest.approx(value, abs=0.01)
        assert test.difference.low < value < test.difference.high
    told = [test.p for test in tests]
    for test, p_value, q_value in zip(tests, exact, benjamini_hochberg(told), strict=True):
        assert test.p >= 0.95 * max(p_value, 1e-6)  # what rounding leaves open is held for the null
        assert test.q >= test.p
        assert test.q <= max(1e-6, 1.1 * q_value)


def test_newcombes_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table II (a), method 10: 56/70 against 48/80
    one, two = Estimate(0.8, *wilson(0.8, 70), 70), Estimate(0.6, *wilson(0.6, 80), 80)
    found = newcombe(one, two)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def null(seed: int, gap: float = 0.0) -> Disparities:
    """Two columns that say nothing of the errors, but for ``gap`` in the selection of one group."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 600)
    groups = {name: rng.choice(list(kinds), 600) for name, kinds in (("x", "abcd"), ("y", "abc"))}
    logits = rng.normal(size=600) + labels + gap * (groups["y"] == "b")
    return compare_groups(Predictions(logits, labels), groups, level=0.1).disparities


def test_a_planted_gap_is_found_and_leads() -> None:
    found = null(1, gap=1.5).found()
    assert ("y", "b", "selection_rate") in {(t.column, t.group, t.metric) for t in found}
    assert min(found, key=lambda test: test.q).column == "y"
    assert {t.group: np.sign(t.difference.value) for t in found if t.metric == "selection_rate"}["b"] == 1


def test_null_gaps_are_not_found() -> None:
    assert [len(null(seed).found()) for seed in range(5)] == [0] * 5


@pytest.mark.slow
def test_false_discoveries_stay_below_the_level_over_200_seeds() -> None:
    nothing = [len(null(seed).found()) > 0 for seed in range(200)]
    assert np.mean(nothing) <= 0.1 + 2.5 * np.sqrt(0.1 * 0.9 / 200)
    shares = []
    for seed in range(200, 250):
        found = null(seed, gap=1.5).found()
        assert any(test.group == "b" and test.column == "y" for test in found)
        shares.append(np.mean([test.column != "y" for test in found]))
    assert np.mean(shares) <= 0.1 + 2.5 * np.std(shares) / np.sqrt(50)


def test_two_groups_are_tested_once_and_one_group_never() -> None:
    p, groups = made({"a": 300, "b": 400})
    tests = compare_groups(p, groups, level=0.1).disparities.tests
    assert [test.group for test in tests] == ["a"] * 4
    p, groups = made({"a": 300})
    found = compare_groups(p, groups, level=0.1).disparities
    assert found.values() == {"level": 0.1, "tested": 0, "found": 0, "differences": []}


def test_a_pair_of_columns_is_compared_like_a_column_of_their_combinations() -> None:
    rng = np.random.default_rng(0)
    p, _ = made({"a": 2000})
    groups = {"sex": rng.choice(["f", "m"], 2000), "age": rng.choice(["old", "young"], 2000)}
    found = compare_groups(p, groups, intersections=True)
    by_hand = np.array([f"{a} × {b}" for a, b in zip(groups["sex"], groups["age"], strict=True)])
    (name,) = found.intersections
    assert name == "sex × age"
    assert found.intersections[name].groups == compare_groups(p, {"c": by_hand}).columns["c"].groups


def test_a_gap_that_only_a_pair_of_columns_shows_is_found() -> None:
    # who is in one of two groups but not in both is treated badly: each column by itself looks fair
    rng = np.random.default_rng(2)
    one, two = rng.choice(["f", "m"], 3000), rng.choice(["old", "young"], 3000)
    labels = rng.integers(0, 2, 3000)
    harmed = (one == "f") ^ (two == "old")
    p = Predictions(rng.normal(size=3000) + 2 * labels - 1 - 1.0 * harmed, labels)
    found = compare_groups(p, {"sex": one, "age": two}, intersections=True, level=0.05).disparities.found()
    assert {test.column for test in found} == {"sex × age"}
    assert {test.group for test in found if test.metric == "selection_rate" and test.difference.value < 0} == {
        "f × young",
        "m × old",
    }


def test_a_small_cell_of_a_pair_takes_cells_of_its_lines_with_it() -> None:
    sizes = {(a, b): 50 for a in "abc" for b in "xyz"}
    sizes["a", "x"] = 3
    hidden = suppressed_cells(sizes)
    assert ("a", "x") in hidden
    assert len(hidden) == 4  # a rectangle is the least that no line gives away
    rng = np.random.default_rng(0)
    rows = np.array([cell for cell, size in sizes.items() for _ in range(size)])
    p = Predictions(rng.normal(size=len(rows)), rng.integers(0, 2, len(rows)))
    column = compare_groups(p, {"i": rows[:, 0], "j": rows[:, 1]}, intersections=True).intersections["i × j"]
    assert set(column.suppressed) == {f"{a} × {b}" for a, b in hidden}
    assert len(column.groups) == 5


def test_people_of_their_own_in_every_column_leave_nothing_to_publish() -> None:
    p, _ = made({"a": 40})
    alone = np.arange(40).astype(str)
    found = compare_groups(p, {"one": alone, "two": alone}, intersections=True, level=0.1)
    assert found.intersections["one × two"].groups == ()
    assert found.disparities.tests == ()


def test_what_was_not_asked_for_has_no_key_and_changes_nothing(subject) -> None:
    p, groups = made({"a": 203, "b": 307})
    groups["other"] = np.where(np.arange(510) % 2 == 0, "x", "y")
    plain = compare_groups(p, groups)
    more = compare_groups(p, groups, intersections=True, level=0.1)
    assert plain.values().keys() == {"minimum_cell", "columns"}
    assert more.values().keys() == {"minimum_cell", "columns", "intersections", "disparities"}
    assert more.columns == plain.columns
    found = more.evidence(subject)
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
    one = found.values["disparities"]["differences"][0]
    assert one.keys() == {"column", "group", "metric", "difference", "p", "q", "found"}


def test_a_level_outside_zero_to_one_and_names_that_cannot_be_told_apart_are_refused() -> None:
    p, groups = made({"a": 40, "b": 40})
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(BadData, match="between 0 and 1"):
            compare_groups(p, groups, level=level)
    odd = {"one": np.repeat(["a × b", "a"], 40), "two": np.repeat(["c", "b × c"], 40)}
    with pytest.raises(BadData, match="told apart"):
        compare_groups(p, odd, intersections=True)
