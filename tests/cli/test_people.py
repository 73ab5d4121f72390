"""People with several rows on the command line: what is sealed, what is drawn, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import applicants

SCHEMA = """
[dataset]
target = "approved"
unit = "patient"
units = 400
rows_per_unit = 3
rows = 800
purposes = ["care"]
[dataset.budget]
epsilon = 20.0
delta = 1e-4
[columns.patient]
type = "identifier"
sensitivity = "identifier"
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [0, 100000]
sensitivity = "personal"
[columns.approved]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
"""
RECIPE = """
[model]
kind = "logistic"
[train]
epochs = 2
batch = 40
learning_rate = 0.5
clip = 1.0
[privacy]
epsilon = 3.0
delta = 1e-4
[split]
test = 0.3
"""


@pytest.fixture
def files(fresh: Any) -> Path:
    """Schema, recipe and visits in a folder."""
    frame = applicants(400, 5)[["age", "income", "approved"]]
    frame.insert(0, "patient", [f"p{i}" for i in range(len(frame))])
    frame.loc[frame.index.repeat(np.random.default_rng(1).integers(1, 6, len(frame)))].to_csv(
        fresh.files / "visits.csv", index=False
    )
    (fresh.files / "visits.toml").write_text(SCHEMA, encoding="utf-8")
    (fresh.files / "care.toml").write_text(RECIPE, encoding="utf-8")
    path: Path = fresh.files
    return path


def test_sealing_and_training_say_what_is_kept_and_what_is_drawn(pellucid: Any, fresh: Any, files: Path) -> None:
    here = ("--project", fresh.root, "--as", "olivia")
    sealed = pellucid("seal", "visits", files / "visits.csv", "--schema", files / "visits.toml", *here)
    assert sealed.code == 0, sealed
    assert "at most 3 rows of a person; what was beyond is left out" in sealed.out
    shown = pellucid("data", "show", "visits", *here)
    assert "unit patient" in shown.out
    assert "at most 3 rows of a person" in shown.out
    words = ("--data", "visits", "--purpose", "care", "--recipe", files / "care.toml")
    ran = pellucid("train", "m", *words, *here)
    assert ran.code == 0, ran
    assert "drawing people with all their rows: noise of" in ran.err
    assert "where rows one by one would take" in ran.err
    (files / "care.toml").write_text(RECIPE.replace("delta = 1e-4", 'delta = 1e-4\nsampling = "example"'))
    ran = pellucid("train", "m", *words, *here)
    assert ran.code == 0, ran
    assert "drawing rows one by one: noise of" in ran.err
    verified = pellucid("verify", "--project", fresh.root)
    assert verified.code == 0, verified


def test_a_recipe_for_one_row_each_has_no_sampling(pellucid: Any, fresh: Any, files: Path) -> None:
    (files / "care.toml").write_text((fresh.files / "recipe.toml").read_text() + "\n")
    text = (files / "care.toml").read_text().replace("delta = 1e-5", 'delta = 1e-5\nsampling = "example"')
    (files / "care.toml").write_text(text)
    words = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", files / "care.toml")
    ran = pellucid("train", "m", *words, "--project", fresh.root, "--as", "olivia")
    assert (ran.code, "leave sampling out" in ran.err) == (2, True), ran


def test_without_a_bound_sealing_warns_and_training_refuses(pellucid: Any, fresh: Any, files: Path) -> None:
    here = ("--project", fresh.root, "--as", "olivia")
    (files / "visits.toml").write_text(SCHEMA.replace("rows_per_unit = 3\nrows = 800\n", ""), encoding="utf-8")
    sealed = pellucid("seal", "visits", files / "visits.csv", "--schema", files / "visits.toml", *here)
    assert sealed.code == 0, sealed
    assert "no rows_per_unit is declared" in sealed.err
    words = ("--data", "visits", "--purpose", "care", "--recipe", files / "care.toml")
    ran = pellucid("train", "m", *words, *here)
    assert (ran.code, "declare rows_per_unit" in ran.err) == (2, True), ran


def test_a_bound_of_one_row_is_told_in_the_singular(pellucid: Any, fresh: Any, files: Path) -> None:
    here = ("--project", fresh.root, "--as", "olivia")
    text = SCHEMA.replace("rows_per_unit = 3\nrows = 800\n", "rows_per_unit = 1\n")
    (files / "visits.toml").write_text(text, encoding="utf-8")
    sealed = pellucid("seal", "visits", files / "visits.csv", "--schema", files / "visits.toml", *here)
    assert (sealed.code, "  one row of a person; what was beyond is left out" in sealed.out) == (0, True), sealed
    assert "  one row of a person\n" in pellucid("data", "show", "visits", *here).out


def test_an_identifier_that_repeats_is_refused_where_every_row_is_a_person(
    pellucid: Any, fresh: Any, files: Path
) -> None:
    text = SCHEMA.replace("rows_per_unit = 3\nrows = 800\n", "").replace('unit = "patient"\n', "")
    (files / "visits.toml").write_text(text, encoding="utf-8")
    here = ("--project", fresh.root, "--as", "olivia")
    sealed = pellucid("seal", "visits", files / "visits.csv", "--schema", files / "visits.toml", *here)
    assert (sealed.code, "names somebody in several rows" in sealed.err) == (2, True), sealed
