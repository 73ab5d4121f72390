"""``pellucid budget``: what a person reads of runs that are alive and of runs that were killed."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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


# -- plan, register, stop, the picture --------------------------------------------------------------------------------


def as_ana(fresh: Any) -> tuple[Any, ...]:
    return ("--as", "ana", "--project", fresh.root)


def test_a_plan_is_told_what_it_would_cost_and_reserves_nothing(pellucid: Any, fresh: Any) -> None:
    recipe = fresh.files / "recipe.toml"
    ran = pellucid("budget", "plan", "applicants", "--recipe", recipe, "--purpose", PURPOSE, *as_ana(fresh))
    assert ran.code == 0
    assert "such run" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80 + len(str(recipe))
    told = pellucid(
        "budget",
        "plan",
        "applicants",
        "--recipe",
        recipe,
        "--purpose",
        PURPOSE,
        "--as",
        "ana",
        "--project",
        fresh.root,
        "--json",
    )
    document = json.loads(told.out)
    (one,) = document["budgets"]
    assert one["refused"] is None
    assert one["runs"] >= 1
    assert "reserved 0.0000" in shown(pellucid, fresh)
    vague = pellucid("budget", "plan", "applicants", "--recipe", recipe, *as_ana(fresh))
    assert (vague.code, "--purpose" in vague.err) == (2, True)


def test_plans_are_registered_and_shown_until_they_run(pellucid: Any, fresh: Any) -> None:
    recipe = fresh.files / "recipe.toml"
    words = ("--recipe", recipe, "--recipe", recipe, "--purpose", PURPOSE, *as_ana(fresh))
    ran = pellucid("budget", "register", "applicants", *words)
    assert ran.code == 0
    assert ran.out.count(" registered") >= 2
    assert max(map(len, shown(pellucid, fresh).splitlines())) <= 80
    told = pellucid("budget", "plan", "applicants", *words[:2], *words[4:])
    assert "registered, and so paid for already" in told.out


def test_the_ledger_is_drawn_as_one_file_that_stands_alone(pellucid: Any, fresh: Any) -> None:
    path = fresh.files / "budget.svg"
    recipe = fresh.files / "recipe.toml"
    words = ("--recipe", recipe, "--purpose", PURPOSE, *as_ana(fresh))
    assert pellucid("budget", "register", "applicants", *words).code == 0
    assert pellucid("budget", "applicants", "-o", path, *as_ana(fresh)).code == 0
    root = ElementTree.parse(path).getroot()  # noqa: S314  # our own file
    text = " ".join(root.itertext())
    for part in ("Privacy budget of applicants", "budget ε", "1 plans registered"):
        assert part in text
    assert "href" not in path.read_text(encoding="utf-8")
    assert pellucid("budget", "applicants", "-o", fresh.files / "budget.png", *as_ana(fresh)).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("set", "applicants", "--epsilon", "1"),
        ("plan", "applicants"),
        ("register", "applicants", "--purpose", PURPOSE),
        ("applicants", "--epsilon", "1"),
        ("stop", "late@1", "--purpose", PURPOSE),
        ("raise", "applicants"),
        ("set", "applicants", "now", "--epsilon", "1"),
    ],
)
def test_words_that_do_not_go_together_are_refused(pellucid: Any, fresh: Any, words: tuple[str, ...]) -> None:
    assert pellucid("budget", *words, *as_ana(fresh)).code == 2


def test_a_run_that_is_not_open_cannot_be_stopped(pellucid: Any, fresh: Any) -> None:
    ran = pellucid("budget", "stop", "nobody@1", *as_ana(fresh))
    assert (ran.code, "no run" in ran.err or "nobody@1" in ran.err) == (2, True)


def test_data_made_of_other_data_shares_its_budget(pellucid: Any, fresh: Any) -> None:
    source = next(iter(fresh.files.glob("*.csv")))
    schema = next(iter(fresh.files.glob("*schema*.toml")), fresh.files / "applicants.toml")
    ran = pellucid(
        "seal", "half", source, "--schema", schema, "--from", "applicants", "--as", "olivia", "--project", fresh.root
    )
    assert ran.code == 0
    recipe = fresh.files / "recipe.toml"
    words = ("--recipe", recipe, "--purpose", PURPOSE, "--as", "olivia", "--project", fresh.root)
    assert pellucid("budget", "register", "half", *words).code == 0
    assert "(half)" in shown(pellucid, fresh)
