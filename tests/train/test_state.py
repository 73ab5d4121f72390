"""What counts as the same tensor."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from pellucid.train.state import Mark, same


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1.0, math.nan], [1.0, math.nan], True),
        ([math.inf, 1.0], [math.inf, 1.0], True),
        ([0.0, 1.0], [math.nan, 1.0], False),
        ([torch.finfo(torch.float32).max], [math.inf], False),
        ([1.0], [1.0 + 2**-23], False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_nan_is_the_same_as_nan_and_as_nothing_else(one: list[float], other: list[float], expected: bool) -> None:
    assert same(torch.tensor(one), torch.tensor(other)) is expected


def test_tensors_of_two_types_are_not_the_same() -> None:
    assert not same(torch.ones(2), torch.ones(2, dtype=torch.float64))
    assert same(torch.tensor([True, False]), torch.tensor([True, False]))
    assert not same(torch.tensor([True, False]), torch.tensor([True, True]))


@pytest.mark.parametrize(
    ("size", "how"),
    [
        *itertools.product([3, 64, 1 << 17], ["value", "transposed", "negated", "type", "grown"]),
        *itertools.product([3, 64], ["flipped"]),  # a large tensor is held by a sum, which does not know places
    ],
)
def test_a_mark_notices_a_change_wherever_the_tensor_has_come_to_lie(size: int, how: str) -> None:
    weight = torch.nn.Parameter(torch.arange(float(size * 2)).view(2, size) + 1)
    mark = Mark(weight)
    assert mark.holds(weight)
    weight.data = weight.data.clone()  # the same value in another place is the same value
    assert mark.holds(weight)
    if how == "value":
        weight.data[1, -1] += 1
    elif how == "flipped":
        weight.data = weight.data.flip(0)
    elif how == "transposed":
        weight.data = weight.data.t()
    elif how == "negated":
        weight.data = torch._neg_view(weight.data)
    elif how == "type":
        weight = torch.nn.Parameter(weight.detach().double())
    else:
        weight.data = torch.cat([weight.data, weight.data])
    assert not mark.holds(weight)


@pytest.mark.parametrize("size", [64, 1 << 17])
def test_a_mark_takes_the_value_that_the_tensor_has_where_it_lies_now(size: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(2, size))
    mark = Mark(weight)
    old = weight.data
    weight.data = torch.ones(2, size)
    assert not mark.holds(weight)
    mark.take(weight)
    old.fill_(7)  # memory that was the tensor's once
    assert mark.holds(weight)
    weight.data.mul_(2)
    assert not mark.holds(weight)
