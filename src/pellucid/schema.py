"""The declared schema of a data set, and the encoding that follows from it.

Everything here is public knowledge: bounds and categories are declared by a person who knows the domain, never read
off the data, so nothing in this file costs privacy. It holds no values, and needs neither torch nor pyarrow.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pellucid.errors import BadFile, UnknownName, nearest
from pellucid.evidence import canonical, digest

__all__ = [
    "ENCODED",
    "MISSING",
    "SENSITIVITIES",
    "TYPES",
    "Budget",
    "Code",
    "Column",
    "Encoding",
    "Schema",
    "parse_toml",
    "read_toml",
]

TYPES: Final = ("number", "integer", "category", "boolean", "text", "image", "audio", "timestamp", "identifier")
ENCODED: Final = ("number", "integer", "category", "boolean")
SENSITIVITIES: Final = ("public", "personal", "special", "identifier")
MISSING: Final = "<missing>"
MAX_TOML: Final = 1 << 20
_MAX_DOTS: Final = 64  # in one key: reading one takes time with the square of it
_DOTTED: Final = re.compile(r"""(?<![\w.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)++""")
MAX_ROWS_PER_UNIT: Final = 1000
"""More rows than this of one person would hide nobody at any useful noise."""


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """The document in ``text``; NaN and infinities, which TOML allows, are refused everywhere.

    Raises:
        BadFile: A syntax error (with line and column), a number that is not finite (with its dotted key), a number of
            thousands of digits, tables too deep to read, a key of more than 64 dots, or a text of more than 1 MiB.
    """
    if len(text) > MAX_TOML or len(text.encode("utf-8", "surrogatepass")) > MAX_TOML:
        raise BadFile(f"a text of more than {MAX_TOML >> 20} MiB is not accepted", where=where)
    for found in _DOTTED.finditer(text):
        if found.group().count(".") > _MAX_DOTS:
            line = text.count("\n", 0, found.start()) + 1
            raise BadFile(f"a key of more than {_MAX_DOTS} dots is not accepted", where=f"{where}, line {line}")
    try:
        document = tomllib.loads(text)
        _refuse_non_finite(document, where)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"not TOML: {error}", where=where) from error
    except RecursionError as error:
        raise BadFile("tables or lists are nested too deeply", where=where) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise BadFile("a number has too many digits", where=where) from error
    return document


def read_toml(path: Path) -> dict[str, Any]:
    """:func:`parse_toml` of a file.

    Raises:
        BadFile: It is not there, is not UTF-8, or does not parse.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"), where=str(path))
    except FileNotFoundError as error:
        raise BadFile("there is no such file", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("the file cannot be read as UTF-8 text", where=str(path)) from error


def _refuse_non_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadFile("nan and inf are not numbers here", where=where)
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(item, f"{where}: {key}" if ": " not in where else f"{where}.{key}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_non_finite(item, f"{where}[{index}]")


@dataclass(frozen=True, slots=True)
class Budget:
    """What everything ever done with the data may cost together."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column.

    Attributes:
        name: Its name.
        type: One of :data:`TYPES`.
        sensitivity: One of :data:`SENSITIVITIES`.
        bounds: Least and greatest admissible value of a ``number`` or ``integer``.
        categories: Admissible values of a ``category``.
        scale: ``linear``, ``log``, or the inner edges of bins.
        missing: ``refuse``, ``category``, or ``{"fill": value}``.
        reference: What an explanation compares a value of this column with: most often the usual one. None where
            nothing is declared.
    """

    name: str
    type: str
    sensitivity: str
    bounds: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    scale: str | tuple[float, ...] = "linear"
    missing: str | Mapping[str, float | str | bool] = "refuse"
    reference: float | str | bool | None = None

    def record(self) -> dict[str, Any]:
        """The column as JSON, defaults included; but ``reference``, which is there only where it is declared."""
        return {
            "type": self.type,
            "sensitivity": self.sensitivity,
            "missing": self.missing if isinstance(self.missing, str) else dict(self.missing),
            **({} if self.reference is None else {"reference": self.reference}),
            **({"categories": list(self.categories)} if self.categories else {}),
            **(
                {
                    "bounds": list(self.bounds),
                    "scale": self.scale if isinstance(self.scale, str) else {"bins": list(self.scale)},
                }
                if self.bounds
                else {}
            ),
        }


@dataclass(frozen=True, slots=True)
class Schema:
    """The declared schema of one data set. Made by :meth:`parse`, which checks it whole.

    Attributes:
        columns: By name, in order.
        target: The column that models learn to tell.
        unit: The column that names a person, or ``row``: every row is another person.
        units: Public, rounded number of people.
        purposes: What the data was collected for.
        retention: The last day it may be kept.
        budget: Taken at the first sealing.
        rows_per_unit: The most rows of a person that are sealed, from 1; None if it is not bounded.
        rows: Public, rounded number of rows; None if it is not declared.
    """

    columns: Mapping[str, Column]
    target: str
    unit: str
    units: int
    purposes: tuple[str, ...]
    retention: dt.date | None = None
    budget: Budget | None = None
    rows_per_unit: int | None = None
    rows: int | None = None

    @classmethod
    def read(cls, path: Path) -> Schema:
        """:meth:`parse` of a file."""
        return cls.from_document(read_toml(path), where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str = "schema") -> Schema:
        """The schema in TOML ``text``.

        Raises:
            BadFile: A syntax error names line and column, a wrong meaning the dotted key.
        """
        return cls.from_document(parse_toml(text, where=where), where=where)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, where: str) -> Schema:
        """The schema in a parsed document (TOML, or :meth:`document`)."""
        table = _Table(document, where, "")
        table.only({"dataset", "columns"})
        head = table.table("dataset")
        head.only({"target", "unit", "units", "rows_per_unit", "rows", "purposes", "retention", "budget"})
        columns = {}
        section = table.table("columns")
        for name in section.content:
            columns[name] = _column(name, section.table(name))
        if not columns:
            raise BadFile("a schema needs at least one column", where=f"{where}: columns")
        target = head.text("target")
        if target not in columns:
            raise BadFile(f'"{target}" is not a column{nearest(target, columns)}', where=f"{where}: dataset.target")
        if columns[target].type not in ("category", "boolean", "number", "integer"):
            raise BadFile("the target must be a category, boolean, number or integer", where=f"{where}: dataset.target")
        unit = head.text("unit", "row")
        if unit != "row" and (unit not in columns or columns[unit].type != "identifier"):
            raise BadFile(
                f'"{unit}" is neither "row" nor an identifier column{nearest(unit, columns)}',
                where=f"{where}: dataset.unit",
            )
        units = head.get("units")
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise BadFile(
                "units must be a positive whole number: a public, rounded number of people",
                where=f"{where}: dataset.units",
            )
        rows_per_unit, rows = _rows(head, unit, units)
        purposes = head.texts("purposes")
        if not purposes:
            raise BadFile("name at least one purpose the data was collected for", where=f"{where}: dataset.purposes")
        retention = head.get("retention", None)
        if isinstance(retention, str):
            try:
                retention = dt.date.fromisoformat(retention)
            except ValueError:
                retention = "unreadable"
        if retention is not None and (not isinstance(retention, dt.date) or isinstance(retention, dt.datetime)):
            raise BadFile("retention must be a date, such as 2031-12-31", where=f"{where}: dataset.retention")
        budget = None
        if head.get("budget", None) is not None:
            part = head.table("budget")
            part.only({"epsilon", "delta"})
            budget = Budget(part.number("epsilon"), part.number("delta"))
            if budget.epsilon <= 0:
                raise BadFile("epsilon must be above 0", where=f"{where}: dataset.budget.epsilon")
            if not 0 < budget.delta < 1 / units:
                raise BadFile(
                    "delta must be above 0 and below 1/units: a larger one may publish a whole person",
                    where=f"{where}: dataset.budget.delta",
                )
        return cls(columns, target, unit, units, tuple(purposes), retention, budget, rows_per_unit, rows)

    def document(self) -> dict[str, Any]:
        """The schema as JSON, defaults included; :meth:`from_document` gives it back."""
        return {
            "dataset": {
                "target": self.target,
                "unit": self.unit,
                "units": self.units,
                **{name: value for name, value in self.bound().items() if value is not None},
                "purposes": list(self.purposes),
                "retention": self.retention.isoformat() if self.retention else None,
                "budget": {"epsilon": self.budget.epsilon, "delta": self.budget.delta} if self.budget else None,
            },
            "columns": {name: column.record() for name, column in self.columns.items()},
        }

    def bound(self) -> dict[str, int | None]:
        """What is declared of the rows of a person: ``rows_per_unit`` and ``rows``."""
        return {"rows_per_unit": self.rows_per_unit, "rows": self.rows}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical document: what an owner adopts."""
        return digest(canonical(self.document()))

    def features(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """The feature columns: ``names``, or all but target, identifier and special columns.

        Raises:
            UnknownName: A name is no column, or one that cannot be encoded.
            BadFile: The target or the unit is among them, a name stands twice, or none is left.
        """
        if names is None:
            names = [
                c.name
                for c in self.columns.values()
                if c.name not in (self.target, self.unit)
                and c.type in ENCODED
                and c.sensitivity not in ("special", "identifier")
            ]
        for name in names:
            if name not in self.columns:
                raise UnknownName(f'no column "{name}"{nearest(name, self.columns)}', where="features")
            if name == self.unit:
                raise BadFile(f'"{name}" names the person and cannot be a feature', where="features")
            if name == self.target:
                raise BadFile(f'"{name}" is the target and cannot be a feature', where="features")
            if self.columns[name].type not in ENCODED:
                raise BadFile(f'"{name}" is {self.columns[name].type} and has no encoding yet', where="features")
        if len(set(names)) != len(names):
            raise BadFile("a feature stands twice", where="features")
        if not names:
            raise BadFile("there is no feature column", where="features")
        return tuple(names)

    def classes(self) -> tuple[str, ...]:
        """The target's classes in order, or none for a regression.

        Binary targets encode the last class as 1.
        """
        column = self.columns[self.target]
        if column.type == "boolean":
            return ("false", "true")
        return column.categories if column.type == "category" else ()


@dataclass(frozen=True, slots=True)
class Code:
    """How one column becomes ``width`` numbers, from declarations alone.

    ``how`` is ``linear`` (bounds to [-1, 1]), ``log`` (log1p above the lower bound, to [-1, 1]), ``bins`` (one
    indicator a bin, the lower edge inside), ``onehot`` (one a category) or ``boolean`` (0 or 1). With
    ``missing = "category"`` one more indicator follows. ``fill`` and ``reference`` are values as they are declared.
    """

    column: str
    how: str
    width: int
    labels: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    missing: bool = False
    fill: float | str | bool | None = None
    reference: float | str | bool | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the feature columns become one row of ``width`` numbers."""

    codes: tuple[Code, ...]
    target: str
    classes: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, schema: Schema, features: Sequence[str] | None = None) -> Encoding:
        """The encoding that follows from ``schema``; nothing about the values is used."""
        return cls(
            tuple(_code(schema.columns[name]) for name in schema.features(features)), schema.target, schema.classes()
        )

    @property
    def width(self) -> int:
        """How many numbers a row becomes."""
        return sum(code.width for code in self.codes)

    @property
    def features(self) -> tuple[str, ...]:
        """The feature columns in order."""
        return tuple(code.column for code in self.codes)

    def slices(self) -> dict[str, slice]:
        """Where each column's numbers stand, so that a column is explained as the one feature it is."""
        place, found = 0, {}
        for code in self.codes:
            found[code.column] = slice(place, place + code.width)
            place += code.width
        return found


def _code(column: Column) -> Code:
    missing = column.missing == "category"
    extra = (f"{column.name}={MISSING}",) if missing else ()
    low, high = column.bounds or (0.0, 1.0)
    edges: tuple[float, ...] = ()
    if column.type == "category":
        how, labels = "onehot", tuple(f"{column.name}={value}" for value in column.categories)
    elif column.type == "boolean":
        how, labels = "boolean", (column.name,)
    elif isinstance(column.scale, tuple):
        how, edges = "bins", column.scale
        ends = (-math.inf, *edges, math.inf)
        labels = tuple(f"{column.name} in [{a:g}, {b:g})" for a, b in itertools.pairwise(ends))
    else:
        how, labels = column.scale, (column.name,)
    return Code(
        column.name,
        how,
        len(labels) + len(extra),
        labels + extra,
        low,
        high,
        edges,
        column.categories,
        missing,
        column.missing["fill"] if isinstance(column.missing, Mapping) else None,
        column.reference,
    )


def _column(name: str, table: _Table) -> Column:
    table.only({"type", "bounds", "categories", "scale", "bins", "sensitivity", "missing", "reference"})
    kind = table.choice("type", TYPES)
    sensitivity = table.choice("sensitivity", SENSITIVITIES)
    if kind == "identifier" and sensitivity != "identifier":
        raise BadFile("a column of type identifier has sensitivity identifier", where=table.at("sensitivity"))
    bounds = None
    if kind in ("number", "integer"):
        pair = table.get("bounds")
        if not (isinstance(pair, list) and len(pair) == 2 and all(_is_number(v) for v in pair)):
            raise BadFile(
                "bounds must be two finite numbers: the least and the greatest admissible value",
                where=table.at("bounds"),
            )
        if not pair[0] < pair[1]:
            raise BadFile("the lower bound must be below the upper one", where=table.at("bounds"))
        if kind == "integer" and any(v != int(v) for v in pair):
            raise BadFile("bounds of an integer must be whole", where=table.at("bounds"))
        bounds = (pair[0], pair[1])
    elif "bounds" in table.content:
        raise BadFile(f"a {kind} column has no bounds", where=table.at("bounds"))
    categories: tuple[str, ...] = ()
    if kind == "category":
        categories = tuple(table.texts("categories"))
        if len(categories) < 2 or len(set(categories)) != len(categories):
            raise BadFile("list every category once, at least two", where=table.at("categories"))
    elif "categories" in table.content:
        raise BadFile(f"a {kind} column has no categories", where=table.at("categories"))
    reference = table.get("reference", None)
    if reference is not None and not _admissible(reference, kind, bounds, categories):
        raise BadFile(
            "the reference must itself be admissible in the column",
            where=table.at("reference"),
            fix="declare a value, such as 0 or a category, that explanations compare everybody with",
        )
    missing = _missing(table, kind, bounds, categories)
    return Column(name, kind, sensitivity, bounds, categories, _scale(table, bounds), missing, reference)


def _rows(head: _Table, unit: str, units: int) -> tuple[int | None, int | None]:
    """``rows_per_unit`` and ``rows``, if they are declared."""
    found: list[int | None] = []
    for key, most in (("rows_per_unit", MAX_ROWS_PER_UNIT), ("rows", None)):
        value = head.get(key, None)
        if value is None:
            found.append(None)
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most and value > most):
            top = f" up to {most}" if most else ""
            raise BadFile(f"this must be a positive whole number{top}", where=head.at(key))
        if unit == "row":
            raise BadFile(
                'unit = "row" says that every row is another person, so that there are no rows of one person to count',
                where=head.at(key),
            )
        found.append(value)
    bound, rows = found
    if rows is not None and bound is None:
        raise BadFile("rows goes with rows_per_unit, the most rows of one person", where=head.at("rows"))
    if rows is not None and bound is not None and not units <= rows <= units * bound:
        raise BadFile(f"rows must be from units to units times rows_per_unit, {units * bound}", where=head.at("rows"))
    return bound, rows


def _scale(table: _Table, bounds: tuple[float, float] | None) -> str | tuple[float, ...]:
    if "scale" in table.content and "bins" in table.content:
        raise BadFile("a column has a scale or bins, not both", where=table.at("bins"))
    if "bins" in table.content:
        table = _Table({**table.content, "scale": {"bins": table.content["bins"]}}, table.where, table.key)
    scale = table.get("scale", "linear")
    if scale == "linear" and "scale" not in table.content:
        return "linear"
    if bounds is None:
        raise BadFile("only numbers have a scale", where=table.at("scale"))
    if scale in ("linear", "log"):
        return str(scale)
    if isinstance(scale, dict) and set(scale) == {"bins"} and isinstance(scale["bins"], list) and scale["bins"]:
        edges = scale["bins"]
        if all(_is_number(e) and bounds[0] < e < bounds[1] for e in edges) and edges == sorted(set(edges)):
            return tuple(float(e) for e in edges)
        raise BadFile("bins must be rising numbers inside the bounds", where=table.at("scale"))
    raise BadFile('scale must be "linear", "log" or { bins = [25, 35, 50] }', where=table.at("scale"))


def _missing(
    table: _Table, kind: str, bounds: tuple[float, float] | None, categories: tuple[str, ...]
) -> str | dict[str, Any]:
    missing = table.get("missing", "refuse")
    if missing in ("refuse", "category"):
        return str(missing)
    if isinstance(missing, dict) and set(missing) == {"fill"}:
        if _admissible(missing["fill"], kind, bounds, categories):
            return {"fill": missing["fill"]}
        raise BadFile("the fill must itself be admissible in the column", where=table.at("missing.fill"))
    raise BadFile('missing must be "refuse", "category" or { fill = 40 }', where=table.at("missing"))


def _admissible(value: Any, kind: str, bounds: tuple[float, float] | None, categories: tuple[str, ...]) -> bool:
    """Whether a value could stand in a column that is declared so."""
    if bounds is not None:
        return _is_number(value) and bounds[0] <= value <= bounds[1]
    return value in categories if kind == "category" else kind == "boolean" and isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a document that knows its dotted key, for errors that say where."""

    content: Mapping[str, Any]
    where: str
    key: str

    def at(self, key: str) -> str:
        return f"{self.where}: {self.key + '.' if self.key else ''}{key}"

    def only(self, known: Iterable[str]) -> None:
        for key in self.content:
            if key not in set(known):
                raise BadFile(f"unknown key{nearest(key, known)}", where=self.at(key))

    def get(self, key: str, default: Any = _NOTHING) -> Any:
        value = self.content.get(key, default)
        if value is _NOTHING:
            raise BadFile("this key is missing", where=self.at(key))
        return value

    def table(self, key: str) -> _Table:
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise BadFile("this must be a table", where=self.at(key))
        return _Table(value, self.where, f"{self.key}.{key}" if self.key else key)

    def text(self, key: str, default: Any = _NOTHING) -> str:
        value = self.get(key, default)
        if not isinstance(value, str) or not value:
            raise BadFile("this must be a text", where=self.at(key))
        return value

    def texts(self, key: str) -> list[str]:
        value = self.get(key)
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise BadFile("this must be a list of texts", where=self.at(key))
        return value

    def number(self, key: str) -> float:
        value = self.get(key)
        if not _is_number(value):
            raise BadFile("this must be a finite number", where=self.at(key))
        return float(value)

    def choice(self, key: str, known: Sequence[str]) -> str:
        value = self.text(key)
        if value not in known:
            raise BadFile(f'"{value}" is not one of {", ".join(known)}{nearest(value, known)}', where=self.at(key))
        return value
