"""Tuning: one reservation, one model, and nothing of the trials that lost anywhere."""

from __future__ import annotations

import base64
import io
import os
import shutil
import signal
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save
from tests.project.conftest import PURPOSE, Place, make_frame
from tests.project.test_resume import in_a_child

from pellucid import Project, bundle
from pellucid.check import check
from pellucid.check.epsilon import recheck
from pellucid.errors import BadFile, BadPlan, BudgetExceeded, Denied, Misuse, Refused, Tampered, UnknownName
from pellucid.privacy import TuningPlan
from pellucid.project import budgets, gate, model, reserving, tuning
from pellucid.project.drawer import KEY, STATE, Drawer
from pellucid.project.recipe import Outcome
from pellucid.project.reservations import folder, lock
from pellucid.project.resume import abandon, resume, resume_tuning
from pellucid.train import trial as trials

SPACE = {"train.learning_rate": {"low": 0.05, "high": 2.0, "scale": "log"}, "train.clip": [0.5, 1.0]}


def tune(project: Project, place: Place, **changed: Any) -> Outcome:
    options = {"trials": 4, "name": "best", "data": "applicants", "purpose": PURPOSE, "recipe": place.recipe}
    return project.tune(changed.pop("space", SPACE), **{**options, **changed})


def fixed(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """So many trials, whatever is drawn."""
    monkeypatch.setattr(tuning, "draw_trials", lambda _: number)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the evidence that evaluating and explaining leave, which other tests are about."""
    monkeypatch.setattr(model.Trained, "evaluate", lambda _: [])
    monkeypatch.setattr(model.Trained, "explain", lambda _: [])


class Watch:
    """What every trial came to, for a test to look for afterwards: ``weights`` and ``scores`` in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, end: Callable[[int], None] = lambda _: None) -> None:
        self.modules: list[torch.nn.Module] = []
        self.scores: list[dict[str, Any]] = []
        real, score = trials.trial, tuning.private_score

        def trial(*given: Any, **more: Any) -> torch.nn.Module:
            end(len(self.modules))
            self.modules.append(real(*given, **more))
            return self.modules[-1]

        def private_score(*given: Any, **more: Any) -> dict[str, Any]:
            self.scores.append(score(*given, **more))
            return self.scores[-1]

        monkeypatch.setattr(trials, "trial", trial)
        monkeypatch.setattr(tuning, "private_score", private_score)

    @property
    def best(self) -> int:
        ranks = [each["rank"] for each in self.scores]
        return ranks.index(max(ranks))

    def traces(self, lost: int) -> list[bytes]:
        """Bytes by which a trial would be known: its weights, their base64 at every offset, its scores as text."""
        weights = self.modules[lost].state_dict()["0.weight"].numpy().tobytes()[:24]
        text = [base64.b64encode(b"\0" * pad + weights)[4:-4] for pad in (0, 1, 2)]
        rank = self.scores[lost]["rank"]
        value = self.scores[lost]["accuracy"]["value"]
        return [weights, *text, repr(rank).encode(), struct.pack("<d", rank), repr(value).encode()]


def everything(root: Path) -> bytes:
    """Every byte of every file of the project, the log's database and what it left beside itself among them."""
    found = io.BytesIO()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            found.write(path.name.encode() + b"\n" + path.read_bytes() + b"\n")
    return found.getvalue()


@pytest.mark.usefixtures("quick")
def test_the_forecast_of_a_tuning_is_what_it_then_reserves_and_costs(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fixed(monkeypatch, 1)
    space = tmp_path / "space.toml"
    space.write_text('[tune]\ntrials = 4\n[space]\n"train.clip" = [0.5, 1.0]\n')
    before = len(sealed.open().entries())
    purpose, plan = budgets.planned(sealed.open("sid"), "applicants", sealed.recipe, PURPOSE, space=space)
    assert isinstance(plan, TuningPlan)
    assert purpose == PURPOSE
    (told,) = budgets.forecasts(sealed.open(), "applicants", plan, PURPOSE)
    assert len(sealed.open().entries()) == before  # nothing was decided, reserved or recorded
    tune(sealed.open("sid"), sealed, space={"train.clip": [0.5, 1.0]})
    project = sealed.open()
    (reserved,) = (entry for entry in project.entries() if entry.kind == "reserve")
    assert reserved.body["plan"] == plan.record()
    assert told.cost is not None
    assert project.budget("applicants").spent == pytest.approx(told.cost, abs=1e-6)
    assert told.runs >= 1


def entries(place: Place) -> list[str]:
    return [e.kind if e.kind != "evidence" else e.evidence.kind for e in place.open().entries()]


def of(place: Place, kind: str) -> Any:
    (found,) = [e for e in model.models(place.open())["best@1"] if e.kind == kind]
    return found


def drawer(place: Place, who: str = "sid") -> Drawer:
    (path,) = [path for path in (place.root / "runs").iterdir() if path.is_dir()]
    return Drawer(path, path.name, place.open(who).identity)


# -- what it leaves ---------------------------------------------------------------------------------------------------


def test_a_tuning_is_one_reservation_and_one_model_whose_bundle_verifies(sealed: Place) -> None:
    with sealed.open("sid") as project:
        told: list[str] = []
        made = tune(project, sealed, on_phase=told.append)
        assert [line for line in told if line.startswith("hold = SECONDS in the space")]
        assert max(map(len, told)) < 80
        (run,) = project.budget("applicants").runs
        assert (run.run, run.status, run.epsilon) == ("best@1", "complete", made.epsilon)
        assert 2.9 < made.epsilon <= 3.0, "what the recipe says is for the whole"
        assert project.budget("applicants").spent == made.epsilon
        result = check(project.bundle("best"), sealed.policy, owners=[project.owner])
        assert result.verification.ok, [c.detail for c in result.verification.checks if c.status == "fail"]
        assert model.load(project, "best").subject.sha256 == made.digest
    privacy, chosen = of(sealed, "privacy").values, of(sealed, "tuning")
    assert [event["kind"] for event in privacy["events"]] == ["repeat_and_select"]
    assert privacy["epsilon"] == made.epsilon == chosen.values["epsilon"]
    assert "second_opinion" not in privacy, "only one accountant can, and absence is not agreement"
    assert chosen.coverage == "public"
    assert chosen.values["trials"] == 4, "the expectation, which is public"
    assert chosen.values["score"]["on"].startswith("people held out")
    assert chosen.values["space"]["train.clip"] == [0.5, 1.0]


@pytest.mark.usefixtures("quick")
def test_a_claim_about_another_tuning_than_was_registered_does_not_verify(sealed: Place) -> None:
    tune(sealed.open("sid"), sealed)
    owner = sealed.open()
    evidence = bundle.verify(owner.bundle("best"), [owner.owner]).evidence
    assert recheck(evidence)[0] == "pass"
    (claim,) = [e.values for e in evidence if e.kind == "privacy"]
    told, (event,) = claim["tuning"], claim["events"]
    for wrong in (
        {"epsilon": claim["epsilon"] - 0.1},
        {"tuning": {**told, "trials": 2.0}},
        {"tuning": {**told, "distribution": "poisson"}},
        {"tuning": {**told, "score_noise": None}},
        {"tuning": {}},
        {"tuning": None},
        {"events": [{**event, "mean": "2.0"}]},
        {"events": event["events"]},
        {"events": event["events"], "steps": claim["steps"] + 17},
        {"noise_multiplier": claim["noise_multiplier"] * 2},
    ):
        changed = [replace(e, values={**e.values, **wrong}) if e.kind == "privacy" else e for e in evidence]
        assert recheck(changed)[0] == "fail", wrong
    longer = [replace(e, values={**e.values, "steps": 18}) if e.kind == "training" else e for e in evidence]
    assert recheck(longer)[0] == "fail", "more steps than a trial has"


@pytest.mark.usefixtures("quick")
def test_the_best_trial_is_released(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 5)
    watch = Watch(monkeypatch)
    made = tune(sealed.open("sid"), sealed)
    assert len(watch.scores) == 5
    released = model.load(sealed.open("sid"), "best").module.state_dict()
    for name, tensor in watch.modules[watch.best].state_dict().items():
        assert torch.equal(released[name], tensor)
    assert made.model == "best@1"
    recipe = of(sealed, "training").values["recipe"]
    assert recipe["train"]["clip"] == of(sealed, "privacy").values["max_grad_norm"]


@pytest.mark.usefixtures("quick")
def test_nothing_of_a_trial_that_lost_is_left_anywhere(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither weights nor scores: in no file of the project, in no line of output, at no moment in the clear."""
    fixed(monkeypatch, 4)
    seen_meanwhile: list[bytes] = []
    watch = Watch(monkeypatch, end=lambda _: seen_meanwhile.append(everything(sealed.root)))
    tune(sealed.open("sid"), sealed, on_phase=print)
    sealed.open("sid").bundle("best")
    out, err = capfd.readouterr()
    after = everything(sealed.root) + out.encode() + err.encode()
    released = watch.modules[watch.best].state_dict()["0.weight"].numpy().tobytes()[:24]
    assert released in after, "the search finds what is there"
    for lost in range(4):
        for trace in watch.traces(lost):
            assert trace not in b"".join(seen_meanwhile)
            if lost != watch.best or trace not in watch.traces(watch.best)[:4]:
                assert trace not in after
    assert not [path for path in (sealed.root / "runs").iterdir() if path.is_dir()]


@pytest.mark.usefixtures("quick")
def test_how_many_trials_there_were_shows_nowhere(
    sealed_once: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One trial and six leave the same entries, the same files of the same sizes, and the same words."""
    left = []
    for number in (1, 6):
        root = tmp_path / str(number)
        shutil.copytree(sealed_once.root, root)
        place = Place(root)
        fixed(monkeypatch, number)
        tune(place.open("sid"), place, space={"train.clip": [0.5, 1.0]}, on_phase=print)
        files = {
            str(path.relative_to(root)): path.stat().st_size
            for path in root.rglob("*")
            if path.is_file() and path.parts[-2] != "log"
        }
        left.append((entries(place), files, capfd.readouterr()))
    assert left[0] == left[1]


@pytest.mark.usefixtures("quick")
def test_the_state_in_between_is_padded_and_opens_for_its_owner_alone(
    sealed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch, 3)
    sizes = []

    def look(done: int) -> None:
        kept = drawer(sealed)
        sizes.append((kept._folder / STATE).stat().st_size)
        assert kept.get()["done"] == done
        with pytest.raises(Tampered):
            Drawer(kept._folder, kept._name, sealed.open("sam").identity).get()
        with pytest.raises(Tampered):
            Drawer(kept._folder, "another", sealed.open("sid").identity).get()

    Watch(monkeypatch, end=look)
    tune(sealed.open("sid"), sealed)
    assert len(set(sizes)) == 1
    assert sizes[0] > 2**16


@pytest.mark.usefixtures("quick")
def test_of_all_trials_everything_is_told_and_paid_for(sealed: Place) -> None:
    made = tune(sealed.open("sid"), sealed, trials=3, distribution="all")
    chosen = of(sealed, "tuning")
    assert len(chosen.values["seen"]) == 3
    assert {"configuration", "accuracy"} <= chosen.values["seen"][0].keys()
    assert chosen.coverage == "own-release"
    (run,) = sealed.open().budget("applicants").runs
    assert run.steps_planned == run.steps_taken == 3 * (made.steps + 1)
    owner = sealed.open()
    assert check(owner.bundle("best"), sealed.policy, owners=[owner.owner]).verification.ok


@pytest.mark.usefixtures("quick")
def test_a_score_of_public_data_costs_nothing(sealed: Place, tmp_path: Path) -> None:
    public = tmp_path / "public.csv"
    make_frame(400, seed=5).to_csv(public, index=False)
    tune(sealed.open("sid"), sealed, public=public, score="auc")
    chosen = of(sealed, "tuning").values
    assert chosen["score"]["on"] == "public data"
    assert len(chosen["trial"]) == 1
    assert "noise_multiplier" not in chosen["score"]
    assert len(chosen["score"]["sha256"]) == 64


@pytest.mark.usefixtures("quick")
def test_boosting_is_tuned_too(sealed: Place) -> None:
    from tests.project.test_boosting import RECIPE

    sealed.recipe.write_text(RECIPE, encoding="utf-8")
    tune(sealed.open("sid"), sealed, space={"model.leaves": [2, 3], "train.learning_rate": [0.2, 0.5]}, score="auc")
    owner = sealed.open()
    assert check(owner.bundle("best"), sealed.policy, owners=[owner.owner]).verification.ok


@pytest.mark.usefixtures("quick")
def test_a_configuration_that_fails_loses_and_none_at_all_is_refused_and_paid(
    sealed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch, 3)

    def fails(done: int) -> None:
        raise ValueError("a weight is not finite")

    Watch(monkeypatch, end=fails)
    with pytest.raises(Refused, match="without a model"):
        tune(sealed.open("sid"), sealed)
    (run,) = sealed.open().budget("applicants").runs
    assert run.status == "complete"
    assert "training" not in entries(sealed)


@pytest.mark.usefixtures("quick")
def test_a_draw_of_no_trial_ends_without_a_model(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 0)
    with pytest.raises(Refused, match="without a model"):
        tune(sealed.open("sid"), sealed, distribution="poisson")


@pytest.mark.usefixtures("quick")
def test_the_end_can_be_held_until_a_time_fixed_beforehand(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 1)
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(tuning, "time", clock)
    told: list[str] = []
    tune(sealed.open("sid"), sealed, hold=3600, on_phase=told.append)
    assert of(sealed, "privacy").values["tuning"]["hold"] == 3600.0
    assert not [line for line in told if "hold =" in line]
    assert sum(slept) == pytest.approx(3600.0)
    assert max(slept) <= gate.EVERY, "and a steward's stop is looked out for"


# -- killed, interrupted, resumed -------------------------------------------------------------------------------------


def kill(done: int) -> None:
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def killed_once(sealed_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("tuning") / "tiny"
    shutil.copytree(sealed_once.root, root)
    place = Place(root)

    def act() -> None:
        with pytest.MonkeyPatch.context() as patch:
            fixed(patch, 4)
            Watch(patch, end=kill)
            tune(place.open("sid"), place)

    assert in_a_child(act) == -signal.SIGKILL
    return place


@pytest.fixture
def killed(killed_once: Place, copied: Callable[[Place], Place]) -> Place:
    """A copy in which ``best@1``, of four trials, was killed in the third."""
    return copied(killed_once)


@pytest.mark.usefixtures("quick")
def test_a_killed_tuning_goes_on_where_it_was(killed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (notice,) = killed.open().notices
    assert "tune best@1 --resume" in notice
    (run,) = killed.open().budget("applicants").runs
    assert run.status == "reserved", "and counts whole"
    before = drawer(killed).get()
    assert (before["trials"], before["done"]) == (4, 2)
    watch = Watch(monkeypatch)
    made = resume_tuning(killed.open("sid"), "best")
    assert len(watch.modules) == 2
    ranks = [before["best"]["score"]["rank"], *(each["rank"] for each in watch.scores)]
    if max(ranks) == ranks[0]:
        released = (killed.root / "models" / "best@1" / "weights.safetensors").read_bytes()
        kept = base64.b64decode(before["best"]["weights"])
        assert sorted(released) == sorted(kept)
    (run,) = killed.open().budget("applicants").runs
    assert (run.status, made.model) == ("complete", "best@1")
    assert not [path for path in (killed.root / "runs").iterdir() if path.is_dir()]
    with pytest.raises(UnknownName):
        resume_tuning(killed.open("sid"), "best")
    assert killed.verified()


def test_only_whoever_reserved_a_tuning_goes_on_and_only_as_a_tuning(killed: Place) -> None:
    with pytest.raises(Denied, match="reserved this run"):
        resume_tuning(killed.open("ana"), "best")
    with pytest.raises(Misuse, match="is a tuning"):
        resume(killed.open("sid"), "best")
    with pytest.raises(Misuse, match="public data"):
        resume_tuning(killed.open("sid"), "best", public=make_frame(300))
    assert drawer(killed).get()["done"] == 2, "it waits as it did"


@pytest.mark.parametrize("name", [KEY, STATE])
def test_a_changed_state_is_not_gone_on_with(killed: Place, name: str) -> None:
    path = drawer(killed)._folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Tampered):
        resume_tuning(killed.open("sid"), "best")


def test_an_abandoned_tuning_stays_spent_and_its_state_is_destroyed(killed: Place) -> None:
    kept = drawer(killed)
    sealed_state = (kept._folder / STATE).read_bytes()
    assert abandon(killed.open("sid"), "best") == "best@1"
    (run,) = killed.open().budget("applicants").runs
    assert run.status == "abandoned"
    kept._folder.mkdir()
    (kept._folder / STATE).write_bytes(sealed_state)  # a copy that somebody kept
    with pytest.raises(Tampered):
        kept.get()


@pytest.mark.usefixtures("quick")
def test_when_a_settlement_is_recorded_the_key_is_gone(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no kill between the two leaves a key behind."""
    fixed(monkeypatch, 1)
    settle, seen = reserving.settle, []

    def watched(project: Project, label: str, reservation: str, **fields: Any) -> None:
        place = folder(project, reservation)
        seen.append((place.is_dir(), (place / KEY).exists(), (place / STATE).exists()))
        settle(project, label, reservation, **fields)

    monkeypatch.setattr(reserving, "settle", watched)
    tune(sealed.open("sid"), sealed)
    assert seen == [(True, False, False)]


def test_what_a_settled_run_left_is_swept_once_its_process_is_gone(killed: Place) -> None:
    kept = drawer(killed)
    state, key = ((kept._folder / name).read_bytes() for name in (STATE, KEY))
    abandon(killed.open("sid"), "best")
    kept._folder.mkdir()
    (kept._folder / STATE).write_bytes(state)
    (kept._folder / KEY).write_bytes(key)
    project = killed.open("sid")
    held = lock(project, kept._folder.name)
    with project.writing():
        assert kept.there, "its process is still at it"
    held.close()
    with killed.open("sid").writing():
        pass
    assert not kept._folder.exists()


@pytest.mark.usefixtures("quick")
def test_ctrl_c_in_the_middle_leaves_it_waiting(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 3)

    def interrupt(done: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        Watch(patch, end=interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(sealed.open("sid"), sealed)
    assert "training" not in entries(sealed), "ending early would be choosing how many trials there are"
    assert resume_tuning(sealed.open("sid"), "best").model == "best@1"


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"trials": 0}, BadPlan),
        ({"trials": 1}, BadPlan),
        ({"trials": float("nan")}, BadPlan),
        ({"space": {"train.clip": [1.0]}}, BadFile),
        ({"space": {"train.epochs": [1, 2]}}, BadFile),
        ({"space": {"train.clip": [1.0, -1.0]}}, BadFile),
        ({"distribution": "uniform"}, BadPlan),
        ({"score": "f1"}, BadPlan),
        ({"score_noise": 0.0}, BadPlan),
        ({"hold": float("inf")}, BadPlan),
        ({"hold": -1.0}, BadPlan),
        ({"data": "applicant"}, UnknownName),
        ({"name": "Best One"}, BadFile),
        ({"public": make_frame(300), "score_noise": 5.0}, BadPlan),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_recorded(
    sealed: Place, wrong: dict[str, Any], error: type[Exception]
) -> None:
    before = sealed.state()
    with pytest.raises(error):
        tune(sealed.open("sid"), sealed, **wrong)
    assert sealed.state() == before


def test_nobody_held_out_is_nobody_to_score_on(sealed: Place) -> None:
    text = sealed.recipe.read_text(encoding="utf-8").replace("test = 0.3", "test = 0.0")
    sealed.recipe.write_text(text, encoding="utf-8")
    with pytest.raises(BadPlan, match="nobody is held out"):
        tune(sealed.open("sid"), sealed)


def test_whoever_may_not_train_may_not_tune(sealed: Place) -> None:
    for who in ("kim", "rea", "ned"):
        with pytest.raises(Denied):
            tune(sealed.open(who), sealed)
    assert sealed.open().budget("applicants").runs == ()


@pytest.mark.usefixtures("quick")
def test_a_budget_that_is_too_small_says_what_fits(sealed: Place) -> None:
    sid = sealed.open("sid")
    sid.release("applicants", ["count"], purpose=PURPOSE, epsilon=6.5)
    with pytest.raises(BudgetExceeded) as refused:
        tune(sid, sealed)
    fits = float(refused.value.fix.split("epsilon ")[1].split(" in")[0])
    assert 0 < fits < 3
    text = sealed.recipe.read_text(encoding="utf-8").replace("epsilon = 3.0", f"epsilon = {fits}")
    sealed.recipe.write_text(text, encoding="utf-8")
    assert tune(sid, sealed).epsilon <= fits


def test_a_released_model_is_of_the_plan_that_was_registered(sealed: Place) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.Trained, "evaluate", lambda _: [])
        patch.setattr(model.Trained, "explain", lambda _: [])
        tune(sealed.open("sid"), sealed)
    (entry,) = [e for e in sealed.open().counted() if e.kind == "reserve"]
    plan = TuningPlan.from_record(entry.body["plan"])
    assert plan.events == of(sealed, "privacy").values["events"]


def test_weights_of_a_module_are_bytes_that_a_search_would_find() -> None:
    """The marker test looks for the bytes that safetensors writes."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    assert module.state_dict()["0.weight"].numpy().tobytes()[:24] in save(module.state_dict())
    assert isinstance(make_frame(3), pd.DataFrame)


# -- ended by a steward -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [True, False])
def test_a_tuning_that_a_steward_ends_releases_nothing_and_stays_spent(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, quick: None, hidden: bool
) -> None:
    monkeypatch.setattr(gate, "EVERY", 0.0)
    if hidden:
        fixed(monkeypatch, 3)

    def stop(done: int) -> None:
        if done == 1:
            budgets.halt(sealed.open(), "best@1")

    watch = Watch(monkeypatch, stop)
    asked = {} if hidden else {"distribution": "all", "trials": 3}
    with sealed.open("sid") as project, pytest.raises(Refused, match=r"ana ended this run; no model is released"):
        tune(project, sealed, **asked)
    assert len(watch.modules) == 1, "the second trial ended at its first step"
    (run,) = sealed.open().budget("applicants").runs
    assert (run.status, run.counted_steps()) == ("abandoned", run.steps_planned)
    assert "best@1" not in model.models(sealed.open())
    assert not list((sealed.root / "runs").glob("*/*")), "neither state nor key is left"
    with pytest.raises(UnknownName):
        resume(sealed.open("sid"), "best@1")


def test_a_held_back_end_is_still_looked_out_for(sealed: Place, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setattr(gate, "EVERY", 0.0)
    monkeypatch.setattr(tuning, "EVERY", 0.01)
    fixed(monkeypatch, 1)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            budgets.halt(sealed.open(), "best@1")

    monkeypatch.setattr(tuning, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
    with sealed.open("sid") as project, pytest.raises(Refused, match="ana ended this run"):
        tune(project, sealed, hold=3600.0)
    assert len(slept) == 3
