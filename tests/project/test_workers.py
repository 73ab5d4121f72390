"""A governed run in several processes: one reservation, one settlement, one model; and the truth when one is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.project.conftest import PASSPHRASE, UNITS, Place

from pellucid.privacy import Ledger

WORKER = Path(__file__).parent / "worker.py"
BUILD = """from torch import nn


def build(width):
    return nn.Linear(width, 2)
"""


def launch(place: Place, how: str, count: int = 2) -> tuple[int, str]:
    (place.root / "model.py").write_text(BUILD, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", str(WORKER)]
    done = subprocess.run(
        [*command, str(place.root), str(UNITS), how],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PELLUCID_PASSPHRASE": PASSPHRASE},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "fsdp"])
def test_workers_share_one_reservation_and_leave_one_model(sealed: Place, how: str) -> None:
    code, said = launch(sealed, how)
    assert code == 0, said
    with sealed.open("ana") as project:
        entries = project.counted()
        kinds = [entry.kind for entry in entries]
        assert kinds.count("reserve") == 1
        settled = [entry.body for entry in entries if entry.kind == "settle"]
        assert [body["status"] for body in settled] == ["complete"]
        assert kinds.count("evidence") >= 5  # of the data, the training, its privacy and provenance, and its evaluation
        project.bundle("together")
    assert (sealed.root / "models" / "together@1" / "weights.safetensors").exists()


@pytest.mark.slow
def test_a_run_of_several_workers_that_a_steward_ends_keeps_its_model(sealed: Place) -> None:
    """All of them end after the same step: the first one looks, and tells the others."""
    code, said = launch(sealed, "ended")
    assert code == 0, said
    with sealed.open("ana") as project:
        (settled,) = [entry.body for entry in project.counted() if entry.kind == "settle"]
        (training,) = [e.evidence for e in project.counted() if e.kind == "evidence" and e.evidence.kind == "training"]
    assert (settled["status"], training.values["status"]) == ("stopped", "stopped")
    assert settled["steps"] == training.values["steps"] == 4
    assert (sealed.root / "models" / "together@1" / "weights.safetensors").exists()


@pytest.mark.slow
def test_a_lost_worker_settles_the_run_with_the_steps_that_were_taken(sealed: Place) -> None:
    code, _ = launch(sealed, "lost")
    assert code != 0
    said = sealed.root / "error-0.txt"  # unless torchrun asked it to end before it noticed
    assert not said.exists() or "another worker of this training is gone" in said.read_text()
    with sealed.open("ana") as project:
        (settled,) = [entry.body for entry in project.counted() if entry.kind == "settle"]
        assert settled["status"] == "stopped"
        assert settled["steps"] == 3
        ledger = Ledger.fold(project.counted(), "applicants")
        assert ledger.reserved == 0
        assert ledger.spent > 0
