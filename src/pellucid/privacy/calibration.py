"""The search for the least noise that meets a target epsilon: arithmetic only, whatever computes epsilon.

Noise multipliers are whole ten-thousandths throughout, so that the answer is a short decimal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from pellucid.errors import BadPlan
from pellucid.privacy.events import NOISE_RANGE

__all__ = ["NOISE_UNITS", "TOLERANCE", "gaussian_delta", "gaussian_epsilon", "gaussian_limit_noise", "least_noise"]

NOISE_UNITS: Final = 10_000
"""Noise multipliers are searched in steps of one over this."""
TOLERANCE: Final = 1e-5
"""The answer is above the least noise by this share or by two steps, whichever is more."""


def least_noise(
    epsilon_of: Callable[[float], float], target: float, start: float, *, tolerance: float = TOLERANCE
) -> float:
    """A noise multiplier with ``epsilon_of(noise) <= target``, at most two steps or ``tolerance`` above the least.

    A bracketed secant on logarithms, where epsilon is nearly a power of the noise: two to six evaluations, since one
    costs up to seconds.

    Args:
        epsilon_of: Epsilon of a noise multiplier: falling, 0 or more, may be inf.
        target: Above 0.
        start: A guess of the answer; the nearer, the fewer evaluations.
        tolerance: Relative, in (0, 1).

    Raises:
        BadPlan: The target is not met with the most noise of :data:`~pellucid.privacy.events.NOISE_RANGE`.
    """
    least, most = (round(noise * NOISE_UNITS) for noise in NOISE_RANGE)
    too_little, enough = least - 1, most + 1  # the answer is above the one and, if there is one, at most the other
    here = min(max(round(start * NOISE_UNITS), least), most)
    slope = 1.5
    before: tuple[float, float] | None = None
    for attempt in range(200):
        found = epsilon_of(here / NOISE_UNITS)
        if found <= target:
            enough = here
        else:
            too_little = here
        if enough - too_little <= 1:
            break
        # log(epsilon / target), far but finite where epsilon is 0 or inf
        excess = min(max(math.log(max(found, 1e-300) / target), -3.0), 3.0) if found < math.inf else 3.0
        point = (math.log(here), excess)
        if before is not None and before[0] != point[0]:
            slope = min(max((before[1] - point[1]) / (point[0] - before[0]), 0.25), 40.0)
        before = point
        slack = max(2.0, here * tolerance)
        if enough == here and -excess * here / slope <= slack / 2:  # half: the slope is an estimate
            break
        aim = math.ceil(here * math.exp(excess / slope) + slack / 8)
        if attempt % 8 >= 6:  # a bisection now and then bounds the number of attempts
            aim = round(math.sqrt(max(too_little, 1) * enough))
        here = min(max(aim, too_little + 1), enough - 1)
    if enough > most:
        raise BadPlan(
            f"no noise multiplier up to {NOISE_RANGE[1]:g} meets epsilon {target:g}",
            where="epsilon",
            fix="a larger epsilon, fewer epochs or a smaller batch",
        )
    return enough / NOISE_UNITS


def gaussian_limit_noise(sample_rate: float, steps: int, epsilon: float, delta: float) -> float:
    """A guess of the noise multiplier from the central limit of Gaussian differential privacy; no guarantee.

    Bu et al. 2020 (Harvard Data Science Review 2.3): DP-SGD tends to mu-GDP with ``mu = q·sqrt(T·(exp(σ^-2) - 1))``,
    and Dong et al. 2022, corollary 2.13, gives the delta of mu-GDP. It is only the start of a search, since it
    understates epsilon up to twofold.
    """

    def above(noise: float) -> bool:
        mu = sample_rate * math.sqrt(steps * math.expm1(noise**-2))
        return gaussian_delta(mu, epsilon) > delta

    low, high = math.log(0.05), math.log(NOISE_RANGE[1])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above(math.exp(middle)) else (low, middle)
    return math.exp(high)


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Delta at ``epsilon`` of a mechanism that is mu-GDP (Balle & Wang 2018, theorem 8, with ``mu = 1/σ``)."""
    if mu == 0:
        return 0.0
    upper = math.erfc((epsilon / mu - mu / 2) / math.sqrt(2)) / 2
    lower = math.erfc((epsilon / mu + mu / 2) / math.sqrt(2)) / 2
    return upper - (math.exp(epsilon + math.log(lower)) if lower > 0 else 0.0)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon at ``delta`` of a mechanism that is mu-GDP, at least 0: to within 1e-12 of it, and never below.

    Any composition of Gaussian mechanisms is the one with ``mu² = Σ 1/σ²`` (Dong, Roth & Su 2019, arXiv 1905.02383,
    Corollary 3.3), and this inverts its closed form; see :func:`gaussian_delta`.
    """
    target = delta * (1 - 1e-13)  # the closed form's own rounding
    if gaussian_delta(mu, 0.0) <= target:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > target:
        low, high = high, 2 * high
    while high - low > 1e-13 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > target else (low, middle)
    return high
