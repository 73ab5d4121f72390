"""What cannot be answered is refused in words: no traceback, and no value of anybody in them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.errors import BadData, Misuse, PellucidError, UnknownName, UnsupportedModel
from pellucid.explain.fields import Fields
from pellucid.explain.slices.columns import roundest
from pellucid.schema import Encoding, Schema

SCHEMA = Schema.parse(
    """
[dataset]
target = "loan"
units = 2000
purposes = ["example"]
[columns]
age = { type = "integer", bounds = [18, 90], sensitivity = "personal" }
gain = { type = "number", bounds = [0, 99999], scale = "log", reference = 0, sensitivity = "personal" }
job = { type = "category", categories = ["none", "part", "full"], sensitivity = "personal" }
loan = { type = "category", categories = ["no", "yes"], sensitivity = "personal" }
"""
)
E = Encoding.of(SCHEMA)
X = explain.public_rows(E, 200, seed=1)
Y = torch.arange(200) % 2
torch.manual_seed(0)
NET = nn.Sequential(nn.Linear(E.width, 8), nn.Tanh(), nn.Linear(8, 2))
STAND = explain.Background(X[:20], public=False, source="others")
SCORES = explain.Predictions(np.linspace(-2, 2, 200), Y.numpy())

Question = Callable[[Any, Any], Any]
QUESTIONS: dict[str, Question] = {
    "predict": lambda m, x: explain.predict(m, x, Y),
    "losses": lambda m, x: explain.losses(m, x, Y),
    "attribute": lambda m, x: explain.attribute(m, x, E),
    "permute": lambda m, x: explain.permute_columns(m, x, Y, E),
    "exact": lambda m, x: explain.exact_shapley(m, x, STAND, E),
    "estimate": lambda m, x: explain.estimate_shapley(m, x, STAND, E),
    "partial dependence": lambda m, x: explain.partial_dependence(m, x, E, "age"),
    "local effects": lambda m, x: explain.local_effects(m, x, E, "age"),
    "robustness": lambda m, x: explain.measure_robustness(m, x, Y, E),
    "counterfactual": lambda m, x: explain.find_counterfactual(m, x[0], E, mutable=["age"]),
    "surrogate": lambda m, x: explain.fit_surrogate(m, x, E),
    "preflight": lambda m, x: explain.preflight(m, x),
}


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda m: torch.jit.trace(m, X)], ids=["script", "trace"])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_in_torchscript_is_refused_and_the_module_asked_for(question, compiled) -> None:
    for model in (compiled(NET), nn.Sequential(compiled(NET))):
        with pytest.raises(UnsupportedModel, match="TorchScript") as caught:
            QUESTIONS[question](model, X)
        assert "nn.Module" in (caught.value.fix or "")


@pytest.mark.parametrize("question", QUESTIONS)
def test_sparse_rows_are_refused(question) -> None:
    with pytest.raises(BadData) as caught:
        QUESTIONS[question](NET, X.to_sparse())
    assert "to_dense" in (caught.value.fix or "")


SEEDED: dict[str, Callable[[Any], Any]] = {
    "permute": lambda seed: explain.permute_columns(NET, X, Y, E, seed=seed),
    "attribute": lambda seed: explain.attribute(NET, X[:5], E, method="shapley_sampling", draws=4, seed=seed),
    "calibration": lambda seed: explain.measure_calibration(SCORES, seed=seed, resamples=5),
    "uncertainty": lambda seed: explain.measure_uncertainty(SCORES, seed=seed),
    "surrogate": lambda seed: explain.fit_surrogate(NET, X, E, seed=seed),
    "robustness": lambda seed: explain.measure_robustness(NET, X, Y, E, seed=seed, steps=1),
    "counterfactual": lambda seed: explain.find_counterfactual(NET, X[0], E, mutable=["age"], seed=seed),
    "public rows": lambda seed: explain.public_rows(E, 5, seed=seed),
}


@pytest.mark.parametrize("question", SEEDED)
@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True])
def test_a_seed_that_is_no_whole_number_from_0_is_refused(question, seed) -> None:
    with pytest.raises(BadData, match="a seed is a whole number from 0"):
        SEEDED[question](seed)


@pytest.mark.parametrize("question", SEEDED)
def test_a_seed_of_numpy_and_a_long_one_are_taken(question) -> None:
    SEEDED[question](np.int64(3))
    SEEDED[question](2**40)


NEEDS_ENCODING: dict[str, Callable[[], Any]] = {
    "robustness": lambda: explain.measure_robustness(NET, X, Y, None),
    "counterfactual": lambda: explain.find_counterfactual(NET, X[0], None, mutable=["age"]),
    "surrogate": lambda: explain.fit_surrogate(NET, X, None),
    "declared points": lambda: explain.declared_points(None, "age"),
}


@pytest.mark.parametrize("question", NEEDS_ENCODING)
def test_without_an_encoding_the_question_says_that_it_needs_one(question) -> None:
    with pytest.raises(Misuse, match="needs an Encoding"):
        NEEDS_ENCODING[question]()


@pytest.mark.parametrize("row", [[0.0] * 5, None, "x", np.zeros(5, np.float32), X])
def test_a_counterfactual_is_of_one_row(row) -> None:
    with pytest.raises(BadData):
        explain.find_counterfactual(NET, row, E, mutable=["age"])


@pytest.mark.parametrize("target", ["1", 1.5, 2])
def test_a_counterfactual_leads_to_a_class(target) -> None:
    with pytest.raises(BadData, match="classes"):
        explain.find_counterfactual(NET, X[0], E, mutable=["age"], target=target)


@pytest.mark.parametrize("kind", ["tree", "ebm"])
def test_numbers_that_have_no_declared_value_are_refused_by_a_surrogate(kind) -> None:
    steep = nn.Linear(E.width, 1)
    with pytest.raises(BadData) as caught:
        explain.fit_surrogate(steep, X * 1e20, E, kind=kind)
    assert caught.value.where == "gain"
    assert explain.fit_surrogate(steep, X * 2, E).rules


def test_slices_of_numbers_next_to_nothing_are_found() -> None:
    rng = np.random.default_rng(0)
    for size in (1e-310, 5e-324, 1e-290, 1e-289, 1e300):
        values = rng.standard_normal(400) * size
        assert explain.find_slices(rng.random(400), {"a": values}).values()
    for low, high in ((1e-310, 3e-310), (2.2e-300, 2.9e-300), (-3e-310, -1e-310), (5e-324, 1e-323)):
        assert low < roundest(low, high) <= high
    assert roundest(1.1e-300, 2.9e-300) == pytest.approx(2e-300, rel=1e-12)


@pytest.mark.parametrize("ask", [explain.compare_groups, explain.measure_calibration, explain.measure_uncertainty])
def test_half_a_character_in_the_name_of_a_group_is_refused_and_not_shown(ask) -> None:
    names = np.array(["\ud800secret", "b"] * 100, dtype=object)
    for column in (names, names.astype(np.str_)):
        with pytest.raises(BadData) as caught:
            ask(SCORES, groups={"g": column})
        assert caught.value.where == "g"
        assert "secret" not in str(caught.value)
    assert ask(SCORES, groups={"g": np.array(["😀", "é"] * 100)})


def test_log_odds_of_a_row_are_refused_where_there_are_none() -> None:
    found = explain.read_out(nn.Linear(E.width, 1), E)
    row = {"age": 30, "gain": 3.0, "job": "none"}
    whole = found.log_odds(row, E)
    assert found.log_odds(row | {"age": np.int64(30), "gain": np.float32(3)}, E) == pytest.approx(whole)
    for wrong in ({"gain": -5}, {"gain": -0.5}, {"age": float("nan")}, {"age": float("inf")}, {"gain": "x"}):
        (column,) = wrong
        with pytest.raises(BadData) as caught:
            found.log_odds(row | wrong, E)
        assert caught.value.where == column
        assert str(wrong[column]) not in caught.value.what or wrong[column] == "x"


def test_points_of_a_column_that_is_not_there_are_refused() -> None:
    with pytest.raises(UnknownName, match='no feature column "ag"'):
        explain.declared_points(E, "ag")
    with pytest.raises(PellucidError):
        explain.declared_points(E, "loan")


def test_the_first_surrogate_of_a_process_leaves_the_generators_as_they_are() -> None:
    script = (
        "import random, torch\n"
        "from tests.explain.test_refusals import E, NET, X\n"
        "from pellucid import explain\n"
        "before = random.getstate()\n"
        "explain.fit_surrogate(NET, X, E)\n"
        "assert random.getstate() == before\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before = random.getstate()
    explain.fit_surrogate(NET, X, E, kind="ebm")
    assert random.getstate() == before


class Padded(nn.Module):
    """Attention over numbers, of which -1 is padding that is averaged too."""

    def __init__(self, *, nested: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.lift, self.last = nn.Linear(1, 8), nn.Linear(8, 1)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=nested)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.encoder(self.lift(x[..., None]), src_key_padding_mask=x == -1).mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_model_that_answers_differently_while_gradients_are_recorded_is_refused_with_the_reason() -> None:
    torch.manual_seed(0)
    x = torch.rand(30, 6)
    x[1:, 4:] = -1
    with pytest.raises(UnsupportedModel, match="while gradients are recorded") as error:
        explain.attribute(Padded(nested=True).eval(), x, Fields.single(6))
    assert "enable_nested_tensor=False" in str(error.value)
