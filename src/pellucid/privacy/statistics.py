"""Statistics of a data set, and the plan that pays for them: noisy vectors of sums, decided before the first look.

Everything that is asked for is taken from vectors of sums over people: rows, cells of a histogram, clipped values. Each
is scaled so that adding or removing one person changes it by a vector of L2 norm at most 1, and gets independent
Gaussian noise. So a release is a composition of as many Gaussian mechanisms as there are different vectors; statistics
that rest on the same vector share it. Bounds, categories and bins are declared, never read off the data.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from pellucid.errors import BadPlan, UnknownName, Unverified, nearest
from pellucid.privacy import accounting
from pellucid.privacy.checking import check_name, check_number
from pellucid.privacy.events import NOISE_RANGE, Event
from pellucid.schema import MISSING, Column, Schema

__all__ = ["KINDS", "PARTS", "Statistic", "StatisticsPlan", "Vector"]

MECHANISM: Final = "statistics"
KINDS: Final = ("count", "sum", "mean", "histogram", "quantiles", "scores")
PARTS: Final = ("everybody", "training", "held-out")
MAX_CELLS: Final = 4096
"""Most cells of one vector: with more, what a list of statistics says is noise, and the record is no statement."""
MAX_STATISTICS: Final = 256
BINS: Final = 20
"""Bins of a histogram of numbers, where neither the schema nor whoever asks says otherwise."""
FINE_BINS: Final = 64
"""Bins that quantiles are read from: more of them add noise, fewer are coarse."""
MOST_VALUES: Final = 128
"""Of integers with no more declared values than that, quantiles are read from one bin a value."""
QUARTILES: Final = (0.25, 0.5, 0.75)
_MAX_UNITS: Final = 10**12
_ON_NUMBERS: Final = ("sum", "mean", "quantiles")


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector of sums, to which a person adds a vector of L2 norm at most 1.

    Attributes:
        what: ``rows`` (1 each), ``present`` (1 where the value is there), ``cells`` (1 in the person's cell), ``sum``
            (the clipped value over the larger bound), ``centred`` (the clipped value, bounds moved to -1 and 1), or
            ``scores`` (1 in the cell of true class and predicted probability).
        column: The column, where it is about one.
        bounds: To which values are clipped.
        edges: Inner edges of the bins; a value on an edge is in the bin above it.
        categories: Cells of a column that has them.
        missing: Whether the last cell is for what is missing.
    """

    what: str
    column: str | None = None
    bounds: tuple[float, float] | None = None
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    missing: bool = False

    @property
    def size(self) -> int:
        """How many sums it has."""
        bins = len(self.categories) or len(self.edges) + 1
        if self.what == "scores":
            return 2 * bins
        return bins + self.missing if self.what == "cells" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One thing asked about a data set. Made by :meth:`of`, which completes it from the declared schema.

    Attributes:
        kind: A name of :data:`KINDS`.
        column: Which column; none of ``count`` and ``scores``.
        bounds: To which values are clipped; default the declared ones.
        bins: Of equal width, over the bounds.
        edges: Inner edges of bins, in place of ``bins``.
        categories: Of a category or boolean column.
        at: Which quantiles, each in (0, 1).
        missing: Whether what is missing is counted apart.
        model: Whose ``scores``.

    Raises:
        BadPlan: A field is out of its range; ``where`` names it.
    """

    kind: str
    column: str | None = None
    bounds: tuple[float, float] | None = None
    bins: int | None = None
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    missing: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        check_name(self, "kind", KINDS)
        if self.bounds is not None:
            low, high = _two_numbers(self.bounds)
            if not low < high:
                raise BadPlan(f"the lower bound {low:g} is not below the upper bound {high:g}", where="bounds")
            # what scales by it would overflow or divide by zero, and then clipping bounds nobody
            if not (sys.float_info.min <= (high - low) / 2 < math.inf):
                raise BadPlan(f"{low:g}..{high:g} is too narrow or too wide to compute with", where="bounds")
            object.__setattr__(self, "bounds", (low, high))
        if self.bins is not None:
            check_number(self, "bins", int, lambda v: 1 <= v <= MAX_CELLS, f"from 1 to {MAX_CELLS}")
        for name in ("edges", "at"):
            numbers = tuple(getattr(self, name))
            if not all(_finite(number) for number in numbers) or list(numbers) != sorted(set(numbers)):
                raise BadPlan(f"{name} must be finite numbers, each above the one before", where=name)
            object.__setattr__(self, name, tuple(float(number) for number in numbers))
        object.__setattr__(self, "categories", tuple(self.categories))
        if any(not 0 < share < 1 for share in self.at):
            raise BadPlan("a quantile must be between 0 and 1, such as 0.5 for the median", where="at")
        cells = max(len(self.categories), len(self.edges) + 1)
        if cells > MAX_CELLS:
            raise BadPlan(f"{cells} cells are too many, at most {MAX_CELLS} are counted", where=self.column or "cells")

    def require_complete(self) -> None:
        """Raises BadPlan unless everything that the kind is taken from is there."""
        if any(not wanted for wanted in self._needs()):
            raise BadPlan(f"{self.kind} lacks what it is taken from", where=self.name, fix="make it by Statistic.of")

    def _needs(self) -> list[object]:
        """What must be there for the kind."""
        if self.kind == "count":
            return []
        if self.kind == "scores":
            return [self.bins, self.model]
        if self.kind in ("sum", "mean"):
            return [self.column, self.bounds]
        if self.kind == "quantiles":
            return [self.column, self.bounds, self.bins, self.at]
        return [self.column, self.categories or (self.bounds and (self.bins or self.edges))]

    @classmethod
    def of(cls, asked: Statistic | str, schema: Schema) -> Statistic:
        """``asked``, with what it leaves open taken from the declarations.

        Args:
            asked: A statistic, or ``KIND[:COLUMN[:OPTION…]]``: ``count``, ``mean:age``, ``sum:income:0..90000``,
                ``histogram:job``, ``histogram:age:12`` (bins), ``quantiles:income:0.1,0.5,0.9``.
            schema: The data set's.

        Raises:
            BadPlan: It does not parse, or its kind does not go with its column.
            UnknownName: There is no such column.
        """
        given = _parse(asked) if isinstance(asked, str) else asked
        if given.kind in ("count", "scores"):
            return given
        name = given.column or ""
        if name not in schema.columns:
            raise UnknownName(f'there is no column "{name}"{nearest(name, schema.columns)}', where=given.kind)
        return _completed(given, schema.columns[name])

    @property
    def name(self) -> str:
        """``count``, or ``mean:age``: how an answer is asked for. Two of one name differ in bounds or bins."""
        return self.kind if self.column is None else f"{self.kind}:{self.column}"

    @property
    def inner(self) -> tuple[float, ...]:
        """The inner edges of its bins."""
        if self.edges or self.bins is None:
            return self.edges
        low, high = self.bounds or (0.0, 1.0)
        return tuple(low + (high - low) * i / self.bins for i in range(1, self.bins))

    @property
    def labels(self) -> tuple[str, ...]:
        """What its cells are called, in order."""
        if self.categories:
            names = self.categories
        else:
            low, high = self.bounds or (0.0, 1.0)
            outer = [low, *self.inner, high]
            names = tuple(f"{a:g}..{b:g}" for a, b in itertools.pairwise(outer))
        return (*names, MISSING) if self.missing else names

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """What it is taken from."""
        if self.kind == "count":
            return (Vector("rows"),)
        if self.kind == "scores":
            return (Vector("scores", edges=self.inner),)
        if self.kind == "sum":
            return (Vector("sum", self.column, self.bounds),)
        if self.kind == "mean":
            there = Vector("present", self.column) if self.missing else Vector("rows")
            return (Vector("centred", self.column, self.bounds), there)
        return (Vector("cells", self.column, self.bounds, self.inner, self.categories, self.missing),)

    def record(self) -> dict[str, Any]:
        """The statistic as JSON, without the fields that have their default value."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @classmethod
    def from_record(cls, record: Any, *, where: str) -> Statistic:
        """The statistic in ``record``.

        Raises:
            BadPlan: It is none.
        """
        known = [f.name for f in fields(cls)]
        if not isinstance(record, Mapping) or not set(record) <= set(known) or "kind" not in record:
            raise BadPlan("this is not a statistic", where=where)
        try:
            given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in record.items()}
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise BadPlan("this is not a statistic", where=where) from error
        except BadPlan as error:
            raise BadPlan(error.what, where=f"{where}.{error.where}", fix=error.fix) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsPlan:
    """One release of statistics, decided before the first look.

    Attributes:
        epsilon: The claim: PLD epsilon of the plan's events at ``delta``, rounded up in millionths. In (0, 500].
        delta: In [1e-12, 1/units).
        units: Public, rounded number of people in the data set.
        noise_multiplier: Standard deviation of the noise on every vector, whose sensitivity is 1.
        statistics: What is asked, complete; at least one.
        part: Of the people: ``everybody``, or the ``training`` or ``held-out`` ones.
        test: Share of people held out, in [0, 1); 0 of everybody.

    Raises:
        BadPlan: A field is out of its range; ``where`` names it.
    """

    epsilon: float
    delta: float
    units: int
    noise_multiplier: float
    statistics: tuple[Statistic, ...] = field(default=())
    part: str = "everybody"
    test: float = 0.0

    def __post_init__(self) -> None:
        low, high = NOISE_RANGE
        check_number(self, "units", int, lambda v: 1 <= v <= _MAX_UNITS, "a positive whole number, at most 1e12")
        check_number(self, "epsilon", float, lambda v: 0 < v <= accounting.MAX_EPSILON, "above 0 and at most 500")
        check_number(self, "delta", float, lambda v: v > 0, "above 0")
        check_number(self, "delta", float, lambda v: v < 1 / self.units, "below 1/units, or it could give people away")
        check_number(self, "delta", float, lambda v: v >= accounting.MIN_DELTA, f"at least {accounting.MIN_DELTA:g}")
        check_number(self, "noise_multiplier", float, lambda v: low <= v <= high, f"within [{low:g}, {high:g}]")
        check_name(self, "part", PARTS)
        check_number(self, "test", float, lambda v: 0 <= v < 1, "a share in [0, 1)")
        if (self.part == "everybody") != (self.test == 0):
            raise BadPlan("a held-out share goes with a part of the people, and only with one", where="test")
        if not 1 <= len(self.statistics) <= MAX_STATISTICS:
            raise BadPlan(f"a release answers 1 to {MAX_STATISTICS} questions", where="statistics")
        if len(set(self.statistics)) != len(self.statistics):
            raise BadPlan("one statistic is asked for twice", where="statistics")
        for statistic in self.statistics:
            statistic.require_complete()

    @classmethod
    def calibrate(
        cls,
        *,
        epsilon: float,
        delta: float,
        units: int,
        statistics: Iterable[Statistic],
        part: str = "everybody",
        test: float = 0.0,
    ) -> StatisticsPlan:
        """The plan with the least noise whose claim is at most ``epsilon``, the same noise on every vector.

        Raises:
            BadPlan: A parameter is out of its range, or no noise is enough.
        """
        asked = cls(
            epsilon=epsilon,
            delta=delta,
            units=units,
            noise_multiplier=1.0,  # not yet known
            statistics=tuple(statistics),
            part=part,
            test=test,
        )
        try:
            noise = accounting.calibrate(1.0, asked.steps, asked.epsilon, asked.delta)
            return asked.with_noise(noise)
        except Unverified as error:
            raise BadPlan(error.what, where="epsilon", fix=error.fix) from None

    def with_noise(self, noise_multiplier: float) -> StatisticsPlan:
        """The same questions with other noise, and the claim that follows."""
        other = replace(self, noise_multiplier=noise_multiplier)
        return replace(other, epsilon=accounting.epsilon(other.events, other.delta))

    @property
    def mechanism(self) -> str:
        """``statistics``: tells its record from those of other plans."""
        return MECHANISM

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """What is taken from the data, each once, in the order in which it is taken."""
        return tuple(dict.fromkeys(vector for statistic in self.statistics for vector in statistic.vectors))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys(v.column for v in self.vectors if v.column is not None))

    @property
    def sample_rate(self) -> float:
        """1: everybody is in every vector."""
        return 1.0

    @property
    def bands(self) -> int:
        """1: the noise of one vector is independent of that of another."""
        return 1

    @property
    def steps(self) -> int:
        """Number of noisy vectors."""
        return len(self.vectors)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the accountant composes."""
        return [Event(1.0, self.noise_multiplier, self.steps).record()]

    def record(self) -> dict[str, Any]:
        """The plan as JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "statistics"}
        return {"mechanism": MECHANISM, **plain, "statistics": [statistic.record() for statistic in self.statistics]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, where: str = "plan") -> StatisticsPlan:
        """The plan in ``record``. Every field is checked; the claim is not recomputed.

        Raises:
            BadPlan: A field is missing, unknown or out of its range.
        """
        given = {name: value for name, value in record.items() if name != "mechanism"}
        names = [f.name for f in fields(cls)]
        if record.get("mechanism") != MECHANISM:
            raise BadPlan(f'the mechanism must be "{MECHANISM}"', where=f"{where}.mechanism")
        if sorted(given) != sorted(names):
            raise BadPlan(f"a plan of statistics has exactly the fields {', '.join(sorted(names))}", where=where)
        asked = given["statistics"]
        if not isinstance(asked, Sequence) or isinstance(asked, str):
            raise BadPlan("statistics must be a list", where=f"{where}.statistics")
        read = [Statistic.from_record(each, where=f"{where}.statistics[{i}]") for i, each in enumerate(asked)]
        try:
            return cls(**{**given, "statistics": tuple(read)})
        except BadPlan as error:
            raise BadPlan(error.what, where=f"{where}.{error.where}", fix=error.fix) from None


_RANGE: Final = re.compile(r"(-?[0-9.eE+-]*[0-9.])\.\.(-?[0-9.eE+-]+)")


def _parse(text: str) -> Statistic:
    """A statistic as it is typed, not yet complete."""
    kind, *rest = text.split(":")
    if kind not in KINDS[:-1]:
        raise BadPlan(
            f'there is no statistic "{kind}"{nearest(kind, KINDS[:-1])}',
            where=text,
            fix=f"one of {', '.join(KINDS[:-1])}, such as mean:age",
        )
    if (kind == "count") != (not rest):
        raise BadPlan("count is of rows; every other statistic is of a column", where=text, fix="such as mean:age")
    found: dict[str, Any] = {}
    for option in rest[1:]:
        try:
            if _RANGE.fullmatch(option):
                found["bounds"] = tuple(float(part) for part in option.rsplit("..", 1))
            elif "." in option or "," in option:
                found["at"] = tuple(float(part) for part in option.split(","))
            else:
                found["bins"] = int(option)
        except ValueError:
            raise BadPlan(
                f'"{option}" is neither bounds (0..100), nor bins (20), nor quantiles (0.1,0.5)', where=text
            ) from None
    return Statistic(kind=kind, column=rest[0] if rest else None, **found)


def _completed(given: Statistic, column: Column) -> Statistic:
    """``given`` with what it leaves open taken from the column's declaration."""
    missing = column.missing == "category"
    if column.bounds is not None:
        if given.kind == "histogram" and given.edges:
            return replace(given, missing=missing, bounds=given.bounds or column.bounds)
        return _numeric(given, column, missing)
    if given.kind in _ON_NUMBERS:
        raise BadPlan(
            f"{given.kind} is of numbers, and this column is {column.type}",
            where=column.name,
            fix=f"histogram:{column.name} counts its values"
            if column.categories or column.type == "boolean"
            else "nothing is counted of such a column: ask about another one",
        )
    categories = ("false", "true") if column.type == "boolean" else column.categories
    if not categories:
        raise BadPlan(
            f"a column of type {column.type} has no declared values to count",
            where=column.name,
            fix="declare it as a category, with the values there may be",
        )
    if given.bounds or given.bins or given.edges:
        raise BadPlan("a column of categories has neither bounds nor bins", where=column.name)
    return replace(given, categories=categories, missing=missing)


def _numeric(given: Statistic, column: Column, missing: bool) -> Statistic:
    low, high = given.bounds or column.bounds or (0.0, 1.0)
    if given.kind in ("sum", "mean"):
        return replace(given, bounds=(low, high), missing=missing)
    whole = column.type == "integer" and given.kind == "quantiles" and given.bins is None
    if whole and high - low < MOST_VALUES:
        return replace(
            given,
            bounds=(math.floor(low) - 0.5, math.ceil(high) + 0.5),
            bins=math.ceil(high) - math.floor(low) + 1,
            at=given.at or QUARTILES,
        )
    if given.kind == "quantiles":
        return replace(given, bounds=(low, high), bins=given.bins or FINE_BINS, at=given.at or QUARTILES)
    edges = column.scale if isinstance(column.scale, tuple) and given.bins is None and given.bounds is None else ()
    bins = None if edges else given.bins or BINS
    return replace(given, bounds=(low, high), bins=bins, edges=edges, missing=missing)


def _two_numbers(bounds: Sequence[Any]) -> tuple[float, float]:
    if len(bounds) != 2 or not all(_finite(number) for number in bounds):
        raise BadPlan("bounds must be two finite numbers", where="bounds")
    return float(bounds[0]), float(bounds[1])


def _finite(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
