"""Poisson sampling: every row joins a step's sample on its own, with the same probability.

This is the sampling that the accountant assumes (Abadi et al. 2016; Mironov, Talwar, Zhang 2019). Shuffled batches of
fixed size are not, and may leak several times the epsilon that a Poisson accountant reports (Chua et al. 2024, arXiv
2403.17673). The size of a sample is private; it may be zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import torch

from pellucid.errors import BadPlan
from pellucid.train.keystream import Keystream

__all__ = ["PoissonSampler"]


class PoissonSampler:
    """Index tensors for ``steps`` steps.

    A row is in if a fresh uniform 64-bit word is below ``floor(rate * 2**64)``. So its probability is never above
    ``rate``, and less than 2**-64 below. Only the top 16 bits are drawn for all rows; the other 48 are drawn for the
    rows that those leave undecided, one in 65536.

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
        # the cast to int32 turns the signed halfword into 0 … 65535 without a second pass
        top = self._bits.halfwords(self._rows).to(torch.int32).bitwise_and_(0xFFFF)
        within = top < self._top
        undecided = (top == self._top).nonzero().squeeze(1)
        rest = self._bits.words(len(undecided)).bitwise_right_shift(16).bitwise_and_(2**48 - 1)
        within[undecided] = rest < self._rest
        return within.nonzero().squeeze(1)
