"""What changed since the version before: copied from signed evidence, and signed once."""

from __future__ import annotations

from tests.project.conftest import RECIPE, Place

from pellucid.evidence import KINDS, Evidence, Subject
from pellucid.project import changes, publish
from pellucid.project.model import load, models


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
    assert change.values["same_data"] is True
    assert change.values["features_added"] == []
    html = made.html.read_text(encoding="utf-8")
    assert 'id="change-facts"' in html
    assert "tiny@1" in html


def test_a_black_box_and_a_model_that_can_be_read_are_set_side_by_side(trained: Place) -> None:
    """Whatever their names, in the report of either; and once, while nothing is new."""
    trained.recipe.write_text(RECIPE.replace('kind = "logistic"', 'kind = "mlp"\nhidden = [4]'), encoding="utf-8")
    trained.train("box")
    auditor = trained.open("kim")
    load(auditor, "box").explain()
    for model in ("box", "box", "tiny"):
        made = publish.report(trained.open("kim"), model, policy=trained.policy)
        assert 'id="readout-beside"' in made.html.read_text(encoding="utf-8")
    known = models(trained.open())
    (box,), (tiny,) = ([e for e in known[label] if e.kind == "comparison"] for label in ("box@1", "tiny@1"))
    other = {item.kind: item for item in known["tiny@1"]}
    assert box.values["with"] == {"name": "tiny@1", "sha256": other["training"].subject.sha256}
    assert (box.values["readable"], tiny.values["readable"]) == (True, False)
    assert box.values["numbers"]["evaluation.auc"] == other["evaluation"].values["auc"]
    assert box.values["numbers"]["privacy.epsilon"] == other["privacy"].values["epsilon"]
    assert tiny.values["with"]["name"] == "box@1"
    assert tiny.values["same_data"] is True


def statement(kind: str, **values: object) -> Evidence:
    base = dict.fromkeys(KINDS[kind][1], 0)
    return Evidence(kind, Subject("m", "0" * 64), {**base, **values}, {}, "public")


def model(*, readable: bool | None, target: str = "loan", data: str = "applicants") -> list[Evidence]:
    told = {True: {"readout": {}}, False: {}, None: {}}[readable]
    explained = [] if readable is None else [statement("explanation", **told)]
    return [statement("training", target=target, dataset={"name": data}), *explained]


def test_the_counterpart_is_the_newest_that_is_read_otherwise_and_says_the_same_of_the_same() -> None:
    known = {
        "ours@1": model(readable=False),
        "old@1": model(readable=True),
        "new@1": model(readable=True),
        "alike@1": model(readable=False),
        "unexplained@1": model(readable=None),
        "target@1": model(readable=True, target="other"),
        "data@1": model(readable=True, data="others"),
    }
    assert changes.counterpart(known, "ours@1") == "new@1"
    assert changes.counterpart(known, "unexplained@1") is None
    assert changes.counterpart(known, "target@1") is None
    assert changes.counterpart({"ours@1": known["ours@1"], "alike@1": known["alike@1"]}, "ours@1") is None


def test_the_version_before_is_the_newest_earlier_one() -> None:
    known: dict[str, list[object]] = {"a@1": [], "a@2": [], "a@10": [], "b@9": []}
    assert changes.previous(known, "a@10") == "a@2"  # type: ignore[arg-type]
    assert changes.previous(known, "a@1") is None  # type: ignore[arg-type]


def test_a_reader_reports_without_signing_what_changed(trained: Place) -> None:
    trained.train()
    publish.report(trained.open("rea"), "tiny@2", policy=trained.policy)
    assert said(trained, "tiny@2") == []
