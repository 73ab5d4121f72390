"""Small schemas, models and samples whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.evidence import Subject
from pellucid.schema import Encoding, Schema

HEAD = """
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns.loan]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
"""


def number(name: str) -> str:
    return f'[columns.{name}]\ntype = "number"\nbounds = [-10, 10]\nsensitivity = "personal"\n'


torch.set_num_threads(1)  # small models: threads cost more than they bring


@pytest.fixture
def plane() -> Encoding:
    """Two numbers, one slot each: what closed forms are about."""
    return Encoding.of(Schema.parse(HEAD + number("a") + number("b")))


@pytest.fixture
def people() -> Encoding:
    """age (1 slot), job (3 slots), noise (1 slot), member (boolean with missing: 2 slots)."""
    return Encoding.of(
        Schema.parse(
            HEAD
            + number("age")
            + '[columns.job]\ntype = "category"\ncategories = ["x", "y", "z"]\nsensitivity = "personal"\n'
            + number("noise")
            + '[columns.member]\ntype = "boolean"\nmissing = "category"\nsensitivity = "personal"\n'
        )
    )


@pytest.fixture
def sample(people: Encoding) -> tuple[torch.Tensor, torch.Tensor]:
    """600 people of :func:`people` whose label follows age and job, but neither noise nor member."""
    rng = np.random.default_rng(5)
    n = 600
    x = np.zeros((n, people.width), dtype=np.float32)
    x[:, 0] = rng.uniform(-1, 1, n)
    job = rng.integers(0, 3, n)
    x[np.arange(n), 1 + job] = 1
    x[:, 4] = rng.uniform(-1, 1, n)
    x[:, 5] = rng.integers(0, 2, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(3 * x[:, 0] + 1.5 * x[:, 1] - x[:, 3])))).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.fixture
def linear(people: Encoding) -> torch.nn.Module:
    """The model that made the labels of :func:`sample`."""
    model = torch.nn.Linear(people.width, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 1.5, 0.0, -1.0, 0.0, 0.0, 0.0]]))
        model.bias.zero_()
    return model


@pytest.fixture
def mlp(people: Encoding) -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(people.width, 16), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 2)
    )


@pytest.fixture
def subject() -> Subject:
    return Subject("credit-risk@1", "0" * 64)
