"""Poisson sampling: every row joins a step's sample on its own, with the same probability.

This is the sampling that the accountant assumes (Abadi et al. 2016; Mironov, Talwar, Zhang 2019). Shuffled batches of
fixed size are not, and may leak several times the epsilon that a Poisson accountant reports (Chua et al. 2024, arXiv
2403.17673). The size of a sample is private; it may be zero.

A small sample is drawn as its size and then its members: how many of n rows join is Binomial(n, q), and given how many,
every set of that size is as likely as any other. So the cost grows with the sample, not with the data. Geometric gaps
would do the same, but ``log(u) / log(1 - q)`` in float64 is off by up to 2**-51 of a gap, which moves the probability
of a row after a gap of 10**6 by 1e-9 of itself and in either direction; here everything is a whole number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pellucid.errors import BadPlan
from pellucid.train.binomial import BITS, count_below, thresholds
from pellucid.train.keystream import Keystream

__all__ = ["PoissonSampler"]

DENSE: Final = 0.2  # from this rate on, a word for every row costs less
CROWDED: Final = 16  # up to so many rows for each that joins, marks on all rows cost less than sorting


class PoissonSampler:
    """Index tensors for ``steps`` steps.

    No row's probability is above ``rate``. Below ``DENSE`` a sample is a subset of a true Poisson sample that could be
    drawn with it, and equal to it but with probability below 2**-254 for each size in the table
    (:func:`~pellucid.train.binomial.thresholds`): for all rates from 1e-60 a row's probability is within 1e-12 of
    ``rate`` relative to it. From ``DENSE`` on, a row is in if a fresh uniform 64-bit word is below
    ``floor(rate * 2**64)``, less than 2**-64 below the rate; the top 16 bits are drawn for all rows, and the other 48
    for the rows that those leave undecided, one in 65536.

    Args:
        rows: How many rows there are, at least 0. Private: shown nowhere.
        rate: Probability of a row to be in a sample, in (0, 1].
        steps: How many samples to draw.

    Raises:
        BadPlan: ``rate`` or ``steps`` is out of its range.
    """

    def __init__(self, rows: int, rate: float, steps: int) -> None:
        if not (math.isfinite(rate) and 0 < rate <= 1):
            raise BadPlan("the sample rate must be above 0 and at most 1", where="sample_rate")
        if steps < 1:
            raise BadPlan("there must be at least one step", where="steps")
        self.rate = rate
        self.steps = steps
        self._rows = rows
        self._top, self._rest = divmod(math.floor(Fraction(rate) * 2**64), 2**48)
        self._first, self._table = thresholds(rows, rate) if rate < DENSE else (0, [])
        self._bits = Keystream()

    def __repr__(self) -> str:
        return f"PoissonSampler(rate={self.rate!r}, steps={self.steps})"

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Samples as rising int64 indices of shape ``(size,)``, drawn when asked for."""
        for _ in range(self.steps):
            yield self.draw()

    def draw(self) -> torch.Tensor:
        """One sample."""
        return self._sparse() if self._table else self._dense()

    def _sparse(self) -> torch.Tensor:
        uniform = int.from_bytes(self._bits.draw(BITS // 8, np.uint8).tobytes(), "little")
        return torch.from_numpy(_subset(self._bits, self._rows, count_below(self._first, self._table, uniform)))

    def _dense(self) -> torch.Tensor:
        # the cast to int32 turns the signed halfword into 0 … 65535 without a second pass
        top = self._bits.halfwords(self._rows).to(torch.int32).bitwise_and_(0xFFFF)
        within = top < self._top
        undecided = (top == self._top).nonzero().squeeze(1)
        rest = self._bits.words(len(undecided)).bitwise_right_shift(16).bitwise_and_(2**48 - 1)
        within[undecided] = rest < self._rest
        return within.nonzero().squeeze(1)


def _subset(bits: Keystream, rows: int, size: int) -> npt.NDArray[np.int64]:
    """``size`` distinct rows, rising, every set of that size as likely as any other.

    The first ``size`` distinct values of independent uniform draws are such a set. A round draws no more values than
    are missing, so it cannot find too many. A word that is not below ``rows`` once its leading bits are dropped is
    dropped too, which leaves the others exactly uniform.
    """
    kind: type[np.int32] | type[np.int64] = np.int32 if rows <= 1 << 31 else np.int64
    found = np.empty(0, dtype=kind)
    if rows > CROWDED * size:
        while len(found) < size:
            joined = np.concatenate([found, _uniform(bits, rows, size - len(found), kind)])
            joined.sort(kind="stable" if len(found) else None)  # a rising run and a few more: timsort merges
            fresh = np.empty(len(joined), dtype=bool)
            fresh[:1] = True
            np.not_equal(joined[1:], joined[:-1], out=fresh[1:])
            found = joined[fresh]
        return found.astype(np.int64)
    within = np.zeros(rows, dtype=bool)
    present = 0
    while present < size:
        within[_uniform(bits, rows, size - present, kind)] = True
        present = int(np.count_nonzero(within))
    return np.flatnonzero(within)


def _uniform(
    bits: Keystream, rows: int, most: int, kind: type[np.int32] | type[np.int64]
) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
    """Up to ``most`` independent uniform values below ``rows``, ``most`` as a rule."""
    mask = (1 << (rows - 1).bit_length()) - 1
    # half of the words pass at worst
    drawn = bits.draw(most * (mask + 1) // rows + 4 * math.isqrt(most) + 8, kind) & kind(mask)
    return drawn[drawn < rows][:most]
