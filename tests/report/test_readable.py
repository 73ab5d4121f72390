"""The model read out: every weight on the page as the evidence has it, and a readable model beside a black box."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pellucid.errors import Unverified
from pellucid.evidence import Evidence
from pellucid.explain import read_out, read_tables
from pellucid.report import document, render_html
from pellucid.schema import Encoding, Schema

Make = Callable[..., Any]
ENCODING = Encoding.of(
    Schema.parse(
        """
[dataset]
target = "loan"
unit = "row"
units = 1000
purposes = ["credit scoring"]
[columns.age]
type = "integer"
bounds = [18, 90]
sensitivity = "personal"
[columns.income]
type = "number"
bounds = [0, 100000]
scale = "log"
missing = "category"
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["baker", "nurse", "teacher"]
sensitivity = "personal"
[columns.loan]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
"""
    )
)
TABLES = {"age": [-1.5, -0.5, 0.25, 1.0], "income": [-0.75, 0.0, 2.0, 0.125], "job": [-0.07, 0.09, 0.0]}


def linear() -> dict[str, Any]:
    torch.manual_seed(5)
    return read_out(nn.Linear(ENCODING.width, 2), ENCODING).values()


def additive() -> dict[str, Any]:
    return read_tables(ENCODING, TABLES, 0.5).values()


def read(report: Any, lang: str = "en") -> dict[str, Any]:
    """The section: its tables by their ids with those of figures, its prose under an empty id."""
    (section,) = (s for s in document(report, lang)["sections"] if s["id"] == "readout")
    found: dict[str, Any] = {"": "", "status": section["status"]}
    for block in section["blocks"]:
        for table in [block] if block["type"] == "table" else block.get("tables", ()):
            found[table["id"]] = table["rows"]
        found[""] += block.get("text", "") if block["type"] == "prose" else ""
    return found


@pytest.fixture
def told(sample: Make, make_evidence: Make) -> Make:
    """The section of a report about a model with this readout."""

    def build(readout: dict[str, Any] | None, *more: Evidence, lang: str = "en") -> dict[str, Any]:
        values = {} if readout is None else {"readout": readout}
        training = make_evidence("training", values={"architecture": "Linear(5, 2)"})
        others = (training, make_evidence("privacy"), make_evidence("evaluation"))
        return read(sample(evidence=(*others, make_evidence("explanation", values=values), *more)), lang)

    return build


def test_every_weight_of_a_linear_model_is_on_the_page(told: Make) -> None:
    readout = linear()
    rows = {(row[0]["text"], row[1]["text"]): row for row in told(readout)["readout-weights"]}
    terms = readout["terms"]
    assert rows["age", "each 1 more"][2]["value"] == terms["age"]["slope"]
    assert rows["income", "each 1 more of log(1 + income - 0)"][2]["value"] == terms["income"]["slope"]
    assert rows["income", "missing"][2]["value"] == terms["income"]["levels"]["<missing>"]
    for level in ("nurse", "teacher"):
        value = terms["job"]["levels"][level]
        assert rows["job", level][2]["value"] == value
        assert rows["job", level][3]["value"] == math.exp(value)
    assert rows["job", "baker (reference)"][2]["value"] == 0
    assert len(rows) == 6


def test_every_cell_of_an_additive_model_is_on_the_page_with_a_picture(told: Make, sample: Make) -> None:
    readout = additive()
    found = told(readout)
    spans = {row[0]["text"]: [cell["value"] for cell in row[1:]] for row in found["readout-spans"]}
    assert spans == {"income": [-0.75, 2.0, 2.75], "age": [-1.5, 1.0, 2.5], "job": [-0.07, 0.09, 0.16]}
    assert list(spans) == ["income", "age", "job"], "who can move the answer most stands first"
    for number, name in enumerate(spans, 1):
        rows = found[f"readout-{number}"]
        assert [row[1]["value"] for row in rows] == TABLES[name]
    assert [row[0]["text"] for row in found["readout-1"]][-1] == "missing"
    assert [row[0]["text"] for row in found["readout-3"]] == ["baker", "nurse", "teacher"]
    assert [row[0]["text"] for row in found["readout-2"]] == ["27", "45", "63", "81"]


def test_what_is_read_off_the_weights_is_covered_as_the_weights_are(told: Make) -> None:
    for readout, table in ((linear(), "readout-weights"), (additive(), "readout-spans")):
        for row in told(readout)[table]:
            assert {tuple(cell["coverage"]) for cell in row if "value" in cell} == {("post-processing",)}


def test_a_model_that_cannot_be_read_is_not_said_to_be(told: Make, sample: Make) -> None:
    found = told(None)
    assert found[""].startswith("This model is not read out")
    assert found.keys() == {"", "status"}
    absent = read(sample(without=("explanation",)))
    assert absent["status"] == "not measured"


def test_a_tier_without_the_explanation_shows_no_readout(sample: Make, make_evidence: Make) -> None:
    public = sample(tier="public", evidence=(make_evidence("privacy", tier="public"),))
    assert read(public)["status"] == "not shown"
    assert "readout-weights" not in render_html(public)


@pytest.mark.parametrize("readout", [linear(), additive()], ids=["linear", "additive"])
def test_the_readout_is_well_formed_in_both_languages_with_a_table_for_each_picture(
    sample: Make, make_evidence: Make, parse: Make, readout: dict[str, Any]
) -> None:
    report = sample(evidence=(make_evidence("explanation", values={"readout": readout}),))
    for lang in ("en", "zh"):
        page = parse(render_html(report, lang))
        assert any(name.startswith("readout-") for name in page.tables)
    html = render_html(report, "zh")
    part = html[html.index('id="readout"') : html.index('id="validity"')]
    assert "模型本身的读出" in part
    for english in ("log-odds", "each 1 more", "(reference)", "The table of", "Adds"):
        assert english not in part


def test_a_slope_by_a_small_unit_keeps_its_digits(told: Make) -> None:
    readout = {"kind": "linear", "intercept": 0.1, "terms": {"income": {"slope": 5.8e-05, "per": "1"}}}
    (row,) = told(readout)["readout-weights"]
    assert [cell["text"] for cell in row] == ["income", "each 1 more", "5.8e-5", "1.00006"]


@pytest.mark.parametrize("adds", [["1"], [True], [float("inf")]])
def test_a_cell_that_is_no_number_is_refused(told: Make, adds: list[Any]) -> None:
    with pytest.raises(Unverified, match="not of its form"):
        told({"kind": "additive", "intercept": 0, "columns": {"age": {"adds": adds, "names": ["a"]}}})


def comparison(model: Any, *, readable: bool, same_data: bool = True) -> Evidence:
    values = {
        "with": {"name": "other@1", "sha256": "0" * 64},
        "architecture": "Additive(3 columns, 35 cells)" if readable else "MLP",
        "readable": readable,
        "same_data": same_data,
        "numbers": {
            "privacy.epsilon": 1.5,
            "evaluation.auc": {"value": 0.88, "low": 0.87, "high": 0.89, "n": 9600},
        },
    }
    return Evidence("comparison", model, values, {}, "uncovered", tier="auditor")


def test_a_readable_model_stands_beside_a_black_box_for_the_same(told: Make, sample: Make) -> None:
    model = sample().subject
    beside = told(linear(), comparison(model, readable=False))["readout-beside"]
    rows = {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in beside}
    assert rows["Architecture"] == ["MLP", "Linear(5, 2)"]
    assert rows["Privacy loss ε, at most"] == ["1.5", "2.999871"]
    assert rows["AUC (0.5 is guessing, 1 is best)"] == ["0.880 (0.870 to 0.890)", "0.901 (0.895 to 0.908)"]
    assert rows["Calibration error (0 is best)"] == ["not measured", "not measured"]
    covered = [cell["coverage"] for cell in beside[1][1:]]
    assert covered == [["public"], ["public"]], "as the claim of either model is"
    turned = told(None, comparison(model, readable=True))
    assert turned["readout-beside"][0][1]["text"] == "Additive(3 columns, 35 cells)"
    assert "different versions" not in turned[""]
    assert "different versions" in told(None, comparison(model, readable=True, same_data=False))[""]


def test_two_models_that_can_be_read_are_not_called_a_black_box(told: Make, sample: Make) -> None:
    assert "readout-beside" not in told(linear(), comparison(sample().subject, readable=True))
    assert "readout-beside" not in told(linear())
