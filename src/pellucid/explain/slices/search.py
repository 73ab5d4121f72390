"""What stands out on one half of the people: every conjunction is tested, and few are worth a second look."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pellucid.errors import BadData
from pellucid.explain.intervals import MINIMUM_CELL, Floats
from pellucid.explain.slices.cells import Places, Sums, Tally
from pellucid.explain.slices.columns import Bools, Codes
from pellucid.explain.slices.significance import adjust, welch

__all__ = ["Conjunction", "Found", "Screened", "search"]

MAX_TABLES: Final = 300_000
MAX_CELLS: Final = 1 << 25

Conjunction = tuple[tuple[int, int], ...]  # (place of the column, code), by rising column


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """One conjunction that stood out: its t against the rest, its p-value, and that adjusted over all searched."""

    where: Conjunction
    t: float
    p: float
    q: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Screened:
    """The result of :func:`search`: how many conjunctions had a size to be searched, and which of them stood out."""

    searched: int
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Level:
    """The cells of one table that are large enough: their place in the whole table (rising), and their sums."""

    keys: Places
    sums: Sums


def search(codes: Sequence[Codes], losses: Floats, *, order: int, minimum: int, q: float) -> Screened:
    """All conjunctions of up to ``order`` columns whose loss is above the rest's and above that of what they refine.

    The p-value of a conjunction is the largest of its comparisons: with everybody else, and with what is left of each
    conjunction that is one value shorter (an intersection-union test; Berger 1982, Technometrics 24). So a longer
    conjunction that adds nothing to a shorter one is no discovery. Adjusted over all conjunctions searched.

    A table of three columns goes over the cells of the first two that are large enough: of those there are at most
    ``n / minimum``, so memory is bounded by the rows and not by how many values columns have.

    Args:
        codes: By column, (n,) codes from 0.
        losses: (n,) finite.
        order: 1, 2 or 3.
        minimum: Fewest rows in a conjunction, at least ten. Ten must be outside it, and in what is left of a shorter
            one.
        q: The false discovery rate, below 0.5.

    Returns:
        Those at or below ``q``, the strongest first.

    Raises:
        BadData: More tables, or larger ones, than a machine goes through.
    """
    tables = sum(math.comb(len(codes), size) for size in range(1, order + 1))
    if tables > MAX_TABLES:
        raise BadData(
            f"{len(codes)} columns make {tables} tables of up to {order} columns; {MAX_TABLES} is the most",
            where="table",
            fix="search fewer columns, or a lower order",
        )
    work = _Search(losses, minimum, q)
    kept = [(place, *work.single(place, column)) for place, column in enumerate(codes)]
    kept = [item for item in kept if item[2].keys.size]
    pairs: dict[tuple[int, int], _Level] = {}
    if order >= 2:
        for left, right in itertools.combinations(kept, 2):
            pairs[left[0], right[0]] = work.pair(left, right)
    if order >= 3:
        for at, left in enumerate(kept):
            for middle_at in range(at + 1, len(kept)):
                work.triples(left, kept[middle_at], kept[middle_at + 1 :], pairs)
    return work.result()


_Kept = tuple[int, Codes, _Level]


class _Search:
    """The state of one search: what is summed, and what stood out so far."""

    def __init__(self, losses: Floats, minimum: int, q: float) -> None:
        self.tally, self.minimum, self.q, self.rows = Tally(losses), minimum, q, losses.size
        self.whole = self.tally.by(np.zeros(losses.size, dtype=np.int32), 1)
        self.searched = 0
        self.parts: list[tuple[tuple[int, ...], Places, Floats, Floats]] = []

    def single(self, place: int, codes: Codes) -> tuple[Codes, _Level]:
        """The values of one column that enough people have, and its codes among them; the rest get one code more."""
        width = int(codes.max()) + 1
        sums = self.tally.by(codes, width)
        # of a value that all but a few have, nothing can be said without saying it of the few
        level = self._level(sums, (sums.n >= self.minimum) & (self.rows - sums.n >= MINIMUM_CELL))
        again = np.full(width, level.keys.size, dtype=np.int32)
        again[level.keys] = np.arange(level.keys.size)
        self._keep((place,), level.keys[:, None], level.sums, [])
        return again[codes], level

    def pair(self, left: _Kept, right: _Kept) -> _Level:
        (i, a, one), (j, b, two) = left, right
        height, width = one.keys.size, two.keys.size
        sums = self._table(a, height + 1, b, width + 1).corner(height + 1, width + 1)
        level = self._level(sums, sums.n >= self.minimum)
        u, v = np.divmod(level.keys, width)
        parents = [one.sums[u], two.sums[v]]
        self._keep((i, j), np.stack([one.keys[u], two.keys[v]], axis=1), level.sums, parents)
        return level

    def triples(
        self, left: _Kept, middle: _Kept, others: Sequence[_Kept], pairs: dict[tuple[int, int], _Level]
    ) -> None:
        """All tables of ``left``, ``middle`` and one of ``others``."""
        (i, a, one), (j, b, two) = left, middle
        level = pairs[i, j]
        size = level.keys.size
        if not size or not others:
            return
        height, width = one.keys.size, two.keys.size
        # what is not large enough goes to a last cell, which is cut off like the last code of a column
        compact = np.full((height + 1, width + 1), size, dtype=np.int32)
        compact[np.divmod(level.keys, width)] = np.arange(size)
        cells = compact[a, b]
        rows = np.flatnonzero(cells < size)
        chosen = rows if rows.size < self.rows else None
        if chosen is not None:
            cells = cells[chosen]
        u, v = np.divmod(level.keys, width)
        for k, c, three in others:
            depth = three.keys.size
            inner = c if chosen is None else c[chosen]
            sums = self._table(cells, size + 1, inner, depth + 1, chosen).corner(size + 1, depth + 1)
            keys = np.flatnonzero(sums.n >= self.minimum)
            if not keys.size:
                continue
            base, w = np.divmod(keys, depth)
            parents = [level.sums[base]]
            for column, value in ((i, u), (j, v)):
                other = pairs[column, k]
                # every row of a cell is in its parents: a parent is never too small to be there
                parents.append(other.sums[np.searchsorted(other.keys, value[base] * depth + w)])
            values = np.stack([one.keys[u[base]], two.keys[v[base]], three.keys[w]], axis=1)
            self._keep((i, j, k), values, sums[keys], parents)

    def result(self) -> Screened:
        if not self.parts:
            return Screened(self.searched, ())
        t = np.concatenate([part[2] for part in self.parts])
        p = np.concatenate([part[3] for part in self.parts])
        adjusted = adjust(p, self.searched)
        start, found = 0, []
        for columns, values, part, _ in self.parts:
            for at in np.flatnonzero(adjusted[start : start + part.size] <= self.q):
                where = tuple(zip(columns, values[at].tolist(), strict=True))
                place = start + at
                found.append(Found(where, float(t[place]), float(p[place]), float(adjusted[place])))
            start += part.size
        return Screened(self.searched, tuple(sorted(found, key=lambda one: (-one.t, one.where))))

    def _table(self, outer: Codes, height: int, inner: Codes, width: int, rows: Places | None = None) -> Sums:
        if height * width > MAX_CELLS:
            raise BadData(
                f"a table of {height} x {width} cells is too large", where="table", fix="raise share, or bin values"
            )
        return self.tally.by(outer * np.int32(width) + inner, height * width, rows)

    @staticmethod
    def _level(sums: Sums, large: Bools) -> _Level:
        keys = np.flatnonzero(large)
        return _Level(keys, sums[keys])

    def _keep(self, columns: tuple[int, ...], values: Places, sums: Sums, parents: Sequence[Sums]) -> None:
        """Test cells (k,) with ``values`` (k, columns); ``parents`` are sums (k,) of what each cell is part of."""
        self.searched += len(values)
        t, p = welch(sums.sample(), (self.whole - sums).sample(), level=self.q)
        places = np.flatnonzero(p <= self.q)
        t, p, sums = t[places], p[places], sums[places]
        for parent in parents:
            left = parent[places] - sums
            _, other = welch(sums.sample(), left.sample(), level=self.q)
            p = np.maximum(p, np.where(left.n >= MINIMUM_CELL, other, 1.0))
        good = p <= self.q
        if good.any():
            self.parts.append((columns, values[places[good]], t[good], p[good]))
