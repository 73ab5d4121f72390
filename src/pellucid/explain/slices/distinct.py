"""Of all that stands out, what is not explained by something that stands out more?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pellucid.explain.intervals import MINIMUM_CELL, Floats
from pellucid.explain.slices.columns import Bools, Codes
from pellucid.explain.slices.search import Conjunction, Found
from pellucid.explain.slices.significance import Sample, welch

__all__ = ["EXAMINED", "distinct", "mask"]

EXAMINED: Final = 1000


def mask(codes: Sequence[Codes], where: Conjunction) -> Bools:
    """(n,) the rows in a conjunction."""
    found = np.ones(codes[0].size, dtype=np.bool_)
    for column, value in where:
        found &= codes[column] == value
    return found


def distinct(found: Sequence[Found], codes: Sequence[Codes], losses: Floats, *, q: float) -> list[Found]:
    """Those of ``found`` that are not explained by stronger ones.

    A planted pair of values makes each of the two stand out, and so does whatever goes along with it. Going from the
    strongest down, a conjunction stays if without the people of those that stayed it is still above the rest, and above
    what is left of each shorter one that stayed and contains it (whose people are not taken away). It may then have
    the largest p-value that was let through among all that were searched, or ``q`` over the most that are examined.

    Args:
        found: Of ``search``, the strongest first; the first :data:`EXAMINED` are examined.
        codes: As for ``search``.
        losses: As for ``search``.
        q: The false discovery rate.
    """
    # sums by cell and means by row differ in their last digits, and so do the p-values they lead to
    bar = max([q / EXAMINED, *(one.p * (1 + 1e-6) for one in found)])
    kept: list[tuple[frozenset[tuple[int, int]], Bools, Found]] = []
    for one in found[:EXAMINED]:
        inside, parts = mask(codes, one.where), frozenset(one.where)
        free = np.ones(losses.size, dtype=np.bool_)
        wider = [~inside]
        for other, rows, _ in kept:
            if other < parts:
                wider.append(rows & ~inside)
            else:
                free &= ~rows
        left = Sample.of(losses[inside & free]) if _enough(inside & free) else None
        if left is not None and all(
            _enough(rest & free) and welch(left, Sample.of(losses[rest & free]))[1].item() <= bar for rest in wider
        ):
            kept.append((parts, inside, one))
    return [one for _, _, one in kept]


def _enough(rows: Bools) -> bool:
    return int(rows.sum()) >= MINIMUM_CELL
