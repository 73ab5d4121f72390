"""An interpretable model, trained privately in the same ledger as any other."""

from __future__ import annotations

import pytest
import torch
from tests.project.conftest import Place, make_plan
from tests.project.test_own_loop import of, start

from pellucid.check import check
from pellucid.errors import Misuse
from pellucid.privacy import BoostPlan
from pellucid.project import budgets, data, gate
from pellucid.project.model import load
from pellucid.train.additive import Additive
from pellucid.train.ebm import Boosting

RECIPE = """
[model]
kind = "ebm"
bins = 16
leaves = 3
[train]
rounds = 5
learning_rate = 0.5
[privacy]
epsilon = 2.0
delta = 1e-5
[split]
test = 0.3
"""


def test_an_ebm_trains_in_the_ledger_and_its_bundle_verifies(sealed: Place) -> None:
    sealed.recipe.write_text(RECIPE, encoding="utf-8")
    label = sealed.train()
    with sealed.open("sid") as project:
        bundle = project.bundle(label)
        result = check(bundle, sealed.policy, owners=[project.owner])
        assert result.verification.ok
        privacy = of(project, "privacy")
        assert {event["kind"] for event in privacy["events"]} == {"gaussian"}
        assert 1.9 < privacy["epsilon"] <= 2.0
        assert of(project, "training")["status"] == "complete"
        assert isinstance(load(project, label).module, Additive)
        ledger = data.ledger(project, "applicants")
    assert ledger.spent > 0


@pytest.mark.parametrize("last", [2, 11])
def test_a_boosting_that_a_steward_ends_keeps_its_model_and_claims_the_plan(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """Before the first round, and between two: what was learned is saved, and its bundle verifies."""
    monkeypatch.setattr(gate, "EVERY", 0.0)
    sealed.recipe.write_text(RECIPE, encoding="utf-8")
    after = Boosting._after

    def stop(self: Boosting) -> None:
        if self.steps_taken == last:
            budgets.halt(sealed.open(), "tiny@1")
        after(self)

    monkeypatch.setattr(Boosting, "_after", stop)
    sealed.train()
    with sealed.open() as project:
        privacy, training = of(project, "privacy"), of(project, "training")
        assert check(project.bundle("tiny@1"), sealed.policy, owners=[project.owner]).verification.ok
        (run,) = project.budget("applicants").runs
    assert (training["status"], training["steps"]) == ("stopped", last)
    assert privacy["odometer"]["steps"] == last
    assert 0 < privacy["odometer"]["epsilon"] < privacy["epsilon"]
    assert (run.status, run.steps_taken) == ("stopped", last)


def test_an_explanation_of_an_ebm_adds_up(sealed: Place) -> None:
    sealed.recipe.write_text(RECIPE, encoding="utf-8")
    sealed.train()
    assert of(sealed.open(), "explanation")["completeness_gap"] <= 0.01


def test_a_plan_for_boosting_trains_no_gradients_and_the_other_way_round(sealed: Place) -> None:
    plan = BoostPlan.calibrate(epsilon=1.0, delta=1e-5, units=make_plan().units, test=0.3, columns=3, rounds=2)
    module = torch.nn.Linear(4, 2)
    with pytest.raises(Misuse, match="boosting"), start(sealed.open("sid"), plan=plan) as run:
        run.private(module, torch.optim.SGD(module.parameters(), lr=0.1))
    with pytest.raises(Misuse, match="gradients"), start(sealed.open("sid")) as run:
        run.boost(Additive(run.encoding, 16), learning_rate=0.1, leaves=3)
