"""Recipes say where they are wrong, and come back from evidence as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pellucid.errors import BadFile
from pellucid.evidence import canonical, parse_canonical
from pellucid.privacy import Plan
from pellucid.schema import Code, Encoding
from pellucid.train import Recipe, architecture, build, fit, private

TEXT = """
[model]
kind = "mlp"
hidden = [8, 4]
[train]
epochs = 10
batch = 512
learning_rate = 0.5
clip = 1.0
[privacy]
epsilon = 3.0
delta = 1e-5
[data]
features = ["age", "gender"]
[split]
test = 0.3
"""
ENCODING = Encoding((Code("age", "linear", 1, ("age",), 17, 90),), "loan", ("no", "yes"))


def test_the_contracts_example_parses() -> None:
    recipe = Recipe.parse(TEXT)
    assert (recipe.kind, recipe.hidden, recipe.optimizer, recipe.momentum) == ("mlp", (8, 4), "sgd", 0.0)
    assert recipe.features == ("age", "gender")
    assert recipe.plan_arguments(32_000) == {
        "epsilon": 3.0,
        "delta": 1e-5,
        "units": 32_000,
        "test": 0.3,
        "batch": 512,
        "epochs": 10.0,
        "clip": 1.0,
    }


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("clip = 1.0", 'clip = 1.0\noptimizer = "adam"'),
        TEXT.replace("clip = 1.0", "clip = 1.0\nmomentum = 0.9"),
        TEXT.replace('"mlp"', '"logistic"').replace("hidden = [8, 4]", ""),
        TEXT.replace('features = ["age", "gender"]', ""),
    ],
)
def test_document_gives_the_recipe_back_through_evidence(text: str) -> None:
    recipe = Recipe.parse(text)
    stored = parse_canonical(canonical(recipe.document()), where="evidence")
    assert Recipe.from_document(stored, where="evidence") == recipe


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("epochs =", "epoch =", "train.epoch", 'did you mean "epochs"'),
        ("[privacy]", "[privcy]", "privcy", 'did you mean "privacy"'),
        ('"mlp"', '"mpl"', "model.kind", 'did you mean "mlp"'),
        ('"mlp"', '"logistic"', "model.hidden", "logistic regression has none"),
        ("[8, 4]", "[]", "model.hidden", "an mlp has hidden layers"),
        ("[8, 4]", "[8, 0]", "model.hidden", "positive whole numbers"),
        ("[8, 4]", "[true]", "model.hidden", "positive whole numbers"),
        ("hidden = [8, 4]", "", "model.hidden", "missing"),
        ("512", "512.5", "train.batch", "positive whole number"),
        ("512", "0", "train.batch", "positive whole number"),
        ("0.5", "-0.5", "train.learning_rate", "above 0"),
        ("0.5", '"fast"', "train.learning_rate", "finite number"),
        ("0.5", "nan", "train.learning_rate", "nan and inf"),
        ("clip = 1.0", "clip = 1.0\nmomentum = 1.0", "train.momentum", "below 1"),
        ("clip = 1.0", 'clip = 1.0\nmomentum = 0.5\noptimizer = "adam"', "train.momentum", "only sgd"),
        ("clip = 1.0", 'clip = 1.0\noptimizer = "adm"', "train.optimizer", 'did you mean "adam"'),
        ("clip = 1.0", "", "train.clip", "missing"),
        ('["age", "gender"]', "[]", "data.features", "list of column names"),
        ("test = 0.3", "test = -0.3", "split.test", "at least 0"),
        ("test = 0.3", "", "split.test", "missing"),
    ],
)
def test_what_is_wrong_is_named_with_its_dotted_key(old: str, new: str, where: str, what: str) -> None:
    with pytest.raises(BadFile) as caught:
        Recipe.parse(TEXT.replace(old, new, 1), where="mlp.toml")
    assert str(caught.value.where).removeprefix("mlp.toml: ") == where
    assert what in caught.value.what


def test_build_makes_what_the_recipe_says() -> None:
    assert architecture(build(Recipe.parse(TEXT), ENCODING)) == (
        "Linear(1, 8) → ReLU → Linear(8, 4) → ReLU → Linear(4, 2)",
        8 + 8 + 32 + 4 + 8 + 2,
    )
    logistic = TEXT.replace('"mlp"', '"logistic"').replace("hidden = [8, 4]", "")
    assert architecture(build(Recipe.parse(logistic), ENCODING)) == ("Linear(1, 2)", 4)
    with pytest.raises(BadFile, match="classifiers"):
        build(Recipe.parse(TEXT), Encoding(ENCODING.codes, "income"))


def test_make_optimizer_takes_the_recipes_numbers() -> None:
    module = nn.Linear(1, 1)
    sgd = Recipe.parse(TEXT.replace("clip = 1.0", "clip = 1.0\nmomentum = 0.9")).make_optimizer(module)
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.param_groups[0]["lr"], sgd.param_groups[0]["momentum"]) == (0.5, 0.9)
    adam = Recipe.parse(TEXT.replace("clip = 1.0", 'clip = 1.0\noptimizer = "adam"')).make_optimizer(module)
    assert isinstance(adam, torch.optim.Adam)


def test_fit_takes_every_step_of_the_plan_and_learns() -> None:
    recipe = Recipe.parse(TEXT)
    x = torch.rand(400, 1) * 2 - 1
    y = (x[:, 0] > 0).long()
    plan = Plan(epsilon=1, delta=1e-5, units=400, test=0, batch=100, epochs=15, clip=1, noise_multiplier=0.5)
    module = build(recipe, ENCODING)
    model, optimizer, batches = private(module, recipe.make_optimizer(module), plan, x, y)
    fit(model, optimizer, batches)
    assert batches.steps_taken == plan.steps == 60
    with torch.no_grad():
        assert (module(x).argmax(1) == y).float().mean() > 0.8


def test_the_shipped_recipe_parses() -> None:
    recipe = Recipe.read(Path(__file__).parents[2] / "recipes" / "credit.toml")
    assert recipe.epsilon == 3.0
    assert recipe.features is None
