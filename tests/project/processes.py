"""Processes that die, or race, run as a script: imports once, then forks a child for every job.

    python processes.py JOBS.json

A job is ``["kill", root, point]``, where the child trains and kills itself (SIGKILL) at ``point``, or
``["race", root, what]``, where children begin at the same moment: two of them do the same thing, or as many as
:data:`RACERS` says each what stands there. Standard output is a JSON list with the children's exit statuses: minus the
signal, or the exit code of the error, or 0.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch

from pellucid import Plan, Project, train, vault
from pellucid.errors import BadPlan, PellucidError
from pellucid.log import Writer, parse
from pellucid.project import budgets, data, recipe, reserving
from pellucid.project import run as runs

PASSPHRASE = "correct horse"
PURPOSE = "credit scoring"
FEATURES = ["age", "income", "job"]


def die(*_args: Any, **_kwargs: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def after(holder: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Die when ``holder.name`` has returned."""
    real = getattr(holder, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        if when(*args):
            die()
        return result

    setattr(holder, name, wrapped)


def logged(kind: str) -> Callable[..., bool]:
    return lambda _writer, leaf: parse(0, leaf).kind == kind


def arrange(point: str) -> Callable[[int, int], None] | None:
    """Put death where ``point`` says; the steps' are given back as a callback."""
    if point.startswith("step "):
        number = int(point.removeprefix("step "))
        return lambda step, _total: die() if step == number else None
    places: dict[str, Callable[[], None]] = {
        "decided": lambda: after(Project, "decide", lambda _project, action, *_: action == "train"),
        "locked": lambda: after(reserving, "lock"),
        "reservation not committed": lambda: after(Writer, "append", logged("reserve")),
        "reserved": lambda: after(runs.Run, "_reserve"),
        "a key released": lambda: after(data, "_group_key"),
        "loaded": lambda: after(runs.Run, "_load"),
        "private": lambda: after(runs.Run, "private"),
        "weights saved": lambda: after(train, "save"),
        "evidence not committed": lambda: after(Writer, "append", logged("evidence")),
        "evidence": lambda: after(Project, "publish"),
        "evaluated": lambda: after(runs.Run, "evaluate"),
        "explained": lambda: after(runs.Run, "explain"),
        "settlement": lambda: setattr(runs.Run, "_settle", die),
        "settlement not committed": lambda: after(Writer, "append", logged("settle")),
        "settled, lock still there": lambda: setattr(reserving, "unlock", die),
        "settled": lambda: after(runs.Run, "_settle"),
        "sealed, not recorded": lambda: after(vault, "seal"),
    }
    places[point]()
    return None


def frame(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "person": [f"person-{i}" for i in range(rows)],
            "age": rng.integers(17, 91, rows),
            "income": rng.uniform(0, 1e5, rows),
            "job": "nurse",
            "gender": rng.choice(["Female", "Male"], rows),
            "note": "note",
            "approved": rng.choice(["no", "yes"], rows),
        }
    )


def kill(root: Path, point: str) -> None:
    on_step = arrange(point)
    if point.startswith("sealed"):
        owner = Project.open(root, identity="ana", passphrase=PASSPHRASE)
        owner.seal("applicants", frame(60), schema=root / "schemas" / "applicants.toml")
        return
    project = Project.open(root, identity="sid", passphrase=PASSPHRASE)
    file = root / "recipes" / "tiny.toml"
    recipe.train(project, "tiny", dataset="applicants", purpose=PURPOSE, recipe=file, on_step=on_step)


PLANS: dict[str, Plan] = {}
RACERS = {"twenty": ["hold a small plan"] * 20, "edit": ["train", "edit", "rival"]}
EDITS = 4  # of the budget, that a run which is under way waits for


def race(root: Path, what: str) -> None:
    project = Project.open(root, identity="sid", passphrase=PASSPHRASE)
    _ = project.identity
    if what == "rival":
        wait_for(project, lambda: edits_of_a_run(project) >= 1)
    if what in ("reserve", "rival", "hold a small plan"):
        plan = PLANS["small" if what == "hold a small plan" else "large"]
        run = project.run("tiny", data="applicants", purpose=PURPOSE, plan=plan, features=FEATURES)
        run.__enter__()
        os._exit(0)  # dies with its reservation open: a settlement would give the loser room
    elif what == "train":
        recipe.train(
            project, "tiny", dataset="applicants", purpose=PURPOSE, recipe=root / "recipes" / "tiny.toml",
            on_step=lambda step, _: wait_for(project, lambda: edits_of_a_run(project) >= EDITS) if step == 5 else None,
        )  # fmt: skip
    elif what == "edit":
        edit(Project.open(root, identity="ana", passphrase=PASSPHRASE))
    elif what == "read":
        project.read("applicants", ["age"], purpose=PURPOSE)
    elif what == "seal":
        owner = Project.open(root, identity="ana", passphrase=PASSPHRASE)
        owner.seal("applicants", frame(60), schema=root / "schemas" / "applicants.toml")


def wait_for(project: Project, holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        project.refresh()
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("the other process does not come")


def edits_of_a_run(project: Project) -> int:
    """How often the budget was set since tiny@1 was reserved."""
    kinds = [e.kind if e.kind != "reserve" or e.body["run"] == "tiny@1" else "" for e in project.counted()]
    return kinds[kinds.index("reserve") :].count("budget") if "reserve" in kinds else 0


def edit(steward: Project) -> None:
    """Set the budget again and again; once the run is under way, also to less than it holds, which is refused."""
    refused = 0
    for round_ in range(2000):
        under_way = any(e.kind == "reserve" and e.body["run"] == "tiny@1" for e in steward.counted())
        epsilon = (8.0, 3.5, 5.5, 2.5, 1.0)[round_ % (5 if under_way else 3)]
        try:
            budgets.set_budget(steward, "applicants", epsilon, 1e-5)
        except BadPlan:
            refused += 1
        if edits_of_a_run(steward) >= EDITS and refused:
            return
        steward.refresh()
    raise AssertionError("the run does not come")


def child(act: Callable[[Path, str], None], root: Path, argument: str, gate: int | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        if gate is not None:
            os.read(gate, 1)  # returns for all at once, when the parent closes the other end
        act(root, argument)
        code = 0
    except PellucidError as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(code)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(jobs: list[list[str]]) -> list[list[int]]:
    for module in ("pellucid.train.engine", "pellucid.explain.attribution", "pellucid.explain.validity", "cedarpy"):
        importlib.import_module(module)  # once, for all children
    torch.set_num_threads(1)
    plan = {"delta": 1e-5, "units": 3000, "test": 0.3, "batch": 256, "epochs": 2, "clip": 1.0}
    Plan.calibrate(epsilon=3.0, **plan)  # into the cache that the children inherit
    PLANS.update(large=Plan.calibrate(epsilon=5.0, **plan), small=Plan.calibrate(epsilon=2.0, **plan))
    found = []
    for kind, root, argument in jobs:
        if kind == "kill":
            found.append([status(child(kill, Path(root), argument, None))])
            continue
        inner, outer = os.pipe()
        pids = []
        for what in RACERS.get(argument, [argument] * 2):
            pid = os.fork()
            if pid == 0:
                os.close(outer)
                os._exit(status(child(race, Path(root), what, inner)) % 256)
            pids.append(pid)
        os.close(inner)
        os.close(outer)
        found.append([status(pid) for pid in pids])
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
