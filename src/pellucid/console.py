"""Tables, progress and colour for a terminal; plain lines everywhere else."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pellucid.errors import PellucidError

__all__ = ["Facts", "Progress", "error", "forsake", "note", "progress", "say", "table"]

WIDTH: Final = 80


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


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be shown of a private training: public numbers, and no loss.

    Attributes:
        epochs: Of the plan.
        batch: Expected batch; the size of a sample is private.
        epsilon: Of the plan.
        odometer: An upper bound on the epsilon of the steps taken, by their number; None where none is known.
    """

    epochs: float
    batch: int
    epsilon: float
    odometer: Callable[[int], float | None]


class Progress:
    """Shows how far long work is. Call it with steps done and steps in all, and before that, :meth:`begin`."""

    def __init__(self, label: str, show: Callable[[int, int, Sequence[str]], None], every: float) -> None:
        self._label = label
        self._show = show
        self._every = every
        self._facts: Facts | None = None
        self._first: tuple[float, int] | None = None
        self._last = time.monotonic()

    def begin(self, facts: Facts) -> None:
        """The work is a private training."""
        self._facts = facts

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps are done. Cheap: most calls show nothing."""
        moment = time.monotonic()
        if self._first is None:
            self._first = (moment, done)  # what came before the first step (imports, decryption) says nothing of pace
        elif moment - self._last >= self._every and done < total:
            self._last = moment
            pace = max(done - self._first[1], 1) / max(moment - self._first[0], 1e-9)
            self._show(done, total, _described(self._label, done, total, pace, self._facts))


def _described(label: str, done: int, total: int, pace: float, facts: Facts | None) -> list[str]:
    """One or two lines of at most ``WIDTH`` columns; ``pace`` is in steps a second."""
    epoch = f", epoch {_short(facts.epochs * done / total)} of {_short(facts.epochs)}" if facts else ""
    rest = f": step {done} of {total}{epoch}, {_duration((total - done) / pace)} left"
    if len(label) + len(rest) > WIDTH:
        label = f"{label[: max(0, WIDTH - len(rest) - 1)]}…"
    if facts is None:
        return [label + rest]
    so_far = facts.odometer(done)
    spent = f"{_short(so_far)} so far (odometer), " if so_far is not None else ""
    return [
        label + rest,
        f"  epsilon {spent}{_short(facts.epsilon)} planned; about {pace * facts.batch:.0f} examples/s",
    ]


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.0f} h"


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Progress of long work: a live bar on a terminal, plain lines now and then elsewhere; on standard error.

    Yields:
        What to call with steps done and steps in all.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bar() as show:
            yield Progress(label, show, every=0.5)
    else:
        yield Progress(label, lambda _done, _total, lines: note("\n".join(lines)), every=5.0)


@contextmanager
def _bar() -> Iterator[Callable[[int, int, Sequence[str]], None]]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def show(done: int, total: int, lines: Sequence[str]) -> None:
            texts = [Text(_plain(line), overflow="ellipsis", no_wrap=True) for line in lines]
            full = WIDTH // 2 * done // total
            bar = Text.assemble(("━" * full, "green"), ("━" * (WIDTH // 2 - full), "bright_black"))
            live.update(Group(bar, *texts), refresh=True)

        yield show
