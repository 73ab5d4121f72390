"""What counts as the same tensor."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid.train.state import same


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
