"""What one call of a layer adds to the gradient of one parameter, unit by unit."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from pellucid.train.clipping import squared_norms

__all__ = [
    "SCRATCH",
    "Contribution",
    "Direct",
    "Room",
    "chunks",
    "common_kind",
    "kept_sum",
    "not_below_rounding",
    "row_squares",
    "scaled",
    "whole_squares",
]

# Written-out gradients are made in pieces of this many bytes: small enough to stay in the cache until their norm is
# taken, and to come from the heap, where every page of a larger, fresh buffer would cost a fault.
SCRATCH: Final = 4 << 20
SLAB: Final = 64 << 20  # bytes that a lasting room asks the system for at a time
NARROW: Final = 128  # rows up to the block of squared_norms: one pass is as exact


class Room:
    """Memory that the written-out gradients of one step may take.

    A lasting room is cleared and used again for each step, and keeps what it was given by the system: fresh memory of
    this size costs more, page by page, than computing what goes into it.
    """

    def __init__(self, size: int, *, lasting: bool = False) -> None:
        """``size`` in bytes; zero or less holds nothing."""
        self.left = self._size = size
        self._lasting = lasting
        self._slabs: list[Tensor] = []
        self._slab, self._used = 0, 0
        self._scratch: Tensor | None = None

    def take(self, size: int) -> bool:
        """Take ``size`` bytes; False, with nothing taken, if that many are not left."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def hold(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """An empty tensor of the type and device of ``like``, in memory that was taken before."""
        if not self._lasting:
            return like.new_empty(rows, columns)
        size = rows * columns * like.element_size()
        while self._slab < len(self._slabs) and self._used + size > len(self._slabs[self._slab]):
            self._slab, self._used = self._slab + 1, 0
        if self._slab == len(self._slabs):
            self._slabs.append(torch.empty(max(size, SLAB), dtype=torch.uint8, device=like.device))
        part = self._slabs[self._slab][self._used : self._used + size]
        self._used += -(-size // 64) * 64
        return part.view(like.dtype).view(rows, columns)

    def scratch(self, *shape: int, like: Tensor) -> Tensor:
        """An empty tensor of the type and device of ``like``, good until scratch is asked for again."""
        if not self._lasting:
            return like.new_empty(shape)
        size = math.prod(shape) * like.element_size()
        if self._scratch is None or len(self._scratch) < size:
            self._scratch = torch.empty(max(size, SCRATCH), dtype=torch.uint8, device=like.device)
        return self._scratch[:size].view(like.dtype).view(shape)

    def clear(self) -> None:
        """All of it is left again: what was held for contributions of an earlier step will be written over."""
        self.left = self._size
        self._slab, self._used = 0, 0


class Contribution(abc.ABC):
    """What calls of layers add to the gradient of one parameter: ``G_u`` for each unit u, in a factored form.

    Values are float32, or float64 where a factor is; half types are promoted before anything is multiplied.

    Attributes:
        units: Number of privacy units U in the batch.
        shape: Shape of the parameter.
    """

    units: int
    shape: tuple[int, ...]

    @abc.abstractmethod
    def squared_norms(self, room: Room) -> Tensor:
        """``‖G_u‖²`` for each unit: ``(U,)``, float64. The caller may not write to it.

        The norm's relative error is at most 1e-5 for float32 factors. Not finite for a unit whose factors are not
        finite or whose squares overflow; other units do not feel it.

        Args:
            room: What is left for written-out gradients, kept until ``weighted_sum`` if they fit.
        """

    @abc.abstractmethod
    def weighted_sum(self, factors: Tensor) -> Tensor:
        """``Σ_u factors[u] · G_u``, shaped as the parameter, in one contraction.

        Args:
            factors: ``(U,)``, float64, finite, not negative. Zero does not silence a unit that is not finite
                (0 · NaN = NaN): ``select`` the others.
        """

    @abc.abstractmethod
    def per_unit(self) -> Tensor:
        """Every ``G_u`` written out: ``(U, *shape)``. The naive form, for small batches and tests."""

    @abc.abstractmethod
    def select(self, units: Tensor) -> Contribution:
        """The contribution of these units (int64 indices, in this order) only."""


class Direct(Contribution):
    """A gradient that is written out already: biases, scales of normalisation layers."""

    def __init__(self, gradient: Tensor) -> None:
        """``gradient``: ``(U, *shape)``."""
        if gradient.dtype in (torch.float16, torch.bfloat16):
            gradient = gradient.float()
        self.gradient = gradient
        self.units = gradient.shape[0]
        self.shape = tuple(gradient.shape[1:])
        self._squares: Tensor | None = None

    def squared_norms(self, room: Room) -> Tensor:
        """Row norms; taken once, since the weight beside a bias has the same factor."""
        if self._squares is None:
            self._squares = row_squares(self.gradient)
        return self._squares

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """One vector-matrix product."""
        gradient = self.gradient
        if gradient.dim() != 2:
            gradient = gradient.reshape(self.units, -1)
        return (factors.to(gradient.dtype) @ gradient).view(self.shape)

    def per_unit(self) -> Tensor:
        """The gradient itself."""
        return self.gradient

    def select(self, units: Tensor) -> Direct:
        """The rows of these units."""
        return Direct(self.gradient.index_select(0, units))


def common_kind(*tensors: Tensor) -> torch.dtype:
    """The type to compute in: float64 if one tensor is, float32 otherwise."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def row_squares(gradient: Tensor) -> Tensor:
    """Squared norm of every row, float64: ``clipping.squared_norms``, in one pass where a row is one block."""
    if gradient.dim() != 2:
        gradient = gradient.reshape(len(gradient), math.prod(gradient.shape[1:]))
    if gradient.shape[1] <= NARROW:
        squares: Tensor = torch.linalg.vector_norm(gradient, dim=1).double()
        return squares.square_()
    return squared_norms(gradient)


def kept_sum(kept: Sequence[Tensor], factors: Tensor) -> Tensor:
    """Vector-matrix product of factors and gradients kept in pieces ``(units, numbers)``: ``(numbers,)``."""
    total = kept[0].new_zeros(kept[0].shape[1])
    start = 0
    for piece in kept:
        total.addmv_(piece.t(), factors[start : start + len(piece)].to(piece.dtype))
        start += len(piece)
    return total


def not_below_rounding(squares: Tensor, terms: Tensor, kind: torch.dtype) -> Tensor:
    """Squared norms, raised where a gradient is what is left of terms that cancel.

    The weighted sum adds the terms in another order than the norm did, and rounds by about 2**-24 of their size: where
    that could be more than a thousandth of the norm, the norm is taken for a thousand times that rounding, so that the
    unit is clipped harder. Terms have to cancel to a part in 16,000 for that.

    Args:
        squares: ``(U,)``, of the gradients.
        terms: ``(U,)``, upper bounds of the squared sum of the terms' sizes.
        kind: The type that the sum is computed in.
    """
    least = 1e3 * (2.0**-53 if kind == torch.float64 else 2.0**-24)
    return torch.maximum(squares, terms * least**2)


def whole_squares(values: Tensor, units: int) -> Tensor:
    """Squared norm of all that belongs to a unit, ``(U,)``, float64; to a few parts in a thousand."""
    squares: Tensor = torch.linalg.vector_norm(values.reshape(units, -1), dim=1).double()
    return squares.square_()


def scaled(values: Tensor, factors: Tensor) -> Tensor:
    """``values`` (U, …) with the rows of unit u multiplied by ``factors[u]``."""
    return values * factors.to(values.dtype).view(-1, *(1,) * (values.dim() - 1))


def chunks(units: int, size: int, limit: int = SCRATCH) -> Iterator[slice]:
    """Slices of units whose written-out gradients of ``size`` bytes each take ``limit`` bytes at most, or one unit."""
    step = max(1, limit // max(size, 1))
    for start in range(0, units, step):
        yield slice(start, min(start + step, units))
