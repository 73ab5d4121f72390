"""The caster of each declared type: a plain Arrow column in, the typed one and its faults out.

Texts are parsed, because a CSV file holds nothing else: patterns are matched first, so that no conversion of Arrow's
can fail with the value in its message.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from pellucid.schema import Column
from pellucid.vault.arrow import pa, pc

__all__ = [
    "ARROW",
    "Cast",
    "Fault",
    "boolean",
    "category",
    "file_bytes",
    "identifier",
    "integer",
    "number",
    "text",
    "timestamp",
]

Fault = tuple[str, int]  # a rule, and how many values break it
Cast = tuple["pa.ChunkedArray | None", list[Fault]]

ARROW: Final[Mapping[str, pa.DataType]] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "identifier": pa.string(),
    "image": pa.binary(),
    "audio": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

_WHOLE: Final = r"^[+-]?[0-9]{1,18}$"  # 18 digits always fit int64
_REAL: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_EXACT: Final = 2.0**53  # above, a float no longer says which whole number was meant
_MOMENT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?\s?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _faults(rule: str, *masks: pa.ChunkedArray) -> list[Fault]:
    count = sum(_count(mask) for mask in masks)
    return [(rule, count)] if count else []


def _wrong(values: pa.ChunkedArray, what: str) -> Cast:
    """A column of quite another type; an all-null one fits every type and never comes here."""
    return None, [(f"is not {what}", int(pc.count(values).as_py()))]


def _outside(typed: pa.ChunkedArray, column: Column) -> list[Fault]:
    if column.bounds is None:
        return []
    low, high = column.bounds
    kind = typed.type
    if pa.types.is_integer(kind):  # compare as integers: a float would round the values
        low, high = max(int(low), -(2**63)), min(int(high), 2**63 - 1)
    outside = pc.or_(pc.less(typed, pa.scalar(low, kind)), pc.greater(typed, pa.scalar(high, kind)))
    return _faults(f"is out of its bounds [{column.bounds[0]:g}, {column.bounds[1]:g}]", outside)


def number(values: pa.ChunkedArray, column: Column) -> Cast:
    """Integers, floats and texts such as ``-1.5e3`` as ``float64``, within the bounds."""
    kind, rule = values.type, "is not a number"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        typed = values.cast(pa.float64(), safe=False)
        return typed, _outside(typed, column)
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(values)
        fits = pc.match_substring_regex(text, _REAL)
        typed = pc.if_else(fits, text, pa.scalar(None, pa.string())).cast(pa.float64())
        return typed, _faults(rule, pc.invert(fits)) + _outside(typed, column)
    return _wrong(values, "a number")


def integer(values: pa.ChunkedArray, column: Column) -> Cast:
    """Integers, whole floats and texts such as ``39`` or ``39.0`` as ``int64``, within the bounds."""
    kind, rule = values.type, "is not a whole number"
    none = pa.scalar(None, pa.int64())
    if pa.types.is_uint64(kind):
        large = pc.greater(values, pa.scalar(2**63 - 1, pa.uint64()))
        typed = pc.if_else(large, pa.scalar(None, pa.uint64()), values).cast(pa.int64())
        return typed, _faults(rule + " that fits 64 bits", large) + _outside(typed, column)
    if pa.types.is_integer(kind):
        typed = values.cast(pa.int64())
        return typed, _outside(typed, column)
    if pa.types.is_floating(kind):
        typed, broken = _whole(values)
        return typed, _faults(rule, broken) + _outside(typed, column)
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(values)
        plain, real = pc.match_substring_regex(text, _WHOLE), pc.match_substring_regex(text, _REAL)
        nothing = pa.scalar(None, pa.string())
        digits = pc.replace_substring_regex(pc.if_else(plain, text, nothing), r"^\+", "")
        other = pc.if_else(pc.and_(real, pc.invert(plain)), text, nothing)
        from_real, broken = _whole(other.cast(pa.float64()))
        typed = pc.coalesce(digits.cast(pa.int64()), from_real, none)
        return typed, _faults(rule, pc.invert(real), broken) + _outside(typed, column)
    return _wrong(values, "a whole number")


def _whole(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Floats as int64 (null where not whole), and the mask of those that are not whole or not exact."""
    fits = pc.and_(pc.less_equal(pc.abs(values), _EXACT), pc.equal(pc.floor(values), values))
    return pc.if_else(fits, values, pa.scalar(None, pa.float64())).cast(pa.int64()), pc.invert(fits)


def category(values: pa.ChunkedArray, column: Column) -> Cast:
    """Texts and whole numbers as a dictionary of the declared categories in their declared order."""
    kind, declared = values.type, pa.array(column.categories, pa.string())
    if pa.types.is_floating(kind):  # what pandas makes of whole numbers with a missing one among them
        values, broken = _whole(values)
        if _count(broken):
            return None, _faults("is not a declared category", broken)
        kind = values.type
    if pa.types.is_integer(kind):
        values = values.cast(pa.string())
    elif not pa.types.is_string(kind):
        return _wrong(values, "a category")
    # Blanks around a value, as some CSV files have after each comma, are not part of it unless declared.
    codes = pc.coalesce(
        pc.index_in(values, declared, skip_nulls=True),
        pc.index_in(pc.utf8_trim_whitespace(values), declared, skip_nulls=True),
    )
    unknown = pc.and_(pc.is_null(codes), pc.is_valid(values))
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    return (
        pa.chunked_array([pa.DictionaryArray.from_arrays(codes, declared)]),
        _faults("is not a declared category", unknown),
    )


def boolean(values: pa.ChunkedArray, column: Column) -> Cast:
    """Booleans, 0 and 1, and the texts ``true`` ``false`` ``1`` ``0`` in any case."""
    kind, rule = values.type, "is not true or false"
    if pa.types.is_boolean(kind):
        return values, []
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = values.cast(pa.float64(), safe=False)
        fits = pc.or_(pc.equal(values, 0.0), pc.equal(values, 1.0))
        return pc.equal(values, 1.0), _faults(rule, pc.invert(fits))
    if pa.types.is_string(kind):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(values))
        true = pc.or_(pc.equal(text, "true"), pc.equal(text, "1"))
        false = pc.or_(pc.equal(text, "false"), pc.equal(text, "0"))
        return true, _faults(rule, pc.invert(pc.or_(true, false)))
    return _wrong(values, "true or false")


def text(values: pa.ChunkedArray, column: Column) -> Cast:
    """Texts as they are."""
    return (values, []) if pa.types.is_string(values.type) else _wrong(values, "text")


def identifier(values: pa.ChunkedArray, column: Column) -> Cast:
    """Texts without the blanks around them, and whole numbers, as texts."""
    if pa.types.is_floating(values.type):
        whole, broken = _whole(values)
        return whole.cast(pa.string()), _faults("is not an identifier (text or a whole number)", broken)
    if pa.types.is_integer(values.type):
        return values.cast(pa.string()), []
    if pa.types.is_string(values.type):
        name = pc.utf8_trim_whitespace(values)  # with its blanks, one person would be two
        return name, _faults("is empty", pc.equal(name, ""))
    return _wrong(values, "an identifier (text or a whole number)")


def file_bytes(values: pa.ChunkedArray, column: Column) -> Cast:
    """The bytes of image and audio files as they are."""
    return (values, []) if pa.types.is_binary(values.type) else _wrong(values, f"the bytes of an {column.type} file")


def timestamp(values: pa.ChunkedArray, column: Column) -> Cast:
    """Timestamps, dates and ISO 8601 texts in UTC, to the microsecond. A time without a zone is taken as UTC."""
    kind, target = values.type, ARROW["timestamp"]
    if pa.types.is_timestamp(kind):
        if kind.unit == "ns":
            nanoseconds = values.cast(pa.int64())
            rest = pc.subtract(nanoseconds, pc.multiply(pc.divide(nanoseconds, 1000), 1000))
            if _count(pc.not_equal(rest, 0)):
                return None, _faults("is finer than a microsecond", pc.not_equal(rest, 0))
        # Without a zone the time is taken as UTC.
        return values.cast(pa.timestamp("us", tz=kind.tz)).cast(target), []
    if pa.types.is_date(kind):
        return values.cast(pa.timestamp("us")).cast(target), []
    if pa.types.is_string(kind):
        moments = [None if text is None else _moment(text) for text in values.to_pylist()]
        typed = pa.chunked_array([pa.array(moments, target)])
        return typed, _faults("is not an ISO 8601 date or time", pc.and_(pc.is_valid(values), pc.is_null(typed)))
    return _wrong(values, "an ISO 8601 date or time")


def _moment(text: str) -> dt.datetime | None:
    text = text.strip()
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text.replace(" Z", "Z"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
