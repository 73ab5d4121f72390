"""The space of a tuning: what may vary, and that every draw is independent of every other."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pellucid.errors import BadFile
from pellucid.train import Recipe
from pellucid.train.space import Between, Space, read

RECIPE = Recipe.parse("""
[model]
kind = "mlp"
hidden = [8]
[train]
epochs = 2
batch = 64
learning_rate = 0.5
clip = 1.0
[privacy]
epsilon = 1.0
delta = 1e-5
[split]
test = 0.3
""")
ALPHA = 1e-9


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({}, "table of lists"),
        ([1, 2], "table of lists"),
        ({"train.learning_rat": [1, 2]}, 'did you mean "train.learning_rate"'),
        ({"train.epochs": [1, 2]}, "may not vary"),
        ({"train.batch": [64, 128]}, "may not vary"),
        ({"privacy.epsilon": [1, 2]}, "may not vary"),
        ({"split.test": [0.1, 0.2]}, "may not vary"),
        ({"train.clip": [1.0]}, "one point"),
        ({"train.clip": [1.0], "train.learning_rate": [0.5]}, "one point"),
        ({"train.clip": []}, "list of values"),
        ({"train.clip": 1.0}, "list of values"),
        ({"train.clip": [1.0, 1.0]}, "stands twice"),
        ({"train.clip": {"low": 1.0}}, "low, high"),
        ({"train.clip": {"low": 2.0, "high": 1.0}}, "below high"),
        ({"train.clip": {"low": 1.0, "high": 1.0}}, "below high"),
        ({"train.clip": {"low": 0.0, "high": 1.0, "scale": "log"}}, "above 0"),
        ({"train.clip": {"low": 0.1, "high": math.inf}}, "finite"),
        ({"train.clip": {"low": 0.1, "high": math.nan}}, "finite"),
        ({"train.clip": {"low": 0.1, "high": 1.0, "scale": "root"}}, "scale is"),
        ({"train.clip": {"low": 0.1, "high": 1.0, "step": 1}}, "low, high"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_key(document, word: str) -> None:
    with pytest.raises(BadFile, match=word):
        Space.of(document)


@pytest.mark.parametrize(
    "document",
    [
        {"train.clip": [1.0, -1.0]},
        {"train.learning_rate": {"low": -1.0, "high": 1.0}},
        {"model.hidden": [[8], []]},
        {"train.optimizer": ["sgd", "sdg"]},
        {"train.optimizer": ["sgd", "adam"], "train.momentum": [0.0, 0.9]},
        {"model.bins": [8, 16]},
    ],
)
def test_a_configuration_that_makes_no_recipe_is_found_before_any_trial(document) -> None:
    with pytest.raises(BadFile):
        Space.of(document).check(RECIPE)


def test_keys_may_be_dotted_or_nested_as_toml_has_them() -> None:
    nested = {"train": {"clip": [0.5, 1.0]}, "model": {"hidden": [[4], [8]]}}
    assert Space.of(nested) == Space.of({"train.clip": [0.5, 1.0], "model.hidden": [[4], [8]]})
    with pytest.raises(BadFile, match="may not vary"):
        Space.of({"privacy": {"epsilon": [1, 2]}})


SPACE_FILE = """
[tune]
trials = 10
distribution = "geometric"
[space]
train.clip = [0.5, 1.0]
train.learning_rate = { low = 0.1, high = 2.0, scale = "log" }
"""


def test_a_file_holds_the_space_and_how_it_is_tuned_over(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(SPACE_FILE)
    space, settings = read(path)
    assert settings == {"trials": 10, "distribution": "geometric"}
    assert space.choices["train.learning_rate"] == Between(0.1, 2.0, log=True)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("trials = 10", "", "tune.trials"),
        ("trials = 10", "trails = 10", 'did you mean "trials"'),
        ("trials = 10", 'trials = "10"', "another type"),
        ("trials = 10", "trials = true", "another type"),
        ("[tune]", "[tunes]", 'did you mean "tune"'),
        ("train.clip", "train.clap", "may not vary"),
        ("[space]", "[space", "not TOML"),
    ],
)
def test_a_file_that_means_nothing_is_refused_by_its_key(tmp_path: Path, old: str, new: str, word: str) -> None:
    path = tmp_path / "space.toml"
    path.write_text(SPACE_FILE.replace(old, new))
    with pytest.raises(BadFile, match=word):
        read(path)


def test_a_large_space_is_tried_out_by_draws() -> None:
    document = {"train.learning_rate": list(np.linspace(0.1, 1, 60)), "train.clip": list(np.linspace(0.1, 1, 60))}
    Space.of(document).check(RECIPE)
    with pytest.raises(BadFile):
        Space.of({**document, "model.hidden": [[8], []]}).check(RECIPE)


def test_a_draw_makes_a_recipe_that_differs_in_nothing_else_and_costs_the_same() -> None:
    space = Space.of({"train.clip": [0.5, 2.0], "model.hidden": [[4], [8, 8]]})
    assert Space.of(space.document()) == space
    for _ in range(10):
        drawn = space.draw()
        made = space.recipe(RECIPE, drawn)
        assert made.clip == drawn["train.clip"] in (0.5, 2.0)
        assert list(made.hidden) == drawn["model.hidden"]
        assert (made.epochs, made.batch, made.epsilon, made.test) == (2, 64, 1.0, 0.3)


def test_draws_from_lists_are_independent_and_with_replacement() -> None:
    space = Space.of({"train.clip": [0.5, 1.0, 2.0, 4.0]})
    drawn = [space.draw()["train.clip"] for _ in range(1200)]
    assert stats.chisquare(list(Counter(drawn).values())).pvalue > ALPHA
    pairs = Counter(zip(drawn[::2], drawn[1::2], strict=True))
    assert len(pairs) == 16
    assert stats.chisquare(list(pairs.values())).pvalue > ALPHA


def test_draws_from_ranges_are_uniform_or_uniform_in_the_logarithm() -> None:
    space = Space.of({"train.clip": Between(0.1, 10.0, log=True), "train.learning_rate": {"low": 1, "high": 3}})
    drawn = [space.draw() for _ in range(500)]
    logs = [math.log10(each["train.clip"]) for each in drawn]
    rates = [each["train.learning_rate"] for each in drawn]
    assert stats.kstest(logs, stats.uniform(-1, 2).cdf).pvalue > ALPHA
    assert stats.kstest(rates, stats.uniform(1, 2).cdf).pvalue > ALPHA
    assert abs(stats.spearmanr(logs, rates).statistic) < 0.3
