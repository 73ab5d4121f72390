"""The mixture of Gaussians: what a step costs a person whose rows are sampled one by one. Pure numbers.

Without the person a step gives ``N(0, σ²)``; with them ``Σ p_i·N(c_i, σ²)``, where c_i is the norm of what they add in
case i. That scalar pair dominates the vector mechanism (Choquette-Choo et al. 2023, arXiv 2310.15526, Corollary 4.7),
and moving probability to larger sensitivities only raises every divergence (their Lemma 4.5). With at most k rows a
person, each in the sample with chance q and clipped alone, c is at most the number of their rows drawn, ``Bin(k, q)``.

With ``L(x) = log Σ p_i·exp((c_i·x - c_i²/2) / σ²)``, the loss of the output x, which grows with x:

- hockey sticks follow from the one threshold at which L is epsilon;
- Rényi divergences are Gaussian integrals of ``exp(a·L)`` and ``exp((1 - a)·L)``, taken by the trapezoidal rule. The
  sum of exponentials has no zero where ``|Im x| < π·σ² / (2·max c)``, since there all its terms have positive real
  parts, so that the rule's error falls off as ``exp(-2π·strip / step)`` (Trefethen & Weideman 2014, SIAM Review 56,
  Theorem 5.1), to below 1e-30.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Parts", "hockey_sticks", "loss_range", "renyi", "rows_parts"]

Parts = Sequence[tuple[float, float]]
"""Pairs of a sensitivity above 0 and its probability; with what is left of probability the person adds nothing."""

_LEAST: Final = Fraction(1, 10**100)
_REACH: Final = 10.4  # standard deviations; a normal variable is beyond with a chance below exp(-50)
_GRID: Final = 200_001
_MOST_POINTS: Final = 1_000_000


def rows_parts(sample_rate: float, rows: int) -> tuple[tuple[float, float], ...]:
    """The parts of a person with up to ``rows`` rows, each in the sample with chance ``sample_rate``.

    ``Bin(rows, sample_rate)`` in exact arithmetic, rounded up to floats; a chance below 1e-100 goes to the next larger
    count. Both only raise a divergence.

    Args:
        sample_rate: In (0, 1].
        rows: At least 1.
    """
    q = Fraction(sample_rate)
    parts: list[tuple[int, Fraction]] = []
    carried = Fraction(0)
    for j in range(1, rows + 1):
        carried += math.comb(rows, j) * q**j * (1 - q) ** (rows - j)
        if carried >= _LEAST or j == rows:
            parts.append((j, max(carried, _LEAST)))
            carried = Fraction(0)
    found: list[tuple[float, float]] = []
    rest = Fraction(1)
    for j, probability in reversed(parts):  # from the largest sensitivity down, so that what is rounded up fits in 1
        near = _up(probability) if _up(probability) <= rest else _down(rest)
        rest -= Fraction(near)
        if near > 0:
            found.append((float(j), near))
    return tuple(reversed(found))


def _up(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) >= exact else math.nextafter(near, math.inf)


def _down(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) <= exact else math.nextafter(near, 0.0)


def _cases(parts: Parts) -> tuple[Array, Array]:
    """All sensitivities, with 0 first if the person may add nothing, and their probabilities."""
    import numpy as np

    rest = float(1 - sum(Fraction(p) for _, p in parts))
    cases = ([(0.0, rest)] if rest > 0 else []) + list(parts)
    return np.array([c for c, _ in cases]), np.array([p for _, p in cases])


def _losses(x: Array, parts: Parts, noise: float) -> Array:
    """L at every one of ``x``."""
    import numpy as np

    sensitivities, probabilities = _cases(parts)
    found: Array = np.full(x.shape, -np.inf)
    for c, p in zip(sensitivities, probabilities, strict=True):
        found = np.logaddexp(found, (c * x - c**2 / 2) / noise**2 + math.log(p))
    return found


def renyi(parts: Parts, noise: float, order: float) -> float:
    """The larger of the Rényi divergences of adding and of removing the person in one step; inf if it is out of reach.

    Args:
        parts: As :func:`rows_parts` gives them.
        noise: Standard deviation of the noise, in the unit of the sensitivities; above 0.
        order: Above 1.
    """
    import numpy as np

    most = max(c for c, _ in parts) / noise
    step = 1 / max(16.0, 8 * most)  # in standard deviations
    low, high = -14.0 - order * most, 14.0 + order * most
    if (high - low) / step > _MOST_POINTS:
        return math.inf
    x = np.arange(low, high, step)
    loss = _losses(x * noise, parts, noise)
    weight = -(x**2) / 2 + math.log(step) - math.log(2 * math.pi) / 2

    def logarithm(exponents: Array) -> float:
        top = float(exponents.max())
        return top + math.log(float(np.exp(exponents - top).sum()))

    return max(logarithm(weight + order * loss), logarithm(weight + (1 - order) * loss)) / (order - 1)


def loss_range(parts: Parts, noise: float, *, adding: bool) -> tuple[float, float]:
    """Least and greatest loss but for a mass below exp(-50), of ``adding`` the person or of removing them."""
    import numpy as np

    high = _REACH * noise + (0.0 if adding else max(c for c, _ in parts))
    least, greatest = (float(loss) for loss in _losses(np.array([-_REACH * noise, high]), parts, noise))
    return (-greatest, -least) if adding else (least, greatest)


def hockey_sticks(parts: Parts, noise: float, epsilons: Array, *, adding: bool) -> Array:
    """Delta at every one of ``epsilons``, rising, of ``adding`` the person in one step, or of removing them.

    The threshold is read off a grid of :data:`_GRID` points: delta is stationary there, so that an error of its place
    enters squared, below 1e-15.
    """
    import numpy as np
    from scipy.special import ndtr

    sensitivities, probabilities = _cases(parts)
    most = float(sensitivities.max())
    x = np.linspace(-2 * _REACH * noise, 2 * _REACH * noise + most, _GRID)
    losses = _losses(x, parts, noise)
    floor = math.log(probabilities[0]) if sensitivities[0] == 0 else -math.inf
    target = -epsilons if adding else epsilons
    # the loss never falls; where rounding makes it stand still, any of the places will do
    place = np.interp(target, losses, x)

    def mixed(towards: float) -> Array:
        return np.asarray(
            sum(p * ndtr(towards * (place - c) / noise) for c, p in zip(sensitivities, probabilities, strict=True))
        )

    if adding:
        found = ndtr(place / noise) - np.exp(epsilons) * mixed(1.0)
        found = np.where(target <= floor, 0.0, found)
    else:
        found = mixed(-1.0) - np.exp(epsilons) * ndtr(-place / noise)
        found = np.where(target <= floor, -np.expm1(epsilons), found)
    return np.asarray(np.maximum.accumulate(np.clip(found, 0.0, 1.0)[::-1])[::-1], dtype=np.float64)
