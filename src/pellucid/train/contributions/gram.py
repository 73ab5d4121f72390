"""Norms from Gram matrices, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

__all__ = ["checked", "raised"]

# Rounding of a sum of products of Gram entries, in units of the sum of their absolute values. The entries round as
# inner products do, by a few units in the last place whatever their length (Higham and Mary 2019, theorem 2.4); tokens
# that are alike round alike, so that T² of them are no better than one. 16 is more than was ever seen (10). Where the
# sum cancels so far that this were more than TRUSTED of the result, the unit is written out instead.
ROUNDING: Final = {torch.float32: 16 * 2.0**-24, torch.float64: 16 * 2.0**-53}
TRUSTED: Final = {torch.float32: 8e-6, torch.float64: 1e-12}


def checked(first: Tensor, second: Tensor, groups: int, written: Callable[[Tensor], Tensor]) -> Tensor:
    """``Σ_ts first[t, s] · second[t, s]`` for each unit, raised by its rounding; float64.

    Args:
        first: Gram matrices ``(units · groups, T, T)``; overwritten.
        second: The same of the other factor.
        groups: Blocks that belong to a unit.
        written: Squared norms of units (indices) from the gradient written out.
    """
    products = first.mul_(second)
    squares = products.sum((1, 2), dtype=torch.float64)
    sizes = torch.linalg.vector_norm(products, ord=1, dim=(1, 2)).double()
    if groups > 1:
        squares, sizes = squares.view(-1, groups).sum(1), sizes.view(-1, groups).sum(1)
    return raised(squares, sizes, first.dtype, written)


def raised(squares: Tensor, sizes: Tensor, kind: torch.dtype, written: Callable[[Tensor], Tensor]) -> Tensor:
    """``squares`` plus their rounding, or written out where that is too much of them.

    Args:
        squares: Sums ``(U,)``.
        sizes: Sums of the absolute values, ``(U,)``.
        kind: The type that the products were computed in.
        written: As of :func:`checked`.
    """
    rounding = sizes * ROUNDING[kind]
    doubtful = (rounding > TRUSTED[kind] * squares) & sizes.isfinite()
    squares = squares + rounding
    if bool(doubtful.any()):
        which = doubtful.nonzero()[:, 0]
        squares[which] = written(which)
    return squares
