"""One column to the type its schema declares, with what did not fit counted by rule and never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pellucid.schema import Column
from pellucid.vault import casters
from pellucid.vault.arrow import pa, pc
from pellucid.vault.casters import ARROW, Cast, Fault

__all__ = ["ARROW", "Fault", "arrow_type", "cast"]


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of ``column`` once sealed: also what is read back."""
    return ARROW[column.type]


def cast(values: pa.ChunkedArray, column: Column) -> Cast:
    """``values`` as ``column`` declares, or None with the faults that forbid it.

    Args:
        values: Any Arrow column. NaN counts as missing.
        column: The declaration.

    Returns:
        The column in the type of :data:`ARROW`, nulls kept, and the faults. Without faults there is always a column.
    """
    try:
        values = _plain(values)
        if values.null_count == len(values):
            typed, faults = _nulls(len(values), column), list[Fault]()
        else:
            typed, faults = _CASTERS[column.type](values, column)
    except pa.ArrowException:  # such as a date before the year 1; the message would hold the value
        typed, faults = None, [(f"cannot be converted to {column.type}", len(values))]
    missing = len(values) - int(pc.count(values).as_py())
    if missing and column.missing == "refuse":
        faults = [*faults, ("is missing where the schema says refuse", missing)]
    return (None if faults else typed), faults


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries, extension types, views and NaN."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], type=kind.storage_type)
        kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return values.cast(pa.binary())
    if pa.types.is_decimal(kind):
        return values.cast(pa.string())
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    return values


def _nulls(rows: int, column: Column) -> pa.ChunkedArray:
    """A column in which everything is missing: Arrow may give it any type, so no caster sees it."""
    if column.type != "category":
        return pa.chunked_array([pa.nulls(rows, arrow_type(column))])
    declared = pa.array(column.categories, pa.string())
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()), declared)])


_CASTERS: Final[Mapping[str, Callable[[pa.ChunkedArray, Column], Cast]]] = {
    "number": casters.number,
    "integer": casters.integer,
    "category": casters.category,
    "boolean": casters.boolean,
    "text": casters.text,
    "identifier": casters.identifier,
    "image": casters.file_bytes,
    "audio": casters.file_bytes,
    "timestamp": casters.timestamp,
}
