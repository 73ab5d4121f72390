"""Scores on private people: covered and paid for, or labelled, or behind a door that says so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.project.conftest import UNITS, Place
from tests.project.test_own_loop import module_of, start
from tests.project.test_resume import in_a_child
from torch import nn

from pellucid.check import check
from pellucid.errors import BadPlan, BudgetExceeded, Denied, Misuse
from pellucid.evidence import Evidence
from pellucid.explain import evaluate, predict
from pellucid.project import model
from pellucid.project.model import load
from pellucid.project.run import Run
from pellucid.project.unsafe import UnsafeScore

SHIPPED = Path(__file__).resolve().parent.parent.parent / "policies" / "release.toml"


def evaluations(place: Place, label: str = "tiny@1") -> list[Evidence]:
    return [e for e in model.models(place.open())[label] if e.kind == "evaluation"]


def learn(run: Run, each: Any = lambda steps: None) -> None:
    module = module_of(run)
    private, optimizer, batches = run.private(module, torch.optim.SGD(module.parameters(), lr=0.5))
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(private(x), y).backward()
        optimizer.step()
        if each(run.steps_taken):
            break


def test_an_evaluation_is_labelled_uncovered_unless_it_is_released(trained: Place) -> None:
    (uncovered,) = [e for e in evaluations(trained) if e.coverage == "uncovered"][-1:]
    sid = trained.open("sid")
    spent = sid.budget("applicants").spent
    assert load(sid, "tiny").evaluate(release=1.0) == ["evaluation"]
    covered = evaluations(trained)[-1]
    assert (covered.coverage, covered.tier) == ("own-release", "auditor")
    for name in ("auc", "accuracy", "base_rate", "majority_accuracy"):
        exact, noisy = uncovered.values[name], covered.values[name]
        assert noisy["low"] <= noisy["value"] <= noisy["high"]
        # about the same people, so that only noise lies between them: seven deviations
        assert abs(noisy["value"] - exact["value"]) < 3.5 * (noisy["high"] - noisy["low"]) / 2
        assert noisy["n"] == UNITS * 0.3
    ledger = sid.budget("applicants")
    assert ledger.spent > spent
    assert (ledger.runs[-1].run, ledger.runs[-1].status) == ("tiny-scores@1", "complete")
    assert covered.values["released"]["epsilon"] == ledger.runs[-1].epsilon <= 1.0


def test_a_release_rule_reads_the_covered_evaluation(sealed: Place, tmp_path: Path) -> None:
    trained = sealed
    trained.train()
    load(trained.open("sid"), "tiny").evaluate(release=2.0)
    policy = tmp_path / "policy.toml"
    policy.write_text('[[require]]\nid = "auc"\nthat = "evaluation.auc.low >= 0.6"\nbecause = "the test says so"\n')
    owner = trained.open()
    result = check(owner.bundle("tiny"), policy, owners=[owner.owner])
    assert result.verification.ok
    (finding,) = result.findings
    last = evaluations(trained)[-1].values["auc"]["low"]
    assert list(finding.values.values()) == [last]


def test_training_may_stop_early_by_scores_that_are_paid_for(sealed: Place) -> None:
    """The look is in the ledger and in evidence, and the model's claim is that of its whole plan all the same."""
    project, seen = sealed.open("sid"), []
    with start(project) as run:

        def enough(steps: int) -> bool:
            if steps % 4 == 0:
                seen.append(run.score(0.3))
            return bool(seen)

        learn(run, enough)
    (score,) = seen
    assert 0 <= score.accuracy.low <= score.accuracy.value <= score.accuracy.high <= 1
    assert score.auc is None
    training, looked = project.budget("applicants").runs
    assert (training.status, training.steps_taken) == ("stopped", 4)
    assert looked.run == score.label == "mine-scores@1"
    released = [e.evidence for e in project.counted() if e.kind == "evidence" and e.evidence.kind == "release"]
    assert released[0].values["statistics"][0]["estimates"]["accuracy"] == score.accuracy.values()
    assert (released[0].coverage, released[0].values["part"]) == ("own-release", "held-out")
    owner = sealed.open()
    assert check(owner.bundle("mine"), sealed.policy, owners=[owner.owner]).verification.ok


def test_a_score_may_rank_too_and_is_of_the_model_as_it_is(sealed: Place) -> None:
    project = sealed.open("sid")
    with start(project) as run:

        def look(steps: int) -> None:
            if steps == 5:
                scores = run.score(2.0, ranked=True)
                exact = predict(*run.standing())
                right = float((exact.predicted == exact.labels).mean())
                assert abs(scores.accuracy.value - right) < 0.2
                assert scores.auc is not None
                area = evaluate(exact).auc.value  # of a few steps it may be below a half
                assert scores.auc.low - 0.05 < area < scores.auc.high + 0.05

        learn(run, look)


def test_only_a_model_in_the_making_is_scored(sealed: Place) -> None:
    with start(sealed.open("sid")) as run:
        with pytest.raises(Misuse, match="in the making"):
            run.score(0.1)
        learn(run)
        run.finish()
        with pytest.raises(Misuse, match="in the making"):
            run.score(0.1)
        with pytest.raises(Misuse), pytest.warns(UserWarning, match="no guarantee"):
            UnsafeScore(run)


@pytest.mark.parametrize("epsilon", [math.nan, 0.0, -1.0, math.inf])
def test_a_price_that_cannot_be_meant_is_refused(trained: Place, epsilon: float) -> None:
    with pytest.raises(BadPlan, match="epsilon"):
        load(trained.open("sid"), "tiny").evaluate(release=epsilon)


def test_nobody_held_out_is_nobody_to_score(trained: Place) -> None:
    made = load(trained.open("sid"), "tiny")
    made.test = 0.0
    with pytest.raises(BadPlan, match="nobody is held out"):
        made.evaluate(release=1.0)


def test_a_budget_that_does_not_hold_the_look_refuses_it(trained: Place) -> None:
    with pytest.raises(BudgetExceeded) as refused:
        load(trained.open("sid"), "tiny").evaluate(release=7.9)
    assert "epsilon" in str(refused.value.fix)


def test_an_auditor_evaluates_and_releases_nothing(trained: Place) -> None:
    made = load(trained.open("kim"), "tiny")
    with pytest.raises(Denied, match="statistics"):
        made.evaluate(release=1.0)


def test_an_unsafe_score_warns_and_leaves_evidence_that_the_shipped_policy_refuses(sealed: Place) -> None:
    with start(sealed.open("sid")) as run:
        doors: list[UnsafeScore] = []

        def look(steps: int) -> None:
            if steps == 2:
                with pytest.warns(UserWarning, match="no guarantee"):
                    doors.append(UnsafeScore(run))
            if doors:
                assert 0 <= doors[0]() <= 1

        learn(run, look)
        run.evaluate()
    (left,) = [e for e in model.models(sealed.open())["mine@1"] if e.kind == "unsafe"]
    assert (left.values["door"], left.coverage) == ("UnsafeScore", "uncovered")
    owner = sealed.open()
    result = check(owner.bundle("mine"), SHIPPED, owners=[owner.owner])
    (finding,) = [each for each in result.findings if each.id == "training.safe"]
    assert finding.status == "fail"


def test_a_run_that_opened_a_door_cannot_be_killed_and_resumed_without_saying_so(sealed: Place) -> None:
    def act() -> None:
        import os
        import signal
        import warnings

        with start(sealed.open("sid"), checkpoint_every=2) as run:

            def look(steps: int) -> None:
                if steps == 5:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        UnsafeScore(run)
                if steps == 8:
                    os.kill(os.getpid(), signal.SIGKILL)

            learn(run, look)

    assert in_a_child(act) < 0
    (notice,) = sealed.open().notices
    assert "--resume" not in notice
