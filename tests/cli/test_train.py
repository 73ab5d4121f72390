"""``pellucid train``: what it says on the way, runs that are resumed or given up, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from pellucid.console import Progress


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
    assert (ran.code, "it took all its steps" in ran.err) == (2, True)


def commands(text: str) -> list[list[str]]:
    """The words behind each ``next: pellucid``."""
    return [shlex.split(line.partition("next: pellucid ")[2]) for line in text.splitlines() if "next: pellucid" in line]


def test_the_notice_of_a_killed_run_ends_in_the_command_that_goes_on(
    pellucid: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(fresh)
    root = fresh.root.rename(fresh.root.with_name("a project"))
    monkeypatch.chdir(root.parent)
    ran = pellucid("data", "list", "--project", root.name, "--as", "olivia")
    (words,) = commands(ran.err)
    assert words == ["train", "late@1", "--resume", "--project", root.name, "--as", "ana"]
    monkeypatch.chdir(root)
    monkeypatch.setenv("PELLUCID_IDENTITY", "ana")
    assert commands(pellucid("data", "list").err) == [["train", "late@1", "--resume"]]
    monkeypatch.delenv("PELLUCID_IDENTITY")
    monkeypatch.chdir(root.parent)
    assert pellucid(*words).code == 0


def test_a_model_that_a_killed_run_was_to_make_is_named_with_the_command_that_goes_on(
    pellucid: Any, fresh: Any
) -> None:
    killed(fresh)
    here = ("--project", fresh.root, "--as", "kim")
    going_on = ["train", "late@1", "--resume", "--project", str(fresh.root), "--as", "ana"]
    for words in (("report", "late"), ("report", "late@1"), ("explain", "late"), ("check", "late")):
        ran = pellucid(*words, *here)
        assert ran.code == 2
        assert "late@1 was killed" in ran.err
        assert commands(ran.err)[-1] == going_on
    ran = pellucid("report", "latte", *here)
    assert (ran.code, "killed before" in ran.err) == (2, False)
    assert pellucid("train", "late", "--abandon", "--project", fresh.root, "--as", "ana").code == 0
    assert commands(pellucid("report", "late", *here).err) != [going_on]


def test_every_verb_s_next_command_names_what_it_was_given(pellucid: Any, fresh: Any, tmp_path: Path) -> None:
    here = ["--project", str(fresh.root), "--as", "kim"]
    assert commands(pellucid("explain", "risk", *here).out) == [["report", "risk@1", *here]]
    place = tmp_path / "a new one"
    assert commands(pellucid("init", place).out)[0][-2:] == ["--project", str(place)]


# -- what is said on the way -------------------------------------------------------------------------------------------


def test_the_next_command_works_when_it_is_pasted(pellucid: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fresh.root.parent)
    secret = Path("the word.txt")
    secret.write_text("glass-all-the-way-down\n")
    monkeypatch.delenv("PELLUCID_PASSPHRASE")
    what = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", fresh.files / "recipe.toml")
    ran = pellucid("train", "mine", *what, "--project", "credit", "--as", "ana", "--passphrase-file", secret)
    (line,) = (line for line in ran.out.splitlines() if line.startswith("next: "))
    words = shlex.split(line.removeprefix("next: pellucid "))
    assert words == ["report", "mine@1", "--project", "credit", "--as", "ana", "--passphrase-file", str(secret)]
    assert pellucid(*words).code == 0


def test_where_no_option_was_needed_the_next_command_has_none(
    pellucid: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fresh.root)
    monkeypatch.setenv("PELLUCID_IDENTITY", "ana")
    what = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", fresh.files / "recipe.toml")
    assert "next: pellucid report mine@1\n" in pellucid("train", "mine", *what).out


def test_after_the_last_step_each_phase_is_one_line_without_a_figure(pellucid: Any, fresh: Any) -> None:
    what = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", fresh.files / "recipe.toml")
    ran = pellucid("train", "mine", *what, "--project", fresh.root, "--as", "ana", "--json")
    lines = ran.err.splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("training mine: step"))
    phases = [line.replace("mine@1", "M") for line in lines[last + 2 :]]
    assert phases == ["saving M", "evaluating M on people held out", "explaining M, and testing the explanation"]
    assert ran.json["model"] == "mine@1"


def test_a_resumed_run_says_where_it_goes_on_and_what_counts_as_spent(pellucid: Any, fresh: Any) -> None:
    killed(fresh)
    ran = pellucid("train", "late", "--resume", "--project", fresh.root, "--as", "ana", "--json")
    steps = ran.json["steps"]
    said = re.search(
        rf"^resuming late@1 at step 5 of {steps}; (\d+) announced steps after the checkpoint count as spent$",
        ran.err,
        re.MULTILINE,
    )
    assert said is not None, ran.err
    entries = pellucid("log", "show", "--project", fresh.root, "--json").json
    index = max(e["index"] for e in entries if e["about"] == "training of late@1")
    statement = pellucid("log", "show", index, "--project", fresh.root).json["body"]
    assert statement["predicate"]["values"]["resumed"] == {"times": 1, "steps_lost": int(said[1])}
    assert int(said[1]) >= 4  # killed in step 9


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


# -- how good it is ---------------------------------------------------------------------------------------------------

NUMBERS = re.compile(r"^  AUC 0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\), accuracy .*; not covered$", re.MULTILINE)


def test_auc_and_accuracy_are_said_with_their_intervals_to_whoever_may_have_a_report(pellucid: Any, fresh: Any) -> None:
    here = ("--project", fresh.root, "--as", "ana")
    words = ("--data", "applicants", "--purpose", "credit scoring", "--recipe", fresh.files / "recipe.toml")
    for ran in (pellucid("train", "good", *words, *here), pellucid("evaluate", "good", *here)):
        assert ran.code == 0
        assert NUMBERS.search(ran.out)
        assert max(len(line) for line in ran.out.splitlines() if not line.startswith(("next", "  weights"))) <= 80
    policy = fresh.root / "policies" / "access.cedar"
    sealed_off = '@id("none")\n@because("a test")\nforbid (principal, action == Action::"report", resource);\n'
    policy.write_text(f"{policy.read_text()}\n{sealed_off}")
    (fresh.root / "policies" / "access.tests.toml").unlink(missing_ok=True)
    assert pellucid("access", "adopt", "--project", fresh.root, "--as", "olivia").code == 0
    ran = pellucid("evaluate", "good", *here)
    assert (ran.code, NUMBERS.search(ran.out)) == (0, None)
