"""What a person sees: tables that fit, progress on standard error, nothing on standard output but results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pellucid import console

VERBS = (
    ("data", "show", "applicants"),
    ("data", "list"),
    ("budget", "applicants"),
    ("log", "show"),
    ("role", "list"),
    ("identity", "show"),
    ("check", "risk", "--as", "kim"),
)


def _on_a_terminal(words: list[str], columns: int, cwd: Path) -> tuple[int, str]:
    """The exit code and what a terminal of that width is sent."""
    import fcntl
    import pty
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pellucid", *words],
        env={**env, "TERM": "dumb", "NO_COLOR": "1"},
        cwd=cwd,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    pieces = []
    try:
        while piece := os.read(main, 65536):
            pieces.append(piece)
    except OSError:  # on Linux a terminal whose other side closed ends so
        pass
    finally:
        os.close(main)
    return process.wait(timeout=60), b"".join(pieces).decode("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words[:2]))
def test_tables_fit_a_terminal_of_80_columns(corridor: Any, words: tuple[str, ...], plain: None) -> None:
    code, shown = _on_a_terminal([*words, "--project", str(corridor.root)], 80, Path.cwd())
    assert code in (0, 1)
    assert shown
    assert max(map(len, shown.splitlines())) <= 80


def test_elsewhere_a_table_is_plain_and_the_same_whatever_the_width(
    pellucid: Any, corridor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("log", "show", "--project", corridor.root)
    first = pellucid(*words).out
    monkeypatch.setenv("COLUMNS", "40")
    assert pellucid(*words).out == first
    assert "\x1b" not in first
    assert max(map(len, first.splitlines())) <= 100


def test_progress_and_notices_go_to_standard_error(pellucid: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from pellucid import console

    with console.progress("work") as step:
        step(1, 2)
        step(2, 2)
    console.note("a notice")
    taken = capsys.readouterr()
    assert taken.out == ""
    assert "a notice" in taken.err


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("a\x1b]0;owned\x07b\u202ec\nd")
    console.note("e\x9b2Jf")
    console.table(("x",), [("g\x1b[31mh\rFAKE",)])
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07", "\u202e", "\x9b", "\r"} & set(out + err)
    assert "d\n" in out, "the end of a line stays"
