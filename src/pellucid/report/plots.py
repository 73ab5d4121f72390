"""Charts of explanations and curves: beeswarm from bins, waterfall, lines, overlays on images and tokens.

They are drawn from counts of at least ten people, from curves over people, or from one made-up row: never from a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pellucid.report.figures import fixed
from pellucid.report.language import Said, say
from pellucid.report.svg import LINE, WIDTH, Drawing, Scale, ticks, wrapped

__all__ = ["Line", "Lines", "Overlay", "Swarm", "SwarmRow", "Tokens", "Waterfall", "draw_plot"]

MOST_ROWS: Final = 20
_LEFT: Final = 132.0
_RIGHT: Final = WIDTH - 12.0
_LETTERS: Final = 18
_STACK: Final = 9  # dots at most beside each other in one cell
_LEVELS: Final = {"low": say("low"), "middle": say("middle"), "high": say("high")}


@dataclass(frozen=True, slots=True)
class SwarmRow:
    """One column: ``cells`` are (cell, level, people); ``level`` is empty where the column has no order."""

    label: str
    cells: tuple[tuple[int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Swarm:
    """A beeswarm of counts: ``edges`` part the axis, each dot stands for the same number of people."""

    key: str
    title: str
    axis: str
    edges: tuple[float, ...]
    rows: tuple[SwarmRow, ...]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """From a base value, step by step, to an answer."""

    key: str
    title: str
    axis: str
    base: float
    steps: tuple[tuple[str, float], ...]
    answer: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line through ``points``; ``band`` is (x, low, high); ``dash`` 0, 1, 2 tells lines apart without colour."""

    label: Said
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float, float], ...] = ()
    dash: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over a number. ``log`` draws the vertical axis by powers of ten; ``mark`` is a point that counts."""

    key: str
    title: str
    description: Said
    across: str
    up: str
    lines: tuple[Line, ...]
    log: bool = False
    mark: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """Attributions of the patches of an image, row by row."""

    key: str
    title: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Attributions of the tokens of a text, in order."""

    key: str
    title: str
    tokens: tuple[tuple[str, float], ...]


Plot = Lines | Swarm | Waterfall | Overlay | Tokens


def draw_plot(chart: Plot, language: str) -> str:
    """The SVG of ``chart``."""
    if isinstance(chart, Lines):
        return _lines(chart, language)
    if isinstance(chart, Swarm):
        return _swarm(chart, language)
    if isinstance(chart, Waterfall):
        return _waterfall(chart, language)
    return _overlay(chart, language) if isinstance(chart, Overlay) else _tokens(chart, language)


def _swarm(chart: Swarm, language: str) -> str:
    rows = chart.rows[:MOST_ROWS]
    labels = [wrapped(row.label, language, _LETTERS) for row in rows]
    heights = [max(30.0, 6 + LINE * len(label)) for label in labels]
    bottom = 8 + sum(heights)
    most = max((sum(n for c, _, n in row.cells if c == cell) for row in rows for cell, _, _ in row.cells), default=1)
    each = max(10, 10 * math.ceil(most / _STACK / 10))  # people a dot
    words = say(
        "Each dot stands for up to {each} people; where it lies says how far the column moved their answer. Open "
        "rings are low values of the column, small dots middle ones, full dots high ones; squares have no order.",
        each=str(each),
    )
    drawing = Drawing(chart.key, chart.title, words, bottom + 62, language)
    scale = Scale(chart.edges[0], chart.edges[-1], _LEFT, _RIGHT)
    drawing.axis_below(scale, 4, bottom, chart.axis)
    drawing.line(scale(0.0), 4, scale(0.0), bottom, "zero")
    for number, row in enumerate(rows):
        middle = 8 + sum(heights[:number]) + heights[number] / 2
        drawing.label(_LEFT - 8, middle, labels[number])
        placed: dict[str, list[tuple[float, float]]] = {}
        taken: dict[int, int] = {}
        for cell, level, n in row.cells:
            x = scale((chart.edges[cell] + chart.edges[cell + 1]) / 2)
            for _ in range(math.ceil(n / each)):
                place = taken.get(cell, 0)
                taken[cell] = place + 1
                side = (place + 1) // 2 * (1 if place % 2 else -1)
                # a name of ours only: it becomes part of the markup
                placed.setdefault(level if level in _LEVELS else "plain", []).append((x, middle + 3.1 * side))
        for level, dots in sorted(placed.items()):
            drawing.dots(dots, f"swarm c-swarm-{level}")
            if level == "low":
                drawing.dots(dots, "swarm c-swarm-hole")
    x = 8.0
    for level, label in _LEVELS.items():
        drawing.dots([(x, bottom + 50)], f"swarm c-swarm-{level}")
        if level == "low":
            drawing.dots([(x, bottom + 50)], "swarm c-swarm-hole")
        drawing.text(x + 7, bottom + 54, label, "note")
        x += 68
    drawing.dots([(x, bottom + 50)], "swarm c-swarm-plain")
    drawing.text(x + 7, bottom + 54, say("no order"), "note")
    return drawing.svg()


def _waterfall(chart: Waterfall, language: str) -> str:
    steps = chart.steps[:MOST_ROWS]
    ends = [chart.base]
    for _, value in chart.steps:
        ends.append(ends[-1] + value)
    low, high = min(*ends, chart.answer), max(*ends, chart.answer)
    labels = [wrapped(label, language, _LETTERS) for label, _ in steps]
    heights = [10 + LINE * len(label) for label in labels]
    bottom = 10 + 22.0 * 2 + sum(heights)
    words = say(
        "From {base} for the baseline, column by column, to {answer}: full bars raise the answer, hatched ones lower "
        "it. Largest: {label}, {value}.",
        base=fixed(chart.base),
        answer=fixed(chart.answer),
        label=steps[0][0] if steps else say("none"),
        value=fixed(steps[0][1] if steps else 0.0),
    )
    drawing = Drawing(chart.key, chart.title, words, bottom + 36, language)
    hatch = drawing.hatch()
    pad = (high - low) * 0.16 or 1.0
    scale = Scale(low - pad, high + pad, _LEFT, _RIGHT)
    drawing.axis_below(scale, 4, bottom, chart.axis)
    y, at = 10.0, chart.base
    drawing.text(_LEFT - 8, y + 12, say("baseline"), "label", "end")
    drawing.line(scale(at), y, scale(at), y + 22, "zero")
    drawing.text(scale(at) + 4, y + 12, fixed(at, 2), "tick")
    below = 22.0
    for number, (label, value) in enumerate(steps):
        y += below
        below = heights[number]
        drawing.label(_LEFT - 8, y + 8 + LINE * (len(labels[number]) - 1) / 2, labels[number])
        start, end = scale(at), scale(at + value)
        kind, fill = ("hatched", hatch) if value < 0 else ("bar", "currentColor")
        says = say("{label}: {value}", label=label, value=fixed(value))
        drawing.rect(min(start, end), y + 3, abs(end - start), 12, kind, fill, says)
        left = value < 0
        shown = fixed(value, 2) if left else f"+{fixed(value, 2)}"
        drawing.text(end - 3 if left else end + 3, y + 12.5, shown, "tick", "end" if left else "start")
        at += value
        drawing.line(scale(at), y + 3, scale(at), y + below + 3, "grid")
    y += below
    drawing.text(_LEFT - 8, y + 12, say("answer"), "label", "end")
    drawing.line(scale(chart.answer), y, scale(chart.answer), y + 22, "zero")
    drawing.text(scale(chart.answer) + 4, y + 12, fixed(chart.answer, 2), "tick")
    return drawing.svg()


def _lines(chart: Lines, language: str) -> str:
    named = len(chart.lines) > 1
    drawing = Drawing(chart.key, chart.title, chart.description, 300 if named else 276, language)
    points = [p for line in chart.lines for p in line.points] + ([chart.mark] if chart.mark else [])
    ends = [(x, y) for x, y in points] + [(x, y) for line in chart.lines for x, *ys in line.band for y in ys]
    xs, ys = [x for x, _ in ends], [_log(y) if chart.log else y for _, y in ends]
    across, up = Scale(min(xs), max(xs), 52.0, 340.0), Scale(min(ys), max(ys), 232.0, 24.0)
    drawing.axis_below(across, 24, 232, chart.across)
    marks, places = ticks(up.low, up.high)
    for value in [v for v in marks if v == round(v)] if chart.log else marks:
        drawing.line(52, up(value), 340, up(value), "grid")
        label = f"1e{round(value)}".replace("-", "−") if chart.log else fixed(value, places)
        drawing.text(46, up(value) + 4, label, "tick", "end")
    drawing.text(6, 12, chart.up, "axis")
    for number, line in enumerate(chart.lines):
        if line.band:
            around = [(x, low) for x, low, _ in line.band] + [(x, high) for x, _, high in reversed(line.band)]
            drawing.path([(across(x), up(y)) for x, y in around], "band", closed=True)
        drawn = [(across(x), up(_log(y) if chart.log else y)) for x, y in line.points]
        drawing.path(drawn, f"curve c-dash-{line.dash}")
        if named:
            at = 60.0 + 140 * number
            drawing.path([(at, 287), (at + 24, 287)], f"curve c-dash-{line.dash}")
            drawing.text(at + 30, 291, line.label, "note")
    if chart.mark is not None:
        x, y = chart.mark
        drawing.mark(across(x), up(_log(y) if chart.log else y), 3)
    return drawing.svg()


def _log(value: float) -> float:
    return math.log10(max(value, 1e-300))


def _overlay(chart: Overlay, language: str) -> str:
    rows, columns = len(chart.values), max((len(row) for row in chart.values), default=1)
    size = min(26.0, (WIDTH - 20) / max(columns, 1))
    top = max((abs(v) for row in chart.values for v in row), default=0.0) or 1.0
    words = say("A grid of {rows} by {columns} patches; the fuller a square, the more the answer rests on it. Hatched "
                "squares speak against it.", rows=str(rows), columns=str(columns))  # fmt: skip
    drawing = Drawing(chart.key, chart.title, words, 16 + size * rows, language)
    hatch = drawing.hatch()
    for i, row in enumerate(chart.values):
        for j, value in enumerate(row):
            side = max(1.0, (size - 2) * math.sqrt(abs(value) / top))
            x, y = 10 + size * (j + 0.5) - side / 2, 8 + size * (i + 0.5) - side / 2
            drawing.rect(10 + size * j, 8 + size * i, size, size, "room", "none")
            kind, fill = ("hatched", hatch) if value < 0 else ("bar", "currentColor")
            drawing.rect(x, y, side, side, kind, fill)
    return drawing.svg()


def _tokens(chart: Tokens, language: str) -> str:
    top = max((abs(v) for _, v in chart.tokens), default=0.0) or 1.0
    places: list[tuple[float, float, str, float]] = []
    x, y = 6.0, 8.0
    for token, value in chart.tokens:
        width = 14 + 6.4 * sum(2 if ord(c) > 0x2E7F else 1 for c in token[:24])
        if x + width > WIDTH - 6:
            x, y = 6.0, y + 40
        places.append((x, y, token, value))
        x += width
    words = say(
        "Tokens in order; the bar under each says how much the answer rests on it. Hatched bars speak against it."
    )
    drawing = Drawing(chart.key, chart.title, words, y + 44, language)
    hatch = drawing.hatch()
    for x, y, token, value in places:
        drawing.text(x, y + 12, token, "label", limit=24)
        kind, fill = ("hatched", hatch) if value < 0 else ("bar", "currentColor")
        drawing.rect(x, y + 18, 10, 14 * abs(value) / top, kind, fill)
    return drawing.svg()
