"""The parts of a page without any markup: cells, tables, figures, prose. HTML and JSON are both drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from pellucid.evidence import Coverage
from pellucid.report.charts import Chart
from pellucid.report.figures import plain
from pellucid.report.language import Said, say

__all__ = [
    "ABSENT",
    "DASH",
    "NOT_SHOWN",
    "Block",
    "Cell",
    "Commands",
    "Definitions",
    "Figure",
    "Highlight",
    "Prose",
    "Section",
    "Table",
    "Tone",
    "Verbatim",
    "Verdict",
    "View",
    "text",
]

Tone = Literal["", "good", "bad", "open", "code"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what is printed, the JSON value behind it, and how its numbers are covered.

    Attributes:
        text: What is printed; a line feed begins a new line.
        value: The unrounded value for the JSON twin; None where the text is all there is.
        coverage: One name of :data:`pellucid.evidence.COVERAGE` for each guarantee in play; empty where no number is.
        tone: How it looks. Never the only carrier of a meaning.
        link: The id of the place on the page that the text leads to; empty where there is none.
    """

    text: str
    value: Any = None
    coverage: tuple[Coverage, ...] = ()
    tone: Tone = ""
    link: str = ""


ABSENT: Final = Cell(say("not measured"), tone="open")
NOT_SHOWN: Final = Cell(say("not shown"), tone="open")
DASH: Final = Cell("—")


def text(words: str, tone: Tone = "") -> Cell:
    """A cell of words, whoever wrote them: in those of others, characters without a shape are written out."""
    return Cell(words if isinstance(words, Said) else plain(words), tone=tone)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption; the first cell of a row is its header.

    Attributes:
        id: Stable anchor.
        caption: What it shows, in one line.
        columns: Headers, as many as cells in a row.
        rows: Cells.
        form: ``grid`` (numbers), ``facts`` (name and value), ``cards`` (long text; rows stack on a narrow screen).
        fold: Details that few readers need: closed on a screen until they are asked for, open on paper.
    """

    id: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    form: Literal["grid", "facts", "cards"] = "grid"
    fold: bool = False

    def whole(self) -> tuple[Coverage, ...]:
        """The coverage that all numbers of a grid share, said once in its caption; else nothing."""
        kinds = {cell.coverage for row in self.rows for cell in row if cell.coverage}
        return kinds.pop() if self.form == "grid" and len(kinds) == 1 else ()

    def shared(self) -> tuple[tuple[Coverage, ...], ...]:
        """For each column of a grid the coverage that all its numbers share; else nothing: each cell says its own."""
        if self.form != "grid":
            return ((),) * len(self.columns)
        found: list[tuple[Coverage, ...]] = []
        for column in range(len(self.columns)):
            kinds = {row[column].coverage for row in self.rows if row[column].coverage}
            found.append(kinds.pop() if len(kinds) == 1 else ())
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart and, always, the table of its numbers.

    The table stands beside the chart; a wide one stands below, and ``beside`` may take its place.
    """

    chart: Chart
    table: Table
    beside: Table | None = None


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph, or a list where ``points`` are given. ``tone`` marks what must not be missed."""

    text: str
    points: tuple[str, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands to type, each with what it does."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text that must be read byte by byte, such as a key or a signed note."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Definitions:
    """Words and what they mean; each has an anchor ``<prefix>-<key>``."""

    prefix: str
    items: tuple[tuple[str, str, str], ...]


Block = Table | Figure | Prose | Commands | Verbatim | Definitions


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    ``status`` is ``shown``, ``not measured``, ``not shown`` (readers of this tier are not told whether there is
    evidence) or ``missing`` (a person has to write it).
    """

    id: str
    title: str
    question: str
    status: Literal["shown", "not measured", "not shown", "missing"]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict: its word, its exit code, one sentence, and how many findings there are of each status."""

    word: str
    exit_code: int
    sentence: str
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Highlight:
    """One thing that a reader should know first: a sentence, how it is meant, and the section that shows it."""

    text: str
    tone: Tone
    section: str


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    project: str
    name: str
    sha256: str
    tier: str
    created: str
    verdict: Verdict
    alarms: tuple[str, ...]
    highlights: tuple[Highlight, ...]
    key_figures: Table
    requirements: Table
    sections: tuple[Section, ...]
