"""A schema with every way to encode a column, and people whose answers are a sum over columns."""

from __future__ import annotations

import numpy as np
import torch

from pellucid.explain import public_rows
from pellucid.privacy import BoostPlan
from pellucid.schema import Encoding, Schema
from pellucid.train.additive import Additive

SCHEMA = """
[dataset]
target = "loan"
units = 3000
purposes = ["credit scoring"]
[columns.loan]
type = "boolean" # target
sensitivity = "personal"
[columns.age]
type = "integer"
bounds = [10, 90]
sensitivity = "personal"
[columns.gain]
type = "number"
bounds = [0, 1000]
scale = "log"
missing = "category"
sensitivity = "personal"
[columns.hours]
type = "integer"
bounds = [0, 99]
bins = [20, 40]
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["clerk", "cook"]
missing = "category"
sensitivity = "personal"
[columns.member]
type = "boolean"
sensitivity = "personal"
"""
ENCODING = Encoding.of(Schema.parse(SCHEMA))


def random_model(bins: int, seed: int = 0) -> Additive:
    model = Additive(ENCODING, bins)
    torch.manual_seed(seed)
    with torch.no_grad():
        model.values.normal_()
        model.intercept.normal_()
    return model


def sample(n: int = 2000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """People whose log-odds fall with age, and depend on the job."""
    x = public_rows(ENCODING, n, seed=seed)
    odds = -2.5 * x[:, 0].double().numpy() + 2.0 * x[:, 6].double().numpy()
    y = np.random.default_rng(seed).random(n) < 1 / (1 + np.exp(-odds))
    return x, torch.from_numpy(y.astype(np.int64))


def plan(epsilon: float = 4.0, rounds: int = 20, units: int = 3000) -> BoostPlan:
    return BoostPlan.calibrate(epsilon=epsilon, delta=1e-5, units=units, test=0.3, columns=5, rounds=rounds)
