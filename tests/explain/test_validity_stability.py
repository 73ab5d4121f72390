"""A ranking over several runs: what is clear may be read, what the noise made may not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pellucid.errors import BadData
from pellucid.explain.validity import compare_runs
from pellucid.explain.validity.stability import _order_statistic

NAMES = tuple("abcdefgh")


def test_a_clear_ranking_is_stable_and_may_be_interpreted() -> None:
    rng = np.random.default_rng(0)
    table = np.array([8.0, 7, 6, 5, 4, 3, 2, 1]) + rng.normal(0, 0.05, (5, 8))
    found = compare_runs(table, NAMES)
    assert found.interpret is True
    assert found.stable == NAMES
    assert found.kendall_w == pytest.approx(1.0)
    assert found.values()["verdict"] == "interpret"
    assert [rank.value for rank in found.ranks.values()] == list(range(1, 9))


def test_null_rankings_are_not_to_be_interpreted() -> None:
    rng = np.random.default_rng(1)
    read = [compare_runs(rng.random((3, 8)), NAMES).interpret for _ in range(200)]
    assert sum(read) <= 2
    found = compare_runs(rng.random((8, 8)), NAMES)
    assert found.values()["interpret"] is False
    assert found.values()["verdict"] == "do not interpret"
    assert found.kendall_w < 0.5


def test_only_fields_whose_intervals_part_from_all_others_are_stable() -> None:
    table = np.array([[9.0, 5, 4, 1], [9, 4, 5, 1], [9, 5, 4, 1]])
    found = compare_runs(table, NAMES[:4])
    assert found.stable == ("a", "d")
    assert [(rank.low, rank.high) for rank in found.ranks.values()] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert found.interpret is False
    assert compare_runs(table, NAMES[:4], top=1).interpret is True


def test_a_field_further_down_whose_interval_reaches_up_unsettles_the_leader() -> None:
    # d is last on average, and still was second once
    table = np.array([[9.0, 8, 7, 1], [9, 8, 7, 1], [9, 8, 7, 8.5]])
    found = compare_runs(table, NAMES[:4], top=2)
    assert found.stable == ("a",)
    assert found.interpret is False


def test_rank_intervals_are_order_statistics_of_known_level() -> None:
    assert _order_statistic(3) == (0, 0.75)
    assert _order_statistic(5) == (0, 0.9375)
    assert _order_statistic(6) == (0, 0.96875)
    trim, level = _order_statistic(20)
    assert trim == 5
    assert level == pytest.approx(1 - 2 * stats.binom.cdf(5, 20, 0.5))
    # the interval of a median of continuous numbers covers as often as it says
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.normal(size=(4000, 20)), axis=1)
    covered = float(((drawn[:, 5] <= 0) & (drawn[:, -6] >= 0)).mean())
    assert covered == pytest.approx(level, abs=0.01)


@given(
    hnp.arrays(float, st.tuples(st.integers(3, 6), st.integers(2, 6)), elements=st.integers(0, 4).map(float)),
)
def test_concordance_equals_friedman_and_pairs_equal_scipy(table: np.ndarray) -> None:
    runs, fields = table.shape
    found = compare_runs(table, NAMES[:fields])
    if np.ptp(table, axis=1).max() == 0:
        assert found.kendall_w is None
    elif fields >= 3:
        wanted = stats.friedmanchisquare(*table.T).statistic / (runs * (fields - 1))
        assert found.kendall_w == pytest.approx(wanted, abs=1e-9)
    pairs = [
        stats.spearmanr(a, b).statistic
        for a, b in itertools.combinations(table, 2)
        if fields >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0
    ]
    assert found.spearman_mean == (pytest.approx(np.mean(pairs)) if pairs else None)
    assert found.spearman_low == (pytest.approx(min(pairs)) if pairs else None)


def test_one_field_has_no_rank_and_no_verdict() -> None:
    values = compare_runs(np.array([[1.0], [2.0], [3.0]]), ("a",)).values()
    assert not {"interpret", "verdict", "kendall_w", "spearman_mean"} & set(values)


def test_runs_that_tell_no_field_apart_are_not_to_be_interpreted() -> None:
    found = compare_runs(np.zeros((3, 4)), NAMES[:4])
    assert found.interpret is False
    assert found.kendall_w is None
    assert found.stable == ()


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadData, match="3 runs or more"):
        compare_runs(np.ones((2, 4)), NAMES[:4])
    with pytest.raises(BadData, match="NaN"):
        compare_runs(np.full((3, 4), np.nan), NAMES[:4])
    with pytest.raises(BadData, match="name of its own"):
        compare_runs(np.ones((3, 4)), NAMES[:3])
    with pytest.raises(BadData, match="name of its own"):
        compare_runs(np.ones((3, 4)), ("a", "a", "b", "c"))
    with pytest.raises(BadData, match="at least one field"):
        compare_runs(np.ones((3, 4)), NAMES[:4], top=0)
