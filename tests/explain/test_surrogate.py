"""Surrogates: what they tell of a model, on rows they were not fitted to, and that they say when it is too little."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeRegressor
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain import public_rows
from pellucid.explain.answers import outputs
from pellucid.explain.model import frozen
from pellucid.explain.rules import GRID, grow, rounded, score
from pellucid.explain.surrogate import FAITHFUL, Surrogate, fit_surrogate
from pellucid.schema import Encoding, Schema

SCHEMA = """
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
[columns.gain]
type = "number"
bounds = [0, 99999]
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
categories = ["clerk", "cook", "smith"]
sensitivity = "personal"
[columns.member]
type = "boolean"
sensitivity = "personal"
"""
ENCODING = Encoding.of(Schema.parse(SCHEMA))


class Steps(nn.Module):
    """Log-odds that a shallow tree can say."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * (x[:, 0] > 0.25).float() - 3.0 * x[:, 6] + x[:, -1]


class Tangle(nn.Module):
    """Log-odds that neither four questions nor a sum over columns can say."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(9 * x[:, 0]) * torch.sin(7 * x[:, 1]) + 0.01


def line() -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(ENCODING.width, 2)


def test_a_linear_models_ebm_has_fidelity_near_1() -> None:
    found = fit_surrogate(line(), public_rows(ENCODING, 1500), ENCODING, kind="ebm", public=True)
    assert found.r2.low > 0.97
    assert found.agreement.value > 0.95
    assert found.faithful
    assert set(found.importance) == set(ENCODING.features)


def test_a_tree_that_can_say_the_model_says_it() -> None:
    found = fit_surrogate(Steps(), public_rows(ENCODING, 3000), ENCODING, public=True)
    assert found.r2.low > 0.97
    assert "age" in found.words
    assert "job" in found.words
    assert 2 <= len(found.rules) <= 16


@pytest.mark.parametrize("kind", ["tree", "ebm"])
def test_the_fidelity_of_a_complex_models_surrogate_is_low_and_it_says_so(kind: str) -> None:
    found = fit_surrogate(Tangle(), public_rows(ENCODING, 1500), ENCODING, kind=kind, public=True)
    assert found.r2.high < FAITHFUL
    assert not found.faithful
    assert found.values()["faithful"] is False
    assert "too little to read it" in found.words


def test_fidelity_is_measured_on_rows_it_was_not_fitted_to() -> None:
    rows, other = public_rows(ENCODING, 800, seed=1), public_rows(ENCODING, 700, seed=2)
    model = line()
    found = fit_surrogate(model, rows, ENCODING, held=other, public=True)
    truth, said = outputs(frozen(model), other).numpy(), found.predict(other)
    assert found.r2.value == pytest.approx(1 - np.mean((truth - said) ** 2) / np.var(truth), abs=1e-9)
    assert found.r2.n == 700
    step = 0.002  # the grid of a rate over 700
    assert found.agreement.value == pytest.approx(np.mean((truth > 0) == (said > 0)), abs=step)


def test_the_interval_of_r2_covers_what_many_rows_say() -> None:
    model, rows = Steps(), public_rows(ENCODING, 600, seed=3)
    tree = fit_surrogate(model, rows, ENCODING, depth=1, public=True)
    many = public_rows(ENCODING, 50_000, seed=4)
    truth = outputs(frozen(model), many).numpy()
    right = 1 - np.mean((truth - tree.predict(many)) ** 2) / np.var(truth)
    inside = 0
    for seed in range(60):
        part = np.random.default_rng(seed).choice(len(many), 400, replace=False)
        found = fit_surrogate(model, rows[:420], ENCODING, held=many[part], depth=1, public=True)
        own = 1 - np.mean((truth - found.predict(many)) ** 2) / np.var(truth)
        inside += found.r2.low <= own <= found.r2.high
    assert inside >= 49  # of 60 at 95 %: fewer has a chance below 1e-4
    assert right < FAITHFUL


def test_leaves_hold_ten_people_and_one_in_a_hundred_and_thresholds_are_nobodys_values() -> None:
    rows = public_rows(ENCODING, 2100, seed=5)
    found = fit_surrogate(line(), rows, ENCODING, held=public_rows(ENCODING, 100), public=True)
    x = rows.double().numpy()
    sizes = [int(rule.holds(x).sum()) for rule in found.rules]
    assert min(sizes) >= 21
    assert sum(sizes) == len(rows)  # exactly one rule holds for each
    for rule in found.rules:
        for condition in rule.conditions:
            if condition.edge != 0.5:
                assert (condition.edge + 1) * GRID / 2 == round((condition.edge + 1) * GRID / 2)
    few = fit_surrogate(line(), rows[:60], ENCODING, held=rows[60:90], public=True)
    assert min(int(rule.holds(x[:60]).sum()) for rule in few.rules) >= 10


def test_the_rules_are_the_tree_of_scikit_learn_on_the_rows_it_was_fitted_to() -> None:
    x = public_rows(ENCODING, 900, seed=6).double().numpy()
    scores = np.random.default_rng(0).normal(size=900) + 2 * x[:, 0] + x[:, 6]
    rules = grow(x, scores, ENCODING, depth=4, leaf=10, public=True)
    on_grid = rounded(x, ENCODING)
    twin = DecisionTreeRegressor(max_depth=4, min_samples_leaf=10, random_state=0).fit(on_grid, scores)
    assert score(rules, x) == pytest.approx(np.round(twin.predict(on_grid), 2), abs=0.011)


def test_rules_speak_in_declared_units() -> None:
    found = fit_surrogate(Steps(), public_rows(ENCODING, 3000), ENCODING, public=True)
    thresholds = [float(value) for value in re.findall(r"age [<>]=? ([\d.]+)", found.words)]
    assert any(abs(value - (17 + 73 * 0.625)) < 73 / GRID + 0.01 for value in thresholds)
    assert "job is clerk" in found.words or "job is not clerk" in found.words


@pytest.mark.parametrize("kind", ["tree", "ebm"])
def test_private_rows_make_it_uncovered_and_leave_no_exact_count(kind: str) -> None:
    x = public_rows(ENCODING, 333, seed=7)
    found = fit_surrogate(line(), x, ENCODING, kind=kind)
    assert found.coverage == "uncovered"
    assert found.fitted == 230  # of 233
    assert found.values()["r2"]["n"] == 100
    assert "233" not in repr(found)
    assert "333" not in repr(found)
    assert fit_surrogate(line(), x, ENCODING, public=True).coverage == "post-processing"
    assert found.how()["data"] == "held-out rows"


def test_the_model_and_every_generator_stay_as_they_were() -> None:
    model, x = line(), public_rows(ENCODING, 300)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, noise = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    for kind in ("tree", "ebm"):
        first, second = (fit_surrogate(model, x, ENCODING, kind=kind) for _ in range(2))
        assert first.values() == second.values()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (np.random.get_state()[1] == noise).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_bad_input_is_refused() -> None:
    x = public_rows(ENCODING, 300)
    for change in ({"kind": "forest"}, {"depth": 5}, {"depth": 0}):
        with pytest.raises(BadData):
            fit_surrogate(line(), x, ENCODING, **change)
    with pytest.raises(BadData, match="rows"):
        fit_surrogate(line(), x[:25], ENCODING)
    with pytest.raises(BadData):
        fit_surrogate(line(), x.double(), ENCODING)
    with pytest.raises(UnsupportedModel, match="two classes"):
        fit_surrogate(nn.Linear(ENCODING.width, 3), x, ENCODING)
    constant = nn.Linear(ENCODING.width, 1)
    nn.init.zeros_(constant.weight)
    with pytest.raises(UnsupportedModel, match="same of every row"):
        fit_surrogate(constant, x, ENCODING)


def test_a_result_shows_no_rows() -> None:
    found = fit_surrogate(line(), public_rows(ENCODING, 300), ENCODING)
    assert isinstance(found, Surrogate)
    assert "_predict" not in repr(found)
    assert "Condition" not in repr(found)
