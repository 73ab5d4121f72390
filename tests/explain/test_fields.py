"""Fields: every slot once, and a one-hot column as one thing."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import BadData
from pellucid.explain.fields import Fields
from pellucid.schema import Encoding


def test_the_slots_of_a_column_are_one_field(people: Encoding) -> None:
    fields = Fields.of(people)
    assert fields.names == ("age", "job", "noise", "member")
    assert fields.slots == ((0,), (1, 2, 3), (4,), (5, 6))
    assert fields.width == people.width == 7


def test_values_by_slot_are_summed_by_field(people: Encoding) -> None:
    fields = Fields.of(people)
    slots = np.arange(14.0).reshape(2, 7)
    assert fields.total(slots).tolist() == [[0.0, 6.0, 4.0, 11.0], [7.0, 27.0, 11.0, 25.0]]
    assert np.array_equal(slots @ fields.membership().T, fields.total(slots))


def test_single_fields_are_numbered_or_named() -> None:
    assert Fields.single(3).names == ("x0", "x1", "x2")
    assert Fields.single(["a", "b"]).slots == ((0,), (1,))


@pytest.mark.parametrize(
    ("names", "slots"),
    [
        ((), ()),
        (("a", "a"), ((0,), (1,))),
        (("a", "b"), ((0,), ())),
        (("a", "b"), ((0,), (0,))),
        (("a", "b"), ((0,), (2,))),
        (("a",), ((0,), (1,))),
    ],
)
def test_a_slot_that_is_missing_or_in_two_fields_is_refused(
    names: tuple[str, ...], slots: tuple[tuple[int, ...], ...]
) -> None:
    with pytest.raises(BadData, match="every slot"):
        Fields(names, slots)
