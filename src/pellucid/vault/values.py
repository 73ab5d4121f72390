"""Data held against its declared schema: everything wrong is found at once, and no value is ever shown."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pellucid.errors import BadData, nearest
from pellucid.schema import Schema
from pellucid.vault.arrow import pa, pc
from pellucid.vault.casts import cast

__all__ = ["Problem", "check_table"]

_REPEATED: Final = (
    'names somebody in several rows, and unit = "row" says that every row is another person: declare it as the unit, '
    "with rows_per_unit"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which one column breaks the schema.

    Attributes:
        column: The column's name.
        rule: What is wrong with it; names declarations, never values.
        count: How many rows. Exact, so for the terminal of the person who holds the data and for nothing else.
    """

    column: str
    rule: str
    count: int


def check_table(data: Any, schema: Schema, *, where: str = "data") -> pa.Table:
    """``data`` as the schema declares it: its columns, in its order and types.

    Integers become ``int64``, numbers ``float64``, categories dictionaries of the declared categories in their declared
    order, booleans ``bool``, text and identifiers ``string``, images and audio ``binary``, timestamps
    ``timestamp[us, UTC]``. Texts are parsed; a whole float is an integer; NaN is missing. Missing values stay null.

    Args:
        data: An Arrow table or a pandas frame.
        schema: The declaration.
        where: What ``data`` is called in an error.

    Raises:
        BadData: Columns are missing, unknown or twice there, there is no row, or values are of another type, out of
            bounds, in no declared category, or missing where they must not be; or an identifier stands in several rows
            although every row is declared to be another person. All problems stand in the message, by
            column and rule; exact counts are in ``problems`` only.
    """
    columns, problems = _columns(data, where)
    rows = len(data)
    if not columns or rows == 0:
        raise BadData("there is no row", where=where, fix="seal a table with at least one row")
    problems += _structure(columns, schema, rows, where)
    typed: dict[str, pa.ChunkedArray] = {}
    for name, column in schema.columns.items():
        values = columns.get(name)
        if values is None:
            continue
        done, faults = cast(values, column)
        if name == schema.unit and column.missing != "refuse" and done is not None and done.null_count:
            faults = [*faults, ("is missing where it must name a person", done.null_count)]
        if schema.unit == "row" and column.type == "identifier" and done is not None:
            repeated = len(done) - done.null_count - int(pc.count_distinct(done).as_py())
            faults = [*faults, (_REPEATED, repeated)] if repeated else faults
        problems += [Problem(name, rule, count) for rule, count in faults]
        if done is not None:
            typed[name] = done
    if problems:
        raise _bad(problems, where)
    return pa.table(typed)


def _bad(problems: list[Problem], where: str) -> BadData:
    lines = dict.fromkeys(f'column "{problem.column}" {problem.rule}' for problem in problems)
    error = BadData(
        "the data does not fit its schema: " + "; ".join(lines),
        where=where,
        fix="correct the data, or the declaration if the declaration is wrong",
    )
    error.problems = tuple(problems)
    return error


def _columns(data: Any, where: str) -> tuple[dict[str, pa.ChunkedArray | None], list[Problem]]:
    """The columns by name; names that stand twice, and columns that Arrow cannot hold (None), are problems."""
    pandas = sys.modules.get("pandas")  # whoever passes a frame has imported it
    if pandas is not None and isinstance(data, pandas.DataFrame):
        names = [str(name) for name in data.columns]
        series: list[Any] = [data.iloc[:, place] for place in range(len(names))]
    elif isinstance(data, pa.Table):
        names, series = list(data.column_names), list(data.columns)
    else:
        raise BadData(f"a {type(data).__name__} is neither an Arrow table nor a pandas frame", where=where)
    problems = [Problem(name, "stands twice", len(data)) for name, times in Counter(names).items() if times > 1]
    columns: dict[str, pa.ChunkedArray | None] = {}
    for name, values in zip(names, series, strict=True):
        columns[name] = _as_arrow(values)
        if columns[name] is None:
            problems.append(Problem(name, "mixes values of several types, or is not UTF-8", len(data)))
    return columns, problems


def _as_arrow(values: Any) -> pa.ChunkedArray | None:
    try:
        if isinstance(values, pa.ChunkedArray):
            values.validate(full=True)  # Parquet files by others may hold any bytes as text
            return values
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None  # the message of that error holds a value
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _structure(columns: Mapping[str, Any], schema: Schema, rows: int, where: str) -> list[Problem]:
    if not set(columns) & set(schema.columns):
        # The names are not shown: without a header line they are the first person's values.
        raise BadData(
            "no column has a name that the schema declares",
            where=where,
            fix="check that the file has a header line and is the file that the schema is for",
        )
    missing = [name for name in schema.columns if name not in columns]
    unknown = [name for name in columns if name not in schema.columns]
    return [Problem(name, f"is not there{nearest(name, unknown)}", rows) for name in missing] + [
        Problem(name, f"is not in the schema{nearest(name, missing)}", rows) for name in unknown
    ]
