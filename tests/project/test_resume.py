"""Runs that are killed and go on, runs that are interrupted, and what nobody may go on with."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.project.conftest import FEATURES, PURPOSE, Place, make_plan
from torch import nn

from pellucid import Project
from pellucid.errors import Denied, Misuse, Tampered, UnknownName, Unverified
from pellucid.project import people, publish
from pellucid.project.intents import mark
from pellucid.project.keeping import check_every
from pellucid.project.model import load, models
from pellucid.project.odometer import odometer
from pellucid.project.resume import Resumed, abandon
from pellucid.project.run import Run
from pellucid.train import checkpoint
from pellucid.train.averaging import MovingAverage
from pellucid.train.schedules import schedule

STEPS = make_plan().steps
EVERY, KILLED = 4, 9
OnStep = Callable[[int, int], None]


def start(project: Project, on_step: OnStep | None = None, every: int | None = EVERY) -> Run:
    options = {"data": "applicants", "purpose": PURPOSE, "plan": make_plan(), "features": FEATURES}
    return project.run("mine", **options, on_step=on_step, checkpoint_every=every)


def learn(run: Run, width: int = 3) -> nn.Module:
    module = nn.Sequential(nn.Linear(run.encoding.width, width), nn.ReLU(), nn.Linear(width, 2))
    first = torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9)
    model, optimizer, batches = run.private(module, first)
    average, rate = MovingAverage(module), schedule(first, STEPS, "linear")
    run.keep("average", average)
    run.keep("rate", rate)
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        average.update()  # before the step, so that a checkpoint holds the number of its step
        if run.steps_taken:
            rate.step()
        optimizer.step()
    return module


def die_at(step: int) -> OnStep:
    def on_step(done: int, total: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def in_a_child(act: Callable[[], object]) -> int:
    """The exit status of a process that does ``act``."""
    pid = os.fork()
    if pid == 0:
        try:
            torch.set_num_threads(1)  # threads that OpenMP had before the fork are gone, and it would wait for them
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(place: Place, at: int, run: Callable[[Project, OnStep], Run] = start) -> None:
    def act() -> None:
        with run(place.open("sid"), die_at(at)) as killed:
            learn(killed)

    assert in_a_child(act) == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed_once(sealed_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("resumable") / "tiny"
    shutil.copytree(sealed_once.root, root)
    kill(Place(root), KILLED)
    return Place(root)


@pytest.fixture
def killed(killed_once: Place, copied: Callable[[Place], Place]) -> Place:
    """A copy of a project in which ``mine@1`` was killed in step 9, after checkpoints of steps 4 and 8."""
    return copied(killed_once)


def folder(place: Place) -> Path:
    (found,) = [path for path in (place.root / "runs").iterdir() if path.is_dir()]
    return found


def spent(place: Place) -> int:
    return mark(folder(place), folder(place).name, place.open("sid").identity.signing.verifier)


def waits(place: Place) -> bool:
    """Whether ``mine@1`` waits to be resumed, and counts whole."""
    project = place.open()
    (only,) = project.budget("applicants").runs
    (notice,) = project.notices
    return only.status == "reserved" and "--resume" in notice and only.counted_steps() == STEPS


def refused(place: Place, error: type[BaseException], who: str = "sid", width: int = 3) -> None:
    def go() -> None:
        with place.open(who).resume("mine") as run:
            learn(run, width)

    with pytest.raises(error):
        go()


# -- going on ---------------------------------------------------------------------------------------------------------


def test_a_killed_run_waits_counts_whole_and_is_settled_by_nobody_in_passing(killed: Place) -> None:
    assert waits(killed)
    killed.open("kim").read("applicants", ["age"], purpose=PURPOSE)
    killed.open("sid").read("applicants", ["age"], purpose=PURPOSE)
    assert waits(killed)
    assert checkpoint.steps(folder(killed)) == [4, 8]
    assert all(check["status"] == "pass" for check in publish.verify_project(killed.open()))


def test_a_resumed_run_takes_only_the_steps_that_nobody_may_have_taken(killed: Place) -> None:
    before = spent(killed)
    assert KILLED <= before <= STEPS
    taken: list[int] = []
    with killed.open("sid").resume("mine@1", on_step=lambda step, _: taken.append(step)) as run:
        learn(run)
        run.evaluate()
    assert taken == list(range(before + 1, STEPS + 1))
    assert KILLED + len(taken) <= STEPS  # noise was drawn for no more steps than are paid for

    project = killed.open()
    (only,) = project.budget("applicants").runs
    assert (only.run, only.status, only.steps_taken) == ("mine@1", "complete", STEPS)
    assert project.notices == []
    evidence = {item.kind: item.values for item in models(project)["mine@1"]}
    assert evidence["training"]["resumed"] == {"times": 1, "steps_lost": before - 8}
    assert evidence["privacy"]["epsilon"] == make_plan().epsilon
    assert [path.name for path in (killed.root / "runs").iterdir()] == ["sealing.lock"]
    assert all(check["status"] == "pass" for check in publish.verify_project(project))
    refused(killed, UnknownName)


def test_a_resumed_run_says_where_it_goes_on(killed: Place) -> None:
    lost = spent(killed) - 8
    for step, words in ((8, f"{lost} announced steps after the checkpoint count as spent"), (spent(killed) - 1, "")):
        run = killed.open("sid").resume("mine")
        assert isinstance(run, Resumed)
        run._step = step
        words = words or "1 announced step after the checkpoint counts as spent"
        assert run.going_on() == f"resuming mine@1 at step {step} of {STEPS}; {words}"


def test_it_goes_on_with_the_weights_and_the_optimizer_of_the_checkpoint(killed: Place) -> None:
    _, state = checkpoint.read(folder(killed), 8, killed.open("sid").identity.signing.verifier)
    with killed.open("sid").resume("mine") as run:
        module = nn.Sequential(nn.Linear(run.encoding.width, 3), nn.ReLU(), nn.Linear(3, 2))
        first = torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9)
        run.private(module, first)
        for name, value in module.state_dict().items():
            assert torch.equal(value, state.tensors[f"model.{name}"])
        held = [values["momentum_buffer"] for values in first.state.values()]
        assert len(held) == 4
        assert all(bool(buffer.any()) for buffer in held)
        average, rate = MovingAverage(module), schedule(first, STEPS, "linear")
        run.keep("average", average)
        run.keep("rate", rate)
        assert average.updates == 8
        assert rate.last_epoch == 7
        assert first.param_groups[0]["lr"] == pytest.approx(0.5 * (1 - 7 / STEPS))
        with pytest.raises(Misuse):
            run.keep("average", average)
        with pytest.raises(Misuse):
            run.keep("another", average)
    (only,) = killed.open().budget("applicants").runs
    assert (only.status, only.steps_taken) == ("stopped", run.steps_taken)
    assert only.steps_taken >= KILLED  # never fewer than may have been taken


@pytest.mark.parametrize("second", [KILLED + 3, STEPS])
def test_killed_again_it_goes_on_again_and_no_step_is_taken_twice(killed: Place, second: int) -> None:
    before = spent(killed)
    at = max(second, before + 1) if before < STEPS else STEPS
    if before < STEPS:
        kill(killed, at, lambda project, on_step: project.resume("mine", on_step=on_step, checkpoint_every=1))
        assert waits(killed)
    taken: list[int] = []
    with killed.open("sid").resume("mine", on_step=lambda step, _: taken.append(step)) as run:
        learn(run)
    assert all(step > at for step in taken)
    (only,) = killed.open().budget("applicants").runs
    assert (only.status, only.steps_taken) == ("complete", STEPS)


def test_a_step_is_announced_before_it_is_taken(sealed: Place) -> None:
    seen: list[tuple[int, int]] = []

    def look(step: int, total: int) -> None:
        if step >= EVERY:
            seen.append((step, spent(sealed)))

    with start(sealed.open("sid"), look) as run:
        learn(run)
    assert len(seen) == STEPS - EVERY + 1
    assert all(min(step + 1, STEPS) <= announced <= STEPS for step, announced in seen)


def test_a_run_that_ends_leaves_no_checkpoint(sealed: Place) -> None:
    with start(sealed.open("sid")) as run:
        learn(run)
        assert checkpoint.steps(folder(sealed)) == [16, STEPS]
    assert [path.name for path in (sealed.root / "runs").iterdir()] == ["sealing.lock"]


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    sealed: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pellucid.train.checkpoint.write", full)
    with start(sealed.open("sid")) as run:
        learn(run)
    assert run.steps_taken == STEPS
    assert "no checkpoint of step 4: No space left" in capsys.readouterr().err
    assert run.trained is not None


# -- what nobody may go on with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["step-8.json", "step-8.safetensors", "intents"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_tampered_checkpoint_is_refused_and_the_run_waits(killed: Place, name: str, how: str) -> None:
    path = folder(killed) / name
    data = path.read_bytes()
    if how == "changed":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    else:
        path.unlink()
    if (name, how) == ("step-8.json", "gone"):  # then the newest is that of step 4, and as many steps are spent
        assert killed.open("sid").resume("mine").dataset == "applicants@1"
    else:
        refused(killed, Unverified)
    assert waits(killed)


def test_steps_cannot_be_given_back(killed: Place) -> None:
    path = folder(killed) / "intents"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-9])  # a line cut short was written for steps not begun
    assert spent(killed) == int(lines[-2].split()[0])
    for bad in (lines[::-1], [*lines, lines[0]], [lines[0].replace(b" ", b"0 ")], [b"\n"], []):
        path.write_bytes(b"".join(bad))
        with pytest.raises(Tampered):
            spent(killed)


def test_a_checkpoint_of_another_run_is_refused(killed: Place) -> None:
    first = folder(killed)
    held = killed.root / "held"
    first.rename(held)
    kill(killed, KILLED)  # mine@2; mine@1 is abandoned on the way, because there is no checkpoint of it
    (second,) = [path for path in (killed.root / "runs").iterdir() if path.is_dir()]
    for name in ("step-8.json", "step-8.safetensors"):
        shutil.copy(held / name, second / name)
    with pytest.raises(Tampered, match="another run"):
        killed.open("sid").resume("mine")
    shutil.copy(held / "intents", second / "intents")
    with pytest.raises(Tampered):
        killed.open("sid").resume("mine")


def test_nobody_goes_on_with_somebody_else_s_run(killed: Place) -> None:
    before = killed.state()
    refused(killed, Denied, who="ana")
    assert killed.state() == before


def test_a_role_that_was_revoked_meanwhile_goes_on_with_nothing(killed: Place) -> None:
    people.revoke(killed.open(), "scientist", "sid")
    refused(killed, Denied)
    assert waits(killed)


def test_another_model_is_refused_and_the_run_still_waits(killed: Place) -> None:
    refused(killed, Misuse, width=4)
    assert waits(killed)
    with killed.open("sid").resume("mine") as run:
        learn(run)
    assert run.trained is not None


def test_a_run_that_is_alive_is_not_resumed_twice(killed: Place) -> None:
    one, other = killed.open("sid").resume("mine"), killed.open("sid").resume("mine")
    with one as run:
        with pytest.raises(Misuse, match="still running"):
            other.__enter__()
        refused(killed, UnknownName)
        learn(run)
    late = killed.open("sid")
    with pytest.raises(UnknownName):
        late.resume("mine")


def test_an_abandoned_run_is_spent_whole_and_gone(killed: Place) -> None:
    held = killed.open("sid").resume("mine")
    assert abandon(killed.open("sam"), "mine") == "mine@1"
    project = killed.open()
    (only,) = project.budget("applicants").runs
    assert (only.status, only.counted_steps(), project.notices) == ("abandoned", STEPS, [])
    assert [path.name for path in (killed.root / "runs").iterdir()] == ["sealing.lock"]
    with pytest.raises(Misuse, match="settled"):
        held.__enter__()
    assert [path.name for path in (killed.root / "runs").iterdir()] == ["sealing.lock"]


@pytest.mark.parametrize("every", [-1, 1.5, True, "4"])
def test_checkpoints_come_after_whole_numbers_of_steps(every: Any) -> None:
    with pytest.raises(Misuse):
        check_every(every, make_plan())


def test_banded_noise_is_never_stored_so_such_a_run_has_no_checkpoint() -> None:
    banded = make_plan(mechanism="banded", bands=2)
    assert check_every(None, banded) == 0
    with pytest.raises(Misuse, match="never stored"):
        check_every(4, banded)


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", [False, True], ids=["between steps", "within a step"])
def test_ctrl_c_settles_and_saves_the_model_of_the_steps_taken_and_says_so(
    sealed: Place, within: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    class Slow(torch.optim.SGD):
        steps = 0

        def step(self, closure: Any = None) -> Any:
            self.steps += 1
            if within and self.steps == 3:
                interrupt()
            return super().step(closure)

    def go(run: Run) -> None:
        with run:
            module = nn.Linear(run.encoding.width, 2)
            Slow.__module__ = "torch.optim.slow"  # one of torch's own, as far as the guards can see
            model, optimizer, batches = run.private(module, Slow(module.parameters(), lr=0.5))
            for x, y in batches:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()

    before = signal.getsignal(signal.SIGINT)
    run = start(sealed.open("sid"), None if within else lambda step, _: interrupt() if step == 3 else None)
    with pytest.raises(KeyboardInterrupt):
        go(run)
    assert signal.getsignal(signal.SIGINT) is before
    said = f"mine@1 is settled after 3 of {STEPS} steps; the model of these steps is saved"
    assert capsys.readouterr().err.count(said) == 1
    for name, why in (("mine", "it was stopped and settled"), ("mnie", 'did you mean "mine"')):
        with pytest.raises(UnknownName, match=why):
            sealed.open("sid").resume(name)
    project = sealed.open()
    (only,) = project.budget("applicants").runs
    assert (only.status, only.steps_taken) == ("stopped", 3)
    evidence = {item.kind: item for item in models(project)["mine@1"]}
    assert evidence["training"].values["steps"] == 3
    weights = sealed.root / "models" / "mine@1" / "weights.safetensors"
    assert checkpoint.digest(weights.read_bytes()) == evidence["training"].subject.sha256
    assert project.notices == []
    with pytest.raises(Misuse, match="without a factory"):
        load(sealed.open("sid"), "mine")


# -- what is shown on the way -----------------------------------------------------------------------------------------


def test_the_odometer_rises_to_the_claim_and_is_never_below_what_was_spent() -> None:
    from pellucid.privacy import accounting

    plan = make_plan()
    read = odometer(plan)
    shown = [read(step) for step in range(STEPS + 1)]
    assert shown[0] == 0.0
    assert shown == sorted(shown, key=lambda value: value or 0.0)
    assert shown[-1] == plan.epsilon
    for step in (1, 5, STEPS - 1, STEPS):
        taken = [{**plan.events[0], "count": step}]
        assert (shown[step] or 0.0) >= accounting.epsilon(taken, plan.delta)
    assert max(value or 0.0 for value in shown[:-1]) < plan.epsilon, "all of it is read only when all of it is taken"
    assert odometer(make_plan(mechanism="banded", bands=2))(3) is None
