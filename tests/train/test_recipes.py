"""Recipes say where they are wrong, and come back from evidence as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pellucid.errors import BadFile, Misuse
from pellucid.evidence import canonical, parse_canonical
from pellucid.privacy import Plan
from pellucid.schema import Code, Encoding, Schema
from pellucid.train import Recipe, architecture, build, fit, private
from pellucid.train.adam import DPAdamBC
from pellucid.train.additive import Additive
from pellucid.train.recipes import SCHEDULES
from pellucid.train.schedules import factor

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
LEVERS = (
    "clip = 1.0",
    """clip = 1.0
optimizer = "dp-adam"
weight_decay = 0.01
schedule = "cosine"
warm_up = 0.1
average = 0.99
clipping = "per_layer"
""",
)
SHIPPED = Path(__file__).parents[2] / "recipes"
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
        TEXT.replace(*LEVERS),
        TEXT.replace("delta = 1e-5", 'delta = 1e-5\nmechanism = "banded"\nbands = 4'),
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
        ("clip = 1.0", "clip = 1.0\nweight_decay = -0.1", "train.weight_decay", "at least 0"),
        ("clip = 1.0", 'clip = 1.0\nschedule = "cosin"', "train.schedule", 'did you mean "cosine"'),
        ("clip = 1.0", "clip = 1.0\nwarm_up = 1", "train.warm_up", "below 1"),
        ("clip = 1.0", "clip = 1.0\nwarm_up = -0.1", "train.warm_up", "at least 0"),
        ("clip = 1.0", "clip = 1.0\naverage = 1.0", "train.average", "below 1"),
        ("clip = 1.0", "clip = 1.0\naverage = true", "train.average", "finite number"),
        ("clip = 1.0", 'clip = 1.0\nclipping = "flt"', "train.clipping", 'did you mean "flat"'),
        ("clip = 1.0", 'clip = 1.0\nclipping = ["flat"]', "train.clipping", "must be one of"),
        ("clip = 1.0", 'clip = 1.0\nmomentum = 0.5\noptimizer = "dp-adam"', "train.momentum", "only sgd"),
        ("delta = 1e-5", 'delta = 1e-5\nmechanism = "bnaded"', "privacy.mechanism", 'did you mean "banded"'),
        ("delta = 1e-5", 'delta = 1e-5\nmechanism = "banded"', "privacy.bands", "at least 2"),
        ("delta = 1e-5", "delta = 1e-5\nbands = 3", "privacy.bands", "only mechanism"),
        ("delta = 1e-5", 'delta = 1e-5\nmechanism = "banded"\nbands = 2.5', "privacy.bands", "whole number"),
    ],
)
def test_what_is_wrong_is_named_with_its_dotted_key(old: str, new: str, where: str, what: str) -> None:
    with pytest.raises(BadFile) as caught:
        Recipe.parse(TEXT.replace(old, new, 1), where="mlp.toml")
    assert str(caught.value.where).removeprefix("mlp.toml: ") == where
    assert what in caught.value.what


@pytest.mark.parametrize(
    ("train", "privacy", "where"),
    [
        ('clipping = "adaptive"', 'mechanism = "banded"\nbands = 2', "train.clipping"),
        ('optimizer = "dp-adam"', 'mechanism = "banded"\nbands = 2', "train.optimizer"),
        ('optimizer = "dp-adam"\nclipping = "adaptive"', "", "train.optimizer"),
    ],
)
def test_what_does_not_go_together_is_refused(train: str, privacy: str, where: str) -> None:
    text = TEXT.replace("clip = 1.0", f"clip = 1.0\n{train}").replace("delta = 1e-5", f"delta = 1e-5\n{privacy}")
    with pytest.raises(BadFile) as caught:
        Recipe.parse(text)
    assert caught.value.where == f"recipe: {where}"


def test_a_field_of_default_value_is_left_out_of_documents() -> None:
    spelt = TEXT.replace(
        "clip = 1.0",
        'clip = 1.0\nweight_decay = 0\nschedule = "constant"\nwarm_up = 0\naverage = 0\nclipping = "flat"',
    ).replace("delta = 1e-5", 'delta = 1e-5\nmechanism = "gaussian"\nbands = 1')
    assert Recipe.parse(spelt) == Recipe.parse(TEXT)
    document = Recipe.parse(spelt).document()
    assert document == {
        "model": {"kind": "mlp", "hidden": [8, 4]},
        "train": {
            "epochs": 10.0,
            "batch": 512,
            "learning_rate": 0.5,
            "clip": 1.0,
            "optimizer": "sgd",
            "momentum": 0.0,
        },
        "privacy": {"epsilon": 3.0, "delta": 1e-5},
        "data": {"features": ["age", "gender"]},
        "split": {"test": 0.3},
    }


def test_the_plan_is_given_what_the_recipe_chooses() -> None:
    text = TEXT.replace("clip = 1.0", 'clip = 1.0\nclipping = "automatic"')
    text = text.replace("delta = 1e-5", 'delta = 1e-5\nmechanism = "banded"\nbands = 4')
    plan = Plan.calibrate(**Recipe.parse(text).plan_arguments(32_000))
    assert (plan.clipping, plan.mechanism, plan.bands) == ("automatic", "banded", 4)


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
    assert sgd.param_groups[0]["weight_decay"] == 0
    adam = Recipe.parse(TEXT.replace("clip = 1.0", 'clip = 1.0\noptimizer = "adam"')).make_optimizer(module)
    assert type(adam) is torch.optim.Adam


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.AdamW)])
def test_weight_decay_is_decoupled_but_for_sgd(name: str, kind: type[torch.optim.Optimizer]) -> None:
    text = TEXT.replace("clip = 1.0", f'clip = 1.0\noptimizer = "{name}"\nweight_decay = 0.25')
    made = Recipe.parse(text).make_optimizer(nn.Linear(1, 1))
    assert type(made) is kind
    assert (made.param_groups[0]["lr"], made.param_groups[0]["weight_decay"]) == (0.5, 0.25)


def test_dp_adam_knows_the_noise_of_the_plan_and_is_refused_without() -> None:
    recipe = Recipe.parse(TEXT.replace(*LEVERS))
    plan = Plan.calibrate(**recipe.plan_arguments(32_000))
    made = recipe.make_optimizer(nn.Linear(1, 1), plan)
    assert isinstance(made, DPAdamBC)
    group = made.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.01)
    assert group["noise_variance"] == pytest.approx((plan.noise_multiplier * 1.0 / 512) ** 2)
    with pytest.raises(Misuse, match="plan"):
        recipe.make_optimizer(nn.Linear(1, 1))


@pytest.mark.parametrize("kind", SCHEDULES)
def test_fit_steps_the_schedule_with_the_plan(kind: str) -> None:
    text = TEXT.replace("clip = 1.0", f'clip = 1.0\nschedule = "{kind}"\nwarm_up = 0.25').replace("512", "100")
    recipe = Recipe.parse(text)
    plan = Plan(epsilon=1, delta=1e-5, units=400, test=0, batch=100, epochs=2, clip=1, noise_multiplier=1)
    module = build(recipe, ENCODING)
    made = recipe.make_optimizer(module)
    rates: list[float] = []
    model, optimizer, batches = private(
        module,
        made,
        plan,
        torch.rand(400, 1),
        torch.zeros(400, dtype=torch.long),
        on_step=lambda step: rates.append(made.param_groups[0]["lr"]),
    )
    fit(model, optimizer, batches, recipe.make_schedule(optimizer, plan.steps))
    assert rates == pytest.approx([0.5 * factor(t, steps=8, kind=kind, warm_up=2, last=0.0) for t in range(8)])


def test_the_schedule_of_a_resumed_run_follows_the_plan_and_not_the_steps_that_it_took() -> None:
    recipe = Recipe.parse(TEXT.replace("clip = 1.0", 'clip = 1.0\nschedule = "linear"').replace("512", "100"))
    plan = Plan(epsilon=1, delta=1e-5, units=400, test=0, batch=100, epochs=2, clip=1, noise_multiplier=1)
    module = build(recipe, ENCODING)
    made = recipe.make_optimizer(module)
    rates: list[float] = []
    x, y = torch.rand(400, 1), torch.zeros(400, dtype=torch.long)
    private_parts = private(
        module, made, plan, x, y, on_step=lambda _: rates.append(made.param_groups[0]["lr"]), start=5
    )
    schedule = recipe.make_schedule(private_parts[1], plan.steps)
    assert schedule is not None
    schedule.load_state_dict({**schedule.state_dict(), "last_epoch": 2, "_step_count": 3})  # as checkpointed in step 3
    fit(*private_parts, schedule)
    assert rates == pytest.approx([0.5 * (1 - t / 8) for t in (5, 6, 7)])


def test_a_constant_rate_needs_no_schedule() -> None:
    recipe = Recipe.parse(TEXT)
    assert recipe.make_schedule(recipe.make_optimizer(nn.Linear(1, 1)), 60) is None


def test_fit_takes_every_step_of_the_plan_and_learns() -> None:
    torch.manual_seed(4)  # of a few hidden units, all may be dead from the start
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


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_planned_and_built(path: Path) -> None:
    recipe = Recipe.read(path)
    schema = Schema.read(SHIPPED.parent / "schemas" / "applicants.toml")
    plan = recipe.make_plan(schema)
    assert plan.epsilon <= recipe.epsilon
    module = build(recipe, Encoding.of(schema, recipe.features))
    assert isinstance(module, Additive) == (recipe.kind == "ebm")
    if isinstance(plan, Plan):
        assert recipe.make_optimizer(module, plan).param_groups[0]["lr"] == recipe.learning_rate


def test_the_shipped_recipe_of_the_demo_is_what_it_was() -> None:
    recipe = Recipe.read(SHIPPED / "credit.toml")
    assert recipe.epsilon == 3.0
    assert recipe.features is None
    assert recipe.document().keys() == {"model", "train", "privacy", "data", "split"}
    assert recipe.document()["train"].keys() == {"epochs", "batch", "learning_rate", "clip", "optimizer", "momentum"}
