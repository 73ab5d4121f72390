"""Methods that draw: independent batches, so that the spread of their means says how sure the whole is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pellucid.explain.intervals import Floats

__all__ = ["BATCHES", "Batches", "seeds"]

BATCHES: Final = 8  # independent estimates a standard error rests on, at least


class Batches:
    """The mean of independent estimates (N, fields), and its standard error.

    Args:
        estimate: An estimate from a public seed.
        seed: Public; the seeds of the batches follow from it.
    """

    def __init__(self, estimate: Callable[[int], Floats], seed: int) -> None:
        self._estimate, self._seed = estimate, seed
        self._count, self._mean, self._square = 0, np.float64(0.0) + np.zeros(()), np.zeros(())

    def grow(self, count: int) -> None:
        """Take estimates until there are ``count``."""
        for number in range(self._count, count):
            found = self._estimate(seeds(self._seed, number))
            apart = found - self._mean
            self._mean = self._mean + apart / (number + 1)  # Welford 1962
            self._square = self._square + apart * (found - self._mean)
        self._count = max(self._count, count)

    @property
    def mean(self) -> Floats:
        """(N, fields)."""
        return self._mean

    @property
    def error(self) -> Floats:
        """(N, fields) standard error of :attr:`mean`; at least two batches."""
        found: Floats = np.sqrt(self._square / (self._count * (self._count - 1)))
        return found


def seeds(seed: int, number: int) -> int:
    """A 32-bit seed of its own for each batch."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
