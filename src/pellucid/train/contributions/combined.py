"""Several uses of one parameter: a layer called twice, tied weights, packed projections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.train.contributions.base import Contribution, Direct, Room, chunks, not_below_rounding, row_squares
from pellucid.train.contributions.gram import raised
from pellucid.train.contributions.outer import Outer
from pellucid.train.contributions.rows import Rows

__all__ = ["Stacked", "Sum", "Tied", "combine"]


class Stacked(Contribution):
    """A parameter whose rows are those of its parts, one after the other (packed query, key and value)."""

    def __init__(self, parts: Sequence[Contribution]) -> None:
        """``parts``: of the same units; their shapes differ in the first dimension only."""
        self.parts = tuple(parts)
        self.units = self.parts[0].units
        self.shape = (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    def squared_norms(self, room: Room) -> Tensor:
        """Sum over parts: they share no entry."""
        squares = self.parts[0].squared_norms(room).clone()
        for part in self.parts[1:]:
            squares += part.squared_norms(room)
        return squares

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """One after the other."""
        return torch.cat([part.weighted_sum(factors) for part in self.parts])

    def per_unit(self) -> Tensor:
        """One after the other."""
        return torch.cat([part.per_unit() for part in self.parts], 1)

    def select(self, units: Tensor) -> Stacked:
        """These units of every part."""
        return Stacked([part.select(units) for part in self.parts])


class Sum(Contribution):
    """Any uses of one parameter together: written out a few units at a time for the norm, linear for the sum."""

    def __init__(self, parts: Sequence[Contribution]) -> None:
        """``parts``: of the same units and shape."""
        self.parts = tuple(parts)
        self.units = self.parts[0].units
        self.shape = self.parts[0].shape

    def squared_norms(self, room: Room) -> Tensor:
        """Norms of the gradient written out."""
        parts = (torch.arange(part.start, part.stop) for part in chunks(self.units, math.prod(self.shape) * 8))
        squares = torch.cat([row_squares(self.select(units).per_unit()) for units in parts])
        terms = _total([part.squared_norms(Room(0)) for part in self.parts])
        return not_below_rounding(squares, len(self.parts) * terms, torch.float32)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Each part's."""
        return _total([part.weighted_sum(factors) for part in self.parts])

    def per_unit(self) -> Tensor:
        """Each part's."""
        return _total([part.per_unit() for part in self.parts])

    def select(self, units: Tensor) -> Sum:
        """These units of every part."""
        return Sum([part.select(units) for part in self.parts])


class Tied(Sum):
    """An embedding table that is also the matrix of the decoder: nothing of size V · d a unit is ever written."""

    def __init__(self, outer: Outer, rows: Rows) -> None:
        """Both uses of the table ``(V, d)``."""
        super().__init__([outer, rows])
        self.outer, self.rows = outer, rows

    def squared_norms(self, room: Room) -> Tensor:
        """``‖O‖² + ‖R‖² + 2 ⟨O, R⟩`` with ``⟨O, R⟩ = Σ_ts g_t[index_s] ⟨a_t, r_s⟩``; written out where that cancels."""
        outer, rows = self.outer.squared_norms(room), self.rows.squared_norms(room)
        a, g = self.outer.positions()
        kind = torch.promote_types(a.dtype, self.rows.g.dtype)
        index, r = self.rows.index, self.rows.g.to(kind)
        cross, sizes = [], []
        for part in chunks(self.units, 3 * a.shape[1] * index.shape[1] * a.element_size()):
            at = index[part][:, None, :].expand(-1, a.shape[1], -1)
            products = torch.bmm(a[part].to(kind), r[part].transpose(1, 2)).mul_(g[part].to(kind).gather(2, at))
            cross.append(products.sum((1, 2), dtype=torch.float64))
            sizes.append(torch.linalg.vector_norm(products, ord=1, dim=(1, 2)).double())
        squares = raised(
            outer + rows + 2 * torch.cat(cross),
            4 * (outer + rows + 2 * torch.cat(sizes)),  # both parts are rounded too
            kind,
            lambda which: super(Tied, self.select(which)).squared_norms(room),
        )
        return not_below_rounding(squares, 2 * (outer + rows), kind)

    def select(self, units: Tensor) -> Tied:
        """These units of both."""
        return Tied(self.outer.select(units), self.rows.select(units))


def combine(parts: Sequence[Contribution]) -> Contribution:
    """One contribution for all uses of a parameter.

    Args:
        parts: At least one, of the same units and shape.
    """
    if len(parts) == 1:
        return parts[0]
    outers = [part for part in parts if isinstance(part, Outer)]
    rows = [part for part in parts if isinstance(part, Rows)]
    directs = [part for part in parts if isinstance(part, Direct)]
    others = [part for part in parts if not isinstance(part, Outer | Rows | Direct)]
    merged: list[Contribution] = []
    if outers:
        merged.append(_outer(outers))
    if rows:
        merged.append(_rows(rows))
    if directs:
        merged.append(Direct(_total([part.gradient for part in directs])))
    merged += others
    if len(merged) == 1:
        return merged[0]
    if len(merged) == 2 and outers and rows:
        return Tied(_outer(outers), _rows(rows))
    return Sum(merged)


def _outer(parts: Sequence[Outer]) -> Outer:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.join(part)
    return whole


def _rows(parts: Sequence[Rows]) -> Rows:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.join(part)
    return whole


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
