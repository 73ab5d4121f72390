"""Ctrl-C in the middle of a training: it settles what it reserved, ends with 130, and the project goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_ctrl_c_while_training_settles_and_is_130(pellucid: Any, fresh: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "long.toml"
    text = (fresh.files / "recipe.toml").read_text()
    recipe.write_text(text.replace("epochs = 5", "epochs = 3000").replace("batch = 256", "batch = 32"))
    env = {**os.environ, "PELLUCID_PASSPHRASE": "glass-all-the-way-down"}
    words = ["train", "long", "--data", "applicants", "--purpose", "credit scoring", "--recipe", str(recipe)]
    training = subprocess.Popen(
        [sys.executable, "-m", "pellucid", *words, "--project", str(fresh.root), "--as", "ana", "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # A plain line of progress comes after some seconds of steps: then the run is in the middle of its loop.
        assert training.stderr is not None
        for line in training.stderr:
            if line.startswith("training long: step"):
                break
        assert training.poll() is None
        training.send_signal(signal.SIGINT)
        out, err = training.communicate(timeout=60)
    finally:
        if training.poll() is None:
            training.kill()
            training.communicate()
    assert training.returncode == 130
    assert json.loads(out)["exit"] == 130
    assert "Traceback" not in err
    assert "stopped" in err
    assert err.count("long@1 is settled after ") == 1
    assert "the model of these steps is saved" in err

    here = ("--project", fresh.root)
    ledger = pellucid("budget", "applicants", *here, "--json").json
    stopped = ledger["runs"][-1]
    assert (stopped["run"], stopped["status"]) == ("long@1", "stopped")
    assert 0 < stopped["steps"] < stopped["steps_planned"]
    assert ledger["reserved"] == 0  # settled: what was not taken is free again
    assert pellucid("verify", *here).code == 0
    again = pellucid("train", "long", "--resume", *here, "--as", "ana")
    assert (again.code, "it was stopped and settled" in again.err) == (2, True)


def test_ctrl_c_while_tuning_releases_nothing_and_it_can_go_on(pellucid: Any, fresh: Any, tmp_path: Path) -> None:
    recipe, space = tmp_path / "long.toml", tmp_path / "space.toml"
    text = (fresh.files / "recipe.toml").read_text()
    recipe.write_text(text.replace("epochs = 5", "epochs = 2000").replace("batch = 256", "batch = 32"))
    space.write_text("[tune]\ntrials = 50\n[space]\ntrain.clip = [0.5, 1.0]\n")
    env = {**os.environ, "PELLUCID_PASSPHRASE": "glass-all-the-way-down"}
    words = ["tune", "best", "--data", "applicants", "--purpose", "credit scoring", "--recipe", str(recipe)]
    here = ["--project", str(fresh.root), "--as", "ana"]
    tuning = subprocess.Popen(
        [sys.executable, "-m", "pellucid", *words, "--space", str(space), *here, "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tuning.stderr is not None
        # said when the state is kept and the first trial begins; before it, what the budget has come to
        said = next(line for line in tuning.stderr if "stays hidden" in line)
        assert "50" not in said  # nor how many are expected
        tuning.send_signal(signal.SIGINT)
        out, err = tuning.communicate(timeout=60)
    finally:
        if tuning.poll() is None:
            tuning.kill()
            tuning.communicate()
    assert tuning.returncode == 130
    assert json.loads(out)["exit"] == 130
    assert "Traceback" not in err
    assert "tune best@1 --resume" in err
    (run,) = [
        each for each in pellucid("budget", "applicants", *here, "--json").json["runs"] if each["run"] == "best@1"
    ]
    assert run["status"] == "reserved"
    assert pellucid("tune", "best", "--abandon", *here).code == 0
    assert pellucid("verify", *here).code == 0


def test_the_passphrase_is_not_in_the_process_list(fresh: Any) -> None:
    env = {**os.environ, "PELLUCID_PASSPHRASE": "glass-all-the-way-down"}
    verb = subprocess.Popen(
        [sys.executable, "-m", "pellucid", "report", "risk", "--project", str(fresh.root), "--as", "kim"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = Path(f"/proc/{verb.pid}/cmdline").read_bytes() if Path("/proc").is_dir() else b""
    out, err = verb.communicate(timeout=60)
    assert verb.returncode == 0, err
    assert b"glass-all-the-way-down" not in seen
    assert "glass-all-the-way-down" not in out + err
    for path in fresh.root.rglob("*"):
        if path.is_file():
            assert b"glass-all-the-way-down" not in path.read_bytes(), path
