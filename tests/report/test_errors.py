"""Slices, sets, labels, robustness and expectations on the page: one row a finding, and words where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pellucid.evidence import Evidence
from pellucid.report import render_html
from pellucid.report.blocks import Figure, Prose, Table
from pellucid.report.model import view

Make = Callable[..., Any]


def estimate(value: float) -> dict[str, float | int]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 500}


CARD = {
    "where": "job = <b>sales</b> and age 25 to 35",
    "columns": ["job", "age"],
    "n": 120,
    "error": estimate(0.4),
    "lift": estimate(2.0),
    "half_b": {"q": 0.001},
}
POINT = {"strength": 0.1, "accuracy": estimate(0.8), "auc": estimate(0.85)}
VALUES: dict[str, dict[str, Any]] = {
    "slices": {"slices": [CARD], "searched": 4321, "candidates": 2, "confirmed": 1, "error": estimate(0.15)},
    "uncertainty": {
        "alpha": 0.1,
        "coverage": estimate(0.9),
        "size": estimate(1.1),
        "certain": estimate(0.8),
        "empty": estimate(0.02),
        "abstention": [{"coverage": 0.5, "error": estimate(0.05)}],
        "columns": {"gender": {"groups": [{"group": "Female", "coverage": estimate(0.91)}], "suppressed": ["Other"]}},
    },
    "labels": {"rate": estimate(0.05), "classes": [{"class": 1, "rate": estimate(0.07)}], "suppressed": []},
    "robustness": {
        "accuracy": estimate(0.85),
        "auc": estimate(0.9),
        "missing": {"age": {"accuracy": estimate(0.7), "auc": estimate(0.75)}},
        "pgd": [POINT],
    },
    "expectation": {
        "expectations": [
            {
                "id": "age.rises",
                "kind": "monotone",
                "about": {"column": "age"},
                "status": "met",
                "because": "the branch says so",
            }
        ],
        "status": {"age.rises": "met"},
        "met": 1,
        "not_met": 0,
        "unmeasured": 0,
    },
}
PLACE = {"slices": "errors", "uncertainty": "errors", "labels": "errors", "robustness": "robustness"}
PLACE["expectation"] = "expectations"


def part(report: Any, key: str) -> Any:
    return next(section for section in view(report).sections if section.id == key)


def cells(section: Any) -> str:
    tables = [block for block in section.blocks if isinstance(block, Table)]
    figures = [block for block in section.blocks if isinstance(block, Figure)]
    tables += [table for figure in figures for table in (figure.table, figure.beside) if table is not None]
    return "\n".join(cell.text for table in tables for row in table.rows for cell in row)


@pytest.fixture
def report(sample: Make) -> Callable[..., Any]:
    plain = sample()

    def build(**values: dict[str, Any]) -> Any:
        more = [
            Evidence(kind, plain.subject, said, {"seed": 0}, "uncovered", tier="auditor")
            for kind, said in values.items()
        ]
        return sample(evidence=(*plain.evidence, *more))

    return build


@pytest.mark.parametrize("kind", VALUES)
def test_each_kind_stands_in_its_section_and_nowhere_a_second_time(report: Make, kind: str) -> None:
    made = report(**{kind: VALUES[kind]})
    assert part(made, PLACE[kind]).status == "shown"
    index = part(made, "evidence")
    assert not [block for block in index.blocks if isinstance(block, Table) and block.id == f"values-{kind}-1"]
    assert part(report(), PLACE[kind]).status == "not measured"


def test_a_slice_is_a_row_and_its_name_stays_text(report: Make) -> None:
    made = report(slices=VALUES["slices"])
    assert "job = <b>sales</b> and age 25 to 35" in cells(part(made, "errors"))
    assert "4,321" in cells(part(made, "errors"))
    assert "<b>sales" not in render_html(made)


def test_no_slice_is_said_in_words(report: Make) -> None:
    made = report(slices={**VALUES["slices"], "slices": []})
    said = [block.text for block in part(made, "errors").blocks if isinstance(block, Prose)]
    assert any(re.search("No group of people was found.*4,321", words) for words in said)


def test_suppressed_groups_and_missing_columns_are_named(report: Make) -> None:
    assert "suppressed" in cells(part(report(uncertainty=VALUES["uncertainty"]), "errors"))
    assert "without age" in cells(part(report(robustness=VALUES["robustness"]), "robustness"))


def test_an_expectation_says_what_it_is_about_and_why(report: Make) -> None:
    said = cells(part(report(expectation=VALUES["expectation"]), "expectations"))
    assert "met" in said
    assert "monotone, column age" in said
    assert "the branch says so" in said


def test_groups_that_differ_are_rows_and_none_is_said_in_words(sample: Make) -> None:
    def made(found: bool) -> Any:
        difference = {
            "column": "gender",
            "group": "Female",
            "metric": "accuracy",
            "difference": estimate(0.1),
            "p": 0.001,
            "q": 0.01,
            "found": found,
        }
        values = {
            "columns": {"gender": {"groups": [], "suppressed": []}},
            "disparities": {"level": 0.1, "tested": 1, "found": int(found), "differences": [difference]},
        }
        plain = sample(without=("fairness",))
        item = Evidence("fairness", plain.subject, values, {"seed": 0}, "uncovered", tier="auditor")
        return part(sample(evidence=(*plain.evidence, item)), "subgroups")

    assert "Female" in cells(made(found=True))
    assert "Female" not in cells(made(found=False))
    assert any("No group differs" in block.text for block in made(found=False).blocks if isinstance(block, Prose))
