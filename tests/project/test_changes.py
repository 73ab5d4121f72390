"""What changed since the version before: copied from signed evidence, and signed once."""

from __future__ import annotations

from tests.project.conftest import Place

from pellucid.project import changes, publish
from pellucid.project.model import models


def said(place: Place, label: str) -> list[object]:
    return [item for item in models(place.open())[label] if item.kind == "change"]


def test_a_second_version_says_what_is_different_from_the_first_and_the_first_says_nothing(trained: Place) -> None:
    trained.train()
    made = publish.report(trained.open("kim"), "tiny@2", policy=trained.policy)
    publish.report(trained.open("kim"), "tiny@2", policy=trained.policy)
    publish.report(trained.open("kim"), "tiny@1", policy=trained.policy)
    known = models(trained.open())
    (change,) = (item for item in known["tiny@2"] if item.kind == "change")
    assert said(trained, "tiny@1") == []
    first = {item.kind: item for item in known["tiny@1"]}
    assert change.values["since"] == {"name": "tiny@1", "sha256": first["training"].subject.sha256}
    assert change.values["before"]["evaluation.auc"] == first["evaluation"].values["auc"]
    assert change.values["before"]["privacy.epsilon"] == first["privacy"].values["epsilon"]
    assert change.values["was"] == first["training"].values["architecture"]
    assert change.values["was_readable"] is True, "a linear model, and explained"
    assert change.values["same_data"] is True
    assert change.values["features_added"] == []
    html = made.html.read_text(encoding="utf-8")
    assert 'id="change-facts"' in html
    assert "tiny@1" in html


def test_the_version_before_is_the_newest_earlier_one() -> None:
    known: dict[str, list[object]] = {"a@1": [], "a@2": [], "a@10": [], "b@9": []}
    assert changes.previous(known, "a@10") == "a@2"  # type: ignore[arg-type]
    assert changes.previous(known, "a@1") is None  # type: ignore[arg-type]


def test_a_reader_reports_without_signing_what_changed(trained: Place) -> None:
    trained.train()
    publish.report(trained.open("rea"), "tiny@2", policy=trained.policy)
    assert said(trained, "tiny@2") == []
