"""Every artefact of every tier, held against the sealed data itself; and rows that only stewards open."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.project.conftest import PASSPHRASE, PURPOSE, RECIPE, Place, found, make_frame

from pellucid.cli import run
from pellucid.disclosure import lint
from pellucid.errors import BadFile, Denied, Tampered
from pellucid.evidence import canonical
from pellucid.explain import predict
from pellucid.project import attachment, leaks, publish
from pellucid.project.evaluating import SEARCHED
from pellucid.project.model import load
from pellucid.project.recipe import train
from pellucid.train import encode_row

TIERS = ("public", "auditor", "steward")
CANARIES = {
    "person": "canary-person-5ba1",
    "note": "canary-note-c0de",
    "income": 48151.62,
    "age": 89,
    "job": "baker",
    "gender": "Female",
    "approved": "no",
}
"""One made-up person, different from everybody else in the columns that are not declared for all."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A project in which a person with a canary in every column was sealed, trained on, evaluated and reported."""
    place = found(tmp_path_factory.mktemp("leaks") / "tiny")
    frame = make_frame()
    for name, value in CANARIES.items():
        frame.loc[frame.index % 40 == 7, name] = value  # many rows, so that some are held out and some trained on
    frame.loc[frame.index % 40 == 7, "person"] = [
        f"{CANARIES['person']}-{i}" for i in range(sum(frame.index % 40 == 7))
    ]
    place.open().seal("applicants", frame, schema=place.schema)
    train(place.open("sid"), "tiny", dataset="applicants", purpose=PURPOSE, recipe=_recipe(place))
    model = load(place.open("kim"), "tiny")
    model.evaluate()
    model.explain()
    model.attack()
    for tier in TIERS:
        publish.report(place.open(), "tiny", tier=tier, out=place.root / "out" / tier, policy=place.policy)
    return place


def _recipe(place: Place) -> Path:
    place.recipe.write_text(RECIPE, encoding="utf-8")
    return place.recipe


def artefacts(place: Place, tier: str) -> list[Path]:
    return sorted(path for path in (place.root / "out" / tier).iterdir() if path.is_file())


@pytest.mark.parametrize("tier", TIERS)
def test_no_artefact_of_any_tier_holds_a_planted_value_or_a_row(published: Place, tier: str) -> None:
    files = artefacts(published, tier)
    assert {path.name for path in files} >= {"report.html", "report.json", "bundle.json"}
    assert (publish.ROWS in {path.name for path in files}) == (tier == "steward")
    markers = [str(CANARIES["person"]), str(CANARIES["note"]), "48151.62", "48,151.62"]
    for path in files:
        found_, columns = leaks.find(published.open(), path, dataset="applicants", purpose=PURPOSE, markers=markers)
        assert found_ == (), path.name
        assert set(columns) == set(CANARIES)


def test_no_other_file_of_the_project_holds_a_planted_value(published: Place) -> None:
    wanted = [str(CANARIES["person"]).encode(), str(CANARIES["note"]).encode(), b"48151.62"]
    for path in published.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [marker for marker in wanted if marker in content], path


def test_the_lint_finds_what_other_tools_leave(published: Place, tmp_path: Path) -> None:
    frame = make_frame().head(40)
    shapes = {
        "table.html": frame.to_html(),
        "records.json": frame.to_json(orient="records"),
        "split.json": frame.to_json(orient="split"),
        "columns.json": frame.to_json(),
        "rows.csv": frame.to_csv(),
    }
    for name, text in shapes.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        found_, _ = leaks.find(published.open(), tmp_path / name, dataset="applicants", purpose=PURPOSE)
        assert {leak.kind for leak in found_} >= {"row", "value"}, name
        assert "person-00003" not in str(found_)


def test_who_may_read_no_column_is_denied(published: Place) -> None:
    with pytest.raises(Denied):
        leaks.find(published.open("rea"), artefacts(published, "public")[0], dataset="applicants", purpose=PURPOSE)


def opened(place: Place, who: str = "sam", purpose: str | None = PURPOSE) -> dict[str, Any]:
    return attachment.open_rows(place.open(who), place.root / "out" / "steward" / publish.ROWS, purpose=purpose)


def test_a_steward_opens_the_rows_and_every_column_was_decided_first(published: Place) -> None:
    project = published.open("sam")
    size = project.log.size
    rows = attachment.open_rows(project, published.root / "out" / "steward" / publish.ROWS, purpose=PURPOSE)
    assert rows["confident_errors"] or rows["suspected_labels"]
    names = {"age", "income", "job", "approved"}
    for row in (*rows["confident_errors"], *rows["suspected_labels"]):
        assert row.keys() - {"counterfactual"} == {"id", "row", *names}
        key = bytes.fromhex(rows["key"])
        assert row["id"] == hmac.new(key, b"pellucid/person@1\x00" + row["row"].encode(), hashlib.sha256).hexdigest()
    decisions = [e.body for e in project.entries()[size:] if e.kind == "decision"]
    assert {d["resource"]["name"].partition("/")[2] for d in decisions} == names
    assert all(d["allowed"] and d["identity"] == "sam" and d["action"] == "read" for d in decisions)


def test_a_steward_reads_what_would_have_made_a_confident_error_right(tmp_path: Path) -> None:
    """One label in ten is wrong. Each of the surest errors, changed as it says there, gets the label recorded of it."""
    place = found(tmp_path / "tiny")
    frame = make_frame()
    wrong = frame.index % 10 == 3
    frame.loc[wrong, "approved"] = frame.loc[wrong, "approved"].map({"yes": "no", "no": "yes"})
    place.open().seal("applicants", frame, schema=place.schema)
    surer = RECIPE.replace("epsilon = 3.0", "epsilon = 7.0").replace("epochs = 2", "epochs = 12")
    place.recipe.write_text(surer, encoding="utf-8")
    train(place.open("sid"), "tiny", dataset="applicants", purpose=PURPOSE, recipe=place.recipe)
    trained = load(place.open("kim"), "tiny")
    rows = attachment.open_rows(place.open("sam"), place.root / "models" / "tiny@1" / publish.ROWS, purpose=PURPOSE)
    errors = rows["confident_errors"]
    assert len(errors) >= 5
    assert all("counterfactual" in error for error in errors[:SEARCHED])
    assert not any("counterfactual" in error for error in (*errors[SEARCHED:], *rows["suspected_labels"]))
    others = [error for error in errors[:SEARCHED] if error["counterfactual"]["status"] == "found"]
    assert others
    for error in others:
        other = error["counterfactual"]
        assert other["target"] == error["approved"] != other["decision"]
        assert other["distance"] > 0
        changed = {name: error[name] for name in trained.encoding.features}
        for change in other["changes"]:
            changed[change["column"]] = change["after"]
        answer = predict(trained.module, encode_row(changed, trained.encoding), torch.zeros(1, dtype=torch.int64))
        assert trained.encoding.classes[int(answer.predicted[0])] == other["target"]


def test_whoever_may_not_read_is_denied_and_the_denial_is_recorded(published: Place) -> None:
    size = published.open().log.size
    with pytest.raises(Denied):
        opened(published, "ned")  # who holds no role, and so cannot write to the log either
    with pytest.raises(Denied):
        opened(published, "rea")
    last = published.open().entries()[size:]
    assert last
    assert not last[-1].body["allowed"]


def test_a_reader_of_columns_without_the_role_is_denied_by_cryptography(published: Place) -> None:
    with pytest.raises(Denied, match="encrypted to owner@1, steward@1"):
        opened(published, "kim")


def test_a_purpose_that_was_never_declared_is_denied(published: Place) -> None:
    with pytest.raises(Denied):
        opened(published, "sam", "marketing")


def test_evidence_of_the_rows_is_for_stewards_and_names_the_file(published: Place) -> None:
    file = published.root / "out" / "steward" / publish.ROWS
    for tier in TIERS:
        report = json.loads((published.root / "out" / tier / "report.json").read_bytes())
        kinds = {e["predicateType"].split(":")[-2]: e["predicate"]["values"] for e in report["evidence"]}
        assert ("attachment" in kinds) == (tier == "steward")
        if tier == "steward":
            assert kinds["attachment"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_changed_attachment_does_not_open(published: Place, tmp_path: Path) -> None:
    document = json.loads((published.root / "out" / "steward" / publish.ROWS).read_bytes())
    for name, value in (("columns", ["age"]), ("dataset", "applicants@1"), ("ciphertext", document["nonce"])):
        changed = {**document, name: value, "purpose": document["purpose"] + (" " if name == "dataset" else "")}
        (tmp_path / "rows.json").write_bytes(canonical(changed))
        with pytest.raises(Tampered):
            attachment.open_rows(published.open("sam"), tmp_path / "rows.json", purpose=PURPOSE)
    (tmp_path / "rows.json").write_bytes(canonical([1]))
    with pytest.raises(Tampered):
        attachment.open_rows(published.open("sam"), tmp_path / "rows.json", purpose=PURPOSE)


def test_the_size_of_the_file_does_not_tell_how_many_people_are_in_it(published: Place) -> None:
    document = json.loads((published.root / "out" / "steward" / publish.ROWS).read_bytes())
    cipher = len(document["ciphertext"].rstrip("=")) * 3 // 4
    assert (cipher - 16) % (64 << 10) == 0


def test_the_verbs(published: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("PELLUCID_PASSPHRASE", PASSPHRASE)
    project = ["--project", str(published.root)]
    html = published.root / "out" / "auditor" / "report.html"
    against = ["--data", "applicants", "--purpose", PURPOSE]
    assert run(["report", "--lint", str(html), *against, *project, "--as", "sam"]) == 0
    assert "no leak found" in capsys.readouterr().out
    leaky = tmp_path / "other.html"
    leaky.write_text(make_frame().head(9).to_html(), encoding="utf-8")
    assert run(["report", "--lint", str(leaky), *against, *project, "--as", "sam", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {leak["kind"] for leak in document["leaks"]} >= {"row", "value"}
    assert run(["report", "--lint", str(leaky), "--marker", "person-00002"]) == 1
    assert "marker 1 is in the file" in capsys.readouterr().out
    rows, out = published.root / "out" / "steward" / publish.ROWS, tmp_path / "rows.json"
    assert run(["report", "--open", str(rows), "-o", str(out), *project, "--as", "sam"]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert json.loads(out.read_bytes()).keys() == {"key", "suspected_labels", "confident_errors"}
    assert run(["report", "--open", str(rows), "-o", str(out), *project, "--as", "sam"]) == 2
    assert run(["report", "--open", str(rows), *project, "--as", "sam"]) == 2
    assert run(["report", *project, "--as", "sam"]) == 2
    assert run(["report", "--lint", str(tmp_path / "nothing")]) == 2


def test_a_file_that_is_not_there_is_an_error_of_use(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="there is no such file"):
        leaks.read_file(tmp_path / "nothing")
    assert lint(b"") == ()


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7 3 people", b"PK\x03\x04 3 people", b"\x1f\x8b 3 people", "3 people".encode("utf-16")]
)
def test_nothing_found_is_never_said_of_a_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report").write_bytes(content)
    with pytest.raises(BadFile, match="no plain text"):
        leaks.read_file(tmp_path / "report")
