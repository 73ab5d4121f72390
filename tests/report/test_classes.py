"""A page about three classes says which one is explained and in what, and what only two classes have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pellucid.report import document, render_html

Make = Callable[..., Any]
CURVES = {"removed": [0, 0.5, 1], "deletion": [0, -0.7, 0.1], "random": [0, 0, 0.1]}
CASE = {"of": {"age": "88"}, "base": 0.02, "answer": 2.4, "probability": 0.846, "attribution": {"age": 2.38}}
EFFECT = {
    "field": "job",
    "points": [0, 1],
    "at": ["clerk", "cook"],
    "change": [{"value": 0, "low": 0, "high": 0, "n": 90}, {"value": -0.8, "low": -0.9, "high": -0.7, "n": 90}],
}
SPREAD = {"edges": [-1, 0, 1], "people": 40, "columns": {"age": [{"cell": 0, "n": 20}, {"cell": 1, "n": 20}]}}
EXPLAINED = {
    "class": "high",
    "target": 2,
    "shapley": {"age": {"value": 1.5, "low": 1.4, "high": 1.6, "n": 90}},
    "case": CASE,
    "effects": [EFFECT],
    "distribution": SPREAD,
}
BY_GENDER = {
    "groups": [
        {"group": name, "n": 400, "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 400}} for name in ("f", "m")
    ],
    "suppressed": [],
    "demographic_parity_difference": {"value": 0.03, "low": 0.01, "high": 0.05, "n": 800},
    "equalized_odds_difference": {"value": 0.04, "low": 0.02, "high": 0.09, "n": 800},
}
TESTED = {
    "class": "high",
    "faithfulness": {"curves": CURVES, "scale": 1.2},
    "sensitivity": {"largest_absolute": 0.1},
}


@pytest.fixture
def three(sample: Make, make_evidence: Make) -> Any:
    evaluation = {"base_rate": None, "roc": None, "threshold": None}
    return sample(
        evidence=(
            make_evidence("training", values={"classes": ["low", "middle", "high"]}),
            make_evidence("evaluation", values=evaluation),
            make_evidence("calibration"),
            make_evidence("fairness", values={"columns": {"gender": BY_GENDER}}),
            make_evidence("explanation", values=EXPLAINED),
            make_evidence("validity", values=TESTED),
        )
    )


def part(report: Any, key: str, lang: str = "en") -> dict[str, Any]:
    return next(section for section in document(report, lang)["sections"] if section["id"] == key)


def prose(section: dict[str, Any]) -> str:
    return "\n".join(block["text"] for block in section["blocks"] if block["type"] == "prose")


def test_the_class_that_is_explained_is_named_before_anything_else(three: Any) -> None:
    for key in ("explanations", "validity"):
        first = part(three, key)["blocks"][0]
        assert first["text"].startswith('Explained is the class "high": its score')
    assert "It is that of high." in prose(part(three, "explanations"))


def test_scores_of_a_class_are_nowhere_called_log_odds(three: Any) -> None:
    html = render_html(three)
    page = html[html.index('id="explanations"') : html.index('id="readout"')]
    page += html[html.index('id="validity"') : html.index('id="robustness"')]
    assert "log-odds" not in page
    assert page.count("score of") > 5


def test_of_two_classes_the_scale_is_log_odds(sample: Make, make_evidence: Make) -> None:
    two = {name: value for name, value in EXPLAINED.items() if name not in ("class", "target")}
    report = sample(evidence=(make_evidence("explanation", values=two),))
    html = render_html(report)
    page = html[html.index('id="explanations"') : html.index('id="readout"')]
    assert "Explained is the class" not in page
    assert "score of" not in page
    assert page.count("log-odds") > 5


def test_what_only_two_classes_have_is_not_called_unmeasured(three: Any) -> None:
    performance = part(three, "performance")
    names = [row[0]["text"] for block in performance["blocks"] if block["type"] == "table" for row in block["rows"]]
    assert "Base rate of the positive class" not in names
    assert "None of 3 classes is the positive one" in prose(performance)
    assert "ROC curve: not measured" not in prose(performance)
    groups = part(three, "subgroups")
    assert groups["status"] == "shown"
    assert "each is held against the rest" in prose(groups)
    page = render_html(three)
    page = page[page.index('id="subgroups"') : page.index('id="errors"')]
    assert "Accuracy" in page
    assert "Selection rate" not in page
    assert "gives the same answer lie up to 3.0 percentage points apart" in render_html(three)
    assert "the probability of the class that was named" in prose(part(three, "calibration"))


def test_a_page_about_three_classes_is_whole_in_chinese(three: Any, parse: Make) -> None:
    parse(render_html(three, "zh"))
    assert "这里解释的是类别“high”" in prose(part(three, "explanations", "zh"))


def test_the_text_of_bars_that_keep_their_order_names_the_largest(three: Any) -> None:
    assert "Largest: cook, −0.800." in render_html(three)
