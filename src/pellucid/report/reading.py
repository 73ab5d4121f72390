"""Typed access to the values of evidence: absent is None and printed as "not measured"; a wrong shape is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pellucid.errors import Unverified
from pellucid.evidence import Coverage, Evidence
from pellucid.report.blocks import ABSENT, Cell, Table, text
from pellucid.report.covered import setting
from pellucid.report.elsewhere import measured
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.language import Said, say

__all__ = ["Measure", "Reader", "flatten", "how_table", "others", "span", "yes_or_no"]


class Measure(NamedTuple):
    """An estimate: value, its 95 % interval where there is one, and the units it rests on."""

    value: float
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True, slots=True)
class Reader:
    """A view into one JSON object of a piece of evidence; ``where`` is its dotted path, for errors."""

    values: Mapping[str, Any]
    coverage: Coverage
    where: str

    @classmethod
    def of(cls, evidence: Evidence) -> Reader:
        """The values of ``evidence``."""
        return cls(evidence.values, evidence.coverage, evidence.kind)

    def get(self, *path: str) -> Any:
        """The value at ``path``, or None."""
        found: Any = self.values
        for step in path:
            if found is None:
                return None
            if not isinstance(found, Mapping):
                raise self._shape(path)
            found = found.get(step)
        return found

    def number(self, *path: str) -> float | None:
        """A finite number, or None.

        Raises:
            Unverified: Something else stands there.
        """
        value = self.get(*path)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._shape(path)
        return value

    def measure(self, *path: str) -> Measure | None:
        """An estimate, or a bare number without its interval, or None.

        Raises:
            Unverified: Something else stands there, or the interval does not hold the value.
        """
        value = self.get(*path)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            number = self.number(*path)
            return None if number is None else Measure(number, None, None, None)
        reader = Reader(value, self.coverage, self._at(path))
        middle, low, high, n = (reader.number(key) for key in ("value", "low", "high", "n"))
        if middle is None or (low is None) != (high is None):
            raise self._shape(path)
        if low is not None and high is not None and not low <= high:
            raise self._shape(path)
        return Measure(middle, low, high, None if n is None else int(n))

    def reader(self, *path: str) -> Reader | None:
        """The object at ``path``, or None."""
        value = self.get(*path)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._shape(path)
        return Reader(value, self.coverage, self._at(path))

    def readers(self, *path: str) -> tuple[Reader, ...]:
        """The objects in the list at ``path``; none where it is absent."""
        value = self.get(*path)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
            raise self._shape(path)
        return tuple(Reader(item, self.coverage, f"{self._at(path)}[{i}]") for i, item in enumerate(value))

    def pairs(self, *path: str) -> tuple[tuple[float, float], ...]:
        """The pairs of finite numbers in the list at ``path``; none where it is absent."""
        value = self.get(*path)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in value):
            raise self._shape(path)
        found = []
        for place, (first, second) in enumerate(value):
            reader = Reader({"first": first, "second": second}, self.coverage, f"{self._at(path)}[{place}]")
            x, y = reader.number("first"), reader.number("second")
            if x is None or y is None:
                raise self._shape(path)
            found.append((x, y))
        return tuple(found)

    def texts(self, *path: str) -> tuple[str, ...] | None:
        """The texts in the list at ``path``, or None."""
        value = self.get(*path)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise self._shape(path)
        return tuple(str(item) for item in value)

    def words(self, *path: str) -> Cell:
        """A cell for a text, a list of texts or a yes or no."""
        value = self.get(*path)
        if value is None:
            return ABSENT
        if isinstance(value, list | tuple):
            return text(", ".join(str(item) for item in value) or say("none"))
        if isinstance(value, bool):
            return text(yes_or_no(value))
        if isinstance(value, Mapping):
            raise self._shape(path)
        return self.exact(*path) if isinstance(value, int | float) else text(str(value))

    def code(self, *path: str) -> Cell:
        """A cell for a digest or a name that is read byte by byte."""
        value = self.get(*path)
        return ABSENT if value is None else text(str(value), "code")

    def exact(self, *path: str) -> Cell:
        """A cell for a number with all its digits."""
        number = self.number(*path)
        return ABSENT if number is None else Cell(exact(number), number, (self.coverage,))

    def upper(self, *path: str, places: int = 4) -> Cell:
        """A cell for an upper bound, rounded up."""
        number = self.number(*path)
        return ABSENT if number is None else Cell(fixed(number, places, "up"), number, (self.coverage,))

    def estimate(self, *path: str, places: int = 3) -> Cell:
        """A cell for an estimate: ``0.905 (0.899 to 0.911)``."""
        found = self.measure(*path)
        if found is None:
            return ABSENT
        value = fixed(found.value, places)
        if found.low is not None and found.high is not None:
            words = say("{value} ({interval})", value=value, interval=span(found.low, found.high, places))
        else:
            words = say("{value} (no interval)", value=value)
        return Cell(words, self.get(*path), (self.coverage,))

    def bare(self, *path: str, places: int = 3) -> Cell:
        """A cell for an estimate; one without interval is printed as a plain number."""
        found = self.measure(*path)
        if found is None or found.low is not None:
            return self.estimate(*path, places=places)
        return Cell(fixed(found.value, places), self.get(*path), (self.coverage,))

    def units(self, *path: str) -> Cell:
        """A cell for the number of units that the estimate at ``path`` rests on."""
        found = self.measure(*path)
        if found is None or found.n is None:
            return ABSENT
        return Cell(exact(found.n), found.n, (self.coverage,))

    def _at(self, path: tuple[str, ...]) -> str:
        return ".".join((self.where, *path))

    def _shape(self, path: tuple[str, ...]) -> Unverified:
        return Unverified("this evidence is not of its form", where=self._at(path))


def span(low: float, high: float, places: int = 3) -> Said:
    """An interval, widened to ``places`` decimals: ``0.899 to 0.911``."""
    return say("{low} to {high}", low=fixed(low, places, "down"), high=fixed(high, places, "up"))


def yes_or_no(value: bool) -> Said:
    """The word for it."""
    return say("yes") if value else say("no")


def flatten(value: Any, coverage: Coverage, path: str = "") -> Iterator[tuple[str, Cell]]:
    """Every leaf of a JSON value with its dotted path; estimates stay whole, lists of plain values stay in one cell."""
    if isinstance(value, Mapping):
        if "value" in value and value.keys() <= {"value", "low", "high", "n"}:
            yield path, Reader({"x": value}, coverage, path).estimate("x")
            return
        for key in sorted(value):
            yield from flatten(value[key], coverage, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            for i, item in enumerate(value):
                yield from flatten(item, coverage, f"{path}[{i}]")
        else:
            numbers = any(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
            words = ", ".join(_item(item) for item in value) or say("none")
            yield path, Cell(words, list(value), (coverage,) if numbers else ())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, Cell(exact(value), value, (coverage,))
    else:
        yield path, text(_leaf(value))


def others(evidence: Evidence, *shown: str, coverage: Coverage | None = None) -> tuple[Table, ...]:
    """The values that no other part of a section shows, so that a field added later is never left out in silence.

    Args:
        evidence: The evidence of the section.
        shown: Keys of its values that the section shows already.
        coverage: Of these values, if it is another than that of the evidence.
    """
    rest = {key: value for key, value in evidence.values.items() if key not in shown}
    rows = tuple((text(name, "code"), cell) for name, cell in flatten(rest, coverage or evidence.coverage))
    if not rows:
        return ()
    caption = say("Further values of the {kind} evidence, by their names", kind=evidence.kind)
    return (Table(f"others-{evidence.kind}", caption, (say("What"), say("Value")), rows, "facts", fold=True),)


def how_table(evidence: Evidence, *shown: str) -> Table:
    """How the values of a piece of evidence were made, and how wrong they may be where no interval says it.

    A parameter may have been chosen by looking at the data, so its number is covered no better than the values are;
    constants of the method (:func:`~pellucid.report.covered.setting`) are public.

    Args:
        evidence: The evidence.
        shown: Names of errors that stand beside their values already.
    """
    rows = []
    for name, cell in flatten(evidence.how, evidence.coverage):
        said = replace(cell, text=measured(cell.text))
        if cell.coverage and setting(name):
            said = replace(said, coverage=("public",))
        rows.append((text(name or "how", "code"), said))
    error = {key: value for key, value in evidence.error.items() if key not in shown}
    rows += [(text(f"error.{name}", "code"), cell) for name, cell in flatten(error, evidence.coverage)]
    if not rows:
        rows = [(text("how", "code"), ABSENT)]
    caption = say("How this was measured, as the {kind} evidence says it", kind=evidence.kind)
    return Table(f"how-{evidence.kind}", caption, (say("What"), say("Value")), tuple(rows), "facts", fold=True)


def _item(value: Any) -> str:
    """One of a list, as JSON writes it: a list is text of others."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return exact(value) if isinstance(value, int | float) else plain(str(value))


def _leaf(value: Any) -> str:
    if value is None:
        return say("not measured")
    if isinstance(value, bool):
        return yes_or_no(value)
    return exact(value) if isinstance(value, int | float) else plain(str(value))
