"""Binomial counts from 256 uniform bits: exact to 2**-250, and never stochastically larger than the truth.

Whole numbers throughout, so that there is no rounding to argue about but that of divisions, which are counted.
"""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from typing import Final

__all__ = ["BITS", "count_below", "thresholds"]

BITS: Final = 256
"""Bits of the uniform number that a count is read from."""

WORK: Final = 384  # bits of a weight relative to the largest


def thresholds(rows: int, rate: float) -> tuple[int, list[int]]:
    """The first count, and for it and each count after it ``2**BITS`` times the probability of at most that count.

    Weights go from the mode outwards by p(k+1) / p(k) = (n-k) / (k+1) · q / (1-q), q being the float's exact value,
    until they are below 2**-384 of the largest. Each division loses less than one unit of 2**-384, and ratios outwards
    are at most 1, so after s steps a weight is off by less than s units, a weight that is left out is below s + 1, and
    all sums are off by less than (s + 1) · (s + n) units: below 2**-296 for all n below 2**60. Adding two units of
    2**-256 therefore rounds every probability in the table up: but for an event of 2**-296, the count is at most a true
    Binomial(n, q) that is drawn with it, and it differs from that with probability below 2**-254 a count in the table.

    Args:
        rows: n, at least 0.
        rate: q, in (0, 1).
    """
    yes, whole = Fraction(rate).as_integer_ratio()
    no = whole - yes
    mode = min(rows, (rows + 1) * yes // whole)
    up, weight = [], 1 << WORK
    for k in range(mode, rows):
        weight = weight * ((rows - k) * yes) // ((k + 1) * no)
        if not weight:
            break
        up.append(weight)
    down, weight = [], 1 << WORK
    for k in range(mode, 0, -1):
        weight = weight * (k * no) // ((rows - k + 1) * yes)
        if not weight:
            break
        down.append(weight)
    total = sum(up) + sum(down) + (1 << WORK)
    table, below = [], 0
    for weight in (*reversed(down), 1 << WORK, *up):
        below += weight
        table.append(min((below << BITS) // total + 2, 1 << BITS))
    table[-1] = 1 << BITS
    return mode - len(down), table


def count_below(first: int, table: list[int], uniform: int) -> int:
    """The count that belongs to a uniform whole number below ``2**BITS``."""
    return first + bisect_right(table, uniform)
