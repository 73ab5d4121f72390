"""Probabilities, in evaluation mode, without a trace on the module."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import UnsupportedModel
from pellucid.train import predict

X = torch.rand(37, 4, generator=torch.Generator().manual_seed(0))


def test_equals_softmax_row_by_row_and_sums_to_one() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.9), nn.Linear(8, 3))
    got = predict(module, X, chunk=10)
    assert got.shape == (37, 3)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-12)
    module.eval()
    for row in (0, 9, 10, 36):
        logits = module(X[row : row + 1])[0].tolist()
        total = sum(math.exp(value) for value in logits)
        np.testing.assert_allclose(got[row], [math.exp(value) / total for value in logits], rtol=1e-5)


@pytest.mark.parametrize("flat", [True, False])
def test_one_logit_is_the_second_of_two_classes(flat: bool) -> None:
    module = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0) if flat else nn.Identity())
    got = predict(module, X)
    with torch.no_grad():
        expected = torch.sigmoid(module(X).reshape(-1).double()).numpy()
    np.testing.assert_allclose(got, np.stack([1 - expected, expected], 1), atol=1e-12)


def test_the_mode_of_every_part_is_put_back() -> None:
    module = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    module.train()
    module[0].eval()
    predict(module, X)
    assert (module.training, module[0].training, module[1].training) == (True, False, True)


def test_no_row_is_legal() -> None:
    assert predict(nn.Linear(4, 3), X[:0]).shape == (0, 3)


def test_logits_that_are_not_finite_or_not_by_row_are_refused() -> None:
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.bias[0] = math.nan
    with pytest.raises(UnsupportedModel, match="not finite"):
        predict(module, X)
    with pytest.raises(UnsupportedModel, match="one row of logits"):
        predict(nn.Flatten(0), X)
