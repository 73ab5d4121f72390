"""``pellucid budget``: what a person reads of runs that are alive and of runs that were killed."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pellucid.cli import budget

PASSPHRASE = "glass-all-the-way-down"
PURPOSE = "credit scoring"


def begun(fresh: Any, *, checkpoint: bool, dies: bool) -> int:
    """The id of a process that trains ``late@1`` and, in step 3, dies or waits to be let go."""
    import torch

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
            torch.set_num_threads(1)  # the threads of the parent's pool are not here, and would be waited for
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


def test_a_plan_that_pld_alone_admits_is_told_that_nothing_comes_back(pellucid: Any, fresh: Any) -> None:
    words = ("--recipe", fresh.files / "recipe.toml", "--purpose", PURPOSE, *as_ana(fresh))
    assert "gives nothing back" not in pellucid("budget", "plan", "applicants", *words).out
    tight = fresh.root.parent / "tight.toml"
    tight.write_text((fresh.files / "applicants.toml").read_text().replace("epsilon = 8.0", "epsilon = 3.0"))
    for act in (("access", "adopt"), ("seal", "others", fresh.files / "applicants.csv")):
        assert pellucid(*act, "--schema", tight, "--as", "olivia", "--project", fresh.root).code == 0
    assert "a run that stops early gives nothing back" in pellucid("budget", "plan", "others", *words).out


def test_why_more_may_be_spent_than_the_runs_add_up_to_is_said(pellucid: Any, fresh: Any, capsys: Any) -> None:
    document = pellucid("budget", "applicants", "--project", fresh.root, "--json").json
    for spent, said in ((sum(run["epsilon"] for run in document["runs"]) + 0.2, True), (0.1, False)):
        budget._tell({**document, "spent": spent}, set(), argparse.Namespace())
        assert ("here it is more" in capsys.readouterr().out) == said


def test_a_tuning_is_told_what_it_would_cost(pellucid: Any, fresh: Any) -> None:
    recipe, space = fresh.files / "recipe.toml", fresh.files / "space.toml"
    space.write_text('[tune]\ntrials = 5\n[space]\n"train.clip" = [0.5, 1.0]\n')
    words = ("budget", "plan", "applicants", "--recipe", recipe, "--purpose", PURPOSE, *as_ana(fresh))
    ran = pellucid(*words, "--space", space)
    assert ran.code == 0
    assert "all trials together" in ran.out
    assert "such run" in ran.out
    assert json.loads(pellucid(*words, "--space", space, "--json").out)["plan"]["trials"] == 5
    assert "reserved 0.0000" in shown(pellucid, fresh)
    alone = pellucid(*words, "--public", space)
    assert (alone.code, "--space" in alone.err) == (2, True)


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
    root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
    text = " ".join(root.itertext())
    for part in ("Privacy budget of applicants", "budget ε", "1 plan registered"):
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


def test_a_run_killed_before_its_first_checkpoint_is_given_up_and_not_resumed(pellucid: Any, fresh: Any) -> None:
    begun(fresh, checkpoint=False, dies=True)
    for verb in ("train", "tune"):
        resumed = pellucid(verb, "late", "--resume", *as_ana(fresh))
        assert resumed.code == 2
        assert "notice" not in resumed.err, "it is what was asked about"
        assert "late@1: this run was killed before its first checkpoint, so that nothing can go on" in resumed.err
    given_up = pellucid("train", "late", "--abandon", *as_ana(fresh))
    assert (given_up.code, given_up.err) == (0, "")
    assert "late@1 is settled as abandoned: its whole plan stays spent" in given_up.out
    assert status(pellucid, fresh) == "abandoned"
    (line,) = (line for line in shown(pellucid, fresh).splitlines() if line.startswith("late@1"))
    assert " - of " in line, "nobody knows how many steps it took"
    assert "abandoned: nobody knows what it took" in shown(pellucid, fresh)
    again = pellucid("train", "late", "--abandon", *as_ana(fresh))
    assert (again.code, "it was given up: its whole plan stays spent" in again.err) == (2, True)


def test_nothing_that_was_spent_looks_like_nothing_and_what_is_left_is_there(pellucid: Any, fresh: Any) -> None:
    words = ("--purpose", PURPOSE, "--epsilon", "1e-6", *as_ana(fresh))
    assert pellucid("data", "release", "applicants", "count", *words).code == 0
    out = shown(pellucid, fresh)
    (line,) = (line for line in out.splitlines() if line.startswith("applicants-statistics@1"))
    assert line.split()[1] == "0.0001"
    document = pellucid("budget", "applicants", "--project", fresh.root, "--json").json
    told = dict(zip(*[iter(out.splitlines()[1].split())] * 2, strict=True))
    assert document["spent"] <= float(told["spent"]) < document["spent"] + 1e-4
    assert document["left"] - 1e-4 < float(told["left"]) <= document["left"]


def test_a_claim_below_a_millionth_is_refused_and_nothing_is_reserved(pellucid: Any, fresh: Any) -> None:
    before = shown(pellucid, fresh)
    words = ("--purpose", PURPOSE, "--epsilon", "1e-300", *as_ana(fresh))
    ran = pellucid("data", "release", "applicants", "count", *words)
    assert (ran.code, "whole number of millionths" in ran.err) == (2, True)
    assert shown(pellucid, fresh) == before


def test_a_purpose_budget_that_came_late_says_that_it_holds_one_plan_only(pellucid: Any, fresh: Any) -> None:
    words = ("set", "applicants", "--purpose", PURPOSE, "--delta", "1e-5", "--project", fresh.root, "--as", "sam")
    large = pellucid("budget", *words, "--epsilon", "7.5")
    assert (large.code, "holds what is fixed beforehand" in large.err) == (0, False)
    document = pellucid("budget", "applicants", "--project", fresh.root, "--json").json
    assert document["spent"] > 1, "so that the order is fixed"
    other = "fairness audit"
    small = pellucid("budget", *("fairness audit" if word == PURPOSE else word for word in words), "--epsilon", "0.5")
    assert (small.code, "holds what is fixed beforehand" in small.err) == (0, True), (small, other)


def test_the_picture_shows_the_budget_of_the_time() -> None:
    from pellucid.report.timeline import Moment, timeline

    def moment(minute: int, budget: float | None) -> Moment:
        return Moment(f"2026-03-01T10:{minute:02}:00Z", 0.5, 1.0, "something", budget)

    def heights(*moments: Moment, now: float = 2.0) -> list[float]:
        root = ElementTree.fromstring(timeline("d", now, 1e-5, moments))  # noqa: S314 - our own text
        (cap,) = (path.get("d", "") for path in root.iter() if path.get("class") == "cap")
        return [float(height) for height in re.findall(r"(?:^M[\d.]+ |V)([\d.]+)", cap)]

    first, second, third = heights(moment(0, 2.0), moment(1, 4.0), moment(2, 2.0))
    assert second < first == third, "higher is nearer to the upper edge"
    assert len(heights()) == 1
    assert len(heights(moment(0, None), moment(1, 2.0))) == 1
    far = heights(moment(0, 1e9), moment(1, 2.0))
    assert far[0] < far[1] < 200, "a budget that was far higher once does not flatten the rest"
    text = timeline("d", 2.0, 1e-5, [moment(0, 2.0), moment(9, 2.0)])
    assert "2026-03-01 10:00 UTC" in text
    assert "2026-03-01 10:09 UTC" in text
    later = [moment(0, 2.0), Moment("2026-04-01T10:00:00Z", 0.5, 1.0, "something", 2.0)]
    assert "UTC" not in timeline("d", 2.0, 1e-5, later)


def test_whoever_passes_a_share_of_a_budget_is_told_and_the_share_is_a_least(pellucid: Any, fresh: Any) -> None:
    def spent() -> float:
        return float(pellucid("budget", "applicants", "--project", fresh.root, "--json").json["spent"])

    where = ("applicants", "--delta", "1e-5", "--as", "sam", "--project", fresh.root)
    below = pellucid("budget", "set", *where, "--epsilon", f"{2.02 * spent():.6f}")
    assert (below.code, "or more of it" in below.out) == (0, False)
    words = ("--purpose", PURPOSE, "--epsilon", "1", *as_ana(fresh))
    released = pellucid("data", "release", "applicants", "count", *words)
    assert (released.code, "applicants: 50% or more of the budget is spent or reserved" in released.err) == (0, True)
    assert "50% or more of it is spent or reserved" in shown(pellucid, fresh)
    refused = pellucid("budget", "set", *where, "--epsilon", f"{spent() - 0.1:.6f}")
    assert (refused.code, f"a budget of at least {spent()}" in refused.err) == (2, True), refused
