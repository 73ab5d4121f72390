"""How the answer moves along a column: partial dependence with the spread of people's curves, or local effects."""

from __future__ import annotations

from pellucid.report.blocks import Block, Cell, Figure, Table, text
from pellucid.report.charts import Bar, Bars
from pellucid.report.figures import fixed, plain
from pellucid.report.language import Said, say
from pellucid.report.plots import Line, Lines
from pellucid.report.reading import Measure, Reader
from pellucid.report.sections.classes import Scale

__all__ = ["effects"]


def effects(reader: Reader) -> list[Block]:
    """One figure for each column whose effect was measured."""
    scale = Scale(reader)
    return [_effect(effect, number, scale) for number, effect in enumerate(reader.readers("effects"), 1)]


def _effect(effect: Reader, number: int, scale: Scale) -> Block:
    name = plain(str(effect.get("field")))
    local = effect.get("accumulated_local_effects") is not None
    estimates = effect.readers("accumulated_local_effects" if local else "change")
    points = _points(effect)
    kept = list(zip(points, estimates, strict=False))
    bands = effect.reader("bands")
    low, high = (_band(bands, level) for level in ("0.1", "0.9"))
    rows = []
    for place, (point, estimate) in enumerate(kept):
        at = Reader({"at": dict(estimate.values)}, effect.coverage, effect.where)
        spread = (_moved(band, place, effect) for band in (low, high))
        point_cell = text(str(point) if isinstance(point, str) else f"{point:g}")
        rows.append((point_cell, at.estimate("at"), *(spread if low and high else ())))
    headers: tuple[Said, ...] = (say("Value"), scale.changed())
    if low and high:
        headers = (*headers, say("a tenth of people: below"), say("a tenth of people: above"))
    how = say("accumulated local effects") if local else say("partial dependence, change from the first value")
    caption = say("How answers move along {column}: {how}", column=name, how=how)
    table = Table(f"effect-{number}", caption, headers, tuple(rows))
    known = [
        (point, found)
        for point, estimate in kept
        if (found := Reader({"at": dict(estimate.values)}, effect.coverage, effect.where).measure("at")) is not None
    ]
    return Figure(_chart(name, number, known, (low, high), scale), table)


def _chart(
    name: str,
    number: int,
    known: list[tuple[str | float, Measure]],
    spread: tuple[list[float], list[float]],
    scale: Scale,
) -> Lines | Bars:
    low, high = spread
    title = say("How answers move along {column}", column=name)
    numbers = [(p, m) for p, m in known if isinstance(p, int | float)]
    if len(numbers) < len(known) or len(numbers) < 2:
        bars = tuple(Bar(p if isinstance(p, str) else f"{p:g}", m.value, m.low, m.high) for p, m in known)
        return Bars(f"effect-{number}", title, scale.change(), bars)
    points = tuple((float(p), m.value) for p, m in numbers)
    xs = [p for p, _ in points]
    band = tuple(zip(xs, low, high, strict=True)) if len(low) == len(high) == len(xs) else ()
    if not band:
        band = tuple((float(p), m.low, m.high) for p, m in numbers if m.low is not None and m.high is not None)
    words = say(
        "The mean change of the answer over the values of {column}; the band holds the curves of eight in ten people, "
        "or the 95 % interval where there are no single curves.",
        column=name,
    )
    line = Line(say("mean over people"), points, band)
    return Lines(f"effect-{number}", title, words, name, scale.change(), (line,))


def _points(effect: Reader) -> list[str | float]:
    """In the column's own words where the evidence has them, else as encoded."""
    named = effect.get("at")
    if isinstance(named, list | tuple):
        return [plain(p) if isinstance(p, str) else float(p) for p in named]
    found: list[str | float] = []
    for number, point in enumerate(effect.get("points") or (), 1):
        found.append(float(point) if isinstance(point, int | float) else f"{number}")
    return found


def _band(bands: Reader | None, level: str) -> list[float]:
    values = None if bands is None else bands.get(level)
    return [float(v) for v in values] if isinstance(values, list | tuple) else []


def _moved(band: list[float], place: int, effect: Reader) -> Cell:
    if place >= len(band):
        return text(say("not measured"), "open")
    return Cell(fixed(band[place]), band[place], (effect.coverage,))
