"""How attributions spread over people, what one declared example comes to, and where in an image or text it lies."""

from __future__ import annotations

import re
from typing import Final

from pellucid.evidence import Coverage
from pellucid.report.blocks import Block, Cell, Figure, Prose, Table, text
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.language import say
from pellucid.report.plots import Overlay, Swarm, SwarmRow, Tokens, Waterfall
from pellucid.report.reading import Reader
from pellucid.report.sections.classes import Scale

__all__ = ["case", "overlays", "swarm"]

_PATCH: Final = re.compile(r"rows (\d+)-\d+, columns (\d+)-\d+")
_LEVELS: Final = {"low": say("low"), "middle": say("middle"), "high": say("high"), "": say("no order")}


def swarm(reader: Reader) -> list[Block]:
    """A beeswarm of counts: for each column how many people's answers it moved how far."""
    found = reader.reader("distribution")
    columns = None if found is None else found.reader("columns")
    if found is None or columns is None:
        return [Prose(say("Spread of the attributions over people: not measured."), tone="open")]
    given = found.get("edges")
    edges = tuple(float(e) for e in given) if isinstance(given, list | tuple) else ()
    rows, lines = [], []
    for name in columns.values:
        cells: list[tuple[int, str, int]] = []
        for cell in columns.readers(name):
            place, n = cell.number("cell"), cell.number("n")
            if place is not None and n is not None and 0 <= place < len(edges) - 1:
                level = str(cell.get("level"))
                cells.append((int(place), level if level in _LEVELS else "", int(n)))
        # most spread first, as a reader looks for it
        weight = sum(n * abs(edges[c] + edges[c + 1]) / 2 for c, _, n in cells)
        rows.append((weight, SwarmRow(plain(name), tuple(cells))))
        for level, label in _LEVELS.items():
            counts = [sum(n for c, at, n in cells if at == level and low <= c < high) for low, high in _thirds(edges)]
            if sum(counts):
                few = text(say("fewer than 10"), "open")
                shown = (Cell(exact(n), n, (found.coverage,)) if n else few for n in counts)
                lines.append((weight, (text(name), text(label), *shown)))
    if not rows or len(edges) < 3:
        return []
    people = found.number("people")
    headers = (
        *(say("Column"), say("Its value")),
        *(say("Lowered the answer"), say("Hardly moved it"), say("Raised the answer")),
    )
    ordered = tuple(line for _, line in sorted(lines, key=lambda item: -item[0]))
    table = Table(
        "swarm", say("People by column, value and effect; each count is rounded down to ten"), headers, ordered
    )
    chart = Swarm(
        "swarm",
        say("How far each column moves people's answers"),
        say("attribution ({unit})", unit=Scale(reader).unit()),
        edges,
        tuple(row for _, row in sorted(rows, key=lambda item: -item[0])),
    )
    note = say(
        "From {people} people, as counts in cells: no dot is a person, and a cell of fewer than ten people is empty.",
        people=say("the held-out") if people is None else exact(people),
    )
    return [Prose(note), Figure(chart, table)]


def _thirds(edges: tuple[float, ...]) -> tuple[tuple[int, int], ...]:
    """The cells to the left, around and to the right of 0."""
    cells = len(edges) - 1
    return ((0, cells // 2 - 1), (cells // 2 - 1, cells // 2 + 1), (cells // 2 + 1, cells))


def case(reader: Reader) -> list[Block]:
    """One made-up person whom somebody declared, from the baseline to the answer."""
    found = reader.reader("case")
    attribution = None if found is None else found.reader("attribution")
    if found is None or attribution is None:
        words = say(
            "One example in full: not measured. Declare a made-up person under [example] in {file}.", file="model.toml"
        )
        return [Prose(words, tone="open")]
    base, answer, probability = (found.number(key) for key in ("base", "answer", "probability"))
    moved = [(name, attribution.number(name)) for name in attribution.values]
    steps = tuple(sorted(((n, v) for n, v in moved if v is not None), key=lambda step: (-abs(step[1]), step[0])))
    if base is None or answer is None:
        return []
    covered: Coverage = "post-processing"
    rows = [(text(say("baseline")), text("—"), Cell(fixed(base), base, (covered,)))]
    rows += [(text(name), found.words("of", name), Cell(fixed(value), value, (covered,))) for name, value in steps]
    rows.append((text(say("answer")), text("—"), Cell(fixed(answer), answer, (covered,))))
    named = Scale(reader).named
    moves = say("Moves the log-odds by") if named is None else say("Moves the score by")
    headers = (say("Column"), say("Value"), moves)
    table = Table("case", say("One made-up example, column by column"), headers, tuple(rows))
    chart = Waterfall(
        "case",
        say("From the baseline to the answer for one made-up example"),
        say("log-odds of the positive class") if named is None else say("score of {name}", name=named),
        base,
        tuple((plain(name), value) for name, value in steps),
        answer,
    )
    note = say(
        "A person made up in {file}, not a person of the data: so these numbers cost nobody anything. The answer is a "
        "probability of {share} %.",
        file="model.toml",
        share=say("unknown") if probability is None else fixed(100 * probability, 1),
    )
    if named is not None:
        note = say("{said} It is that of {name}.", said=note, name=named)
    return [Prose(note), Figure(chart, table)]


def overlays(reader: Reader, attribution: Reader) -> list[Block]:
    """Attributions where they lie in an image or a text; nothing where the inputs are columns."""
    tokens = [(str(t.get("token")), t.number("attribution")) for t in reader.readers("tokens")]
    if tokens:
        known = tuple((plain(word), value) for word, value in tokens if value is not None)
        rows = tuple((text(word), Cell(fixed(value, 4), value, (reader.coverage,))) for word, value in known)
        table = Table("tokens", say("Attribution by token, in order"), (say("Token"), say("Attribution")), rows)
        return [Figure(Tokens("tokens", say("Which words the answer rests on"), known), table)]
    places = {name: _PATCH.fullmatch(name) for name in attribution.values}
    grid: dict[int, dict[int, float]] = {}
    for name, match in places.items():
        value = attribution.number(name)
        if match is None or value is None:
            return []
        grid.setdefault(int(match[1]), {})[int(match[2])] = value
    if len(grid) < 2:
        return []
    values = tuple(tuple(row[left] for left in sorted(row)) for _, row in sorted(grid.items()))
    rows = tuple((text(name), attribution.bare(name, places=4)) for name in attribution.values)
    table = Table("patches", say("Attribution by patch"), (say("Patch, in pixels"), say("Attribution")), rows)
    return [Figure(Overlay("patches", say("Where in the image the answers rest"), values), table)]
