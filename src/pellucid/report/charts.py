"""The charts of the report: frozen data in, inline SVG out. Each stands beside the table of its numbers.

Nothing is told by colour alone: rows are labelled, groups have shapes, negative and reserved parts are hatched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pellucid.report.figures import exact, fixed
from pellucid.report.language import Said, say, several
from pellucid.report.plots import Lines, Overlay, Swarm, Tokens, Waterfall, draw_plot
from pellucid.report.svg import LINE, WIDTH, Drawing, Scale, wrapped

__all__ = ["MOST_BARS", "Bar", "Bars", "Bounds", "Budget", "Chart", "Curve", "Dots", "Panel", "Reliability", "draw"]

MOST_BARS: Final = 30
"""As many are drawn, and the text says so if there are more."""
_LEFT: Final = 132.0
_RIGHT: Final = WIDTH - 12.0
_LETTERS: Final = 18


@dataclass(frozen=True, slots=True)
class Bar:
    """One labelled value; ``low`` and ``high`` are its 95 % interval, where it has one; ``shape`` marks its dot."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    shape: int = 0


@dataclass(frozen=True, slots=True)
class Bars:
    """Signed horizontal bars from 0, with intervals. At most 30 are drawn; the description says so."""

    key: str
    title: str
    axis: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A ROC curve: points (false positive rate, true positive rate) in [0, 1], over the diagonal of guessing."""

    key: str
    title: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Observed rates (``bars``) over predicted ones, all in [0, 1]."""

    key: str
    title: str
    predicted: tuple[float, ...]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One measure of several groups."""

    label: Said
    groups: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Dots:
    """Groups as dots with intervals on one scale of [0, 1], one panel a measure."""

    key: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """Spent and reserved parts of a budget; ``epsilon`` is None where no budget was set."""

    key: str
    title: str
    epsilon: float | None
    spent: float
    reserved: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of the true privacy loss: at least ``lower`` (attack), at most ``upper`` (accounting)."""

    key: str
    title: str
    lower: float
    upper: float


Chart = Bars | Curve | Reliability | Dots | Budget | Bounds | Lines | Swarm | Waterfall | Overlay | Tokens


def draw(chart: Chart, language: str = "en") -> str:
    """The SVG of ``chart``: ``role="img"``, a title and a description, no script, no outside reference."""
    if isinstance(chart, Lines | Swarm | Waterfall | Overlay | Tokens):
        return draw_plot(chart, language)
    if isinstance(chart, Bars):
        return _bars(chart, language)
    if isinstance(chart, Curve):
        return _curve(chart, language)
    if isinstance(chart, Reliability):
        return _reliability(chart, language)
    if isinstance(chart, Dots):
        return _dots(chart, language)
    return _budget(chart, language) if isinstance(chart, Budget) else _bounds(chart, language)


def _bars(chart: Bars, language: str) -> str:
    rows = chart.bars[:MOST_BARS]
    ends = [e for row in rows for e in (row.value, row.low, row.high) if e is not None]
    low, high = min(0.0, *ends) if ends else 0.0, max(0.0, *ends) if ends else 1.0
    labels = [wrapped(row.label, language, _LETTERS) for row in rows]
    bottom = 8 + sum(_height(label) for label in labels)
    words = say("Horizontal bars from zero; whiskers are 95 % intervals.")
    if rows:
        most = max(rows, key=lambda row: abs(row.value))  # the rows may have an order of their own
        words = say("{said} Largest: {label}, {value}.", said=words, label=most.label, value=fixed(most.value))
    if len(rows) < len(chart.bars):
        many, of = str(MOST_BARS), str(len(chart.bars))
        words = say("{said} The {many} largest of {of} are drawn.", said=words, many=many, of=of)
    drawing = Drawing(chart.key, chart.title, words, bottom + 36, language)
    hatch = drawing.hatch()
    scale = Scale(low, high, _LEFT, _RIGHT)
    drawing.axis_below(scale, 4, bottom, chart.axis)
    zero, top = scale(0.0), 6.0
    for row, label in zip(rows, labels, strict=True):
        middle = top + _height(label) / 2
        top += _height(label)
        drawing.label(_LEFT - 8, middle, label)
        x = scale(row.value)
        kind, fill = ("hatched", hatch) if row.value < 0 else ("bar", "currentColor")
        says = say("{label}: {value}", label=row.label, value=fixed(row.value))
        drawing.rect(min(zero, x), middle - 6, abs(x - zero), 12, kind, fill, says)
        _whisker(drawing, scale, row, middle)
    drawing.line(zero, 4, zero, bottom, "zero")
    return drawing.svg()


def _curve(chart: Curve, language: str) -> str:
    drawing = Drawing(
        chart.key,
        chart.title,
        say("ROC curve: true positive rate over false positive rate. The dashed diagonal is guessing."),
        336,
        language,
    )
    across, up = _square(drawing, say("false positive rate"), say("true positive rate"))
    drawing.path([(across(x), up(y)) for x, y in sorted(chart.points)], "curve")
    drawing.text(across(0.62), up(0.5), say("guessing"), "note")
    return drawing.svg()


def _reliability(chart: Reliability, language: str) -> str:
    drawing = Drawing(
        chart.key,
        chart.title,
        say("Observed rate over predicted rate, with 95 % intervals. On the dashed diagonal they agree."),
        336,
        language,
    )
    across, up = _square(drawing, say("predicted rate"), say("observed rate"))
    points = sorted(zip(chart.predicted, chart.bars, strict=True), key=lambda point: point[0])
    drawing.path([(across(x), up(bar.value)) for x, bar in points], "curve c-thin")
    for x, bar in points:
        if bar.low is not None and bar.high is not None:
            drawing.line(across(x), up(bar.low), across(x), up(bar.high), "whisker")
        drawing.mark(across(x), up(bar.value), 0)
    return drawing.svg()


def _dots(chart: Dots, language: str) -> str:
    labels = {group.label: wrapped(group.label, language, _LETTERS) for p in chart.panels for group in p.groups}
    bottom = 6 + sum(22.0 + sum(_height(labels[group.label]) for group in p.groups) for p in chart.panels)
    names = several([panel.label for panel in chart.panels])
    drawing = Drawing(
        chart.key,
        chart.title,
        say("One dot a group, with its 95 % interval, on a scale from 0 to 1: {names}.", names=names),
        bottom + 36,
        language,
    )
    scale = Scale(0.0, 1.0, _LEFT, _RIGHT)
    drawing.axis_below(scale, 4, bottom, say("rate, 0 to 1"))
    y = 4.0
    for panel in chart.panels:
        drawing.text(2, y + 15, panel.label, "panel")
        y += 22
        for group in panel.groups:
            height = _height(labels[group.label])
            middle = y + height / 2 - 1
            drawing.label(_LEFT - 8, middle, labels[group.label])
            _whisker(drawing, scale, group, middle)
            drawing.mark(scale(group.value), middle, group.shape)
            y += height
    return drawing.svg()


def _budget(chart: Budget, language: str) -> str:
    used = chart.spent + chart.reserved
    whole = max(chart.epsilon or 0.0, used)
    left = (
        say("no budget was set")
        if chart.epsilon is None
        else say("the budget is ε {epsilon}", epsilon=exact(chart.epsilon))
    )
    words = say(
        "One bar: spent ε {spent}, reserved ε {reserved}; {left}.",
        spent=fixed(chart.spent, 3, "up"),
        reserved=fixed(chart.reserved, 3, "up"),
        left=left,
    )
    drawing = Drawing(chart.key, chart.title, words, 92, language)
    hatch = drawing.hatch()
    scale = Scale(0.0, whole, 6.0, _RIGHT)
    drawing.rect(scale(0.0), 8, scale(scale.high) - scale(0.0), 20, "room", "none")
    drawing.rect(scale(0.0), 8, scale(chart.spent) - scale(0.0), 20, "bar")
    drawing.rect(scale(chart.spent), 8, scale(used) - scale(chart.spent), 20, "hatched", hatch)
    drawing.axis_below(scale, 28, 34, say("privacy loss ε over everything done with the data"))
    drawing.rect(6, 76, 10, 10, "bar")
    drawing.text(21, 85, say("spent"), "note")
    drawing.rect(66, 76, 10, 10, "hatched", hatch)
    drawing.text(81, 85, say("reserved"), "note")
    drawing.rect(146, 76, 10, 10, "room", "none")
    drawing.text(161, 85, say("left"), "note")
    if chart.epsilon is not None:
        drawing.line(scale(chart.epsilon), 4, scale(chart.epsilon), 32, "zero")
    return drawing.svg()


def _bounds(chart: Bounds, language: str) -> str:
    drawing = Drawing(
        chart.key,
        chart.title,
        say(
            "A line from the attack's lower bound, ε {lower}, to the accountants' upper bound, ε {upper}. "
            "The true loss lies between.",
            lower=fixed(chart.lower, 3, "down"),
            upper=fixed(chart.upper, 3, "up"),
        ),
        86,
        language,
    )
    scale = Scale(0.0, max(chart.upper, chart.lower) * 1.04, 12.0, _RIGHT - 8)
    drawing.axis_below(scale, 22, 48, say("privacy loss ε"))
    low, high = scale(chart.lower), scale(chart.upper)
    drawing.text(max(low - 4, 2), 14, say("attack: at least"), "note")
    drawing.text(high + 8, 14, say("claim: at most"), "note", "end")
    drawing.line(low, 35, high, 35, "span")
    drawing.path([(low, 27), (low + 8, 35), (low, 43)], "mark c-mark-2", closed=True)
    drawing.path([(high, 27), (high - 8, 35), (high, 43)], "mark c-mark-0", closed=True)
    return drawing.svg()


def _height(label: tuple[str, ...]) -> float:
    """Of the row of a label."""
    return 8 + LINE * len(label)


def _square(drawing: Drawing, below: str, beside: str) -> tuple[Scale, Scale]:
    across, up = Scale(0.0, 1.0, 44.0, 340.0), Scale(0.0, 1.0, 296.0, 22.0)
    drawing.axis_below(across, 22, 296, below)
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        drawing.line(44, up(share), 340, up(share), "grid")
        drawing.text(38, up(share) + 4, fixed(share, 1), "tick", "end")
    drawing.text(6, 12, beside, "axis")
    drawing.line(across(0.0), up(0.0), across(1.0), up(1.0), "diagonal")
    return across, up


def _whisker(drawing: Drawing, scale: Scale, bar: Bar, y: float) -> None:
    if bar.low is None or bar.high is None:
        return
    drawing.line(scale(bar.low), y, scale(bar.high), y, "whisker")
    for end in (bar.low, bar.high):
        drawing.line(scale(end), y - 3.5, scale(end), y + 3.5, "whisker")
