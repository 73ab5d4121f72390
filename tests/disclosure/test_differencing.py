"""Two publications together: what an attacker knows of the change, by trying every change that fits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pellucid.disclosure import MINIMUM_CELL, apart, held_back
from pellucid.evidence import round_down
from pellucid.explain import Predictions, compare_groups

people = st.integers(0, 80)


@given(people, people)
def test_a_published_pair_never_shows_that_a_few_people_came_or_went(before: int, now: int) -> None:
    published = {"g": round_down(before)} if before >= MINIMUM_CELL else {}
    if now < MINIMUM_CELL or held_back({"g": now}, [published]):
        return
    low = (round_down(before), round_down(before) + 9) if published else (0, 9)
    possible = {abs(b - a) for a in range(low[0], low[1] + 1) for b in range(round_down(now), round_down(now) + 10)}
    assert 0 in possible or min(possible) >= MINIMUM_CELL


@given(people, people)
def test_apart_is_more_than_a_few_whatever_was_rounded_away(before: int, now: int) -> None:
    if apart(now, round_down(before)):
        assert abs(now - before) > MINIMUM_CELL


@given(st.dictionaries(st.sampled_from("abcd"), people))
def test_the_same_people_may_be_reported_again(sizes: dict[str, int]) -> None:
    published = {name: round_down(size) for name, size in sizes.items()}
    assert held_back(sizes, [published]) == frozenset()
    assert held_back(sizes, []) == frozenset()


def test_one_person_more_over_a_multiple_of_ten_holds_the_group_back() -> None:
    assert held_back({"a": 50, "b": 200}, [{"a": 40, "b": 200}]) == {"a"}
    assert held_back({"a": 50, "b": 200}, [{"a": 30, "b": 200}]) == frozenset()
    assert held_back({"a": 10, "b": 200}, [{"b": 200}]) == {"a"}  # suppressed then: nine people and now ten


def test_a_group_that_is_held_back_takes_another_with_it() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(["a", "b", "c", "d"], [50, 200, 300, 400])
    predictions = Predictions(rng.normal(size=950), rng.integers(0, 2, 950))
    before = {"kind": [{"a": 40, "b": 200, "c": 300, "d": 400}]}
    assert compare_groups(predictions, {"kind": rows}, before=before).columns["kind"].suppressed == (
        "a",
        "b",
    )
    assert compare_groups(predictions, {"kind": rows}).columns["kind"].suppressed == ()


def test_crossed_groups_are_held_back_too() -> None:
    rng = np.random.default_rng(0)
    one, two = np.repeat(["a", "b"], 300), np.tile(np.repeat(["x", "y"], 150), 2)
    predictions = Predictions(rng.normal(size=600), rng.integers(0, 2, 600))
    before = {"one × two": [{"a × x": 140, "a × y": 150, "b × x": 150, "b × y": 150}]}
    groups = {"one": one, "two": two}
    found = compare_groups(predictions, groups, intersections=True, before=before).intersections
    assert found is not None
    assert found["one × two"].groups == ()  # two by two: what is left would give it away
