"""Rows of a table: the gradient of an embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.train.contributions.base import Contribution, Room, row_squares

__all__ = ["Rows"]


class Rows(Contribution):
    """Row ``index[u, t]`` of ``G_u`` gets ``g[u, t]``; positions of the same row add up.

    Positions of the same unit and row are summed first, so that norms are those of what is summed later, to rounding.
    """

    def __init__(self, index: Tensor, g: Tensor, count: int) -> None:
        """Which rows get what.

        Args:
            index: ``(U, T)``, int64 (or int32), from 0 to ``count`` - 1.
            g: ``(U, T, d)``.
            count: Rows V of the table; the parameter is ``(V, d)``.
        """
        if g.dtype in (torch.float16, torch.bfloat16):
            g = g.float()
        self.index, self.g, self.count = index.long(), g, count
        self.units = index.shape[0]
        self.shape = (count, g.shape[-1])
        self._unique: tuple[Tensor, Tensor] | None = None

    def unique(self) -> tuple[Tensor, Tensor]:
        """Keys ``u · V + row``, ascending, and the sum of g over the positions of each."""
        if self._unique is None:
            key = self.index + torch.arange(self.units)[:, None] * self.count
            keys, place = torch.unique(key.reshape(-1), return_inverse=True)
            d = self.shape[1]
            sums = self.g.new_zeros(len(keys), d).index_add_(0, place.reshape(-1), self.g.reshape(-1, d))
            self._unique = keys, sums
        return self._unique

    def squared_norms(self, room: Room) -> Tensor:
        """Norms of the summed rows."""
        keys, sums = self.unique()
        unit = torch.div(keys, self.count, rounding_mode="floor")
        return torch.zeros(self.units, dtype=torch.float64).index_add_(0, unit, row_squares(sums))

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """One scatter of weighted rows, those that the norms are of."""
        keys, sums = self.unique()
        unit = torch.div(keys, self.count, rounding_mode="floor")
        weighted = sums * factors.to(sums.dtype).index_select(0, unit)[:, None]
        return sums.new_zeros(self.shape).index_add_(0, keys - unit * self.count, weighted)

    def per_unit(self) -> Tensor:
        """A table for every unit."""
        keys, sums = self.unique()
        return sums.new_zeros(self.units * self.count, self.shape[1]).index_copy_(0, keys, sums).view(-1, *self.shape)

    def select(self, units: Tensor) -> Rows:
        """Indices and rows of these units."""
        return Rows(self.index.index_select(0, units), self.g.index_select(0, units), self.count)

    def join(self, other: Rows) -> Rows:
        """Another use of the same table: more positions."""
        kind = torch.promote_types(self.g.dtype, other.g.dtype)
        g = torch.cat([self.g.to(kind), other.g.to(kind)], 1)
        return Rows(torch.cat([self.index, other.index], 1), g, self.count)
