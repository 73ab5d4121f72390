"""Sums of outer products: the gradient of every matrix that multiplies an input."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from pellucid.train.contributions.base import (
    Contribution,
    Direct,
    Room,
    chunks,
    common_kind,
    kept_sum,
    not_below_rounding,
    row_squares,
    scaled,
    whole_squares,
)
from pellucid.train.contributions.gram import checked

__all__ = ["Outer"]

# Cost in multiplications of a matrix product, as in convolution.py: writing a gradient's number out and squaring it;
# reading it again for the sum; squaring a Gram entry in float64.
WRITE: Final = 16
READ: Final = 7
SQUARE: Final = 60


class Outer(Contribution):
    """``G_u = Σ_t g[u, t] ⊗ a[u, t]``: Linear and whatever is one for each position t.

    With one position, ‖G_u‖ = ‖a_u‖ ‖g_u‖ (Goodfellow 2015). With more, the cheaper of the Gram matrices,
    ``‖G_u‖² = Σ_ts ⟨a_t, a_s⟩⟨g_t, g_s⟩`` (Li et al. 2022, "ghost" norm), and of writing ``G_u`` out, chosen by
    counting operations and never by the clock, so that a run can be repeated.
    """

    def __init__(self, a: Tensor, g: Tensor, shape: tuple[int, ...] | None = None, bias: Direct | None = None) -> None:
        """Factors of the gradient.

        Args:
            a: ``(U, T, p)``, or ``(U, p)`` where T is 1.
            g: ``(U, T, d)``, or ``(U, d)``.
            shape: Of the parameter, d · p numbers; ``(d, p)`` unless given.
            bias: ``Direct(g)`` of the bias beside it where T is 1: its row norms are then taken once for both.
        """
        if a.dtype != g.dtype or a.dtype in (torch.float16, torch.bfloat16):
            kind = common_kind(a, g)
            a, g = a.to(kind), g.to(kind)
        if a.dim() == 3 and a.shape[1] == 1:
            a, g = a[:, 0], g[:, 0]
        self.a, self.g = a, g
        self.units = a.shape[0]
        self.steps = a.shape[1] if a.dim() == 3 else 1
        self.matrix = (g.shape[-1], a.shape[-1])
        self.shape = shape or self.matrix
        self._bias = bias
        self._kept: list[Tensor] = []

    def squared_norms(self, room: Room) -> Tensor:
        """Product of row norms, Gram matrices, or row norms of the gradient written out and kept if it fits."""
        self._kept = []
        if self.a.dim() == 2:
            squares = row_squares(self.g) if self._bias is None else self._bias.squared_norms(room)
            return row_squares(self.a) * squares
        d, p = self.matrix
        t = self.steps
        product, size = t * d * p, d * p
        gram, write = t * t * (d + p + SQUARE), product + WRITE * size
        keep = write + READ * size <= gram + product and room.take(self.units * size * self.a.element_size())
        squares = self._gram() if not keep and gram <= write else self._written(room, keep)
        if self._kept:  # the sum is of the very gradients that the norms are of
            return squares
        terms = whole_squares(self.a, self.units) * whole_squares(self.g, self.units)
        return not_below_rounding(squares, terms, self.a.dtype)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """One matrix product over all units and positions, or one vector-matrix product of what is kept."""
        if self._kept:
            return kept_sum(self._kept, factors).view(self.shape)
        d, p = self.matrix
        a, g = (self.a, scaled(self.g, factors)) if d <= p else (scaled(self.a, factors), self.g)
        return (g.reshape(-1, d).t() @ a.reshape(-1, p)).view(self.shape)

    def per_unit(self) -> Tensor:
        """One batched matrix product."""
        a, g = self.positions()
        return torch.bmm(g.transpose(1, 2), a).view(self.units, *self.shape)

    def select(self, units: Tensor) -> Outer:
        """Both factors of these units; what was kept is dropped."""
        return Outer(self.a.index_select(0, units), self.g.index_select(0, units), self.shape)

    def join(self, other: Outer) -> Outer:
        """Another use of the same parameter: more positions."""
        (a, g), (b, h) = self.positions(), other.positions()
        kind = common_kind(a, b)
        return Outer(torch.cat([a.to(kind), b.to(kind)], 1), torch.cat([g.to(kind), h.to(kind)], 1), self.shape)

    def positions(self) -> tuple[Tensor, Tensor]:
        """Both factors with their positions, (U, T, p) and (U, T, d)."""
        return (self.a, self.g) if self.a.dim() == 3 else (self.a[:, None], self.g[:, None])

    def _written(self, room: Room, keep: bool) -> Tensor:
        """Norms of the gradient, written out a few units at a time while it is in the cache."""
        d, p = self.matrix
        squares: list[Tensor] = []
        for part in chunks(self.units, d * p * self.a.element_size()):
            g, a = self.g[part].transpose(1, 2), self.a[part]
            written = room.hold(len(a), d * p, a) if keep else room.scratch(len(a), d * p, like=a)
            torch.bmm(g, a, out=written.view(len(a), d, p))
            squares.append(row_squares(written))
            if keep:
                self._kept.append(written)
        return torch.cat(squares)

    def _gram(self) -> Tensor:
        """Norms by Gram matrices."""
        t = self.steps
        squares: list[Tensor] = []
        for part in chunks(self.units, 2 * t * t * self.a.element_size()):
            a, g = self.a[part], self.g[part]
            first, second = (torch.bmm(x, x.transpose(1, 2)) for x in (a, g))
            squares.append(checked(first, second, 1, Outer(a, g)._some_written))
        return torch.cat(squares)

    def _some_written(self, which: Tensor) -> Tensor:
        """In float64: float32 cannot write out either what cancels by three orders."""
        return Outer(self.a[which].double(), self.g[which].double())._written(Room(0), False)
