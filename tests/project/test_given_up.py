"""A run that somebody else gave up while it went on: it ends cleanly, and its whole plan stays counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.project.conftest import PURPOSE, Place, make_plan
from tests.project.test_own_loop import loop, of, start

from pellucid import Project
from pellucid.check import check
from pellucid.evidence import Evidence
from pellucid.project import gate, publish
from pellucid.project.budgets import open_runs


def give_up(place: Place, label: str) -> None:
    """As a machine that takes the process for dead does: the lock of a run is seen on the machine it runs on alone."""
    with place.open("kim") as other:
        body = open_runs(other)[label].body
        steps = sum(event["count"] for event in body["events"])
        other.record("settle", reservation=body["reservation"], status="abandoned", steps=steps)


def require_whole(place: Place, label: str, epsilon: float) -> Project:
    """The log verifies, nothing waits, and the plan of ``label`` counts whole."""
    project = place.open()
    assert [check for check in publish.verify_project(project) if check["status"] == "fail"] == []
    assert project.notices == []
    (run,) = project.budget("applicants").runs
    assert (run.run, run.status, run.steps_taken) == (label, "abandoned", run.steps_planned)
    assert project.budget("applicants").spent >= epsilon
    assert [path.name for path in (place.root / "runs").iterdir()] == ["sealing.lock"]
    return project


@pytest.mark.parametrize("looks", [True, False], ids=["the loop sees it", "the loop has ended before it looks"])
def test_a_training_that_was_given_up_keeps_its_model_and_counts_whole(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], looks: bool
) -> None:
    monkeypatch.setattr(gate, "EVERY", 0.0 if looks else 1e6)
    gives_up = {3: lambda: give_up(sealed, "mine@1")}
    with start(sealed.open("sid"), on_step=lambda step, _: gives_up.get(step, lambda: None)()) as run:
        loop(run)
        taken = run.steps_taken
    assert taken == (3 if looks else run.plan.steps)
    assert "mine@1 was given up by tiny/kim while it ran: its whole plan stays counted" in capsys.readouterr().err
    project = require_whole(sealed, "mine@1", make_plan().epsilon)
    assert of(project, "training")["steps"] == taken
    made = project.bundle("mine")
    assert check(made, sealed.policy, owners=[project.owner]).verification.ok


def test_a_release_that_was_given_up_counts_whole(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Project.publish

    def published(project: Project, evidence: Sequence[Evidence]) -> list[int]:
        give_up(sealed, "applicants-statistics@1")
        return real(project, evidence)

    monkeypatch.setattr(Project, "publish", published)
    made = sealed.open("sid").release("applicants", ["count"], purpose=PURPOSE, epsilon=1.0)
    monkeypatch.undo()
    assert "was given up by tiny/kim" in capsys.readouterr().err
    require_whole(sealed, made.label, made.plan.epsilon)
