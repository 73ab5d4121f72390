"""Rates and means: intervals against SciPy, coverage by enumeration, and that no exact count can be read off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pellucid.explain.intervals import mean, publish, rate, step, wilson


@given(st.integers(1, 5000), st.data())
def test_wilson_equals_scipy(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "expected"), [(10, 0.1), (20, 0.05), (30, 0.05), (50, 0.02), (90, 0.02), (100, 0.01), (9760, 0.0002)]
)
def test_step_is_the_least_round_number_not_below_one_over_n(n: int, expected: float) -> None:
    assert step(n) == pytest.approx(expected, rel=1e-12)


@given(st.integers(10, 20_000), st.data())
def test_no_exact_count_of_people_can_be_read_off_a_published_rate(n: int, data: st.DataObject) -> None:
    """Every count with the same rounded n is consistent with the published record, interval included."""
    k = data.draw(st.integers(0, n))
    published = rate(k / n, n)
    for other in range(n - n % 10, n - n % 10 + 10):
        near = {int(published.value * other) + d for d in (-1, 0, 1, 2)}
        assert any(rate(j / other, other) == published for j in near if 0 <= j <= other), other


@given(st.integers(10, 20_000), st.data())
def test_a_published_rate_is_within_half_a_step_and_its_interval_holds_both(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    found = rate(k / n, n)
    assert abs(found.value - k / n) <= step(n - n % 10) / 2 + 1e-9
    assert 0 <= found.low <= min(found.value, k / n) + 1e-9
    assert max(found.value, k / n) - 1e-9 <= found.high <= 1
    assert found.n == n - n % 10
    assert found.value == publish(k / n, n)


@pytest.mark.parametrize("n", [10, 37, 200])
@pytest.mark.parametrize("truth", [0.05, 0.3, 0.5, 0.92])
def test_the_interval_of_a_rate_covers_the_truth_95_percent_of_the_time(n: int, truth: float) -> None:
    # exact coverage, by enumeration; Wilson's own dips below 95 % are made up for by the widening
    covered = sum(
        stats.binom.pmf(k, n, truth) for k in range(n + 1) if rate(k / n, n).low <= truth <= rate(k / n, n).high
    )
    assert covered >= 0.94


def test_mean_equals_scipy_normal_interval() -> None:
    values = np.random.default_rng(0).exponential(size=500)
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    found = mean(values)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    cut = mean(values, low=1.05, high=1.1)
    assert (cut.low, cut.high) == (1.05, 1.1)
