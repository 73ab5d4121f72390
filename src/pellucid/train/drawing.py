"""Who is in a step's sample, by the plan's mechanism."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from pellucid.train.keystream import Keystream
from pellucid.train.sampling import PoissonSampler

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["Drawing", "drawing"]


class Drawing(Protocol):
    """Draws samples."""

    def draw(self, step: int) -> torch.Tensor:
        """Rising int64 indices ``(size,)`` of what is in the sample of ``step``, counted from 0."""


def drawing(number: int, plan: Plan) -> Drawing:
    """What draws the samples of ``plan`` from so many rows, or people whose rows are drawn together."""
    return _Cyclic(number, plan) if plan.mechanism == "banded" else _Poisson(number, plan)


class _Poisson:
    def __init__(self, rows: int, plan: Plan) -> None:
        self._sampler = PoissonSampler(rows, plan.sample_rate, plan.steps)

    def draw(self, step: int) -> torch.Tensor:
        return self._sampler.draw()


class _Cyclic:
    """Rows are put into as many groups as the noise has bands, each by chance; groups take turns, and within its turn
    a group is Poisson sampled (Choquette-Choo et al. 2023, arXiv 2306.08153, section 4): so a person takes part at
    most once in as many steps as there are bands.
    """

    def __init__(self, rows: int, plan: Plan) -> None:
        bands = plan.bands
        # 63 uniform bits modulo the number of groups: a bias below 1e-15
        group = Keystream().words(rows).bitwise_and_((1 << 63) - 1) % bands
        self._groups = [(group == number).nonzero().squeeze(1) for number in range(bands)]
        rate = plan.group_rate
        self._samplers = [PoissonSampler(len(members), rate, plan.steps) for members in self._groups]

    def draw(self, step: int) -> torch.Tensor:
        turn = step % len(self._groups)
        return self._groups[turn][self._samplers[turn].draw()]
