"""Checks of a frozen record's fields: numbers that are numbers, names that are known, and what a person wrote."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from pellucid.errors import BadPlan, nearest

__all__ = ["check_name", "check_number", "exact"]


def exact(number: float) -> Fraction:
    """What a person wrote: the shortest decimal of the float, as a fraction."""
    return Fraction(repr(number))


def check_number(
    record: object, name: str, kind: type[int] | type[float], holds: Callable[[Any], bool], must: str
) -> None:
    """Refuses field ``name`` unless it is a finite number for which ``holds``; stores it as an int or a float.

    Raises:
        BadPlan: ``where`` names the field, and ``must`` says what it has to be.
    """
    value: Any = getattr(record, name)
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        raise BadPlan(f"{name} must be a {'whole ' if kind is int else ''}number", where=name)
    number: float
    try:
        number = int(value) if kind is int else float(value)  # type: ignore[call-overload]  # typeshed's Real has no int
    except OverflowError:
        number = math.inf
    object.__setattr__(record, name, number)  # before it is judged: what follows from it needs a plain number
    if not math.isfinite(number) or not holds(number):
        raise BadPlan(f"{name} must be {must}; it is {number:g}", where=name)


def check_name(record: object, name: str, names: tuple[str, ...]) -> None:
    """Refuses field ``name`` unless it is one of ``names``.

    Raises:
        BadPlan: ``where`` names the field, and the nearest name is offered.
    """
    value: Any = getattr(record, name)
    if not isinstance(value, str) or value not in names:
        raise BadPlan(f"{name} must be one of {', '.join(names)}{nearest(str(value), names)}", where=name)
