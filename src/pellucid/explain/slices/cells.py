"""Counts, sums and squares of the losses in every cell of every table of one, two or three columns.

A cell is found for each row from its codes, and all cells of a table are then summed in one pass over the rows
(``bincount``). A product of one-hot matrices gives the same numbers and costs rows times values instead of rows. Counts
are whole numbers, exact at any size; sums are of float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pellucid.explain.intervals import Floats
from pellucid.explain.slices.columns import Bools, Codes
from pellucid.explain.slices.significance import Sample

__all__ = ["Places", "Sums", "Tally"]

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sums:
    """Sums over cells, arrays of one shape: rows, losses, squared losses."""

    n: Places
    total: Floats
    squares: Floats

    def __getitem__(self, places: Places | Bools) -> Sums:
        return Sums(self.n[places], self.total[places], self.squares[places])

    def __sub__(self, part: Sums) -> Sums:
        return Sums(self.n - part.n, self.total - part.total, self.squares - part.squares)

    def corner(self, height: int, width: int) -> Sums:
        """Without the last row and the last column of a table of ``height`` x ``width`` cells."""
        shape = (height, width)
        return Sums(
            self.n.reshape(shape)[:-1, :-1].ravel(),
            self.total.reshape(shape)[:-1, :-1].ravel(),
            self.squares.reshape(shape)[:-1, :-1].ravel(),
        )

    def sample(self) -> Sample:
        """Mean and variance of every cell; a cell of one row or none has the variance 0."""
        n = self.n.astype(np.float64)
        mean = self.total / np.maximum(n, 1.0)
        spread = self.squares - mean * self.total
        return Sample(n, mean, np.maximum(spread, 0.0) / np.maximum(n - 1, 1.0))


class Tally:
    """Sums the losses of ``n`` rows by cell. Losses are taken from their mean, which keeps squares accurate."""

    __slots__ = ("_binary", "_losses", "_squares")

    def __init__(self, losses: Floats) -> None:
        self._binary = losses.astype(np.int32) if np.isin(losses, (0.0, 1.0)).all() else None
        self._losses = losses - losses.mean()
        self._squares = self._losses**2

    def by(self, cells: Codes, width: int, rows: Places | None = None) -> Sums:
        """Sums of the cells 0..width-1.

        Args:
            cells: (n,) the cell of every row, or of ``rows``.
            width: How many cells, below 2^30.
            rows: The rows that are counted; all by default.
        """
        if self._binary is not None:
            wrong = self._binary if rows is None else self._binary[rows]
            split = np.bincount(cells + np.int32(width) * wrong, minlength=2 * width).reshape(2, width)
            errors = split[1].astype(np.float64)
            return Sums(split.sum(axis=0), errors, errors)
        losses, squares = self._losses, self._squares
        if rows is not None:
            losses, squares = losses[rows], squares[rows]
        return Sums(np.bincount(cells, minlength=width), _sum(cells, losses, width), _sum(cells, squares, width))


def _sum(cells: Codes, weights: Floats, width: int) -> Floats:
    return np.asarray(np.bincount(cells, weights=weights, minlength=width), dtype=np.float64)
