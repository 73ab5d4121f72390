"""Several processes on loopback: the same guarantee, noise once, and a clean end when one is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).parent / "worker.py"


def launch(count: int, *arguments: str, timeout: int = 120) -> tuple[int, str]:
    """``torchrun`` on loopback; its exit code and everything printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", str(WORKER)]
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("count", "how"), [(2, "ddp"), (4, "ddp"), (2, "fsdp"), (4, "fsdp")])
def test_clipped_sums_of_all_workers_are_those_of_one_process(count: int, how: str, tmp_path: Path) -> None:
    code, said = launch(count, "sums", how, str(tmp_path))
    assert code == 0, said
    workers = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(count)]
    for other in workers[1:]:
        assert all(torch.equal(other["weights"][name], workers[0]["weights"][name]) for name in other["weights"])
    for name, expected in workers[0]["expected"].items():
        torch.testing.assert_close(workers[0]["weights"][name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_noise_is_added_once_and_is_the_same_for_all(how: str, tmp_path: Path) -> None:
    code, said = launch(2, "noise", how, str(tmp_path))
    assert code == 0, said
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    moved = torch.cat([value.flatten() for value in one.values()])
    assert abs(float(moved.std()) - 1.0) < 5 / (2 * len(moved)) ** 0.5 + 1e-3


@pytest.mark.slow
def test_a_lost_worker_ends_the_others_with_an_error_that_says_so(tmp_path: Path) -> None:
    code, said = launch(2, "lost", "ddp", str(tmp_path))
    assert code != 0
    assert "another worker of this training is gone" in (tmp_path / "0.txt").read_text()
    assert "Traceback" not in (tmp_path / "0.txt").read_text()
    assert said
