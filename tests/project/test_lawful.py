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


def _own_settlement(run: Any, steps: int) -> None:
    run.project.record("settle", reservation=run._reservation, status="stopped", steps=steps)


def _trained_by_hand(project: Project, name: str, before: Any, after: Any) -> None:
    """A run whose own loop does something more, before its model is signed or after."""
    import torch
    from tests.conftest import PURPOSE, UNITS

    from pellucid import Plan

    numbers: dict[str, Any] = {"units": UNITS, "test": 0.3, "batch": 256, "epochs": 1, "clip": 1.0}
    plan = Plan.calibrate(epsilon=1.0, delta=1e-5, **numbers)
    with project.run(name, data="applicants", purpose=PURPOSE, plan=plan) as run:
        module = torch.nn.Linear(run.encoding.width, 2)
        model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.1))
        for x, y in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        before(run)
        run.finish()
        after(run)


@pytest.mark.parametrize("early", [True, False])
def test_no_step_is_given_back_that_a_model_was_made_of(as_: Opener, early: bool) -> None:
    """Who owns the loop settles the run as stopped at 0, before its model is signed or after."""
    steps = [lambda run: _own_settlement(run, 0), lambda run: None]
    with pytest.raises(PellucidError, match="fewer steps"):
        _trained_by_hand(as_("ana"), "refund", *(steps if early else reversed(steps)))
    owner = as_("olivia")
    assert ("refund@1" in models(owner)) is not early
    (run,) = [run for run in data.ledger(owner, "applicants").runs if run.run == "refund@1"]
    assert run.counted_steps() == run.steps_planned > 0
    assert run.status == ("abandoned" if early else "complete")


def test_no_release_is_given_back(as_: Opener) -> None:
    from tests.conftest import PURPOSE

    from pellucid.privacy import Statistic
    from pellucid.project.statistics import paid, plan_for

    project = as_("ana")
    project.release("applicants", ["mean:age"], purpose=PURPOSE, epsilon=0.2)
    true = [e.evidence for e in project.counted() if e.kind == "evidence" and e.evidence.kind == "release"][-1]
    sealed = data.dataset(project, "applicants")
    asked = [Statistic.of("mean:age", sealed.schema)]
    plan = plan_for(project, sealed, asked, epsilon=0.2, delta=None, test=None)
    with (
        pytest.raises(PellucidError, match="fewer steps"),
        paid(project, sealed, plan, name="free", purpose=PURPOSE) as spending,
    ):
        project.publish([replace(true, values={**true.values, "name": spending.label})])  # and no vector was counted
    (run,) = [run for run in data.ledger(as_("olivia"), "applicants").runs if run.run == "free@1"]
    assert run.counted_steps() == run.steps_planned > 0


def test_a_run_makes_one_model(as_: Opener) -> None:
    project = as_("ana")
    evidence = [e.evidence for e in project.counted() if e.kind == "evidence"]
    training = next(e for e in evidence if e.kind == "training")
    privacy = next(e for e in evidence if e.kind == "privacy" and e.subject == training.subject)
    other = Subject(training.subject.name, "0" * 64)
    for twice in (training, replace(training, subject=other), replace(privacy, subject=other)):
        with pytest.raises(PellucidError, match="a run makes one model"):
            project.publish([twice])


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
