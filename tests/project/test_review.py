"""A judgement on a real project: who may, on what, and what it does to the release check; expectations by right."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.project.conftest import Place

from pellucid.check import check
from pellucid.errors import BadData, BadFile, Denied, Misuse, Refused, UnknownName
from pellucid.evidence import Evidence
from pellucid.project import publish
from pellucid.project.model import load, models
from pellucid.project.review import LONGEST, expect, review

POLICY = """
[[require]]
id = "review"
that = "review.verdict == 'approve'"
because = "a person answers for it"
"""
INDEPENDENT = POLICY.replace("'approve'", "'approve' && review.independent")
EXPECTED = """
[[expect]]
id = "age.rises"
because = "so"
monotone = { column = "age", direction = "increasing" }
[[expect]]
id = "job.little"
because = "so"
irrelevant = { column = "job", at_most = 0.9 }
[[expect]]
id = "gender.hidden"
because = "so"
proxy = { of = "gender", use_at_most = 0.9 }
"""


@pytest.fixture(scope="module")
def reported_once(trained_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With a report in the project's own folder; to copy from, not to change."""
    import shutil

    root = tmp_path_factory.mktemp("reported") / "tiny"
    shutil.copytree(trained_once.root, root)
    place = Place(root)
    publish.report(place.open("kim"), "tiny", policy=place.policy)
    return place


@pytest.fixture
def reported(reported_once: Place, copied: Any) -> Place:
    return copied(reported_once)


def said(place: Place, kind: str = "review") -> list[Evidence]:
    return [item for item in models(place.open())["tiny@1"] if item.kind == kind]


def verdict(place: Place, text: str = POLICY) -> int:
    path = place.root / "policies" / "review.toml"
    path.write_text(text, encoding="utf-8")
    project = place.open()
    return check(publish.fresh_bundle(project, "tiny@1"), path, default_owners=[project.owner]).exit


def test_a_check_that_requires_a_review_passes_only_after_approval_and_a_later_rejection_wins(reported: Place) -> None:
    assert verdict(reported) == 3  # unmeasured is no pass
    review(reported.open("kim"), "tiny", verdict="approve", note="read it, and it holds")
    assert verdict(reported) == 0
    review(reported.open("ana"), "tiny", verdict="reject", note="the groups differ")
    assert verdict(reported) == 1
    review(reported.open("kim"), "tiny", verdict="approve", note="argued again")
    assert verdict(reported) == 1  # a rejection stands until who rejected approves
    review(reported.open("ana"), "tiny", verdict="approve", note="the reasons are written down now")
    assert verdict(reported) == 0
    assert reported.verified()
    bundle = publish.bundle(reported.open(), "tiny")
    assert bundle.subject.name == "tiny@1"


def test_a_report_in_the_folder_of_the_model_s_name_is_found_too(reported: Place) -> None:
    (reported.root / "reports" / "tiny@1").rename(reported.root / "reports" / "tiny")
    made = review(reported.open("kim"), "tiny", verdict="approve", note="fine")
    assert made.read["name"] == "report.html"


def test_a_review_says_who_in_which_role_what_was_read_and_why(reported: Place) -> None:
    made = review(reported.open("kim"), "tiny@1", verdict="approve", note=" fine ", reasons=["calibrated", "small"])
    (evidence,) = said(reported)
    path = reported.root / "reports" / "tiny@1" / "report.html"
    assert dict(evidence.values) == {
        "verdict": "approve",
        "note": "fine",
        "reasons": ["calibrated", "small"],
        "reviewer": "kim",
        "roles": ["auditor"],
        "independent": True,
        "read": {"name": "report.html", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
    }
    assert (evidence.tier, evidence.coverage) == ("auditor", "public")
    entry = reported.open().entries()[made.index]
    assert entry.signer == reported.open("kim").identity.signing.verifier
    assert made.document()["read"] == evidence.values["read"]


def test_whoever_trained_it_is_not_independent(trained: Place, tmp_path: Path) -> None:
    place = trained
    place.train("own", who="ana")
    project = place.open()
    bundle = tmp_path / "own.json"
    bundle.write_bytes(publish.fresh_bundle(project, "own@1").to_bytes())
    own = review(project, "own", verdict="approve", note="I made it", report=bundle)
    assert not own.independent
    path = place.root / "policies" / "review.toml"
    path.write_text(INDEPENDENT, encoding="utf-8")
    assert check(publish.fresh_bundle(project, "own@1"), path, default_owners=[project.owner]).exit == 1
    assert review(place.open("kim"), "own", verdict="approve", note="me too", report=bundle).independent
    assert check(publish.fresh_bundle(place.open(), "own@1"), path, default_owners=[project.owner]).exit == 0


@pytest.mark.parametrize("who", ["sid", "sam", "rea", "ned"])
def test_a_role_that_may_not_review_is_denied_and_leaves_none(reported: Place, who: str) -> None:
    with pytest.raises(Denied) as caught:
        review(reported.open(who), "tiny", verdict="approve", note="mine is good")
    assert caught.value.exit_code == 1
    assert said(reported) == []
    last = reported.open().entries()[-1]
    assert who == "ned" or (last.kind, last.body["action"], last.body["allowed"]) == ("decision", "review", False)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"verdict": "aprove"}, BadData, 'did you mean "approve"'),
        ({"note": " \n"}, BadData, "say why"),
        ({"note": "x" * (LONGEST + 1)}, BadData, "at most"),
        ({"note": "good\u202e"}, BadData, "does not see"),
        ({"note": "good\x1b[2J"}, BadData, "does not see"),
        ({"reasons": ["", "b"]}, BadData, "say why"),
        ({"report": Path("no-such-file.html")}, BadFile, "no such file"),
    ],
)
def test_a_judgement_that_says_nothing_readable_is_refused_and_nothing_is_written(
    reported: Place, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    before = reported.state()
    with pytest.raises(error, match=says):
        review(reported.open("kim"), "tiny", **{"verdict": "approve", "note": "good", **given})
    assert reported.state() == before


def test_a_report_of_other_weights_cannot_be_what_was_read(reported: Place, tmp_path: Path) -> None:
    other = tmp_path / "report.html"
    other.write_text("<p>a very good model</p>", encoding="utf-8")
    with pytest.raises(BadFile, match="does not speak of tiny@1"):
        review(reported.open("kim"), "tiny", verdict="approve", note="good", report=other)


def test_nothing_read_nothing_judged(trained: Place) -> None:
    for path in (trained.root / "models").glob("*/bundle*.json"):
        path.unlink()
    with pytest.raises(Misuse, match="no report of this model"):
        review(trained.open("kim"), "tiny", verdict="approve", note="good")
    with pytest.raises(UnknownName):
        review(trained.open("kim"), "tinny", verdict="approve", note="good")


def test_expectations_about_a_special_column_are_tested_by_right_of_the_reader(
    trained_once: Place, copied: Any, tmp_path: Path
) -> None:
    place, file = copied(trained_once), tmp_path / "expectations.toml"
    file.write_text(EXPECTED, encoding="utf-8")
    with pytest.raises(Denied):
        expect(load(place.open("rea"), "tiny"), file)
    expect(load(place.open("sid"), "tiny"), file)  # a scientist may not read gender
    expect(load(place.open("kim"), "tiny"), file)
    scientist, auditor = said(place, "expectation")
    assert scientist.values["status"]["gender.hidden"] == "unmeasured"
    assert auditor.values["status"] == {"age.rises": "met", "job.little": "met", "gender.hidden": "met"}
    assert auditor.values["expectations"][2]["measured"]["Male"]["use"]["n"] % 10 == 0
    assert {auditor.coverage, scientist.coverage} == {"uncovered"}
    assert (auditor.tier, scientist.tier) == ("auditor", "auditor")
    assert place.verified()


def test_expectations_that_need_no_people_read_no_people(trained: Place, tmp_path: Path) -> None:
    file = tmp_path / "expectations.toml"
    file.write_text(EXPECTED.split('[[expect]]\nid = "job')[0], encoding="utf-8")
    project = trained.open("kim")
    before = len(project.entries())
    expect(load(project, "tiny"), file)
    new = [entry for entry in trained.open().entries()[before:] if entry.kind == "decision"]
    assert [entry.body["action"] for entry in new] == ["explain"]
    (evidence,) = said(trained, "expectation")
    assert (evidence.coverage, evidence.tier) == ("post-processing", "public")
    assert evidence in [e.evidence for e in trained.open().counted() if e.kind == "evidence"]


def test_a_file_that_does_not_fit_is_refused_before_anything_is_decided(trained: Place, tmp_path: Path) -> None:
    file = tmp_path / "expectations.toml"
    file.write_text(EXPECTED.replace('"age"', '"aeg"'), encoding="utf-8")
    model = load(trained.open("kim"), "tiny")
    before = trained.state()
    with pytest.raises(BadFile, match='did you mean "age"'):
        expect(model, file)
    assert trained.state() == before


def test_a_rejection_that_a_public_bundle_would_not_show_stops_it(reported: Place) -> None:
    """``review`` evidence is for auditors: left out, ``review.not-rejected`` would pass."""
    project = reported.open()
    assert publish.bundle(project, "tiny", tier="public").subject.name == "tiny@1"
    review(reported.open("ana"), "tiny", verdict="reject", note="the groups differ")
    for make in (publish.bundle, publish.report):
        with pytest.raises(Refused, match="ana rejected tiny@1, and what is made for public readers would not say so"):
            make(project, "tiny", tier="public")
    review(reported.open("kim"), "tiny", verdict="approve", note="argued again")
    with pytest.raises(Refused, match="ana rejected"):
        publish.bundle(project, "tiny", tier="public")
    assert publish.bundle(project, "tiny").subject.name == "tiny@1"
    review(reported.open("ana"), "tiny", verdict="approve", note="the reasons are written down now")
    assert publish.bundle(project, "tiny", tier="public").subject.name == "tiny@1"


def test_nobody_takes_back_the_rejection_of_another(reported: Place) -> None:
    """Neither by a review in the other's name that readers are not shown, nor by one in nobody's."""
    review(reported.open("kim"), "tiny", verdict="reject", note="no")
    sid = reported.open("sid")
    subject = models(sid)["tiny@1"][0].subject
    for named in ({"reviewer": "kim"}, {}):
        values = {"verdict": "approve", **named}
        sid.publish([Evidence("review", subject, values, {}, "public", tier="steward")])
        with pytest.raises(Refused, match="kim rejected tiny@1"):
            sid.bundle("tiny", tier="public")
