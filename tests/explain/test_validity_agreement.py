"""Two attributions row by row: ranks against SciPy, signs and top fields by hand, absence instead of NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pellucid.errors import BadData
from pellucid.explain import ranking
from pellucid.explain.validity import compare_attributions, rowwise

TABLES = hnp.arrays(
    float, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.integers(-3, 3).map(float)
).flatmap(lambda left: st.tuples(st.just(left), hnp.arrays(float, left.shape, elements=st.integers(-3, 3).map(float))))


@given(TABLES)
def test_ranks_by_row_equal_those_of_one_vector(tables) -> None:
    left, _ = tables
    assert np.array_equal(rowwise.midranks(left), [ranking.midranks(row) for row in left])


@given(TABLES)
def test_spearman_by_row_equals_that_of_one_vector(tables) -> None:
    found = [ranking.spearman(a, b) for a, b in zip(*tables, strict=True)]
    assert rowwise.spearman(*tables) == pytest.approx([each for each in found if each is not None])


@given(TABLES)
def test_kendall_by_row_equals_scipy(tables) -> None:
    left, right = tables
    wanted = [
        stats.kendalltau(a, b).statistic
        for a, b in zip(left, right, strict=True)
        if left.shape[1] >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0
    ]
    assert rowwise.kendall(left, right) == pytest.approx(wanted)


def test_kendall_in_chunks_equals_kendall_at_once(monkeypatch) -> None:
    left, right = np.random.default_rng(0).normal(size=(2, 30, 6))
    whole = rowwise.kendall(left, right)
    monkeypatch.setattr(rowwise, "CELLS", 15 * 7)
    assert np.array_equal(rowwise.kendall(left, right), whole)


def test_signs_by_hand() -> None:
    left = np.array([[1.0, -1, 0, 2], [0, 0, 0, 1], [1, 1, 1, 1]])
    right = np.array([[2.0, 1, 5, 3], [1, 1, 1, 0], [-1, -1, -1, 1]])
    assert rowwise.sign(left, right).tolist() == [2 / 3, 0.25]  # the second row has no field that neither calls 0


def test_top_fields_by_hand_and_ties_share_the_last_place() -> None:
    left = np.array([[5.0, -4, 3, 2, 1], [3, 1, 1, 1, 0], [0, 0, 0, 0, 9]])
    right = np.array([[5.0, 1, -4, 2, 3], [3, 1, 1, 1, 0], [9, 0, 0, 0, 0]])
    assert rowwise.top(left, right, 3)[:2] == pytest.approx([2 / 3, 1.0])
    assert rowwise.top(left[2:], right[2:], 1).tolist() == [0.0]


@given(TABLES)
def test_the_order_of_the_fields_decides_nothing(tables) -> None:
    left, right = tables
    order = np.arange(left.shape[1])[::-1]
    for part in (rowwise.spearman, rowwise.kendall, rowwise.sign):
        assert part(left[:, order], right[:, order]) == pytest.approx(part(left, right))
    count = min(3, left.shape[1])
    assert rowwise.top(left[:, order], right[:, order], count) == pytest.approx(rowwise.top(left, right, count))


def test_a_method_agrees_with_itself_and_opposes_its_negative() -> None:
    left = np.random.default_rng(1).normal(size=(40, 6))
    same, opposed = compare_attributions(left, left), compare_attributions(left, -left)
    for name in ("spearman", "kendall", "sign", "top"):
        assert getattr(same, name).value == pytest.approx(1.0)
    assert opposed.spearman.value == pytest.approx(-1.0)
    assert (opposed.sign.value, opposed.top.value) == (0.0, 1.0)  # top goes by size


def test_unrelated_methods_agree_as_chance_has_it() -> None:
    left, right = np.random.default_rng(2).normal(size=(2, 2000, 10))
    found = compare_attributions(left, right, methods=("a", "b"))
    assert found.spearman.low <= 0 <= found.spearman.high
    assert found.kendall.low <= 0 <= found.kendall.high
    assert found.sign.low <= 0.5 <= found.sign.high
    assert found.top.low <= found.top_by_chance == 0.3 <= found.top.high
    assert found.how()["methods"] == ["a", "b"]


def test_constant_attributions_and_few_fields_or_rows_are_absent_and_not_nan() -> None:
    flat, other = np.ones((20, 4)), np.random.default_rng(0).normal(size=(20, 4))
    assert compare_attributions(flat, other).values().keys() == {"sign"}
    assert compare_attributions(np.zeros((20, 4)), other).values() == {}
    two = compare_attributions(other[:, :2], other[:, 2:])
    assert two.values().keys() == {"sign", "top", "top_by_chance"}
    assert two.count == 2
    assert compare_attributions(other[:1], other[:1]).values() == {}
    assert compare_attributions(other[:, :1], other[:, 1:2]).values().keys() == {"sign"}


def test_rows_are_rounded_down_unless_they_are_public() -> None:
    left = np.random.default_rng(0).normal(size=(27, 4))
    assert compare_attributions(left, left).rows == 20
    assert compare_attributions(left, left, public=True).rows == 27


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadData, match="same rows"):
        compare_attributions(np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(BadData, match="NaN"):
        compare_attributions(np.ones((3, 4)), np.full((3, 4), np.nan))
    with pytest.raises(BadData, match="one number a row"):
        compare_attributions(np.ones((3, 0)), np.ones((3, 0)))
    with pytest.raises(BadData, match="at least one field"):
        compare_attributions(np.ones((3, 4)), np.ones((3, 4)), top=0)
