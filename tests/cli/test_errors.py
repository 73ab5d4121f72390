"""How a command fails: a message on standard error, a code by class, a document with --json, and never a traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pellucid import cli, errors


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("bugdet",), 'did you mean "budget"?'),
        (("log", "shw"), 'did you mean "show"?'),
        (
            ("train", "m", "--data", "d", "--purpose", "p", "--recipe", "r", "--pupose", "x"),
            'did you mean "--purpose"?',
        ),
        (("check", "b", "--polic", "p.toml"), 'did you mean "--policy"?'),  # an option is never abbreviated
        (("--json", "verify"), "options stand after the verb"),
        (("role", "list", "extra"), 'there is no place for "extra"'),
        (("seal", "applicants", "x.csv"), "--schema"),
        (("report", "m", "--tier", "publc"), 'did you mean "public"?'),
        (("report", "m", "--tier", "board"), "--tier public, auditor or steward"),
        (("report", "m", "--lang", "de"), '--lang: there is no "de"'),
        (("log", "show", "three"), "INDEX"),
        (("budget",), "NAME"),
        (("budget", "a", "b"), "set NAME"),
        (("budget", "a", "--epsilon", "1"), "budget set NAME"),
    ],
)
def test_a_command_that_does_not_parse_is_2_and_says_what_next(
    pellucid: Any, words: tuple[str, ...], says: str
) -> None:
    ran = pellucid(*words)
    assert ran.code == 2
    assert ran.err.startswith("pellucid: ")
    assert says in ran.err
    assert bool(ran.out) == ("--json" in words)


def test_no_verb_shows_the_help_and_is_2(pellucid: Any) -> None:
    ran = pellucid()
    assert ran.code == 2
    assert ran.out.startswith("usage: pellucid")


@pytest.mark.parametrize("words", [("bugdet",), ("role", "list"), ("verify", "nowhere.json")])
def test_with_json_an_error_is_one_document_and_the_message_stays_on_standard_error(
    pellucid: Any, words: tuple[str, ...]
) -> None:
    ran = pellucid(*words, "--json")
    assert set(ran.json) == {"error", "exit"}
    assert set(ran.json["error"]) == {"what", "where", "fix"}
    assert (ran.code, ran.json["exit"]) == (2, 2)
    assert ran.json["error"]["what"] in ran.err


def _tree(kind: type[errors.PellucidError]) -> list[type[errors.PellucidError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _tree(below))]


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        *(
            (kind, 1 if issubclass(kind, errors.Refused) else 3 if issubclass(kind, errors.Unverified) else 2)
            for kind in _tree(errors.PellucidError)
            if kind.__module__ == "pellucid.errors"
        ),
        (MemoryError, 2),
        (KeyboardInterrupt, 130),
        (ZeroDivisionError, 2),
        (RecursionError, 2),
    ],
)
def test_the_exit_code_goes_by_the_class_of_the_error(
    monkeypatch: pytest.MonkeyPatch, pellucid: Any, problem: type[BaseException], code: int
) -> None:
    def act(options: Any) -> int:
        raise problem("what was wrong")

    monkeypatch.setattr("pellucid.cli.demo.act", act)
    assert pellucid("demo").code == code


def test_an_error_that_was_not_foreseen_shows_its_class_and_no_value(
    monkeypatch: pytest.MonkeyPatch, pellucid: Any
) -> None:
    def act(options: Any) -> int:
        return {}["a private value"]  # type: ignore[no-any-return]  # it raises

    monkeypatch.setattr("pellucid.cli.demo.act", act)
    ran = pellucid("demo")
    assert ran.code == 2
    assert "KeyError" in ran.err
    assert "private" not in ran.err
    monkeypatch.setenv("PELLUCID_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.run(["demo"])


@pytest.mark.parametrize(("module", "extra"), [("pyarrow.parquet", "vault"), ("torch", "train"), ("captum", "train")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, pellucid: Any, module: str, extra: str) -> None:
    def act(options: Any) -> int:
        raise ModuleNotFoundError("no", name=module)

    monkeypatch.setattr("pellucid.cli.demo.act", act)
    ran = pellucid("demo")
    assert ran.code == 2
    assert f'pip install "pellucid[{extra}]"' in ran.err


def test_a_missing_module_of_somebody_else_is_not_called_an_extra(
    monkeypatch: pytest.MonkeyPatch, pellucid: Any
) -> None:
    def act(options: Any) -> int:
        raise ModuleNotFoundError("no", name="their_own_model")

    monkeypatch.setattr("pellucid.cli.demo.act", act)
    ran = pellucid("demo")
    assert ran.code == 2
    assert "pip install" not in ran.err


# -- a reader that goes away ------------------------------------------------------------------------------------------


def _unread(*words: str | Path, cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """The exit code and standard error of a command whose standard output nobody reads."""
    import sys

    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "pellucid", *map(str, words)],
            env=env,
            cwd=cwd,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("policy", "code", "unbuffered"), [("met", 0, ""), ("not-met", 1, ""), ("not-met", 1, "1"), ("unmeasured", 3, "1")]
)
def test_a_verdict_keeps_its_code_when_nobody_reads_it(
    corridor: Any, tmp_path: Path, policy: str, code: int, unbuffered: str
) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy(policy), "--key", corridor.key)
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    assert _unread(*words, cwd=tmp_path, env=env) == (code, "")


def test_work_goes_on_when_nobody_reads(corridor: Any, tmp_path: Path) -> None:
    here = ("--project", corridor.root)
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for words in (("log", "show", *here), ("log", "show", *here, "--json"), ("role", "list", *here)):
        assert _unread(*words, cwd=tmp_path, env=env) == (0, "")


def test_output_that_cannot_be_written_is_2(corridor: Any, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    import sys

    words = ["verify", str(corridor.bundle), "--key", str(corridor.key)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pellucid", *words], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "pellucid: No space left on device\n"
