"""Training with the user's own code: the loop of the README, factories, stopping early, a shared budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.project.conftest import FEATURES, PURPOSE, Place, make_frame, make_plan
from torch import nn

from pellucid import Project
from pellucid.errors import BudgetExceeded, Denied, Misuse, PellucidError, Tampered
from pellucid.project import data
from pellucid.project.model import load
from pellucid.project.run import Run

FACTORY = """
from torch import nn

def build(width: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, classes))
"""


def start(project: Project, **changed: Any) -> Run:
    options = {"data": "applicants", "purpose": PURPOSE, "plan": make_plan(), "features": FEATURES, **changed}
    return project.run("mine", **options)


def module_of(run: Run) -> nn.Module:
    return nn.Sequential(nn.Linear(run.encoding.width, 4), nn.ReLU(), nn.Linear(4, 2))


def loop(run: Run, steps: int | None = None) -> None:
    module = module_of(run)
    model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if steps is not None and run.steps_taken == steps:
            return


def kinds(project: Project, label: str = "mine@1") -> list[str]:
    return [e.evidence.kind for e in project.entries() if e.kind == "evidence" and e.evidence.subject.name == label]


def of(project: Project, kind: str) -> Any:
    return next(e.evidence for e in project.entries() if e.kind == "evidence" and e.evidence.kind == kind).values


def test_the_loop_stays_the_users_own(sealed: Place) -> None:
    with sealed.open("sid") as project:
        with start(project) as run:
            loop(run)
            run.evaluate()
            run.explain()
            run.attack()
        assert run.steps_taken == run.plan.steps
        made = project.bundle("mine")
    assert made.subject.name == "mine@1"
    project = sealed.open()
    assert set(kinds(project)) == {
        "training", "privacy", "provenance", "evaluation", "calibration", "explanation", "validity", "attack",
        "uncertainty", "slices", "labels", "robustness",
    }  # fmt: skip
    assert of(project, "privacy")["epsilon"] == make_plan().epsilon
    assert of(project, "training")["status"] == "complete"
    assert of(project, "evaluation")["auc"]["value"] > 0.7


def test_intent_is_written_before_the_act(sealed: Place) -> None:
    before = sealed.open().log.size
    with start(sealed.open("sid")) as run:
        loop(run)
    order = [(e.kind, e.body.get("action")) for e in sealed.open().entries()[before:]]
    assert order[:2] == [("decision", "train"), ("reserve", None)]
    assert order[2] == ("decision", "read")
    assert order[-1] == ("settle", None)
    assert order.index(("evidence", None)) > order.index(("decision", "read"))


def test_without_a_factory_later_questions_belong_inside_the_run(sealed: Place) -> None:
    with start(sealed.open("sid")) as run:
        loop(run)
    with pytest.raises(Misuse, match=r"run\.explain\(\)") as caught:
        load(sealed.open("sid"), "mine")
    assert caught.value.exit_code == 2
    with pytest.raises(Denied):
        load(sealed.open("rea"), "mine")


def test_a_factory_rebuilds_the_model_and_explains_it(sealed: Place) -> None:
    (sealed.root / "model.py").write_text(FACTORY, encoding="utf-8")
    with start(sealed.open("sid"), factory="model:build") as run:
        loop(run)
        made = run.finish().module
    again = load(sealed.open("kim"), "mine")
    x = torch.randn(5, again.encoding.width)
    assert torch.equal(again.module(x), made(x))
    assert set(again.evaluate()) == {
        "evaluation", "calibration", "fairness", "uncertainty", "slices", "labels", "robustness",
    }  # fmt: skip
    (sealed.root / "model.py").write_text(FACTORY + "\n# another\n", encoding="utf-8")
    with pytest.raises(Tampered):
        load(sealed.open("kim"), "mine")


def test_stopping_early_refunds_to_the_filter_and_the_claim_stays_the_plans(sealed: Place) -> None:
    plan = make_plan()
    with start(sealed.open("sid")) as run:
        loop(run, steps=3)
    project = sealed.open()
    (only,) = project.budget("applicants").runs
    assert (only.status, only.steps_taken, only.steps_planned) == ("stopped", 3, plan.steps)
    assert of(project, "privacy")["epsilon"] == plan.epsilon
    assert of(project, "privacy")["steps"] == plan.steps
    assert of(project, "training")["steps"] == 3
    assert of(project, "training")["status"] == "stopped"
    whole = data.ledger(project, "applicants")
    assert whole.reserved == 0.0
    stopped = only.divergence(only.under.order)
    with start(project) as second:
        loop(second)
    complete = project.budget("applicants").runs[1]
    whole_run = complete.divergence(complete.under.order)
    assert stopped == pytest.approx(whole_run * 3 / plan.steps)  # Rényi divergences add up, a step at a time


def test_a_loop_that_fails_settles_as_stopped_and_leaves_no_model(sealed: Place) -> None:
    class Mine(Exception):
        pass

    def fail() -> None:
        with start(sealed.open("sid")) as run:
            loop(run, steps=2)
            raise Mine

    with pytest.raises(Mine):
        fail()
    project = sealed.open()
    (only,) = project.budget("applicants").runs
    assert (only.status, only.steps_taken) == ("stopped", 2)
    assert kinds(project) == []
    assert project.notices == []


def test_a_run_whose_evidence_cannot_be_written_still_settles(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError("no space")

    monkeypatch.setattr("pellucid.train.save", full)
    run = start(sealed.open("sid"))

    def go() -> None:
        with run:
            loop(run)

    with pytest.raises(OSError, match="no space"):
        go()
    project = sealed.open()
    (only,) = project.budget("applicants").runs
    assert (only.status, project.notices) == ("complete", [])


def test_a_run_in_which_nothing_was_trained_leaves_no_model_and_costs_nothing(sealed: Place) -> None:
    with start(sealed.open("sid")) as run, pytest.raises(Misuse):
        run.evaluate()
    project = sealed.open()
    assert (project.budget("applicants").spent, kinds(project)) == (0.0, [])


def test_private_belongs_inside_the_with_block(sealed: Place) -> None:
    run = start(sealed.open("sid"))
    module = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(Misuse, match="with block"):
        run.private(module, optimizer)
    with run:
        pass
    with pytest.raises(Misuse, match="with block"):
        run.private(module, optimizer)


def test_the_budget_belongs_to_the_data_set_not_to_its_versions_or_runs(sealed: Place) -> None:
    project = sealed.open()
    assert project.seal("applicants", make_frame(seed=2), schema=sealed.schema) == "applicants@2"
    spent = []
    error: PellucidError | None = None
    for number in range(1, 9):
        try:
            with start(project, data=f"applicants@{1 + number % 2}") as run:
                loop(run)
        except BudgetExceeded as caught:
            error = caught
            break
        spent.append(project.budget("applicants").spent)
    assert error is not None, "the budget never ran out"
    assert error.exit_code == 1
    assert 2 <= len(spent) <= 7
    assert spent == sorted(spent)
    ledger = project.budget("applicants@2")
    assert ledger.document() == project.budget("applicants").document()
    assert ledger.spent <= 8.0
    assert len(ledger.runs) == len(spent)
