"""Reading a linear model out: exact, in declared units, or refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.answers import outputs
from pellucid.explain.model import frozen
from pellucid.explain.readout import read_out
from pellucid.schema import Encoding, Schema
from pellucid.train.encode import encode_features

EVERY = """
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
missing = "category"
sensitivity = "personal"
[columns.gain]
type = "number"
bounds = [-5, 99999]
scale = "log"
sensitivity = "personal"
[columns.hours]
type = "integer"
bounds = [0, 99]
bins = [20, 40]
missing = "category"
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["clerk", "cook", "<missing>?"]
missing = "category"
sensitivity = "personal"
[columns.member]
type = "boolean"
missing = "category"
sensitivity = "personal"
"""
ENCODING = Encoding.of(Schema.parse(EVERY))
HOURS = ("[-inf, 20)", "[20, 40)", "[40, inf)")

person = st.fixed_dictionaries(
    {
        "age": st.one_of(st.none(), st.integers(17, 90)),
        "gain": st.floats(-5, 99999, allow_nan=False),
        "hours": st.one_of(st.none(), st.integers(0, 99)),
        "job": st.sampled_from([None, "clerk", "cook", "<missing>?"]),
        "member": st.sampled_from([None, True, False]),
    }
)


def encoded(row: dict[str, Any]) -> torch.Tensor:
    types = {"age": pa.int64(), "gain": pa.float64(), "hours": pa.int64(), "job": pa.string(), "member": pa.bool_()}
    return encode_features(pa.table({k: pa.array([row[k]], t) for k, t in types.items()}), ENCODING)


def said(row: dict[str, Any]) -> dict[str, Any]:
    hours, member = row["hours"], row["member"]
    return {
        **row,
        "hours": None if hours is None else HOURS[int(np.searchsorted([20, 40], hours, side="right"))],
        "member": None if member is None else str(member).lower(),
    }


def layer(outputs: int, seed: int = 1, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(ENCODING.width, outputs, bias=bias)


@given(person, st.integers(1, 2), st.booleans())
def test_the_readout_of_a_linear_model_equals_its_scores_to_1e_6(row: dict[str, Any], classes: int, bias: bool) -> None:
    model = layer(classes, bias=bias)
    found = read_out(model, ENCODING).log_odds(said(row), ENCODING)
    # float32 keeps 24 bits of a number in [-1, 1] and of the sum
    assert found == pytest.approx(float(outputs(frozen(model), encoded(row))[0]), abs=1e-6 * (1 + abs(found)))


def test_slopes_are_in_declared_units_and_levels_are_contrasts() -> None:
    model = layer(1)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[0, 0] = 73.0  # age: from -1 to 1 over 73 years
        model.weight[0, 7] = 0.5  # job: clerk, cook
        model.weight[0, 8] = 2.0
        model.bias.zero_()
    found = {term.column: term for term in read_out(nn.Sequential(nn.Identity(), model), ENCODING).terms}
    assert found["age"].slope == pytest.approx(2.0)
    assert found["age"].values()["per"] == "1"
    assert found["job"].reference == "clerk"
    assert found["job"].levels["cook"] == pytest.approx(1.5)
    assert found["job"].levels["clerk"] == 0.0


def test_the_intercept_is_the_score_at_zero_and_the_reference_levels() -> None:
    found = read_out(layer(2), ENCODING)
    row = {"age": 0, "gain": -5.0, "hours": HOURS[0], "job": "clerk", "member": "false"}
    assert found.log_odds(row, ENCODING) == pytest.approx(found.intercept, abs=1e-12)


def test_a_logistic_recipe_is_read_out() -> None:
    from pellucid.train import Recipe, build

    text = """
    [model]
    kind = "logistic"
    [train]
    epochs = 1
    batch = 10
    learning_rate = 1
    clip = 1
    [privacy]
    epsilon = 1
    delta = 1e-5
    [split]
    test = 0.3
    """
    assert len(read_out(build(Recipe.parse(text), ENCODING), ENCODING).terms) == 5


def test_no_standard_error_of_the_noise_is_claimed_and_the_model_is_not_touched() -> None:
    model = layer(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = read_out(model, ENCODING)
    assert "no standard error is claimed" in found.how()["noise"]
    assert "error" not in str(found.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert found.coverage == "post-processing"  # nobody's data was looked at: there is no argument for it
    assert math.isfinite(found.values()["intercept"])


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(ENCODING.width, 4), nn.ReLU(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(ENCODING.width, 2), nn.Sigmoid()),
        nn.Linear(ENCODING.width, 3),
        nn.Linear(ENCODING.width + 1, 2),
        nn.Identity(),
    ],
)
def test_what_is_not_linear_for_two_classes_is_refused(model: nn.Module) -> None:
    with pytest.raises(UnsupportedModel):
        read_out(model, ENCODING)


def test_a_person_without_a_column_or_with_no_level_is_refused() -> None:
    found = read_out(layer(2), ENCODING)
    with pytest.raises(BadData, match="missing"):
        found.log_odds({}, ENCODING)
    row = {"age": 30, "gain": 0.0, "hours": "37", "job": "clerk", "member": "true"}
    with pytest.raises(BadData, match="no level") as caught:
        found.log_odds(row, ENCODING)
    assert "37" not in str(caught.value)
