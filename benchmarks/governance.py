"""What governance costs on top of the engine: decisions, log, ledger, reservation, evidence, and the run's own guards.

The same model, plan and rows are trained twice in one process, by a run of a project and by the bare engine, in turns
of a few steps, so that a busy machine slows both alike. Encryption and reading are paid for once a run and are named
apart: somebody without governance has to read data too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from torch import nn

import pellucid
from pellucid.project import people
from pellucid.train import private

__all__ = ["PURPOSE", "SCHEMA", "measure_governance", "table"]

COLUMNS: Final = 20
ROWS: Final = 120_000
BATCH: Final = 2048
TURN: Final = 10  # steps
PURPOSE: Final = "benchmark"
LOSS: Final = nn.CrossEntropyLoss()
SCHEMA: Final = f"""
[dataset]
target = "label"
units = {ROWS}
purposes = ["{PURPOSE}"]
[dataset.budget]
epsilon = 20.0
delta = 8e-6
[columns.label]
type = "boolean"
sensitivity = "personal"
""" + "".join(f'[columns.c{i}]\ntype = "number"\nbounds = [-4, 4]\nsensitivity = "personal"\n' for i in range(COLUMNS))


def measure_governance(seconds: float) -> None:
    """Print what a run costs above the bare engine, in an epoch of at least so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        project = _project(Path(folder) / "project")
        _measure(project, seconds)


def _project(root: Path) -> pellucid.Project:
    """Its owner seals the rows, and its scientist trains."""
    owner = pellucid.Project.init(root, owner="olivia", passphrase="benchmark", name="benchmark")
    people.new_identity(owner, "ana", "benchmark")
    people.grant(owner, "scientist", "ana")
    owner.seal("rows", table(), schema=pellucid.Schema.parse(SCHEMA))
    return pellucid.Project.open(root, identity="ana", passphrase="benchmark")


def table() -> pd.DataFrame:
    """Rows that fit the schema."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame({f"c{i}": rng.uniform(-4, 4, ROWS) for i in range(COLUMNS)})
    made["label"] = made["c0"] + made["c1"] + rng.normal(size=ROWS) > 0
    return made


def _model(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2))


class _Loop:
    """The user's loop, a few steps at a time."""

    def __init__(self, model: Any, optimizer: Any, batches: Any) -> None:
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.seconds: list[float] = []

    def turn(self) -> bool:
        """Take some steps; False when the plan is spent."""
        start = time.perf_counter()
        taken = 0
        for x, y in self.batches:
            self.optimizer.zero_grad()
            LOSS(self.model(x), y).backward()
            self.optimizer.step()
            taken += 1
            if taken == TURN:
                break
        self.seconds.append(time.perf_counter() - start)
        return taken == TURN


def _measure(project: pellucid.Project, seconds: float) -> None:
    def plan(epochs: float) -> pellucid.Plan:
        options = {"epsilon": 3.0, "delta": 1e-6, "units": ROWS, "test": 0.1, "batch": BATCH, "clip": 1.0}
        return pellucid.Plan.calibrate(**options, epochs=epochs)

    torch.set_num_threads(1)
    x, y = torch.rand(100_000, COLUMNS), torch.randint(0, 2, (100_000,))
    pilot = _model(COLUMNS)
    trial = _Loop(*private(pilot, torch.optim.SGD(pilot.parameters(), lr=0.1), plan(1.0), x, y))
    for _ in range(3):
        trial.turn()
    a_step = min(trial.seconds) / TURN
    made = plan(seconds / a_step * BATCH / (ROWS * 0.9))

    start = time.perf_counter()
    run = project.run("measured", data="rows", purpose=PURPOSE, plan=made, features=[f"c{i}" for i in range(COLUMNS)])
    read: list[float] = []
    load = run._load

    def timed_load() -> None:
        begun = time.perf_counter()
        load()
        read.append(time.perf_counter() - begun)

    run._load = timed_load  # type: ignore[method-assign]  # a clock around reading, which the figure leaves out
    with run:
        entered = time.perf_counter() - start
        module = _model(run.encoding.width)
        twin = _model(run.encoding.width)
        start = time.perf_counter()
        governed = _Loop(*run.private(module, torch.optim.SGD(module.parameters(), lr=0.1)))
        prepared = time.perf_counter() - start
        x, y, _ = run._loaded.training()
        start = time.perf_counter()
        bare = _Loop(*private(twin, torch.optim.SGD(twin.parameters(), lr=0.1), made, x, y))
        prepared -= time.perf_counter() - start
        while all([governed.turn(), bare.turn()]):
            pass
        start = time.perf_counter()
    left = time.perf_counter() - start
    ratios = [one / other for one, other in zip(governed.seconds[1:-1], bare.seconds[1:-1], strict=False)]
    whole = statistics.median(bare.seconds[:-1]) / TURN * made.steps
    fixed = entered - sum(read) + prepared + left
    print(
        f"{made.steps} steps of {BATCH} from {len(run._loaded.x)} rows; an epoch of the bare engine takes {whole:.1f} s"
    )
    print(f"a governed step costs {statistics.median(ratios) - 1:+.2%} (median of {len(ratios)} turns of {TURN} steps)")
    print(f"fixed a run: {fixed:.2f} s (decide and reserve {entered - sum(read):.2f}, prepare {prepared:+.2f}, settle")
    print(f"and evidence {left:.2f}); reading and decrypting, apart: {sum(read):.2f} s")
