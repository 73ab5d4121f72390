"""Tables, progress and colour for a terminal; plain lines everywhere else."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pellucid.errors import PellucidError

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Facts", "Progress", "command", "error", "forsake", "note", "progress", "say", "table"]

WIDTH: Final = 80
DIGITS: Final = range(3, 8)  # of an epsilon on the way: three, and more only where three would read as all of the plan


def say(text: str = "") -> None:
    """A line on standard output. A reader that went away (a pager, head) does not stop the work."""
    _write(_plain(text))


def _plain(text: str) -> str:
    """Without control characters but the end of line, so that no name in a log moves a cursor or hides a line."""
    if text.replace("\n", "").isprintable():
        return text
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
    """A line on standard error: notices and progress, never results. Wrapped on a terminal, whole everywhere else."""
    text = _plain(text)
    if sys.stderr.isatty():
        text = "\n".join(_folded(line) for line in text.split("\n"))
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _folded(line: str) -> str:
    """A line within the terminal's columns; a command to paste, a path and a key stay whole."""
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    if len(line) <= width or line.lstrip().startswith("next: pellucid "):
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def command(
    *words: str, project: Path | None = None, identity: str | None = None, passphrase_file: Path | None = None
) -> str:
    """A command line that works when it is pasted into a POSIX shell where this process stands.

    Args:
        words: Verb, names and options.
        project: The project's folder, unless it is the nearest one upward.
        identity: Who acts, unless that is clear without.
        passphrase_file: Where that identity's passphrase is, if it was given so.
    """
    common = (("--project", project), ("--as", identity), ("--passphrase-file", passphrase_file))
    given = [str(word) for option, value in common if value is not None for word in (option, value)]
    return shlex.join(["pellucid", *words, *given])


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
    Console(file=page, force_terminal=terminal, width=None if terminal else WIDTH, highlight=False).print(view)
    _write("\n".join(line.rstrip() for line in page.getvalue().splitlines()))


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be shown of a private training: public numbers, and no loss.

    Attributes:
        epochs: Of the plan.
        batch: Expected batch; the size of a sample is private. None where every step goes over everybody, as boosting
            does by its sums: examples would say nothing of the work.
        epsilon: Of the plan.
        odometer: An upper bound on the epsilon of the steps taken, by their number; None where none is known.
    """

    epochs: float
    batch: int | None
    epsilon: float
    odometer: Callable[[int], float | None]


class Progress:
    """Shows how far long work is. Call it with steps done and steps in all, and before that, :meth:`begin`."""

    def __init__(self, label: str, view: _View) -> None:
        self._label = label
        self._view = view
        self._facts: Facts | None = None
        self._first: tuple[float, int] | None = None
        self._last = time.monotonic()

    def begin(self, facts: Facts) -> None:
        """The work is a private training."""
        self._facts = facts

    def phase(self, what: str) -> None:
        """What is going on now that has no steps to count."""
        self._view.phase(what)

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps are done. Cheap: most calls show nothing; the last one always does."""
        moment = time.monotonic()
        if self._first is None:
            self._first = (moment, done)  # what came before the first step (imports, decryption) says nothing of pace
            if done < total:
                return
        if moment - self._last >= self._view.every or done == total:
            self._last = moment
            lines = _described(self._label, done, total, done - self._first[1], moment - self._first[0], self._facts)
            self._view.frame(done, total, lines)


def _described(label: str, done: int, total: int, steps: int, seconds: float, facts: Facts | None) -> list[str]:
    """One or two lines of at most ``WIDTH`` columns; ``steps`` of the ``done`` ones were timed, in ``seconds``."""
    pace = max(steps, 1) / max(seconds, 1e-9)
    epoch = f", epoch {_short(facts.epochs * done / total)} of {_short(facts.epochs)}" if facts else ""
    time_left = f", {_duration((total - done) / pace)} left" if done < total else ""
    rest = f": step {done} of {total}{epoch}{time_left}"
    if len(label) + len(rest) > WIDTH:
        label = f"{label[: max(0, WIDTH - len(rest) - 1)]}…"
    if facts is None:
        return [label + rest]
    so_far = facts.odometer(done)
    planned = _epsilon(facts.epsilon)
    if done == total:
        spent = f"{planned} of {planned}"
    elif so_far is None:
        spent = f"{planned} planned"
    else:
        spent = f"{_epsilon(so_far, less_than=planned)} of {planned} so far (odometer)"
    done_a_second = f"{_rate(pace)} steps" if facts.batch is None else f"{_rate(pace * facts.batch)} examples"
    rate = f"; about {done_a_second}/s" if steps else ""
    return [label + rest, f"  epsilon {spent}{rate}"]


def _epsilon(number: float, less_than: str | None = None) -> str:
    """``number`` rounded up, with as few digits as tell it from the shown number that it is less than."""
    exact = Decimal(repr(float(number)))
    for digits in DIGITS:
        last = Decimal(1).scaleb(min(exact.adjusted() - digits + 1, 0))
        shown = f"{exact.quantize(last, ROUND_CEILING):f}"
        if less_than is None or Decimal(shown) < Decimal(less_than):
            return shown
    return f"just under {less_than}"


def _rate(number: float) -> str:
    """Two digits that count: a pace is not known better."""
    number = float(f"{number:.2g}")
    return f"{number:,.0f}".replace(",", " ") if number >= 10 else f"{number:g}"


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 0.95:
        return "under a second"
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.0f} h"


class _View(Protocol):
    """Where progress is shown, at most every so many seconds."""

    every: float

    def frame(self, done: int, total: int, lines: Sequence[str]) -> None: ...

    def phase(self, what: str) -> None: ...


class _Lines:
    """Plain lines, each of which stays."""

    every = 5.0

    def frame(self, done: int, total: int, lines: Sequence[str]) -> None:
        note("\n".join(lines))

    def phase(self, what: str) -> None:
        note(what)


class _Bar:
    """A live view. Its last frame stays; what it says between steps does not."""

    every = 0.5

    def __init__(self, live: Live) -> None:
        self._live = live

    def frame(self, done: int, total: int, lines: Sequence[str]) -> None:
        from rich.console import Group
        from rich.text import Text

        full = WIDTH // 2 * done // total
        bar = Text.assemble(("━" * full, "green"), ("━" * (WIDTH // 2 - full), "bright_black"))
        drawn = Group(bar, *(Text(_plain(line), overflow="ellipsis", no_wrap=True) for line in lines))
        if done < total:
            self._live.update(drawn, refresh=True)
        else:
            self._live.update(Group(), refresh=True)
            self._live.console.print(drawn)

    def phase(self, what: str) -> None:
        from rich.text import Text

        self._live.update(Text(f"{_plain(what)} …", overflow="ellipsis", no_wrap=True), refresh=True)


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Progress of long work: a live bar on a terminal, plain lines now and then elsewhere; on standard error.

    Yields:
        What to call with steps done and steps in all.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Progress(label, _Lines())
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield Progress(label, _Bar(live))
