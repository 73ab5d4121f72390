"""From the values of a table to small whole numbers, and to the words in which a reader meets them again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadData, UnknownName, nearest
from pellucid.explain.inputs import by_column
from pellucid.explain.intervals import MINIMUM_CELL, Floats

__all__ = ["Bools", "Codes", "Column", "code_table", "quantile_edges", "roundest"]

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]

TINY: Final = 1e-290  # below that the largest number is no longer ten to the power of the digits behind the point


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Column:
    """One column of a table. Private: it has no ``repr``.

    Attributes:
        name: Its name.
        codes: (N,) the place of each row's value in ``words``.
        words: What each value means, such as ``job = sales`` or ``age 25 to 35``.
    """

    name: str
    codes: Codes
    words: tuple[str, ...]


def code_table(
    table: Mapping[str, npt.NDArray[Any]], rows: int, *, edges: Mapping[str, Sequence[float]], bins: int
) -> list[Column]:
    """The columns of ``table``, each as codes and words.

    Args:
        table: Column → (N,) text, booleans, or numbers in which NaN means missing.
        rows: N.
        edges: Column → rising inner edges of its bins, public knowledge; the lower edge is inside.
        bins: A number without edges that has at most this many values keeps them; else it is cut at this many
            quantiles less one (:func:`quantile_edges`).

    Raises:
        BadData: No column, a wrong length, or values that are neither text, booleans nor finite numbers.
        UnknownName: Edges of a column that is not there.
    """
    table = by_column(table, "table")
    if not table:
        raise BadData("there is no column to search", where="table", fix="hand over the columns the reader may see")
    for name in edges:
        if name not in table:
            raise UnknownName(f'no column "{name}"{nearest(name, table)}', where="edges")
    return [_column(name, values, rows, edges.get(name), bins) for name, values in table.items()]


def quantile_edges(values: Floats, bins: int) -> Floats:
    """Inner edges of at most about ``bins`` bins of equal share, none of them the quantile itself.

    A quantile is a person's value. Each edge is instead the :func:`roundest` number in a window that holds at least
    ten people on either side of the quantile, or a quarter of a bin. A value held by a whole window gets a bin of its
    own. Bins of fewer than ten people are joined to a neighbour.

    Args:
        values: (n,) finite.
        bins: At least two.
    """
    ordered = np.sort(values)
    n = ordered.size
    slack = max(MINIMUM_CELL, n // (4 * bins))
    wanted = set()
    for part in range(1, bins):
        place = n * part // bins
        low, high = float(ordered[max(0, place - slack)]), float(ordered[min(n - 1, place + slack)])
        if low < high:
            wanted.add(roundest(low, high))
            continue
        wanted.add(low)
        after = int(np.searchsorted(ordered, low, side="right"))
        if after < n:
            wanted.add(roundest(low, float(ordered[after])))
    kept: list[float] = []
    before = 0
    for edge in sorted(wanted):
        below = int(np.searchsorted(ordered, edge, side="left"))
        if below - before >= MINIMUM_CELL and n - below >= MINIMUM_CELL:
            kept.append(edge)
            before = below
    return np.array(kept)


def roundest(low: float, high: float) -> float:
    """The number in (``low``, ``high``] with the fewest digits: a multiple of the largest 10^k or 5 × 10^k."""
    if low < 0 <= high:
        return 0.0
    if max(abs(low), abs(high)) < TINY:  # ten to the power of its digits is beyond all numbers
        found = roundest(low / TINY, high / TINY) * TINY
        return found if low < found <= high else high
    power = math.ceil(math.log10(max(abs(low), abs(high))))
    for exponent, part in itertools.product(range(power, power - 18, -1), (10, 5)):
        # the multiple is formed in whole numbers and divided once, so that 0.3 is written 0.3
        scale = 10.0 ** (abs(exponent - 1))
        unit = part * scale if exponent >= 1 else part / scale
        count = math.floor(high / unit)
        found = count * part * scale if exponent >= 1 else count * part / scale
        if low < found <= high:
            return found
    return high


def _column(name: str, values: npt.NDArray[Any], rows: int, edges: Sequence[float] | None, bins: int) -> Column:
    if values.shape != (rows,):
        raise BadData("a column must be one value a row, of as many rows as there are losses", where=name)
    if values.dtype.kind in "iuf":
        return _number(name, values.astype(np.float64), edges, bins)
    if edges is not None:
        raise BadData("only numbers have edges", where=name)
    if values.dtype.kind == "b":
        return Column(name, values.astype(np.int32), (f"{name} = false", f"{name} = true"))
    if values.dtype.kind not in "UO":
        raise BadData("a column must be text, booleans or numbers", where=name, fix="name or bin its values")
    return _text(name, values)


def _text(name: str, values: npt.NDArray[Any]) -> Column:
    places: dict[Any, int] = {}
    codes = np.fromiter((places.setdefault(value, len(places)) for value in values.tolist()), np.int32, values.size)
    if not all(isinstance(value, str) for value in places):
        raise BadData("a value is missing or not a text", where=name, fix="name missing values")
    # in order of the alphabet, so that the order of rows changes nothing
    order = sorted(places)
    rank = np.empty(len(order), dtype=np.int32)
    rank[[places[value] for value in order]] = np.arange(len(order), dtype=np.int32)
    return Column(name, rank[codes], tuple(f"{name} = {value}" for value in order))


def _number(name: str, values: Floats, edges: Sequence[float] | None, bins: int) -> Column:
    if np.isinf(values).any():
        raise BadData("a number is infinite", where=name)
    there = ~np.isnan(values)
    known = values[there]
    if edges is not None:
        cuts = np.asarray(edges, dtype=np.float64)
        if cuts.ndim != 1 or cuts.size == 0 or not np.isfinite(cuts).all() or (np.diff(cuts) <= 0).any():
            raise BadData("edges must be rising finite numbers, at least one", where=f"edges: {name}")
        words = _bins(name, cuts)
    elif (distinct := np.unique(known)).size <= bins:
        cuts, words = distinct[1:], [f"{name} = {value:.10g}" for value in distinct]
    else:
        cuts = quantile_edges(known, bins)
        words = _bins(name, cuts)
    codes = np.full(values.size, len(words), dtype=np.int32)
    codes[there] = np.searchsorted(cuts, known, side="right")
    return Column(name, codes, (*words, f"{name} missing"))


def _bins(name: str, cuts: Floats) -> list[str]:
    texts = [f"{cut:.10g}" for cut in cuts]
    if not texts:
        return [f"{name} known"]
    inner = [f"{name} {low} to {high}" for low, high in itertools.pairwise(texts)]
    return [f"{name} below {texts[0]}", *inner, f"{name} {texts[-1]} or more"]
