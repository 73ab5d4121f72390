"""What leaves a step: the clipped sum with noise, divided by the expected batch. Nothing else about the batch does."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch

from pellucid.train.gaussian import grid

if TYPE_CHECKING:
    from pellucid.privacy import Plan
    from pellucid.train.clipping import Clipping
    from pellucid.train.noise import Noise
    from pellucid.train.workers import Workers

__all__ = ["Release"]


class Release:
    """Adds the plan's noise to the sum of a step.

    Gaussian: independent in every step (Abadi et al. 2016, arXiv 1607.00133). Banded: correlated over steps by the
    inverse of a banded lower triangular Toeplitz matrix, so that noise cancels in the sum of all steps
    (Choquette-Choo et al. 2023, arXiv 2306.08153). Both leave
    multiples of ``grid(std)`` and nothing between: the sum is rounded to it before noise that is a multiple of it is
    added, so that no digit tells what the noise was added to.

    Args:
        plan: Says how much.
        noise: Where it comes from.
        workers: The processes that train together: the first one adds the noise, and all get the sum.
    """

    def __init__(self, plan: Plan, noise: Noise, workers: Workers) -> None:
        self._plan = plan
        self._noise = noise
        self._workers = workers
        self._coefficients: tuple[float, ...] = ()
        if plan.mechanism == "banded":
            from pellucid.privacy import banded_coefficients

            self._coefficients = tuple(float(c) for c in banded_coefficients(plan.bands, plan.steps))
        self._past: deque[torch.Tensor] = deque(maxlen=max(1, len(self._coefficients) - 1))

    def __repr__(self) -> str:
        return f"Release({self._plan.mechanism!r})"

    def make(self, sums: torch.Tensor, clipping: Clipping) -> None:
        """Turn ``sums``, flat over all parameters, into the released mean, in place."""
        plan = self._plan
        within = torch.tensor([clipping.within], dtype=torch.float64) if plan.count_noise is not None else None
        # added up before noise: what leaves is on the grid of the noise, whatever the workers' floats were
        self._workers.add_up(sums)
        if within is not None:
            self._workers.add_up(within)
        if self._workers.leads:
            self._add(sums, plan.gradient_noise_multiplier * clipping.clip)
            if within is not None and plan.count_noise is not None:
                self._noise.add(within, plan.count_noise)
        self._workers.share(sums)
        sums /= plan.normaliser
        if within is not None:
            self._workers.share(within)
            clipping.follow(float(within), plan.normaliser)

    def _add(self, sums: torch.Tensor, std: float) -> None:
        """Add the step's noise."""
        if sums.device.type != "cpu":  # the keystream is the processor's
            host = sums.cpu()
            self._add(host, std)
            sums.copy_(host)
        elif len(self._coefficients) < 2:
            self._noise.add(sums, std)
        else:
            fresh = torch.zeros(len(sums), dtype=torch.float64)
            self._noise.add(fresh, std)
            step = grid(std)
            # whole numbers of steps, as noise that is independent of step to step: what is rounded depends on no data
            whole = sums.double().div_(step).round_().add_(self._correlated(fresh).div(step).round_())
            sums.copy_(whole.mul_(step))

    def _correlated(self, fresh: torch.Tensor) -> torch.Tensor:
        """One row of the inverse of the Toeplitz matrix, applied to fresh noise and to what it gave before."""
        first, *rest = self._coefficients
        for coefficient, past in zip(rest, self._past, strict=False):
            fresh.sub_(past, alpha=coefficient)
        fresh /= first
        self._past.appendleft(fresh.clone())
        return fresh
