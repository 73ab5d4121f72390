"""Tables, progress and colour for a terminal; plain lines everywhere else."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pellucid.errors import PellucidError

__all__ = ["error", "forsake", "note", "progress", "say", "table"]

Step = Callable[[int, int], None]


def say(text: str = "") -> None:
    """A line on standard output. A reader that went away (a pager, head) does not stop the work."""
    _write(_plain(text))


def _plain(text: str) -> str:
    """Without control characters but the end of line, so that no name in a log moves a cursor or hides a line."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _write(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
    except BrokenPipeError:
        forsake()


def forsake() -> None:
    """Send what is still written to standard output to nowhere, because nobody can read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """A line on standard error: notices and progress, never results."""
    sys.stdout.flush()
    sys.stderr.write(f"{_plain(text)}\n")
    sys.stderr.flush()


def error(problem: PellucidError) -> None:
    """What is wrong, where, and what to do next, on standard error."""
    note(f"pellucid: {problem}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """A table on standard output that fits the terminal; cells wrap, nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    view = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        view.add_column(name, overflow="fold")
    for row in rows:
        view.add_row(*(Text(_plain(cell)) for cell in row))
    terminal = sys.stdout.isatty()
    # Drawn apart and then said: rich would end the process if the reader went away.
    page = io.StringIO()
    Console(file=page, force_terminal=terminal, width=None if terminal else 100, highlight=False).print(view)
    _write("\n".join(line.rstrip() for line in page.getvalue().splitlines()))


@contextmanager
def progress(label: str) -> Iterator[Step]:
    """Progress of long work: a bar with time left on a terminal, a plain line now and then elsewhere.

    Yields:
        A function of steps done and steps in all.
    """
    if sys.stderr.isatty():
        with _bar(label) as step:
            yield step
    else:
        yield _lines(label)


@contextmanager
def _bar(label: str) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(label: str, every: float = 5.0) -> Step:
    first: tuple[float, int] | None = None
    last = time.monotonic()

    def step(done: int, total: int) -> None:
        nonlocal first, last
        moment = time.monotonic()
        if first is None:
            first = (moment, done)  # what came before the first step (imports, decryption) says nothing of the pace
        elif moment - last >= every and done < total:
            last = moment
            left = (moment - first[0]) / max(done - first[1], 1) * (total - done)
            note(f"{label}: step {done} of {total}, about {left:.0f} s left")

    return step
