"""Statistics of sealed data: decided, reserved, released, settled, evidenced; and who is refused what."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.project.conftest import PURPOSE, SCHEMA, UNITS, Place, make_frame
from tests.project.test_resume import in_a_child

from pellucid import Schema, bundle
from pellucid.check import check
from pellucid.check.epsilon import recheck
from pellucid.errors import BadPlan, BudgetExceeded, Denied, Tampered, UnknownName
from pellucid.evidence import Evidence
from pellucid.privacy import mechanism
from pellucid.privacy.statistics import StatisticsPlan
from pellucid.project import statistics
from pellucid.project.loading import ONE_ROW

ASKED = ("count", "mean:age", "histogram:job", "quantiles:income")


def kinds(place: Place) -> list[str]:
    return [entry.kind for entry in place.open().entries()]


def releases(place: Place) -> list[Evidence]:
    entries = place.open().counted()
    return [e.evidence for e in entries if e.kind == "evidence" and e.evidence.kind == "release"]


def test_a_release_is_decided_and_reserved_before_it_reads_and_settled_after(sealed: Place) -> None:
    before = len(kinds(sealed))
    made = sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)
    assert kinds(sealed)[before:] == ["decision", "reserve", "decision", "evidence", "settle"]
    (run,) = sealed.open().budget("applicants").runs
    assert (run.run, run.status, run.steps_taken) == (made.label, "complete", made.plan.steps)
    assert made.label == "applicants-statistics@1"


def test_a_release_says_what_it_found_and_how_wrong_it_may_be(sealed: Place) -> None:
    frame = make_frame()
    made = sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=4.0)
    count, mean = made["count"].estimate, made["mean:age"].estimate
    wide = 3.5  # times the half of a 95 % interval: seven deviations
    assert abs(count.value - len(frame)) < wide * (count.high - count.low) / 2
    assert abs(mean.value - frame["age"].mean()) < wide * (mean.high - mean.low) / 2
    assert made["quantiles:income"].estimates["0.5"].value == pytest.approx(frame["income"].median(), rel=0.3)
    assert set(made["histogram:job"].estimates) == {"baker", "nurse", "teacher"}
    with pytest.raises(UnknownName, match="was not released"):
        made["mean:income"]
    (left,) = releases(sealed)
    assert left.coverage == "own-release"
    assert left.error["confidence"] == 0.95
    assert left.values["unit"] == "row"
    assert left.values["epsilon"] == made.plan.epsilon <= 4.0
    assert left.how["library"]["opendp"]
    assert left.values["statistics"] == [answer.record() for answer in made.answers]


def test_only_those_trained_on_are_counted_if_asked(sealed: Place) -> None:
    made = sealed.open("sid").release("applicants", ["count"], purpose=PURPOSE, epsilon=4.0, test=0.3)
    assert made["count"].estimate.value == pytest.approx(0.7 * 2950, abs=150)


def test_statistics_and_trainings_add_up_in_one_ledger(sealed: Place) -> None:
    sid = sealed.open("sid")
    sid.release("applicants", ["count"], purpose=PURPOSE, epsilon=1.0)
    sealed.train()
    sid.release("applicants", ["count"], purpose=PURPOSE, epsilon=1.0)
    ledger = sealed.open().budget("applicants")
    assert [run.run for run in ledger.runs] == ["applicants-statistics@1", "tiny@1", "applicants-statistics@2"]
    assert 3.0 < ledger.spent < 5.0


def test_a_models_bundle_carries_what_was_released_of_its_data(sealed: Place) -> None:
    sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)
    sealed.train()
    owner = sealed.open()
    made = owner.bundle("tiny")
    result = check(made, sealed.policy, owners=[owner.owner])
    assert result.verification.ok
    (released,) = [e for e in bundle.verify(made, [owner.owner]).evidence if e.kind == "release"]
    assert released.subject.name == "applicants@1"


def test_a_release_that_states_less_than_its_events_cost_does_not_verify(sealed: Place) -> None:
    sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)
    sealed.train()
    owner = sealed.open()
    evidence = bundle.verify(owner.bundle("tiny"), [owner.owner]).evidence
    assert recheck(evidence)[0] == "pass"
    for wrong in ({"epsilon": 0.9}, {"events": []}, {"delta": 1e-7}, {"adjacency": "anything"}):
        changed = [replace(e, values={**e.values, **wrong}) if e.kind == "release" else e for e in evidence]
        assert recheck(changed)[0] == "fail", wrong


@pytest.mark.parametrize(("who", "column"), [("kim", "age"), ("rea", "age"), ("ned", "age"), ("sid", "gender")])
def test_whoever_may_not_is_refused_and_nothing_is_reserved(sealed: Place, who: str, column: str) -> None:
    kind = "histogram" if column == "gender" else "mean"
    with pytest.raises(Denied):
        sealed.open(who).release("applicants", [f"{kind}:{column}"], purpose=PURPOSE, epsilon=1.0)
    assert sealed.open().budget("applicants").runs == ()


def test_a_purpose_that_was_not_declared_is_refused(sealed: Place) -> None:
    with pytest.raises(Denied, match="purpose"):
        sealed.open("sid").release("applicants", ["count"], purpose="marketing", epsilon=1.0)


def test_a_budget_that_is_too_small_says_what_fits_and_that_fits(sealed: Place) -> None:
    sid = sealed.open("sid")
    sid.release("applicants", ["count"], purpose=PURPOSE, epsilon=5.0)
    with pytest.raises(BudgetExceeded) as refused:
        sid.release("applicants", ASKED, purpose=PURPOSE, epsilon=7.0)
    fits = float(refused.value.fix.split("epsilon ")[1].split(";")[0])
    assert 1.0 < fits < 7.0
    with pytest.raises(BudgetExceeded):
        sid.release("applicants", ASKED, purpose=PURPOSE, epsilon=fits + 0.01)
    sid.release("applicants", ASKED, purpose=PURPOSE, epsilon=fits)
    with pytest.raises(BudgetExceeded, match="left"):
        sid.release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)


@pytest.mark.parametrize("wrong", [{"epsilon": float("nan")}, {"epsilon": 0.0}, {"epsilon": -1.0}, {"delta": 0.5}])
def test_a_price_that_cannot_be_meant_is_refused_before_anything_is_recorded(sealed: Place, wrong: dict) -> None:
    before = sealed.state()
    with pytest.raises(BadPlan):
        sealed.open("sid").release("applicants", ["count"], **{"purpose": PURPOSE, "epsilon": 1.0, **wrong})
    assert sealed.state() == before


def test_of_people_with_several_rows_one_row_each_is_counted(sealed: Place) -> None:
    """However many rows a person has, a person is one: the count is of people, and one of them moves it by one."""
    schema = Schema.parse(SCHEMA.replace('unit = "row"', 'unit = "person"'))
    frame = make_frame(1500)
    visits = frame.loc[frame.index.repeat(np.random.default_rng(2).integers(1, 6, len(frame)))]
    owner = sealed.open()
    owner.seal("visits", visits, schema=schema)
    made = owner.release("visits", ["count", "mean:age"], purpose=PURPOSE, epsilon=6.0)
    assert made["count"].estimate.value == pytest.approx(1500, abs=12)
    assert made["mean:age"].estimate.value == pytest.approx(frame["age"].mean(), abs=2)
    held = owner.release("visits", ["count"], purpose=PURPOSE, epsilon=1.0, test=0.3)
    assert held["count"].estimate.value == pytest.approx(0.7 * 1500, abs=120)
    for left in releases(sealed):
        assert left.values["unit"] == "person"
        assert left.how["measured"] == ONE_ROW


def stopping(at: int, end: Callable[[], None]) -> Callable[..., object]:
    """The noise of a release that ends in the middle, at its vector ``at``."""
    calls = []

    def draw(sums: np.ndarray, noise_multiplier: float) -> np.ndarray:
        calls.append(1)
        if len(calls) == at:
            end()
        return mechanism.gaussian(sums, noise_multiplier)

    return draw


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_in_the_middle_settles_with_what_was_taken(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "gaussian", stopping(2, interrupt))
    with pytest.raises(KeyboardInterrupt):
        sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)
    (run,) = sealed.open().budget("applicants").runs
    assert (run.status, run.steps_taken) == ("stopped", 2)
    assert releases(sealed) == []


def test_an_exact_sum_that_fails_is_counted(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it failed is an answer about people."""

    def fail(*args: object) -> None:
        raise ArithmeticError("of one person")

    monkeypatch.setattr("pellucid.vault.aggregate", fail)
    with pytest.raises(ArithmeticError):
        sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)
    (run,) = sealed.open().budget("applicants").runs
    assert (run.status, run.steps_taken) == ("stopped", 1)
    assert sealed.open().budget("applicants").spent > 0


def test_a_release_that_was_killed_counts_whole(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "gaussian", stopping(2, lambda: os.kill(os.getpid(), signal.SIGKILL)))

    def act() -> None:
        sealed.open("sid").release("applicants", ASKED, purpose=PURPOSE, epsilon=1.0)

    assert in_a_child(act) == -signal.SIGKILL
    (run,) = sealed.open().budget("applicants").runs
    assert run.counted_steps() == StatisticsPlan.from_record(plan_of(sealed)).steps
    assert "interrupted" in sealed.open().notices[0]
    assert sealed.verified()


def plan_of(place: Place) -> dict:
    (entry,) = [e for e in place.open().counted() if e.kind == "reserve"]
    return dict(entry.body["plan"])


def test_evidence_of_a_release_that_nobody_reserved_is_not_written(sealed: Place) -> None:
    sid = sealed.open("sid")
    sid.release("applicants", ["count"], purpose=PURPOSE, epsilon=1.0)
    (mine,) = releases(sealed)
    with pytest.raises(Tampered, match="reserved the release"):
        sealed.open().publish([mine])


def test_no_exact_count_is_anywhere(sealed: Place) -> None:
    made = sealed.open("sid").release("applicants", ["count"], purpose=PURPOSE, epsilon=1.0)
    (left,) = releases(sealed)
    said = re.sub("[0-9a-f]{64}", "", str(left.statement()))  # a digest may hold any four digits
    assert "2950" not in said.replace(str(made["count"].estimate.values()), "")
    assert made["count"].estimate.n == UNITS
