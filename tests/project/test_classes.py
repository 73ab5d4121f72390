"""A model with three classes is trained, measured, explained and released like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.project.conftest import Place, found

from pellucid import Project
from pellucid.check import check
from pellucid.errors import BadData, UnknownName
from pellucid.project.explaining import explained_class
from pellucid.project.model import load
from pellucid.project.showing import example

SCHEMA = """
[dataset]
target = "grade"
units = 3000
purposes = ["credit scoring"]
[dataset.budget]
epsilon = 50.0
delta = 1e-4
[columns.grade]
type = "category"
categories = ["low", "middle", "high"]
sensitivity = "personal"
[columns.age]
type = "integer"
bounds = [18, 90]
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["clerk", "nurse", "cook"]
sensitivity = "personal"
[columns.gender]
type = "category"
categories = ["f", "m"]
sensitivity = "special"
"""
RECIPE = """
[model]
kind = "logistic"
[train]
epochs = 3
batch = 256
learning_rate = 1.0
clip = 1.0
[privacy]
epsilon = 8.0
delta = 1e-5
[split]
test = 0.3
"""


def graded(rows: int = 2950) -> pd.DataFrame:
    """Who is old has a high grade, who is young a low one, and nurses a middle one."""
    rng = np.random.default_rng(4)
    age = rng.integers(18, 91, rows)
    job = rng.choice(["clerk", "nurse", "cook"], rows)
    grade = np.where(age + rng.normal(0, 8, rows) > 65, "high", np.where(age < 40, "low", "middle"))
    return pd.DataFrame({"grade": grade, "age": age, "job": job, "gender": rng.choice(["f", "m"], rows)})


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = found(tmp_path_factory.mktemp("classes") / "tiny")
    place.schema.write_text(SCHEMA, encoding="utf-8")
    place.recipe.write_text(RECIPE, encoding="utf-8")
    place.open().seal("applicants", graded(), schema=place.schema)
    place.train()
    return place


def last(project: Project, kind: str) -> Mapping[str, Any]:
    found = [entry.evidence for entry in project.entries() if entry.kind == "evidence"]
    return [evidence.values for evidence in found if evidence.kind == kind][-1]


def test_training_by_a_recipe_leaves_every_kind_of_evidence_that_three_classes_admit(once: Place) -> None:
    project = once.open("sid")
    kinds = {entry.evidence.kind for entry in project.entries() if entry.kind == "evidence"}
    assert {"evaluation", "calibration", "uncertainty", "slices", "labels", "robustness"} <= kinds
    assert {"explanation", "validity"} <= kinds
    assert check(project.bundle("tiny"), once.policy, owners=[project.owner]).verification.ok
    assert last(project, "evaluation")["auc"]["value"] > 0.8


def test_the_last_class_is_explained_and_named(once: Place) -> None:
    told, tested = (last(once.open("sid"), kind) for kind in ("explanation", "validity"))
    assert told["class"] == tested["class"] == "high"
    assert told["target"] == 2
    assert told["completeness_gap"] < 0.01
    assert max(told["importance"], key=lambda name: told["importance"][name]["value"]) == "age"
    assert told["effects"][0]["field"] == "age"
    assert tested["faithfulness"]["deletion"]["low"] > 0
    assert "surrogate" not in told


def test_another_class_is_explained_when_it_is_named(once: Place, copied: Callable[[Place], Place]) -> None:
    place = copied(once)
    project = place.open("kim")
    model = load(project, "tiny")
    model.explain("middle")
    told = last(project, "explanation")
    assert (told["class"], told["target"]) == ("middle", 1)
    assert "two classes" in model.unmeasured["explanation.surrogate"]
    with pytest.raises(UnknownName, match='did you mean "middle"'):
        model.explain("midle")


def test_a_declared_example_of_three_classes_has_the_probability_of_the_class(
    once: Place, copied: Callable[[Place], Place]
) -> None:
    place = copied(once)
    (place.root / "model.toml").write_text('model = "tiny"\n[example]\nage = 88\njob = "cook"\n', encoding="utf-8")
    model = load(place.open("kim"), "tiny")
    high, middle = (example(model, target) for target in (2, 1))
    assert high is not None
    assert middle is not None
    assert high["probability"] > middle["probability"]
    assert high["attribution"]["age"] > middle["attribution"]["age"]


def test_fairness_of_three_classes_is_measured_each_against_the_rest(
    once: Place, copied: Callable[[Place], Place]
) -> None:
    project = copied(once).open()
    model = load(project, "tiny")
    assert "fairness" in model.evaluate()
    column = last(project, "fairness")["columns"]["gender"]
    assert {group["group"] for group in column["groups"]} == {"f", "m"}
    assert all(group.keys() == {"group", "n", "accuracy"} for group in column["groups"])
    assert 0 <= column["demographic_parity_difference"]["value"] < 0.2  # gender has no part in a grade
    assert 0 <= column["equalized_odds_difference"]["value"] < 0.5
    shipped = Path(__file__).parents[2] / "policies" / "release.toml"
    found = check(project.bundle("tiny"), shipped, owners=[project.owner]).findings
    (finding,) = (finding for finding in found if finding.id == "fairness.cells")
    assert finding.status == "pass"


def test_of_two_classes_the_second_is_explained_and_the_first_refused(trained: Place) -> None:
    model = load(trained.open("kim"), "tiny")
    first, second = model.encoding.classes
    assert explained_class(model, second) is None
    with pytest.raises(BadData, match="their negative"):
        model.explain(first)
