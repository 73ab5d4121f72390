"""People of whom something is not known: a model trained on them is measured, explained and shown like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.conftest import applicants
from tests.project.conftest import PURPOSE, RECIPE, Place, found

from pellucid import Project
from pellucid.project import attachment, publish
from pellucid.project.model import load
from pellucid.schema import MISSING

SCHEMA = """
[dataset]
target = "approved"
units = 3000
purposes = ["credit scoring"]
[dataset.budget]
epsilon = 8.0
delta = 1e-5
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
missing = { fill = 40 }
[columns.income]
type = "number"
bounds = [0, 100000]
sensitivity = "personal"
missing = "category"
[columns.job]
type = "category"
categories = ["baker", "nurse", "teacher"]
sensitivity = "personal"
missing = "category"
[columns.gender]
type = "category"
categories = ["Female", "Male"]
sensitivity = "special"
missing = "category"
[columns.approved]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
"""
SHARES = {"age": 0.2, "income": 0.3, "job": 0.2, "gender": 0.1}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Place:
    rng = np.random.default_rng(5)
    frame = applicants(2950)
    for name, share in SHARES.items():
        frame[name] = frame[name].astype(object).where(rng.random(len(frame)) >= share, None)
    place = found(tmp_path_factory.mktemp("missing") / "tiny")
    place.schema.write_text(SCHEMA, encoding="utf-8")
    place.recipe.write_text(RECIPE, encoding="utf-8")
    place.open().seal("applicants", pd.DataFrame(frame), schema=place.schema)
    place.train()
    load(place.open(), "tiny").evaluate()
    return place


def last(project: Project, kind: str) -> Mapping[str, Any]:
    found = [entry.evidence for entry in project.entries() if entry.kind == "evidence"]
    return [evidence.values for evidence in found if evidence.kind == kind][-1]


def test_every_question_is_answered_where_values_are_missing(once: Place) -> None:
    kinds = {entry.evidence.kind for entry in once.open().entries() if entry.kind == "evidence"}
    assert {"evaluation", "calibration", "fairness", "uncertainty", "slices", "labels", "robustness"} <= kinds
    assert {"explanation", "validity", "attachment"} <= kinds


def test_people_of_no_known_group_are_a_group(once: Place) -> None:
    groups = last(once.open(), "fairness")["columns"]["gender"]["groups"]
    assert {group["group"] for group in groups} == {"Female", "Male", MISSING}


def test_what_is_missing_is_null_in_the_rows_for_stewards(once: Place) -> None:
    file = once.root / "models" / "tiny@1" / publish.ROWS
    rows = attachment.open_rows(once.open(), file, purpose=PURPOSE)
    shown = [*rows["confident_errors"], *rows["suspected_labels"]]
    for name in ("age", "income", "job"):
        values = [row[name] for row in shown]
        assert None in values
        assert not {"nan", "None", MISSING} & {value for value in values if isinstance(value, str)}
        assert any(value is not None for value in values)
