"""``pellucid train``: progress that a person can watch, runs that are resumed or given up, Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from pellucid import console
from pellucid.console import Facts, Progress


def killed(fresh: Any, step: int = 9) -> None:
    """``late@1`` is killed in ``step``, after a checkpoint of step 5."""
    from pellucid.project import Project, recipe

    def on_step(done: int, total: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        try:
            project = Project.open(fresh.root, identity="ana", passphrase="glass-all-the-way-down")
            what = {"dataset": "applicants", "purpose": "credit scoring", "recipe": fresh.files / "recipe.toml"}
            recipe.train(project, "late", **what, on_step=on_step, checkpoint_every=5)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def last_run(pellucid: Any, fresh: Any) -> Any:
    return pellucid("budget", "applicants", "--project", fresh.root, "--json").json["runs"][-1]


# -- resume and abandon -----------------------------------------------------------------------------------------------


def test_a_killed_run_is_resumed_by_its_name_alone(pellucid: Any, fresh: Any, tmp_path: Path) -> None:
    killed(fresh)
    here = ("--project", fresh.root, "--as", "ana")
    assert "pellucid train late@1 --resume" in pellucid("data", "list", *here).err
    assert last_run(pellucid, fresh)["status"] == "reserved"

    other = tmp_path / "other.toml"
    other.write_text((fresh.files / "recipe.toml").read_text().replace("delta = 1e-5", "delta = 2e-5"))
    for words in (("--recipe", other), ("--purpose", "fairness audit"), ("--data", "applicants@2")):
        ran = pellucid("train", "late", "--resume", *words, *here)
        assert (ran.code, words[0] in ran.err) == (2, True), (words, ran)
    assert pellucid("train", "late", "--resume", "--project", fresh.root, "--as", "olivia").code == 1

    words = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", fresh.files / "recipe.toml")
    ran = pellucid("train", "late", *words, "--resume", *here, "--json")
    assert ran.code == 0
    assert (ran.json["model"], ran.json["status"]) == ("late@1", "complete")
    after = last_run(pellucid, fresh)
    assert (after["run"], after["status"], after["steps"]) == ("late@1", "complete", ran.json["steps"])
    assert pellucid("train", "late", "--resume", *here).code == 2
    assert pellucid("verify", "--project", fresh.root).code == 0


def test_a_killed_run_is_abandoned_by_its_name_alone(pellucid: Any, fresh: Any) -> None:
    killed(fresh)
    here = ("--project", fresh.root, "--as", "ana")
    ran = pellucid("train", "late", "--abandon", *here, "--json")
    assert (ran.code, ran.json) == (0, {"model": "late@1", "status": "abandoned"})
    after = last_run(pellucid, fresh)
    assert (after["status"], after["steps"]) == ("abandoned", after["steps_planned"])
    assert pellucid("train", "late", "--abandon", *here).code == 2


def test_what_a_new_training_needs_is_said(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("train", "risk", "--project", corridor.root, "--as", "ana", "--data", "applicants")
    assert ran.code == 2
    assert "--purpose, --recipe" in ran.err
    assert pellucid("train", "risk", "--resume", "--abandon", "--project", corridor.root).code == 2
    ran = pellucid("train", "risk", "--resume", "--project", corridor.root, "--as", "ana")
    assert (ran.code, "no run waits" in ran.err) == (2, True)


# -- progress ---------------------------------------------------------------------------------------------------------

FACTS = Facts(epochs=3000, batch=2048, epsilon=2.999953, odometer=lambda step: 2.9 * step / 4000)


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "time", made)
    return made


def run_through(clock: Clock, shown: Progress, steps: int, total: int, seconds: float) -> None:
    for step in range(1, steps + 1):
        clock.now += seconds
        shown(step, total)


def test_progress_says_epoch_step_both_epsilons_rate_and_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("training risk") as shown:
        shown.begin(FACTS)
        run_through(clock, shown, 4000, 4000, 0.1)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    first = re.fullmatch(r"training risk: step (\d+) of 4000, epoch 3[78](\.\d)? of 3000, about 7 min left", lines[0])
    assert first is not None
    assert lines[1].startswith(f"  epsilon {2.9 * int(first[1]) / 4000:.3g} so far (odometer), 3 planned; about ")
    assert lines[1].endswith(" 20480 examples/s")
    assert 2 * 75 <= len(lines) <= 2 * 80  # every five seconds
    assert "loss" not in err


@pytest.mark.parametrize("label", ["work", "training " + "long-name-" * 6])
@pytest.mark.parametrize("total", [7, 10**9])
def test_every_line_of_progress_fits_80_columns(
    label: str, total: int, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = Facts(epochs=99999.5, batch=10**7, epsilon=499.999999, odometer=lambda _: 1.23456e-7)
    for made in (None, facts):
        with console.progress(label) as shown:
            if made is not None:
                shown.begin(made)
            run_through(clock, shown, 5, total, 6.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2 * 4 - 1
    assert max(map(len, lines)) <= 80
    assert all(line.startswith((label[:9], "  epsilon")) for line in lines)


def test_without_an_odometer_only_the_plan_is_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work") as shown:
        shown.begin(Facts(2, 10, 1.5, lambda _: None))
        run_through(clock, shown, 3, 9, 6.0)
    assert "  epsilon 1.5 planned; about 2 examples/s" in capsys.readouterr().err


def test_the_pace_is_that_of_this_run_also_when_it_goes_on_from_a_checkpoint(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work") as shown:
        for step in range(901, 911):
            clock.now += 1
            shown(step, 1000)
    assert "step 905 of 1000, about 95 s left" in capsys.readouterr().err


SHOWN = """
import time
from pellucid import console
with console.progress("training " + "long-name-" * 7) as shown:
    shown.begin(console.Facts(3000, 2048, 2.999953, lambda step: 0.25))
    for step in range(1, 5):
        shown(step, 10**6)
        time.sleep(0.6)
"""


def test_a_terminal_gets_a_live_view_that_fits() -> None:
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([sys.executable, "-c", SHOWN], env={**env, "TERM": "xterm"}, stderr=side)
    os.close(side)
    sent = b""
    try:
        while piece := os.read(main, 65536):
            sent += piece
    except OSError:  # on Linux a terminal whose other side closed ends so
        pass
    finally:
        os.close(main)
    assert process.wait(timeout=60) == 0
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode()).replace("\r", "\n").splitlines()
    assert any("epsilon 0.25 so far (odometer), 3 planned" in line for line in lines)
    assert any("left" in line for line in lines)
    assert max(map(len, lines)) <= 80


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_is_130_and_says_that_the_model_so_far_is_saved(
    pellucid: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Progress.__call__

    def interrupted(self: Progress, done: int, total: int) -> None:
        real(self, done, total)
        if done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "__call__", interrupted)
    words = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", fresh.files / "recipe.toml")
    ran = pellucid("train", "cut", *words, "--project", fresh.root, "--as", "ana", "--json")
    assert (ran.code, ran.json["exit"]) == (130, 130)
    assert re.search(r"cut@1 is settled after 7 of \d+ steps; the model of these steps is saved", ran.err)
    after = last_run(pellucid, fresh)
    assert (after["status"], after["steps"]) == ("stopped", 7)
    evaluated = pellucid("explain", "cut", "--project", fresh.root, "--as", "kim", "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)
    assert pellucid("verify", "--project", fresh.root).code == 0
