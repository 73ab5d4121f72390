"""Rates and means with 95 % intervals, published so that no exact count of people can be read off them.

A rate ``k/n`` printed to six digits gives ``n`` away, and so does the width of its interval. Published rates are
therefore rounded to a step no finer than ``1/n`` with ``n`` rounded down to ten: every count that rounds to the same
``n`` is then consistent with the number. The rounding is at most half a person, and the interval is widened by it.
A mean is a rate to whoever holds the weights and knows which two values a model gives: it is rounded to the same step
times what one person can add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import metadata
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import MINIMUM_CELL
from pellucid.evidence import Estimate, round_down

__all__ = [
    "GAPS",
    "MEANS",
    "MINIMUM_CELL",
    "ROUNDING",
    "Floats",
    "Mean",
    "Z",
    "bounded",
    "coarse",
    "gaps",
    "grid_of",
    "mean",
    "on_grid",
    "order",
    "publish",
    "rate",
    "rounded_up",
    "step",
    "versions",
    "wilson",
]

Floats = npt.NDArray[np.float64]

Z: Final = NormalDist().inv_cdf(0.975)
ROUNDING: Final = (
    "rates are rounded to the least of 1, 2, 5 x 10^-k that is not below 1/n, n rounded down to ten; "
    "intervals are Wilson's, widened by half that step"
)
MEANS: Final = (
    "means over people are rounded like rates, in units of the order of their largest value; intervals outwards"
)

GAPS: Final = "rounded up to two digits; the largest of a person is not published"


def wilson(proportion: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval for a proportion in [0, 1] seen on ``n > 0`` units (Wilson 1927, JASA 22); 95 %."""
    square = z * z
    shrink = 1 + square / n
    centre = (proportion + square / (2 * n)) / shrink
    half = z / shrink * math.sqrt(proportion * (1 - proportion) / n + square / (4 * n * n))
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
    return bounded(publish(proportion, n), round_down(n))


def bounded(value: float, count: int, z: float = Z, grid: float | None = None) -> Estimate:
    """A published proportion of ``count`` people with Wilson's interval, widened by half of ``grid``; by default 95 %.

    Args:
        value: On its grid.
        count: Rounded down to ten.
        z: The normal quantile of the level.
        grid: What ``value`` was rounded to; that of :func:`step` unless given.
    """
    half = (step(count) if grid is None else grid) / 2
    low, _ = wilson(max(0.0, value - half), count, z)
    _, high = wilson(min(1.0, value + half), count, z)
    return Estimate(value, min(low, value), max(high, value), count)


@dataclass(frozen=True, slots=True, repr=False)
class Mean(Estimate):
    """An estimate that is exact for whoever holds the object, and published and shown on a grid.

    Attributes:
        grid: The value is published at its nearest multiple, and the interval outwards; 0 rounds nothing.
    """

    grid: float = 0.0

    def __repr__(self) -> str:
        return f"Mean({', '.join(f'{name}={value}' for name, value in self.values().items())})"

    def values(self) -> dict[str, float | int]:
        """The record that goes into evidence."""
        if self.grid == 0.0:
            return Estimate(self.value, self.low, self.high, self.n).values()
        low, high = math.floor(round(self.low / self.grid, 9)), math.ceil(round(self.high / self.grid, 9))
        value = coarse(self.value, self.grid)
        return Estimate(value, low * self.grid, high * self.grid, self.n).values()


def mean(values: Floats, *, low: float = -math.inf, high: float = math.inf) -> Mean:
    """The mean of ``values`` (n,), n >= 2, with its normal 95 % interval, on the grid of :func:`grid_of`.

    The interval is cut to [``low``, ``high``]. Where all values are at one of these bounds nothing varies, and the
    interval is Wilson's: a few people who agree prove little about others.
    """
    value, count = float(values.mean()), values.size
    half = Z * float(values.std(ddof=1)) / math.sqrt(count)
    below, above = value - half, value + half
    if half == 0.0 and math.isfinite(high - low) and value in (low, high):
        below, above = (low + (high - low) * end for end in wilson((value - low) / (high - low), count))
    return Mean(value, max(low, min(below, value)), min(high, max(above, value)), round_down(count), grid_of(values))


def grid_of(values: Floats) -> float:
    """The grid on which a mean over ``values`` (n,) is published: :func:`step` times what one person can add.

    What one person can add is the largest size of a value, rounded up to 1, 2 or 5 × 10^k: its order, and nobody's
    value. Below ten values, which are not published where they are people's, the grid is 0: nothing is rounded.
    """
    largest = float(np.abs(values).max())
    if values.size < MINIMUM_CELL or largest == 0.0:
        return 0.0
    return step(round_down(values.size)) * order(largest)


def order(size: float) -> float:
    """``size`` > 0 rounded up to 1, 2 or 5 × 10^k."""
    decade = 10.0 ** math.floor(math.log10(size))
    return next(part * decade for part in (1.0, 2.0, 5.0, 10.0) if part * decade >= size * (1 - 1e-12))


def coarse(value: float, grid: float) -> float:
    """``value`` at the nearest multiple of ``grid``; 0 rounds nothing."""
    return round(round(value / grid) * grid, 12) if grid else value


def on_grid(found: Estimate, grid: float, *, high: float = math.inf) -> Estimate:
    """``found`` at multiples of ``grid``, the interval outwards: so that what is decided is decided by what is told.

    Nothing is above ``high``, where that is known.
    """
    below, above = math.floor(round(found.low / grid, 9)), math.ceil(round(found.high / grid, 9))
    value, low, top = (min(high, end) for end in (coarse(found.value, grid), below * grid, above * grid))
    return Estimate(value, round(low, 12), round(top, 12), found.n)


def rounded_up(value: float) -> float:
    """``value`` >= 0 rounded up to two digits: for what looks better the smaller it is."""
    if value == 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.1e}")


def gaps(average: float, largest: float, *, public: bool) -> dict[str, float]:
    """A completeness gap as it may be published: of people rounded up, and without the largest, which is a person's.

    Both are functions of how many people there are of each kind, to whoever holds the weights.
    """
    if public:
        return {"completeness_gap": round(average, 9), "completeness_gap_max": round(largest, 9)}
    return {"completeness_gap": rounded_up(average)}


def versions(*libraries: str) -> dict[str, str]:
    """The installed version of each library, for ``how``."""
    return {name: metadata.version(name) for name in libraries}
