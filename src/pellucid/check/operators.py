"""Operators and functions of rules, on JSON values: numbers are doubles, types never mix, results are finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pellucid.errors import BadFile

__all__ = ["FUNCTIONS", "binary", "call", "is_list", "is_number", "measured", "number", "type_name"]

FUNCTIONS: Final[Mapping[str, int]] = {"size": 1, "contains": 2, "startsWith": 2, "endsWith": 2, "double": 1}
"""Function -> how many values it takes, the object of a method included."""


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number, which a truth value is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Whether ``value`` is a JSON list."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def measured(value: Any) -> bool:
    """Whether a value that is read holds no null, NaN or infinity anywhere."""
    if isinstance(value, Mapping):
        return all(measured(item) for item in value.values() if item is not None)
    if is_list(value):
        return all(measured(item) for item in value)
    return value is not None and (not is_number(value) or math.isfinite(value))


def type_name(value: Any) -> str:
    """The type of ``value``, for errors: they name types and never values."""
    if isinstance(value, bool):
        return "a truth value"
    if is_number(value):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a map" if isinstance(value, Mapping) else "a list"


def number(value: Any, operator: str) -> float:
    """``value`` as a double.

    Raises:
        BadFile: It is not a number.
    """
    if not is_number(value):
        raise BadFile(f"{operator} takes numbers, and this is {type_name(value)}")
    return float(value)


def _equal(left: Any, right: Any) -> bool:
    if type_name(left) != type_name(right):
        raise BadFile(f"{type_name(left)} is compared with {type_name(right)}")
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if is_list(left):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def binary(operator: str, left: Any, right: Any) -> Any:
    """A relation or a calculation.

    Raises:
        BadFile: The types do not fit, or the result is not a finite number.
    """
    match operator:
        case "==":
            return _equal(left, right)
        case "!=":
            return not _equal(left, right)
        case "in":
            if isinstance(right, Mapping) and isinstance(left, str):
                return left in right
            if not is_list(right):
                raise BadFile(f"in looks into a list, or for a text in a map, and this is {type_name(right)}")
            return any([_equal(left, item) for item in right])  # noqa: C419  # every item's type is held to
        case "<" | "<=" | ">" | ">=":
            if not (isinstance(left, str) and isinstance(right, str)):
                left, right = number(left, operator), number(right, operator)
            return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]
        case "+" if isinstance(left, str) and isinstance(right, str):
            return left + right
        case _:
            return _calculate(operator, number(left, operator), number(right, operator))


def _calculate(operator: str, left: float, right: float) -> float:
    if operator == "/" and right == 0:
        raise BadFile("a division by zero")
    match operator:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case _:
            result = left / right
    if not math.isfinite(result):
        raise BadFile(f"{operator} gives a number that is not finite")
    return result


def call(function: str, arguments: Sequence[Any]) -> Any:
    """A function of :data:`FUNCTIONS`.

    Raises:
        BadFile: The types do not fit.
    """
    first = arguments[0]
    if function == "size":
        if not (isinstance(first, str | Mapping) or is_list(first)):
            raise BadFile(f"size() takes a text, a list or a map, and this is {type_name(first)}")
        return float(len(first))
    if function == "double":
        return number(first, "double()")
    if not all(isinstance(argument, str) for argument in arguments):
        raise BadFile(f"{function}() takes texts")
    if function == "contains":
        return arguments[1] in first
    return first.startswith(arguments[1]) if function == "startsWith" else first.endswith(arguments[1])
