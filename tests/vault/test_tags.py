from fractions import Fraction
from math import floor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.vault import draw_tags, in_test


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.floats(0, 1))
def test_in_test_is_exact(tags, share):
    """Against rational arithmetic, at the threshold itself too."""
    threshold = floor(Fraction(share) * 2**64)
    tags = [*tags, *(t for t in (threshold - 1, threshold, threshold + 1) if 0 <= t < 2**64)]
    expected = [tag < threshold for tag in tags]
    assert in_test(np.array(tags, dtype=np.uint64), share).tolist() == expected


def test_share_zero_takes_nobody_and_share_one_everybody():
    tags = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    assert not in_test(tags, 0).any()
    assert in_test(tags, 1).all()


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_contains_the_smaller_test_part(a, b):
    tags = draw_tags(200).to_numpy()
    small, large = in_test(tags, min(a, b)), in_test(tags, max(a, b))
    assert (large | ~small).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(BadPlan):
        in_test(np.zeros(1, dtype=np.uint64), share)


def test_rows_of_one_unit_share_a_tag_and_units_do_not():
    people = [f"p{i % 700}" for i in range(2000)]
    column = pa.chunked_array([people[:900], people[900:]])
    tags = draw_tags(column).to_pylist()
    by_person = {}
    for person, tag in zip(people, tags, strict=True):
        by_person.setdefault(person, set()).add(tag)
    assert all(len(found) == 1 for found in by_person.values())
    assert len(set(tags)) == 700


def test_tags_are_uniform_and_new_each_time():
    tags = draw_tags(40_000).to_numpy()
    assert abs(in_test(tags, 0.3).mean() - 0.3) < 0.0138  # six standard errors
    assert len(np.unique(tags)) == 40_000
    assert not np.array_equal(tags[:10], draw_tags(40_000).to_numpy()[:10])


def test_no_two_people_share_a_tag(monkeypatch):
    """Where chance would give two people one tag, all are drawn again."""
    drawn = [bytes(8) * 3, bytes(range(24))]
    monkeypatch.setattr("os.urandom", lambda size: drawn.pop(0)[:size])
    tags = draw_tags(pa.chunked_array([["a", "b", "a", "c"]])).to_pylist()
    assert drawn == []
    assert len(set(tags)) == 3
    assert tags[0] == tags[2]
