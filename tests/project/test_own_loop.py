"""Training with the user's own code: the loop of the README, factories, stopping early, a shared budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.project.conftest import FEATURES, PURPOSE, Place, make_frame, make_plan
from torch import nn

from pellucid import Project
from pellucid.errors import BudgetExceeded, BudgetExhausted, Denied, Misuse, PellucidError, Tampered, UnknownName
from pellucid.project import budgets, data, gate
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
        "uncertainty", "slices", "labels", "robustness", "attachment",
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
        "evaluation", "calibration", "fairness", "uncertainty", "slices", "labels", "robustness", "attachment",
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


@pytest.mark.parametrize("verb", ["evaluate", "attack"])
def test_a_measurement_within_the_loop_is_no_silent_end_of_it(
    sealed: Place, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = make_plan().steps

    def go() -> None:
        with start(sealed.open("sid")) as run:
            module = module_of(run)
            model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
            for x, y in batches:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                getattr(run, verb)()

    with pytest.raises(Misuse, match=rf"run\.{verb}\(\) ended mine@1 after 1 of {steps} steps") as caught:
        go()
    assert "run.score(epsilon)" in str(caught.value.fix)
    assert f"{steps - 1} are left undone" in capsys.readouterr().err
    (only,) = sealed.open().budget("applicants").runs
    assert (only.status, only.steps_taken) == ("stopped", 1)


def test_a_loop_that_was_left_is_evaluated_and_the_steps_left_undone_are_said(
    sealed: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = make_plan().steps
    with start(sealed.open("sid")) as run:
        loop(run, steps=3)
        run.evaluate()
        assert f"after 3 of {steps} steps: {steps - 3} are left undone" in capsys.readouterr().err
        run.attack()
        assert capsys.readouterr().err == ""
    assert "evaluation" in kinds(sealed.open())


def test_a_model_that_gives_probabilities_is_noted_once(sealed: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with start(sealed.open("sid")) as run:
        module = nn.Sequential(module_of(run), nn.Softmax(dim=1))
        run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
    assert capsys.readouterr().err.count("1 (Softmax): the model gives probabilities") == 1


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


def test_a_steward_ends_a_run_before_its_next_step_and_its_model_is_kept(sealed: Place, monkeypatch: Any) -> None:
    """The loop just ends; who asks for more is told why; the claim stays, and the steps taken are an odometer."""
    monkeypatch.setattr(gate, "EVERY", 0.0)
    with sealed.open("sid") as project, start(project) as run:
        module = module_of(run)
        model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
        for x, y in batches:
            if run.steps_taken == 3:
                budgets.halt(sealed.open(), "mine@1")
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        assert run.steps_taken == 4
        with pytest.raises(BudgetExhausted, match="ended this run"):
            next(batches)
    project = sealed.open()
    assert of(project, "training")["status"] == "stopped"
    privacy = of(project, "privacy")
    assert privacy["epsilon"] == make_plan().epsilon
    assert privacy["odometer"]["steps"] == 4
    assert 0 < privacy["odometer"]["epsilon"] < privacy["epsilon"]
    (settled,) = [run for run in project.budget("applicants").runs if run.run == "mine@1"]
    assert (settled.status, settled.steps_taken) == ("stopped", 4)
    with pytest.raises(Misuse, match="settled already"):
        budgets.halt(project, "mine@1")
    with pytest.raises(UnknownName):
        budgets.halt(project, "mine@7")


def test_a_run_that_was_ended_before_its_first_step_takes_one(sealed: Place) -> None:
    """However short it is: a run that is resumed could else be over before anybody looked."""
    with start(sealed.open("sid")) as run:
        budgets.halt(sealed.open(), "mine@1")
        loop(run)
        assert run.steps_taken == 1


def test_a_scientist_ends_no_run_of_somebody_else(sealed: Place) -> None:
    with start(sealed.open("sid")), pytest.raises(Denied):
        budgets.halt(sealed.open("sid"), "mine@1")


def test_a_spent_plan_is_the_end_of_a_loop_and_says_so_to_who_asks_for_more(sealed: Place) -> None:
    with start(sealed.open("sid")) as run:
        module = module_of(run)
        model, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
        for x, y in batches:
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with pytest.raises(BudgetExhausted, match=f"after {run.plan.steps} of {run.plan.steps} steps"):
            next(batches)
        assert next(iter(batches), None) is None


def test_the_gate_looks_at_the_log_only_now_and_then(sealed: Place, monkeypatch: Any) -> None:
    project = sealed.open()
    time = [0.0]
    asked = gate.Gate(project, "nobody", clock=lambda: time[0])
    looks: list[float] = []
    monkeypatch.setattr(type(project), "refresh", lambda _: looks.append(time[0]))
    for step in range(100):
        time[0] = step / 10
        assert asked.ended() is None
    assert looks == [0.0, 2.0, 4.0, 6.0, 8.0]


# -- what is registered before the first run --------------------------------------------------------------------------


def test_plans_that_are_registered_together_are_run_in_their_places(sealed: Place) -> None:
    plan = make_plan()
    with sealed.open("sid") as project:
        before = project.budget("applicants").left
        budgets.register(project, "applicants", [plan, plan], purpose=PURPOSE)
        held = project.budget("applicants")
        for _ in range(2):
            with start(project) as run:
                loop(run)
        after = project.budget("applicants")
    assert before > held.left == after.left
    assert (held.spent, after.reserved) == (0.0, 0.0)
    assert [run.status for run in after.runs] == ["complete", "complete"]
    assert len({run.registration for run in after.runs}) == 1


def test_a_purpose_has_a_budget_of_its_own(sealed: Place) -> None:
    owner = sealed.open()
    with pytest.raises(UnknownName, match="purpose"):
        budgets.set_budget(owner, "applicants", 1.0, 1e-5, purpose="curiosity")
    budgets.set_budget(owner, "applicants", 0.2, 1e-5, purpose=PURPOSE)
    with pytest.raises(BudgetExceeded) as caught, start(sealed.open("sid")):
        pass
    assert PURPOSE in caught.value.where
    budgets.set_budget(owner, "applicants", 6.0, 1e-5, purpose=PURPOSE)
    with start(sealed.open("sid")) as run:
        loop(run, steps=2)
    whole, part = budgets.ledgers(sealed.open(), "applicants")
    assert [run.run for run in whole.runs] == [run.run for run in part.runs] == ["mine@1"]
