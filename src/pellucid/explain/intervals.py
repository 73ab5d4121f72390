"""Rates and means with 95 % intervals, published so that no exact count of people can be read off them.

A rate ``k/n`` printed to six digits gives ``n`` away, and so does the width of its interval. Published rates are
therefore rounded to a step no finer than ``1/n`` with ``n`` rounded down to ten: every count that rounds to the same
``n`` is then consistent with the number. The rounding is at most half a person, and the interval is widened by it.
"""

from __future__ import annotations

import math
from importlib import metadata
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import MINIMUM_CELL
from pellucid.evidence import Estimate, round_down

__all__ = ["MINIMUM_CELL", "ROUNDING", "Floats", "Z", "mean", "publish", "rate", "step", "versions", "wilson"]

Floats = npt.NDArray[np.float64]

Z: Final = NormalDist().inv_cdf(0.975)
ROUNDING: Final = (
    "rates are rounded to the least of 1, 2, 5 x 10^-k that is not below 1/n, n rounded down to ten; "
    "intervals are Wilson's, widened by half that step"
)


def wilson(proportion: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % score interval for a proportion in [0, 1] seen on ``n > 0`` units (Wilson 1927, JASA 22)."""
    square = Z * Z
    shrink = 1 + square / n
    centre = (proportion + square / (2 * n)) / shrink
    half = Z / shrink * math.sqrt(proportion * (1 - proportion) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def step(n: int) -> float:
    """The least of 1, 2, 5 × 10^-k that is at least ``1/n``: the grid on which a rate over ``n`` is published."""
    decade = 10.0 ** -math.floor(math.log10(n))
    for part in (0.1, 0.2, 0.5):
        if part * decade * n >= 1 - 1e-12:
            return part * decade
    return decade


def publish(proportion: float, n: int) -> float:
    """``proportion`` on the grid of :func:`step` for ``n`` rounded down to ten (``n >= 10``)."""
    grid = step(round_down(n))
    return round(min(1.0, round(proportion / grid) * grid), 9)


def rate(proportion: float, n: int) -> Estimate:
    """A proportion of ``n >= 10`` people as it may be published: on a coarse grid, with Wilson's interval.

    The interval is a function of the published numbers alone, so it reveals nothing more.
    """
    grid, count = step(round_down(n)), round_down(n)
    value = publish(proportion, n)
    low, _ = wilson(max(0.0, value - grid / 2), count)
    _, high = wilson(min(1.0, value + grid / 2), count)
    return Estimate(value, min(low, value), max(high, value), count)


def mean(values: Floats, *, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """The mean of ``values`` (n,), n >= 2, with its normal 95 % interval, cut to [``low``, ``high``]."""
    value = float(values.mean())
    half = Z * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Estimate(value, max(low, value - half), min(high, value + half), round_down(values.size))


def versions(*libraries: str) -> dict[str, str]:
    """The installed version of each library, for ``how``."""
    return {name: metadata.version(name) for name in libraries}
