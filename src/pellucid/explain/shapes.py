"""Read out an additive model: what each column adds to the log-odds, value by value, as the model itself has it.

Nothing is estimated and nobody is looked at: the tables are the weights. What is read off a private model's tables is
post-processing, and costs no further privacy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import BadData
from pellucid.explain.inputs import check_encoding
from pellucid.explain.rules import declared
from pellucid.schema import MISSING, Code, Encoding

__all__ = ["Shape", "Shapes", "read_tables"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What one column adds to the log-odds of class 1.

    Attributes:
        column: Its name.
        adds: Log-odds, one at each of ``at`` or for each of ``names``.
        names: Of a category, of bins or of a boolean: the levels.
        at: Of a number: values in declared units, the middles of cells of equal width on its scale. Between two of them
            the model runs straight on that scale, beyond the ends it adds what it adds there.
        edges: Of a number: where its cells begin and end, one more than there are cells.
        scale: Of a number: ``linear`` or ``log``.
        missing: What a missing value adds, where there may be one.
    """

    column: str
    adds: tuple[float, ...]
    names: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    scale: str | None = None
    missing: float | None = None

    def values(self) -> dict[str, Any]:
        """The shape as JSON; what does not apply is absent."""
        found: dict[str, Any] = {"adds": [round(value, 6) for value in self.adds]}
        if self.scale is None:
            found["names"] = list(self.names)
        else:
            found |= {"scale": self.scale, "at": list(self.at), "edges": list(self.edges)}
        if self.missing is not None:
            found["missing"] = round(self.missing, 6)
        return found


@dataclass(frozen=True, slots=True)
class Shapes:
    """An additive model: its log-odds of class 1 are the intercept and what the columns add.

    Attributes:
        intercept: Log-odds before any column.
        columns: In the order of the encoding.
    """

    intercept: float
    columns: tuple[Shape, ...]

    def log_odds(self, row: Mapping[str, Any], encoding: Encoding) -> float:
        """Log-odds of a person whose columns have these values, as they are declared; None for missing.

        Raises:
            BadData: A column is not there, or its value is none that was declared; no value is shown.
        """
        total = self.intercept
        for shape, code in zip(self.columns, encoding.codes, strict=True):
            if shape.column not in row:
                raise BadData("this column is not there", where=shape.column)
            total += _added(shape, code, row[shape.column])
        return total

    def values(self) -> dict[str, Any]:
        """The tables as JSON."""
        return {
            "kind": "additive",
            "intercept": round(self.intercept, 6),
            "columns": {shape.column: shape.values() for shape in self.columns},
        }

    def how(self) -> Mapping[str, Any]:
        """How they were made."""
        return {
            "method": "the model's own tables, in declared units: log-odds of class 1 that each column adds",
            "exact": "they are the model, up to rounding to six decimals; numbers run straight between two middles",
            "coverage": "post-processing of the weights: nobody was looked at",
        }


def read_tables(encoding: Encoding, tables: Mapping[str, Sequence[float]], intercept: float) -> Shapes:
    """What the tables of an additive model say.

    Args:
        encoding: Of the model's rows.
        tables: By column, what its cells add: of a number cells of equal width on its encoded range, else one a level;
            last that of a missing value, where there may be one.
        intercept: Of the model.

    Raises:
        BadData: A column has no table, or one of another size than its levels.
        Misuse: Not an encoding.
    """
    check_encoding(encoding)
    return Shapes(float(intercept), tuple(_shape(code, tables.get(code.column, ())) for code in encoding.codes))


def _shape(code: Code, cells: Sequence[float]) -> Shape:
    adds = tuple(float(value) for value in cells[: len(cells) - code.missing])
    missing = float(cells[-1]) if code.missing and cells else None
    names = _levels(code)
    if len(adds) < 2 or (names and len(adds) != len(names)):
        raise BadData(f"a table of {len(cells)} cells does not fit this column", where=code.column)
    if names:
        return Shape(code.column, adds, names, missing=missing)
    at, edges = (
        tuple(float(f"{declared(code, 2 * (place + shift) / len(adds) - 1):.6g}") for place in range(count))
        for shift, count in ((0.5, len(adds)), (0.0, len(adds) + 1))
    )
    return Shape(code.column, adds, at=at, edges=edges, scale=code.how, missing=missing)


def _levels(code: Code) -> tuple[str, ...]:
    """The levels of a column, as they are declared; none for a number."""
    if code.how == "boolean":
        return ("false", "true")
    if code.how in ("linear", "log"):
        return ()
    labels = code.labels[: len(code.labels) - code.missing]
    return tuple(label.removeprefix(f"{code.column}=").removeprefix(f"{code.column} in ") for label in labels)


def _added(shape: Shape, code: Code, value: Any) -> float:
    if value is None:
        value = code.fill
    if value is None and shape.missing is not None:
        return shape.missing
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if code.how in ("linear", "log", "bins") and number and code.low <= value <= code.high:
        if code.how == "bins":
            return shape.adds[int(np.searchsorted(code.edges, value, side="right"))]
        above, span = value - code.low, code.high - code.low
        share = above / span if code.how == "linear" else math.log1p(above) / math.log1p(span)
        return float(np.interp(share * len(shape.adds) - 0.5, np.arange(len(shape.adds)), shape.adds))
    name = str(value).lower() if isinstance(value, bool) else value
    if code.how in ("onehot", "boolean") and name in shape.names:
        return shape.adds[shape.names.index(name)]
    kind = MISSING if value is None else type(value).__name__
    raise BadData(f"this value ({kind}) is none that is declared", where=shape.column)
