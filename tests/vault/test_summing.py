"""Vectors of sums: that one person moves each by at most one unit, and that they are the sums they are called."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.privacy import Statistic
from pellucid.privacy.statistics import Vector
from pellucid.schema import Schema
from pellucid.vault import aggregate, check_table

FINE = 2**20
SCHEMA = Schema.parse("""
[dataset]
target = "loan"
units = 100
purposes = ["credit scoring"]
[columns.loan]
type = "boolean"
sensitivity = "personal"
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
missing = { fill = 40 }
[columns.income]
type = "number"
bounds = [-1000, 300.7]
sensitivity = "personal"
missing = "category"
[columns.job]
type = "category"
categories = ["baker", "nurse"]
sensitivity = "personal"
missing = "category"
[columns.town]
type = "category"
categories = ["A", "B", "C"]
sensitivity = "personal"
missing = { fill = "B" }
""")
ASKED = (
    "count",
    "sum:age",
    "sum:income",
    "sum:income:-7.3..0.1",
    "mean:age",
    "mean:income",
    "mean:income:0.1..0.3",
    "histogram:loan",
    "histogram:job",
    "histogram:town",
    "histogram:age:7",
    "histogram:income",
    "quantiles:age",
    "quantiles:income",
)
VECTORS = {v for text in ASKED for v in Statistic.of(text, SCHEMA).vectors}
PERSON = st.fixed_dictionaries(
    {
        "loan": st.booleans(),
        "age": st.none() | st.integers(17, 90),
        "income": st.none() | st.floats(-1000, 300.7),
        "job": st.none() | st.sampled_from(["baker", "nurse"]),
        "town": st.none() | st.sampled_from(["A", "B", "C"]),
    }
)


def table(people: list[dict]):
    frame = pd.DataFrame(people, columns=list(SCHEMA.columns))
    return check_table(frame.astype({"age": "Int64", "loan": "boolean"}), SCHEMA)


@given(people=st.lists(PERSON, min_size=2, max_size=8), who=st.integers(0, 7))
def test_one_person_moves_a_vector_by_at_most_one_unit(people: list[dict], who: int) -> None:
    """Sensitivity by brute force: every pair of neighbouring tables, whoever is taken out."""
    whole = table(people)
    others = table([person for i, person in enumerate(people) if i != who % len(people)])
    for vector in VECTORS:
        moved = aggregate(whole, SCHEMA, vector, FINE) - aggregate(others, SCHEMA, vector, FINE)
        assert moved.shape == (vector.size,)
        assert math.sqrt(sum(int(m) ** 2 for m in moved)) <= FINE, vector


def test_the_worst_person_moves_it_by_exactly_one_unit() -> None:
    base = {"loan": True, "age": 90, "income": -1000.0, "job": "nurse", "town": "A"}
    for vector in VECTORS:
        two = aggregate(table([base, base]), SCHEMA, vector, FINE)
        one = aggregate(table([base]), SCHEMA, vector, FINE)
        assert np.linalg.norm(two - one) == pytest.approx(FINE, rel=1e-5), vector


def one(text: str, people: list[dict], place: int = 0) -> list[float]:
    vector = Statistic.of(text, SCHEMA).vectors[place]
    return (aggregate(table(people), SCHEMA, vector, FINE) / FINE).tolist()


def test_what_is_missing_is_filled_or_left_out_or_counted_apart() -> None:
    nobody = {"loan": False, "age": None, "income": None, "job": None, "town": None}
    here = {"loan": True, "age": 90, "income": 300.7, "job": "baker", "town": "C"}
    people = [nobody, here]
    assert one("sum:age", people) == [pytest.approx((40 + 90) / 90, abs=1e-5)]
    assert one("mean:income", people) == [pytest.approx(1.0)]
    assert one("mean:income", people, place=1) == [1.0]
    assert one("mean:age", people, place=1) == [2.0]
    assert one("histogram:job", people) == [1.0, 0.0, 1.0]
    assert one("histogram:town", people) == [0.0, 1.0, 1.0]
    assert one("histogram:loan", people) == [1.0, 1.0]
    assert sum(one("histogram:income", people)) == 2.0
    assert one("histogram:age:2", people) == [1.0, 1.0]


def test_a_value_on_an_edge_is_in_the_bin_above_and_the_bounds_are_in_the_outer_bins() -> None:
    people = [{"loan": True, "age": age, "income": 0.0, "job": "baker", "town": "A"} for age in (17, 53, 54, 90)]
    statistic = Statistic(kind="histogram", column="age", bounds=(17, 90), edges=(54.0,))
    (vector,) = statistic.vectors
    assert (aggregate(table(people), SCHEMA, vector, FINE) / FINE).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("what", ["sum", "centred"])
@pytest.mark.parametrize("bounds", [(0.0, 5e-324), (-5e-324, 0.0), (0.0, 0.0), (-1.7e308, 1.7e308), (0.0, math.inf)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bounds_that_cannot_be_computed_with_leave_one_person_one_unit(what: str, bounds: tuple[float, float]) -> None:
    """A plan refuses them; were one to come here, a division by zero would be no number, and cast to the largest."""
    for age in (17, 40, 90):
        person = {"loan": True, "age": age, "income": 0.0, "job": "baker", "town": "A"}
        (moved,) = aggregate(table([person]), SCHEMA, Vector(what, "age", bounds), FINE).tolist()
        assert abs(moved) <= FINE
