"""Arrow to tensors: the encoding that a schema declares, applied to rows.

Only declared facts are used (bounds, categories, bin edges); no mean, maximum or vocabulary is ever read off the
data, so encoding costs no privacy. Values that the schema does not admit are refused, and the error names the column
and never the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from pellucid.errors import BadData, nearest
from pellucid.schema import Code, Encoding

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["encode_features", "encode_row", "encode_target"]

CHUNK: Final = 65_536  # rows at a time, so that the temporaries stay within the cache and a few MiB


def encode_features(table: pa.Table, encoding: Encoding) -> torch.Tensor:
    """The feature columns of ``table`` as one float32 tensor.

    Args:
        table: An Arrow table with at least the columns ``encoding.features``, in any order and chunking.
        encoding: What :meth:`pellucid.schema.Encoding.of` made of the schema.

    Returns:
        A tensor of shape ``(rows, encoding.width)``; every number lies in [-1, 1]. A linear column maps its bounds to
        -1 and 1, a log column maps ``log1p(x - low) / log1p(high - low)`` from [0, 1] to [-1, 1], the others become
        indicators of 0 and 1.

    Raises:
        BadData: A column is missing or of another type, or holds a value that the schema does not admit.
    """
    rows = table.num_rows
    out = np.zeros((rows, encoding.width), dtype=np.float32)
    places = encoding.slices()
    for code in encoding.codes:
        column = _column(table, code.column)
        for start in range(0, rows, CHUNK):
            chunk = column.slice(start, CHUNK)
            _write(out[start : start + CHUNK, places[code.column]], chunk, code)
    return torch.from_numpy(out)


def encode_row(values: Mapping[str, Any], encoding: Encoding) -> torch.Tensor:
    """One made-up row as float32 of shape ``(1, encoding.width)``; ``values`` by column, whatever else it holds.

    Raises:
        BadData: As :func:`encode_features`.
    """
    import pyarrow as pa

    return encode_features(pa.table({name: [value] for name, value in values.items()}), encoding)


def encode_target(table: pa.Table, encoding: Encoding) -> torch.Tensor:
    """The target column of ``table``.

    Args:
        table: An Arrow table with the column ``encoding.target``.
        encoding: Its ``classes`` decide what is returned.

    Returns:
        A tensor of shape ``(rows,)``: int64 positions in ``encoding.classes``, or float32 values for a regression.

    Raises:
        BadData: The column is absent, or a value is missing, not finite, or none of the classes.
    """
    import pyarrow as pa

    column = _column(table, encoding.target)
    name = encoding.target
    if not encoding.classes:
        values, absent = _numbers(column, name)
        if absent.any():
            raise BadData("a target is missing", where=name, fix="leave out the rows that have no target")
        return torch.from_numpy(values.astype(np.float32))
    if pa.types.is_boolean(column.type):
        flags, absent = _booleans(column, name)
        positions = flags.astype(np.int64)
    else:
        positions, absent = _positions(column, encoding.classes, name)
    if absent.any():
        raise BadData("a target is missing", where=name, fix="leave out the rows that have no target")
    return torch.from_numpy(positions)


def _write(out: NDArray[np.float32], chunk: Any, code: Code) -> None:
    """Encode one chunk of one column into its slice of the matrix."""
    if code.how == "onehot":
        places, absent = _positions(chunk, code.categories, code.column)
        fill: Any = code.categories.index(code.fill) if isinstance(code.fill, str) else None
        places = _missing(out, places, absent, code, fill)
        _indicate(out, places, ~absent | (fill is not None))
    elif code.how == "boolean":
        flags, absent = _booleans(chunk, code.column)
        flags = _missing(out, flags, absent, code, code.fill)
        out[:, 0] = np.where(absent & code.missing, 0.0, flags)
    else:
        values, absent = _numbers(chunk, code.column)
        values = _missing(out, values, absent, code, code.fill)
        present = ~absent | (code.fill is not None)
        if ((values[present] < code.low) | (values[present] > code.high)).any():
            raise BadData(
                f"a value is outside the declared bounds [{code.low:g}, {code.high:g}]",
                where=code.column,
                fix="correct the data, or declare bounds that hold for everyone who may be in it",
            )
        if code.how == "bins":
            _indicate(out, np.searchsorted(np.asarray(code.edges), values, side="right"), present)
        else:
            span = code.high - code.low
            # absent rows keep 0, the middle of the range; their own indicator says that they are absent
            above = np.where(present, values - code.low, span / 2)
            share = above / span if code.how == "linear" else np.log1p(above) / math.log1p(span)
            out[:, 0] = np.where(present, 2.0 * share - 1.0, 0.0)


def _indicate(out: NDArray[np.float32], places: NDArray[Any], present: NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(present)
    out[rows, places[rows]] = 1.0


def _missing(out: NDArray[np.float32], values: Any, absent: NDArray[np.bool_], code: Code, fill: Any) -> Any:
    """Fill, flag or refuse what is absent, as the schema declares."""
    if not absent.any():
        return values
    if fill is not None:
        return np.where(absent, fill, values)
    if not code.missing:
        raise BadData(
            "a value is missing",
            where=code.column,
            fix='declare missing = "category" or missing = { fill = … } for this column',
        )
    out[absent, -1] = 1.0
    return values


def _column(table: Any, name: str) -> Any:
    if name not in table.column_names:
        raise BadData(f"the data has no such column{nearest(name, table.column_names)}", where=name)
    return table.column(name)


def _numbers(column: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Float64 values and where they are absent (null or NaN); infinities are refused."""
    import pyarrow as pa

    kind = column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise BadData(f"numbers are declared, but the data holds {kind}", where=name)
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    if np.isinf(values).any():
        raise BadData("a value is not finite", where=name)
    return values, np.isnan(values)


def _booleans(column: Any, name: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    import pyarrow as pa

    if not (pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
        raise BadData(f"true or false is declared, but the data holds {column.type}", where=name)
    absent = np.asarray(column.is_null().to_numpy(), dtype=np.bool_)
    filled = column.cast(pa.bool_()).fill_null(False)
    return np.asarray(filled.to_numpy(), dtype=np.bool_), absent


def _positions(column: Any, categories: tuple[str, ...], name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions in ``categories`` and where the value is absent; a value of no category is refused."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise BadData(f"categories are declared, but the data holds {kind}", where=name)
    texts = column.cast(pa.string())
    absent = np.asarray(texts.is_null().to_numpy(), dtype=np.bool_)
    found = pc.index_in(texts, value_set=pa.array(list(categories), pa.string())).fill_null(-1)
    positions = np.asarray(found.to_numpy(), dtype=np.int64)
    if ((positions < 0) & ~absent).any():
        raise BadData(
            "a value is none of the declared categories",
            where=name,
            fix="correct the data, or declare every category that may occur",
        )
    return np.where(absent, 0, positions), absent
