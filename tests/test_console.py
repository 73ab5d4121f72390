"""What a person watches: lines that fit the terminal, progress, and commands that can be pasted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import console
from pellucid.console import Facts, Progress

FACTS = Facts(epochs=3000, batch=2048, epsilon=2.999953, odometer=lambda step: 2.9 * step / 4000)


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "time", made)
    return made


def run_through(clock: Clock, shown: Progress, steps: Iterable[int], total: int, seconds: float) -> None:
    for step in steps:
        clock.now += seconds
        shown(step, total)


def sent_to_a_terminal(program: str, columns: int = 80) -> str:
    """What a terminal is sent on standard error."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([sys.executable, "-c", program], env={**env, "TERM": "xterm"}, stderr=side)
    os.close(side)
    sent = b""
    try:
        while piece := os.read(main, 65536):
            sent += piece
    except OSError:  # on Linux a terminal whose other side closed ends so
        pass
    finally:
        os.close(main)
    assert process.wait(timeout=60) == 0
    return sent.decode()


def on_a_terminal(program: str) -> list[str]:
    """Every line that is ever drawn."""
    sent = sent_to_a_terminal(program)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent).replace("\r", "\n").splitlines()


def left_on_a_terminal(program: str) -> list[str]:
    """The lines that stand there in the end, by the few movements that are used."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", sent_to_a_terminal(program), re.DOTALL):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif piece == "\x1b[1A":
            row -= 1
        elif not piece.startswith("\x1b"):
            lines[row] = f"{lines[row][:column]:<{column}}{piece}{lines[row][column + 1 :]}"
            column += 1
    return [line for line in lines if line]


# -- progress ---------------------------------------------------------------------------------------------------------


def test_progress_says_epoch_step_both_epsilons_rate_and_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("training risk") as shown:
        shown.begin(FACTS)
        run_through(clock, shown, range(1, 4001), 4000, 0.1)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    first = re.fullmatch(r"training risk: step (\d+) of 4000, epoch 3[78](\.\d)? of 3000, about 7 min left", lines[0])
    assert first is not None
    so_far = re.fullmatch(r"  epsilon (\d\.\d+) of 3\.00 so far \(odometer\); about 20 000 examples/s", lines[1])
    assert so_far is not None
    assert 0 <= float(so_far[1]) - 2.9 * int(first[1]) / 4000 < 1e-4
    assert 2 * 75 <= len(lines) <= 2 * 81  # every five seconds, and at the end
    assert "loss" not in err


@pytest.mark.parametrize("label", ["work", "training " + "long-name-" * 6])
@pytest.mark.parametrize("total", [7, 10**9])
def test_every_line_of_progress_fits_80_columns(
    label: str, total: int, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = Facts(epochs=99999.5, batch=10**7, epsilon=499.999999, odometer=lambda _: 1.23456e-7)
    for made in (None, facts):
        with console.progress(label) as shown:
            if made is not None:
                shown.begin(made)
            run_through(clock, shown, [*range(1, 6), total], total, 6.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2 * 5 - 1
    assert max(map(len, lines)) <= 80
    assert all(line.startswith((label[:9], "  epsilon")) for line in lines)


def test_without_an_odometer_only_the_plan_is_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work") as shown:
        shown.begin(Facts(2, 10, 1.5, lambda _: None))
        run_through(clock, shown, range(1, 4), 9, 6.0)
    assert "  epsilon 1.50 planned; about 1.7 examples/s\n" in capsys.readouterr().err


def test_where_every_step_goes_over_everybody_the_pace_is_one_of_steps(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work") as shown:
        shown.begin(Facts(100, None, 1.5, lambda _: None))
        run_through(clock, shown, range(1, 4), 9, 0.1)
        run_through(clock, shown, range(4, 9), 9, 1.0)
    told = capsys.readouterr().err
    assert "steps/s" in told
    assert "examples/s" not in told


def test_the_pace_is_that_of_this_run_also_when_it_goes_on_from_a_checkpoint(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work") as shown:
        run_through(clock, shown, range(901, 911), 1000, 1.0)
    assert "step 905 of 1000, about 95 s left" in capsys.readouterr().err


@pytest.mark.parametrize("first", [1, 7])
def test_the_last_step_is_always_shown_however_short_the_run(
    first: int, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work") as shown:
        shown.begin(Facts(5, 100, 2.999953, lambda step: 2.999953 if step == 7 else 1.0))
        run_through(clock, shown, range(first, 8), 7, 0.125)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "work: step 7 of 7, epoch 5 of 5"
    # of one step no pace is known
    assert lines[1:] == ["  epsilon 3.00 of 3.00" + ("; about 800 examples/s" if first == 1 else "")]


@pytest.mark.parametrize(
    ("number", "shown"), [(61003.4, "61 000"), (999_999, "1 000 000"), (1234, "1 200"), (94.9, "95"), (1.66, "1.7")]
)
def test_a_rate_has_two_digits_that_count(
    number: float, shown: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work") as progress:
        progress.begin(Facts(1, round(number * 100), 1.0, lambda _: 0.5))
        run_through(clock, progress, (1, 2), 2, 100.0)
    assert capsys.readouterr().err.endswith(f"; about {shown} examples/s\n")


def shown_epsilons(so_far: float, planned: float) -> tuple[str, str]:
    """The two epsilons of a frame in the middle of a run."""
    made: list[str] = []

    class View:
        every = 0.0

        def frame(self, done: int, total: int, lines: Iterable[str]) -> None:
            made.extend(lines)

        def phase(self, what: str) -> None:
            raise AssertionError("not in the middle")

    progress = Progress("work", View())
    progress.begin(Facts(1, 1, planned, lambda _: so_far))
    progress(1, 3)
    progress(2, 3)
    found = re.match(r"  epsilon (.+) of (\S+) so far \(odometer\); ", made[1])
    assert found is not None, made
    return found[1], found[2]


def test_an_epsilon_just_below_the_plan_s_is_not_shown_as_all_of_it() -> None:
    assert shown_epsilons(2.9997, 2.999953) == ("2.9997", "3.00")
    assert shown_epsilons(2.992623, 2.999953) == ("2.993", "3.00")
    assert shown_epsilons(2.981, 2.999953) == ("2.99", "3.00")
    assert shown_epsilons(3.0, 3.0) == ("just under 3.00", "3.00")


@given(st.integers(1, 500_000_000), st.floats(1e-4, 1.0))
def test_an_epsilon_is_rounded_up_and_before_the_end_below_the_plan_s(millionths: int, share: float) -> None:
    planned = millionths / 10**6
    exact = max(1e-6, round(share * planned, 6))
    so_far, all_of_it = shown_epsilons(exact, planned)
    assert planned <= float(all_of_it) <= planned * 1.01
    if so_far == f"just under {all_of_it}":
        assert float(all_of_it) - exact < 1e-6 * max(1.0, planned)
    else:
        assert exact <= float(so_far) <= exact * 1.01
        assert float(so_far) < float(all_of_it)


def test_elsewhere_a_phase_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work") as shown:
        shown.phase("looking\x1b[2J at it")
    assert capsys.readouterr() == ("", "looking [2J at it\n")


SHOWN = """
import time
from pellucid import console
with console.progress("training " + "long-name-" * 7) as shown:
    shown.begin(console.Facts(3000, 2048, 2.999953, lambda step: 0.25))
    for step in (1, 2, 3):
        shown(step, 10**6)
        time.sleep(0.6)
    shown(10**6, 10**6)
    shown.phase("evaluating it " + "long-name-" * 7)
"""


def test_a_terminal_gets_a_live_view_that_fits() -> None:
    lines = on_a_terminal(SHOWN)
    assert any("epsilon 0.250 of 3.00 so far (odometer)" in line for line in lines)
    assert any(line.endswith("left") for line in lines)
    assert any("step 1000000 of 1000000" in line for line in lines)
    assert any(line.startswith("evaluating it") for line in lines)
    assert max(map(len, lines)) <= 80


def test_on_a_terminal_the_last_frame_stays_and_what_was_said_between_steps_does_not() -> None:
    bar, step, epsilon = left_on_a_terminal(SHOWN)
    assert bar == "━" * 40
    assert re.fullmatch(r"training long-[a-z-]*… ?: step 1000000 of 1000000, epoch 3000 of 3000", step)
    assert epsilon.startswith("  epsilon 3.00 of 3.00; about ")


# -- lines ------------------------------------------------------------------------------------------------------------

NEXT = "  next: pellucid train risk@1 --resume --project /a/long/path/to/a/project/that/is/far/away --as somebody"
SAID = f"notice: {'a run that was killed, ' * 12}and so on\n{NEXT}"


def test_a_notice_is_wrapped_on_a_terminal_and_the_command_to_paste_is_not() -> None:
    lines = [line for line in on_a_terminal(f"from pellucid import console\nconsole.note({SAID!r})") if line]
    assert lines[-1] == NEXT
    assert len(lines) > 3
    assert max(map(len, lines[:-1])) <= 80
    assert " ".join(map(str.strip, lines[:-1])) == SAID.split("\n")[0]


def test_elsewhere_a_notice_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    console.note(SAID)
    assert capsys.readouterr().err == f"{SAID}\n"


def test_elsewhere_a_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("one", "two"), [("word " * 12, "word " * 12)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).count("word") == 24, "nothing is cut"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), st.text(min_size=1))
def test_a_command_says_again_what_it_was_given(name: str, folder: str) -> None:
    line = console.command("report", name, project=Path(folder), identity="ana")
    assert shlex.split(line) == ["pellucid", "report", name, "--project", str(Path(folder)), "--as", "ana"]
    assert shlex.split(console.command("report", name)) == ["pellucid", "report", name]
