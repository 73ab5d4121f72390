"""Statistics: what is asked, what it is taken from, what it costs, and that intervals hold what they should."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pellucid.errors import BadPlan, Misuse, UnknownName
from pellucid.privacy import Statistic, StatisticsPlan, accounting, plan_from_record
from pellucid.privacy.estimates import answers
from pellucid.privacy.mechanism import FINE, gaussian
from pellucid.schema import Schema

SCHEMA = Schema.parse("""
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns.loan]
type = "boolean"
sensitivity = "personal"
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [-1000, 90000]
scale = { bins = [0, 20000, 50000] }
sensitivity = "personal"
missing = "category"
[columns.job]
type = "category"
categories = ["baker", "nurse"]
sensitivity = "personal"
missing = "category"
[columns.note]
type = "text"
sensitivity = "personal"
""")
ALPHA = 1e-9  # a right build fails a test of distribution once in as many runs


def of(text: str) -> Statistic:
    return Statistic.of(text, SCHEMA)


def plan(*asked: str, epsilon: float = 1.0, **more) -> StatisticsPlan:
    options = {"epsilon": epsilon, "delta": 1e-5, "units": 1000, "statistics": [of(text) for text in asked], **more}
    return StatisticsPlan.calibrate(**options)


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_what_is_left_open_is_taken_from_the_declarations() -> None:
    assert of("mean:age").bounds == (17.0, 90.0)
    assert of("mean:age:20..60").bounds == (20.0, 60.0)
    assert of("sum:income:-5.5..1e3").bounds == (-5.5, 1000.0)
    assert of("histogram:income").edges == (0.0, 20000.0, 50000.0)
    assert of("histogram:income:4").inner == (21750.0, 44500.0, 67250.0)
    assert of("histogram:job").labels == ("baker", "nurse", "<missing>")
    assert of("histogram:loan").labels == ("false", "true")
    assert of("quantiles:income").at == (0.25, 0.5, 0.75)
    assert of("quantiles:income:0.1").at == (0.1,)
    whole = of("quantiles:age")
    assert (whole.bounds, whole.bins) == ((16.5, 90.5), 74), "one bin a value"


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("mode:age", BadPlan, "no statistic"),
        ("meen:age", BadPlan, 'did you mean "mean"'),
        ("count:age", BadPlan, "count is of rows"),
        ("mean", BadPlan, "of a column"),
        ("mean:agee", UnknownName, 'did you mean "age"'),
        ("mean:job", BadPlan, "is of numbers"),
        ("histogram:note", BadPlan, "no declared values"),
        ("histogram:job:3", BadPlan, "neither bounds nor bins"),
        ("mean:age:90..17", BadPlan, "not below"),
        ("mean:age:17..17", BadPlan, "not below"),
        ("mean:age:nan..inf", BadPlan, "neither bounds"),
        ("mean:age:0..5e-324", BadPlan, "too narrow"),
        ("sum:age:0..1e-310", BadPlan, "too narrow"),
        ("quantiles:income:-1e308..1e308", BadPlan, "too wide"),
        ("mean:age:0..1e999", BadPlan, "finite"),
        ("mean:age:soon", BadPlan, "neither bounds"),
        ("histogram:age:0", BadPlan, "from 1 to"),
        ("histogram:age:4097", BadPlan, "from 1 to 4096"),
        ("quantiles:age:0.5,0.2", BadPlan, "above the one before"),
        ("quantiles:age:1.0", BadPlan, "between 0 and 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text: str, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        of(text)


def test_too_many_categories_are_refused() -> None:
    with pytest.raises(BadPlan, match="too many"):
        Statistic(kind="histogram", column="job", categories=tuple(map(str, range(5000))))


def test_a_statistic_that_lacks_its_bounds_makes_no_plan() -> None:
    with pytest.raises(BadPlan, match="lacks"):
        StatisticsPlan.calibrate(epsilon=1.0, delta=1e-5, units=1000, statistics=[Statistic(kind="mean", column="age")])


# -- what it costs ----------------------------------------------------------------------------------------------------


def test_statistics_that_rest_on_one_vector_share_it() -> None:
    shared = plan("count", "mean:age", "quantiles:age", "quantiles:age:0.1")
    assert [vector.what for vector in shared.vectors] == ["rows", "centred", "cells"]
    assert shared.steps == 3
    assert shared.columns == ("age",)
    own = plan("count", "mean:income")
    assert [vector.what for vector in own.vectors] == ["rows", "centred", "present"], "a mean of those who are there"


@pytest.mark.parametrize("epsilon", [math.nan, math.inf, 0, -1, 501, "1", True])
def test_an_epsilon_that_cannot_be_meant_is_refused(epsilon) -> None:
    with pytest.raises(BadPlan, match="epsilon"):
        plan("count", epsilon=epsilon)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta": 1e-3},
        {"delta": math.nan},
        {"units": 0},
        {"statistics": []},
        {"statistics": [of("count"), of("count")]},
        {"part": "some"},
        {"part": "training", "test": 0.0},
        {"part": "everybody", "test": 0.3},
        {"part": "training", "test": 1.0},
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(wrong) -> None:
    with pytest.raises(BadPlan):
        plan("count", **wrong)


@given(
    asked=st.lists(
        st.sampled_from(
            ["count", "mean:age", "sum:income", "histogram:job", "quantiles:income:0.5", "histogram:age:7"]
        ),
        min_size=1,
        unique=True,
    )
)
def test_the_claim_is_what_the_events_cost_and_the_record_gives_the_plan_back(asked: list[str]) -> None:
    made = plan(*asked, part="training", test=0.3)
    assert 0.99 < made.epsilon <= 1.0
    assert accounting.epsilon(made.events, made.delta) == made.epsilon
    assert sum(event["count"] for event in made.events) == made.steps == len(made.vectors)
    assert plan_from_record(made.record()) == made


@pytest.mark.parametrize(
    "broken",
    [
        {"statistics": "count"},
        {"statistics": [3]},
        {"statistics": [{"kind": "count", "more": 1}]},
        {"statistics": [{"kind": "mean", "column": "age", "bounds": [1]}]},
        {"statistics": [{"kind": "mean", "column": "age", "bounds": 3}]},
        {"noise_multiplier": "1"},
        {"surplus": 1},
    ],
)
def test_a_record_that_is_no_plan_is_refused(broken) -> None:
    with pytest.raises(BadPlan):
        plan_from_record({**plan("count").record(), **broken})


# -- noise ------------------------------------------------------------------------------------------------------------


def test_the_noise_is_discrete_gaussian_of_the_deviation_that_was_accounted_for() -> None:
    noise = gaussian(np.zeros(20_000, dtype=np.int64), 2.5)
    assert stats.kstest(noise, stats.norm(scale=2.5).cdf).pvalue > ALPHA
    assert stats.chi2.cdf((noise**2).sum() / 2.5**2, df=noise.size) == pytest.approx(0.5, abs=0.5 - ALPHA)
    assert np.array_equal(noise * FINE, np.rint(noise * FINE)), "on the lattice"


def test_the_lattice_costs_nothing_that_a_claim_could_show() -> None:
    """The hockey-stick divergence of the discrete Gaussian, added up in 50 digits, beside that of the continuous one.

    On a lattice 4096 times as coarse as the one in use, where the difference is millions of times as large.
    """
    steps = FINE // 4096
    with mpmath.workdps(50):
        for sigma, epsilons in ((0.7, (0.1, 1.0, 4.0, 8.0)), (3.0, (0.1, 1.0, 2.0))):  # deltas from 0.4 to 1e-10
            scale = sigma * steps
            for epsilon in epsilons:
                edge = int(mpmath.floor(epsilon * scale**2 / steps - mpmath.mpf(steps) / 2)) + steps
                reach = int(edge + 12 * scale)
                weight = [mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * scale**2)) for x in range(edge - steps, reach)]
                total = mpmath.sqrt(2 * mpmath.pi) * scale  # Poisson summation: off by exp(-2 pi^2 scale^2)
                discrete = sum(
                    max(mpmath.mpf(0), weight[i] - mpmath.exp(epsilon) * weight[i + steps])
                    for i in range(len(weight) - steps)
                )
                phi = mpmath.ncdf
                exact = phi(0.5 / sigma - epsilon * sigma) - mpmath.exp(epsilon) * phi(-0.5 / sigma - epsilon * sigma)
                assert abs(discrete / total - exact) < 1e-4 * exact


@pytest.mark.parametrize(
    "sums",
    [
        np.zeros((2, 2), dtype=np.int64),
        np.zeros(3),
        *(np.array([n], dtype=np.int64) for n in (2**61, -(2**61), -(2**63))),
    ],
    ids=str,
)
def test_sums_that_are_no_whole_vector_are_refused(sums) -> None:
    with pytest.raises(Misuse):
        gaussian(sums, 1.0)


# -- answers ----------------------------------------------------------------------------------------------------------


def exact(made: StatisticsPlan, ages: np.ndarray) -> dict:
    """The vectors of a plan about age, in units, without noise."""
    found = {}
    for vector in made.vectors:
        if vector.what == "rows":
            found[vector] = np.array([float(ages.size)])
        elif vector.what == "sum":
            found[vector] = np.array([ages.sum() / 90])
        elif vector.what == "centred":
            found[vector] = np.array([((ages - 53.5) / 36.5).sum()])
        else:
            cells = np.searchsorted(np.asarray(vector.edges), ages, side="right")
            found[vector] = np.bincount(cells, minlength=vector.size).astype(float)
    return found


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    ages = np.clip(rng.normal(45, 15, 900).round(), 17, 90)
    made = plan("count", "sum:age", "mean:age", "histogram:age:4", "quantiles:age:0.1,0.5,0.9", epsilon=0.5)
    sums, runs = exact(made, ages), 400
    cells = np.bincount(np.searchsorted(np.asarray(of("histogram:age:4").inner), ages, side="right"), minlength=4)
    truth = {"count": ages.size, "sum": ages.sum(), "mean": ages.mean()}
    held = dict.fromkeys([*truth, "cell", "0.1", "0.5", "0.9"], 0)
    for _ in range(runs):
        noisy = {v: s + rng.normal(0, made.noise_multiplier, s.size) for v, s in sums.items()}
        count, total, mean, histogram, quantiles = answers(made, noisy)
        for answer in (count, total, mean):
            held[answer.statistic.kind] += answer.estimate.low <= truth[answer.statistic.kind] <= answer.estimate.high
        first = histogram.estimate
        held["cell"] += first.low <= cells[0] <= first.high
        for at, found in quantiles.estimates.items():
            held[at] += found.low <= np.quantile(ages, float(at), method="inverted_cdf") <= found.high
    for name, times in held.items():
        low = 0.95 if name not in truth and name != "cell" else 0.95 - 1e-9
        assert stats.binom.cdf(times, runs, low) > ALPHA, f"{name} held in {times} of {runs}"
    assert held["mean"] < runs, "an interval that always holds says too little"


def test_without_noise_the_answers_are_the_truth() -> None:
    ages = np.arange(17, 91).repeat(20).astype(float)
    made = plan("mean:age", "quantiles:age:0.25,0.5", "histogram:age:2")
    mean, quantiles, histogram = answers(made, exact(made, ages))
    assert mean.estimate.value == pytest.approx(ages.mean())
    for at, found in quantiles.estimates.items():
        assert found.value == pytest.approx(np.quantile(ages, float(at)), abs=1)
    assert histogram.shares() == {"17..53.5": 0.5, "53.5..90": 0.5}
    assert histogram.class_weights() == {"17..53.5": 1.0, "53.5..90": 1.0}
    assert len(histogram.vocabulary()) == 2


def test_of_nobody_nothing_is_known() -> None:
    made = plan("mean:age", "quantiles:age:0.5", "histogram:job", epsilon=0.1)
    noisy = {vector: [-50.0] * vector.size for vector in made.vectors}
    mean, quantiles, histogram = answers(made, noisy)
    assert (mean.estimate.low, mean.estimate.high) == (17.0, 90.0)
    assert (quantiles.estimate.low, quantiles.estimate.high) == (16.5, 90.5)
    assert [cell.value for cell in histogram.estimates.values()] == [0.0, 0.0, 0.0]
    assert histogram.vocabulary() == ()
    assert sum(histogram.shares().values()) == pytest.approx(1)
    assert max(histogram.class_weights().values()) <= 100
