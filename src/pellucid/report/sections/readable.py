"""The model itself, where it can be read: weights of a linear one, tables of an additive one; nothing is estimated."""

from __future__ import annotations

import math
from typing import Final

from pellucid.evidence import Coverage
from pellucid.report.blocks import ABSENT, Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.charts import MOST_BARS, Bar, Bars
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say
from pellucid.report.plots import Line, Lines
from pellucid.report.reading import Reader
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.beside import beside
from pellucid.schema import MISSING

__all__ = ["readable"]

_WEIGHTS: Final[Coverage] = "post-processing"  # the tables are the weights: nobody was looked at
_NEAR: Final = 0.01
_GREATEST: Final = 700.0  # whose exponential is a number


def readable(report: ReportInput) -> Section:
    """The whole of a readable model, and how it does beside one that is not."""
    title, question = say("The model, read out"), say("What does the model itself say, column by column?")
    evidence = report.last("explanation")
    if evidence is None:
        fix = say("{command} leaves it.", command="pellucid explain")
        return not_measured(report, "readout", title, question, "explanation", fix)
    reader = Reader(evidence.values, _WEIGHTS, "explanation")
    found = reader.reader("readout")
    if found is None:
        words = say(
            "This model is not read out: only a linear or an additive model of two classes can be. What stands under "
            "Explanations is estimated from its answers."
        )
        return Section("readout", title, question, "shown", (Prose(words), *beside(report, evidence)))
    words = say(
        "This model can be read: its log-odds are the intercept and what each column adds. The numbers below are the "
        "model, and not an estimate of it. They hold the noise of private training, so small differences between "
        "neighbouring values may be that noise alone."
    )
    facts = Table(
        "readout-facts",
        say("How it is read"),
        (say("What"), say("Value")),
        (
            (text(say("Kind of model")), _kind(found)),
            (text(say("Log-odds before any column (intercept)")), _moves(found.number("intercept") or 0.0)[0]),
        ),
        "facts",
    )
    tables = _terms(found) if found.get("kind") == "linear" else _shapes(found)
    return Section("readout", title, question, "shown", (Prose(words), facts, *tables, *beside(report, evidence)))


def _kind(found: Reader) -> Cell:
    names = {
        "linear": say("linear: one weight for each column or level"),
        "additive": say("additive: one table for each column (an explainable boosting machine)"),
    }
    kind = str(found.get("kind"))
    return text(names.get(kind, kind))


# -- linear -----------------------------------------------------------------------------------------------------------


def _terms(found: Reader) -> list[Block]:
    """A table of all weights, and bars of the levels; slopes have units of their own and no common scale."""
    terms = found.reader("terms")
    rows: list[tuple[Cell, ...]] = []
    bars: list[Bar] = []
    for name in terms.values if terms is not None else ():
        term = None if terms is None else terms.reader(name)
        if term is None:
            continue
        slope, levels, reference = term.number("slope"), term.reader("levels"), term.get("reference")
        if slope is not None:
            per = term.get("per")
            unit = say("each 1 more") if per == "1" else say("each 1 more of {what}", what=str(per))
            rows.append((text(name), text(unit), *_moves(slope)))
        for level in levels.values if levels is not None else ():
            value = None if levels is None else levels.number(level)
            if level == reference:
                rows.append((text(name), text(say("{level} (reference)", level=level)), *_moves(0.0)))
            elif value is not None:
                rows.append((text(name), text(_level(level)), *_moves(value)))
                bars.append(Bar(say("{column} = {level}", column=name, level=_level(level)), value))
    columns = (say("Column"), say("For"), say("Adds to the log-odds"), say("Multiplies the odds by"))
    table = Table("readout-weights", say("Every weight of the model"), columns, tuple(rows))
    if not bars:
        return [table]
    title = say("What each level adds, against the reference level of its column")
    return [Figure(Bars("readout-levels", title, say("log-odds"), _largest_first(bars)), table)]


def _largest_first(bars: list[Bar]) -> tuple[Bar, ...]:
    """As a chart of bars has them, whatever their sign."""
    return tuple(sorted(bars, key=lambda bar: (-abs(bar.value), bar.label)))


def _moves(value: float) -> tuple[Cell, Cell]:
    """What a value adds to the log-odds, and by what it multiplies the odds."""
    added = Cell(_short(value), value, (_WEIGHTS,))
    if abs(value) > _GREATEST:
        return added, ABSENT
    times = math.exp(value)
    near = abs(value) < _NEAR  # of a slope by a small unit, every digit that is there
    return added, Cell(exact(float(f"{times:.6g}")) if near else fixed(times), times, (_WEIGHTS,))


# -- additive ---------------------------------------------------------------------------------------------------------


def _shapes(found: Reader) -> list[Block]:
    """First how far each column can move the answer, then each column's table with its picture."""
    columns = found.reader("columns")
    if columns is None:
        return []
    shapes = [(name, shape) for name in columns.values if (shape := columns.reader(name)) is not None]
    spans = sorted(
        ((_span(shape), name) for name, shape in shapes), key=lambda item: (item[0][0] - item[0][1], item[1])
    )
    rows = tuple(
        (text(name), *(Cell(fixed(value, 4), value, (_WEIGHTS,)) for value in (low, high, high - low)))
        for (low, high), name in spans
    )
    bars = tuple(Bar(plain(name), high - low) for (low, high), name in spans)
    headers = (say("Column"), say("Adds at least"), say("Adds at most"), say("Range"))
    table = Table("readout-spans", say("What each column adds to the log-odds, at least and at most"), headers, rows)
    chart = Bars("readout-spans", say("How far each column can move the answer"), say("log-odds"), bars)
    order = {name: place for place, (_, name) in enumerate(spans)}
    shapes.sort(key=lambda item: order[item[0]])
    return [Figure(chart, table), *(_shape(name, shape, number) for number, (name, shape) in enumerate(shapes, 1))]


def _shape(name: str, shape: Reader, number: int) -> Block:
    adds, names = _numbers(shape, "adds"), shape.texts("names")
    at = _numbers(shape, "at")
    missing = shape.number("missing")
    key = f"readout-{number}"
    title = say("What {column} adds to the log-odds", column=name)
    places = [text(each) for each in names] if names is not None else [Cell(exact(x)) for x in at]
    if missing is not None:
        places.append(text(say("missing")))
    values = [*adds, *([missing] if missing is not None else [])]
    rows = tuple((place, *_moves(value)) for place, value in zip(places, values, strict=False))
    headers = (say("Value"), say("Adds to the log-odds"), say("Multiplies the odds by"))
    table = Table(key, say("The table of {column}", column=name), headers, rows)
    if names is not None or len(at) < 2:
        named = [Bar(plain(each), value) for each, value in zip(names or (), adds, strict=False)]
        bars = tuple(named) if len(named) <= MOST_BARS else _largest_first(named)  # bins keep their order
        return Figure(Bars(key, title, say("log-odds"), bars), table)
    words = say(
        "What the answer gains or loses over the values of {column}, as the model has it. Between two values it runs "
        "straight on the scale of the column.",
        column=name,
    )
    line = Line(say("the model"), tuple(zip(at, adds, strict=False)))
    return Figure(Lines(key, title, words, name, say("log-odds"), (line,)), table)


def _span(shape: Reader) -> tuple[float, float]:
    """The least and the most that a column adds."""
    missing = shape.number("missing")
    values = [*_numbers(shape, "adds"), *([missing] if missing is not None else [])]
    return (min(values), max(values)) if values else (0.0, 0.0)


def _numbers(shape: Reader, key: str) -> list[float]:
    """The finite numbers in a list; a list of something else is refused, as a pair of them would be."""
    value = shape.get(key)
    if not isinstance(value, list | tuple):
        return []
    found = [Reader({key: item}, shape.coverage, shape.where).number(key) for item in value]
    return [item for item in found if item is not None]


def _level(level: str) -> str:
    return say("missing") if level == MISSING else level


def _short(value: float) -> str:
    """Four digits at least, and no more than are read."""
    return fixed(value, 4) if abs(value) >= 0.001 or value == 0 else exact(float(f"{value:.3g}"))
