"""How numbers and foreign text are written: the same on every machine, never more favourable than what was measured.

Rounding has a direction: the low end of an interval and a lower bound go down, the high end and an upper bound go up,
so that what is printed always contains what was measured.
"""

from __future__ import annotations

import unicodedata
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

__all__ = ["exact", "fixed", "plain"]

_NO_DECIMALS: Final = 1e15
_ROUNDING: Final = {"half": ROUND_HALF_EVEN, "up": ROUND_CEILING, "down": ROUND_FLOOR}
# Zero-width (non-)joiner: Cf by category, yet part of correct spelling in Persian, Hindi and others.
_SPELLING: Final = frozenset("\u200c\u200d")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str) -> str:
    """``text`` with every character that has no shape of its own written out, as ``[U+202E]``.

    Text of others may hold control characters, which act on a terminal, and direction marks, which make a line read
    as something else (CVE-2021-42574). Line feed stays.
    """
    return "".join(
        f"[U+{ord(c):04X}]" if unicodedata.category(c) in _HIDDEN and c not in _SPELLING and c != "\n" else c
        for c in text
    )


def fixed(value: float, places: int = 3, rounding: Literal["half", "up", "down"] = "half") -> str:
    """``value`` with ``places`` decimals, thousands apart by a comma, and a true minus sign.

    From 1e15 on, where a float has no decimals left, it is written exactly.
    """
    if abs(value) >= _NO_DECIMALS:
        return exact(value)
    number = Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), rounding=_ROUNDING[rounding])
    return _signed(f"{abs(number):,f}", negative=number < 0)


def exact(value: float) -> str:
    """``value`` with all the digits it has: ``32,000``, ``2.999871``, ``1e-5`` (below a thousandth)."""
    number = Decimal(repr(value)).normalize()
    size = abs(number)
    if number == 0:
        return "0"
    if size < Decimal("0.001"):
        mantissa, exponent = f"{size:e}".split("e")
        return _signed(f"{mantissa}e{int(exponent)}", negative=number < 0)
    if size >= Decimal(_NO_DECIMALS):
        return _signed(f"{size:e}", negative=number < 0)
    return _signed(f"{size:,f}", negative=number < 0)


def _signed(digits: str, *, negative: bool) -> str:
    return f"−{digits}" if negative else digits
