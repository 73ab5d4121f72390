"""``pellucid budget``: what a person reads of runs that are alive and of runs that were killed."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

PASSPHRASE = "glass-all-the-way-down"
PURPOSE = "credit scoring"


def begun(fresh: Any, *, checkpoint: bool, dies: bool) -> int:
    """The id of a process that trains ``late@1`` and, in step 3, dies or waits to be let go."""
    from pellucid.project import Project, recipe

    ready, told = os.pipe()

    def on_step(done: int, total: int) -> None:
        if done == 3 and dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if done == 3:
            os.write(told, b"!")
            signal.pause()

    pid = os.fork()
    if pid == 0:
        try:
            project = Project.open(fresh.root, identity="ana", passphrase=PASSPHRASE)
            what = {"dataset": "applicants", "purpose": PURPOSE, "recipe": fresh.files / "recipe.toml"}
            recipe.train(project, "late", **what, on_step=on_step, checkpoint_every=int(checkpoint))
        finally:
            os._exit(1)
    os.close(told)
    if dies:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    else:
        assert os.read(ready, 1) == b"!"
    os.close(ready)
    return pid


def shown(pellucid: Any, fresh: Any) -> str:
    ran = pellucid("budget", "applicants", "--project", fresh.root)
    assert ran.code == 0
    return str(ran.out)


def status(pellucid: Any, fresh: Any) -> str:
    (line,) = (line for line in shown(pellucid, fresh).splitlines() if line.startswith("late@1"))
    return line.split()[-1]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_killed_run_is_shown_as_interrupted_and_counts_whole(pellucid: Any, fresh: Any, checkpoint: bool) -> None:
    assert "interrupted" not in shown(pellucid, fresh)
    begun(fresh, checkpoint=checkpoint, dies=True)
    assert status(pellucid, fresh) == "interrupted"
    assert "interrupted: killed before it settled, so that its whole plan counts" in shown(pellucid, fresh)
    document = pellucid("budget", "applicants", "--project", fresh.root, "--json").json
    assert document["runs"][-1]["status"] == "reserved", "the ledger's own word"
    assert document["reserved"] > 0


def test_a_run_that_a_process_holds_is_not_shown_as_interrupted(pellucid: Any, fresh: Any) -> None:
    pid = begun(fresh, checkpoint=True, dies=False)
    try:
        assert status(pellucid, fresh) == "reserved"
        assert "interrupted" not in shown(pellucid, fresh)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert status(pellucid, fresh) == "interrupted"


def test_without_a_budget_the_next_command_names_the_project(
    pellucid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import CHEAP, SCHEMA, applicants

    from pellucid.project import Project

    root = tmp_path / "a project"
    with Project.init(root, owner="olivia", passphrase=PASSPHRASE, name="none", cost=CHEAP) as project:
        schema = tmp_path / "schema.toml"
        head, _, rest = SCHEMA.partition("[dataset.budget]")
        schema.write_text(head + rest[rest.index("[columns.age]") :], encoding="utf-8")
        project.seal("applicants", applicants(300), schema=schema)
    monkeypatch.chdir(tmp_path)
    out = pellucid("budget", "applicants", "--project", "a project").out
    (line,) = (line for line in out.splitlines() if line.startswith("next: "))
    words = shlex.split(line.removeprefix("next: pellucid "))
    assert pellucid(*({"E": "3", "D": "1e-5"}.get(word, word) for word in words)).code == 0
    assert "next: " not in pellucid("budget", "applicants", "--project", "a project").out
