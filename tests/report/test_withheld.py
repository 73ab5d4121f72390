"""A public report never calls unmeasured what its readers are only not shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from pellucid.evidence import Finding
from pellucid.report import render_html, summary
from pellucid.report.model import verdict, view

Make = Callable[..., Any]
OPEN = ("dataset", "training", "privacy")


def finding(id: str, path: str) -> Finding:
    fix = f"{path} was not measured (the bundle holds no evidence of kind {path.partition('.')[0]})"
    return Finding(id, "unmeasured", "error", f"{path} > 0.0", "because", {path: None}, fix)


@pytest.fixture
def public(sample: Make, make_evidence: Make) -> Any:
    """What everybody may have of a model of which everything was measured."""
    evidence = tuple(dataclasses.replace(make_evidence(kind), tier="public") for kind in OPEN)
    return sample(
        tier="public", evidence=evidence, findings=(finding("auc", "evaluation.auc.low"),), exit_code=3,
        ledger=None, decisions=None,
    )  # fmt: skip


def test_what_readers_are_not_shown_is_nowhere_called_unmeasured(public: Any, parse: Make) -> None:
    page = view(public)
    status = {section.id: section.status for section in page.sections}
    kept = ("performance", "calibration", "subgroups", "errors", "explanations", "validity", "robustness", "decisions")
    assert {status[id] for id in (*kept, "expectations")} == {"not shown"}
    figures = {row[0].text: row[1].text for row in page.key_figures.rows}
    assert figures.pop("Privacy loss ε, at most") == "2.999871"
    assert set(figures.values()) == {"not shown"}
    words = parse(render_html(public)).words
    assert "How often the model is right is not shown in this report." in words
    assert "No membership attack was run" not in words
    assert "No signed human review is in the bundle" not in words
    assert "Budget of the data set: not shown to the public." in words
    assert "whether there is any is not said" in words


def test_the_verdict_on_what_is_not_shown_is_no_word_against_the_model(public: Any) -> None:
    found = verdict(public)
    assert (found.word, found.exit_code) == ("NOT PROVEN", 3)
    assert found.sentence == (
        "Evidence that the policy asks for is not shown to the public: auc. "
        "This page proves nothing of it, for or against the model."
    )
    reason = view(public).requirements.rows[0][2].text
    assert "It rests on evidence that is not shown to the public." in reason
    assert "pellucid" not in reason  # no verb would make it appear here
    assert any(line.startswith("not shown: Performance") for line in summary(public))


def test_what_everybody_would_be_shown_and_is_not_there_is_unmeasured_for_the_public_too(public: Any) -> None:
    without = dataclasses.replace(public, findings=(finding("eps", "privacy.epsilon"),), evidence=public.evidence[:2])
    assert "could not be measured" in verdict(without).sentence
    assert {s.id: s.status for s in view(without).sections}["privacy"] == "not measured"


def test_an_auditor_is_told_that_it_was_not_measured(public: Any) -> None:
    report = dataclasses.replace(public, tier="auditor")
    assert "1 requirement could not be measured: auc." in verdict(report).sentence
    assert {s.id: s.status for s in view(report).sections}["performance"] == "not measured"


def test_a_clause_is_missing_only_if_more_than_what_is_not_shown_is_missing(public: Any) -> None:
    part = next(s for s in view(public).sections if s.id == "regulation")
    rows = {row[0].text: row for b in part.blocks if getattr(b, "id", "") == "map-gdpr" for row in b.rows}
    assert rows["Art. 32(1)(d)"][1].text == "? not shown"
    assert "not shown here: what a membership attack on the weights could prove" in rows["Art. 32(1)(d)"][2].text
    assert rows["Art. 5(1)(a)"][1].text == "? missing"
    counts = next(b for b in part.blocks if getattr(b, "id", "") == "maps")
    assert counts.columns[-1] == "? not shown"
    gdpr = next(row for row in counts.rows if row[0].text.startswith("GDPR"))
    assert sum(cell.value for cell in gdpr[1:]) == len(
        [row for b in part.blocks if getattr(b, "id", "") == "map-gdpr" for row in b.rows]
    )


def test_an_id_is_not_broken_at_its_hyphen_in_the_summary(public: Any) -> None:
    ids = ("evaluation.auc", "calibration.ece-of-the-whole", "provenance.key-release-of-all-people")
    found = dataclasses.replace(public, findings=tuple(finding(id, "evaluation.auc.low") for id in ids))
    for width in (48, 60, 80):
        lines = summary(found, width)
        assert all(len(line) <= width for line in lines)
        assert all(any(id in line for line in lines) for id in ids)
        assert not [line for line in lines if line.endswith("-")]
