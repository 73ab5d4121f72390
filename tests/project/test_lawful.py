"""What counts in the log: entries whose signer held a fitting role. Each of these was once believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pellucid.errors import PellucidError
from pellucid.evidence import Evidence, Subject, digest
from pellucid.log.entries import seal_record
from pellucid.project import Project, data, publish
from pellucid.project.model import models
from pellucid.project.project import now

Opener = Callable[[str], Project]


@pytest.fixture
def as_(fresh: Any) -> Opener:
    """Open a copy of the small project that walked the corridor as one of its people."""
    return lambda name: Project.open(
        fresh.root, identity=name, passphrase="glass-all-the-way-down"
    )  # of tests/conftest.py


def _force(project: Project, kind: str, **fields: Any) -> None:
    """Append past the library's own look, as somebody with a log key and code of their own would."""
    with project.log.writing(project.log_key, project.name) as writer:
        writer.append(seal_record(kind, fields, project.identity.signing, now()))


def test_a_reader_writes_no_budget_and_one_forced_in_does_not_count(as_: Opener) -> None:
    reader = as_("ravi")
    fields = {"dataset": "applicants", "epsilon": 400.0, "delta": 1e-5, "order": 2.0}
    size = reader.log.size
    with pytest.raises(PellucidError):
        reader.record("budget", **fields)
    assert reader.log.size == size
    left = data.ledger(reader, "applicants").left
    _force(reader, "budget", **fields)
    assert data.ledger(as_("ravi"), "applicants").left == left
    assert any("budgets are set" in why for _, why in as_("ravi").ignored())


def test_a_settlement_by_somebody_else_does_not_count_and_stops_nothing(as_: Opener) -> None:
    before = data.ledger(as_("ravi"), "applicants").document()
    _force(as_("ravi"), "settle", reservation="zz", status="stopped", steps=0)
    assert data.ledger(as_("olivia"), "applicants").document() == before


def test_a_version_is_sealed_once_by_a_keeper_under_an_adopted_schema(as_: Opener) -> None:
    reader = as_("ravi")
    sealed = data.dataset(reader, "applicants")
    schema = replace(sealed.schema, purposes=(*sealed.schema.purposes, "marketing"))
    forged = replace(sealed.manifest, schema=schema, sealed_by=reader.identity.signing.verifier.line)
    content = forged.sealed(reader.identity.signing)
    path = sealed.folder / "manifest.json"
    path.write_bytes(content)
    fields = {
        "dataset": sealed.name,
        "version": sealed.version,
        "manifest_sha256": digest(content),
        "schema_sha256": schema.digest,
    }
    with pytest.raises(PellucidError):
        reader.record("seal", **fields)
    _force(reader, "seal", **fields)
    with pytest.raises(PellucidError) as caught:
        as_("ana").read("applicants", ["age"], purpose="marketing")
    assert caught.value.exit_code in (1, 3)


def test_a_record_that_nobody_could_get_past_is_not_written(as_: Opener) -> None:
    reader = as_("ravi")
    size = reader.log.size
    with pytest.raises(PellucidError):
        reader.record("adopt", what="x", sha256="0" * 64)
    assert as_("ravi").log.size == size


def test_evidence_of_a_reader_and_of_an_auditor_who_trained_nothing_does_not_count(as_: Opener) -> None:
    label, known = next(iter(models(as_("kim")).items()))
    subject = known[0].subject
    for name, kind in (("ravi", "slices"), ("kim", "privacy"), ("kim", "provenance")):
        values = next((e.values for e in known if e.kind == kind), {})
        forged = Evidence(kind, subject, values, {"at": "2030-01-01T00:00:00Z"}, "public")
        with pytest.raises(PellucidError):
            as_(name).publish([forged])
    assert [e.kind for e in models(as_("kim"))[label]] == [e.kind for e in known]


@pytest.mark.parametrize("name", ["../../victim/x@1", "credit-risk", "credit-risk@99"])
def test_evidence_about_what_was_never_trained_is_refused(as_: Opener, name: str, tmp_path: Path) -> None:
    forged = Evidence("slices", Subject(name, "0" * 64), {}, {"at": "2030-01-01T00:00:00Z"}, "public")
    with pytest.raises(PellucidError):
        as_("kim").publish([forged])


def test_tags_are_not_read_without_a_column_to_decide_about(as_: Opener) -> None:
    with pytest.raises(PellucidError):
        data.read(as_("ana"), "applicants", [], purpose=None, tags=True)


def test_a_log_cut_back_is_noticed_by_a_bundle_that_was_kept(as_: Opener, fresh: Any) -> None:
    import shutil

    log = fresh.root / "log"
    kept = fresh.root.parent / "kept-log"
    shutil.copytree(log, kept)
    owner = as_("olivia")
    label = next(iter(models(owner)))
    owner.record("adopt", what="note", sha256="0" * 64)
    publish.bundle(owner, label)
    shutil.rmtree(log)
    shutil.copytree(kept, log)
    results = publish.verify_project(as_("olivia"))
    assert [r["name"] for r in results if r["status"] == "fail"] == [f"bundle models/{label}/bundle.json"]
