"""From noisy vectors to answers with intervals: post-processing, which costs nothing more.

An interval says how far the noise may have moved the answer about the very people who were counted, at 95 %, one answer
at a time; it does not say how another sample of people would have differed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final

from pellucid.evidence import Estimate
from pellucid.privacy.mechanism import FINE
from pellucid.privacy.statistics import Statistic, StatisticsPlan, Vector

__all__ = ["CONFIDENCE", "Answer", "answers"]

CONFIDENCE: Final = 0.95
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was released of one statistic.

    Attributes:
        statistic: What was asked.
        estimates: By name: the statistic's own (``mean``), a cell of a histogram, or a quantile (``0.5``).
    """

    statistic: Statistic
    estimates: Mapping[str, Estimate] = field(hash=False)

    @property
    def estimate(self) -> Estimate:
        """The one number, of a count, sum or mean; the first of others."""
        return next(iter(self.estimates.values()))

    def shares(self) -> dict[str, float]:
        """A histogram's cells as shares of their sum; equal ones where noise left nothing."""
        values = {name: estimate.value for name, estimate in self.estimates.items()}
        total = sum(values.values())
        return {name: value / total if total > 0 else 1 / len(values) for name, value in values.items()}

    def class_weights(self) -> dict[str, float]:
        """Weights that make the classes of a histogram count alike: the mean cell over each, at most 100."""
        shares = self.shares()
        return {name: min(100.0, 1 / (len(shares) * share)) if share > 0 else 100.0 for name, share in shares.items()}

    def vocabulary(self) -> tuple[str, ...]:
        """The cells that are surely not empty (the interval excludes 0), the fullest first."""
        sure = {name: e for name, e in self.estimates.items() if e.low > 0}
        return tuple(sorted(sure, key=lambda name: -sure[name].value))

    def record(self) -> dict[str, Any]:
        """The answer as JSON, for evidence."""
        shown = {name: estimate.values() for name, estimate in self.estimates.items()}
        return {**self.statistic.record(), "name": self.statistic.name, "estimates": shown}


def answers(plan: StatisticsPlan, noisy: Mapping[Vector, Sequence[float]]) -> tuple[Answer, ...]:
    """Answers to what ``plan`` asks, from the noisy ``noisy`` vectors, in units of sensitivity.

    ``scores`` are not answered here: :mod:`pellucid.privacy.scores` does.
    """
    return tuple(Answer(statistic, _answer(statistic, plan, noisy)) for statistic in plan.statistics)


def _answer(statistic: Statistic, plan: StatisticsPlan, noisy: Mapping[Vector, Sequence[float]]) -> dict[str, Estimate]:
    parts = [noisy[vector] for vector in statistic.vectors]
    sigma, n = plan.noise_multiplier, plan.units
    if statistic.kind == "count":
        return {"count": _count(parts[0][0], sigma, n)}
    if statistic.kind == "sum":
        return {"sum": _sum(statistic, parts[0][0], sigma, n)}
    if statistic.kind == "mean":
        return {"mean": _mean(statistic, parts[0][0], parts[1][0], sigma, n)}
    if statistic.kind == "histogram":
        return {label: _count(cell, sigma, n) for label, cell in zip(statistic.labels, parts[0], strict=True)}
    return {f"{at:g}": _quantile(statistic, parts[0], at, sigma, n) for at in statistic.at}


def _count(value: float, sigma: float, n: int) -> Estimate:
    """A number of people, never below 0: cutting there is post-processing, and can only bring it nearer."""
    low, high = value - _Z * sigma, value + _Z * sigma
    return Estimate(max(0.0, value), max(0.0, low), max(0.0, high), n)


def _sum(statistic: Statistic, value: float, sigma: float, n: int) -> Estimate:
    low, high = statistic.bounds or (0.0, 0.0)
    unit = max(abs(low), abs(high))
    half = _Z * sigma + n / (2 * FINE)  # each value is rounded to the lattice
    return Estimate(unit * value, unit * (value - half), unit * (value + half), n)


def _mean(statistic: Statistic, total: float, count: float, sigma: float, n: int) -> Estimate:
    """The ratio of two independent noisy sums, with Fieller's interval (1954), within the bounds."""
    low, high = statistic.bounds or (-1.0, 1.0)
    middle, half = (low + high) / 2, (high - low) / 2
    spread = _Z * sigma
    ratio = max(-1.0, min(1.0, total / count)) if count > 0 else 0.0
    least, most = -1.0, 1.0  # where the count may be none, nothing is known
    if count > spread:
        scale = count * count - spread * spread
        root = spread * math.sqrt(max(0.0, total * total + count * count - spread * spread))
        rounding = 1 / FINE
        least = max(-1.0, (total * count - root) / scale - rounding)
        most = min(1.0, (total * count + root) / scale + rounding)
        least, most = min(least, ratio), max(most, ratio)
    return Estimate(middle + half * ratio, middle + half * least, middle + half * most, n)


def _quantile(statistic: Statistic, cells: Sequence[float], at: float, sigma: float, n: int) -> Estimate:
    """The quantile of noisy cells, straight within a bin; its interval holds for all edges at once (Bonferroni).

    At the upper edge of bin k stands ``people below − at · everybody``, whose noise is Gaussian and known: the quantile
    is surely above an edge where that is surely negative, and surely not above one where it is surely not.
    """
    low, high = statistic.bounds or (0.0, 1.0)
    edges = [low, *statistic.inner, high]
    total, below = math.fsum(cells), 0.0
    if total <= 0:  # noise alone
        return Estimate((low + high) / 2, low, high, n)
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * len(cells)))
    surplus = []
    least, most = low, high
    for k, cell in enumerate(cells, start=1):
        below += cell
        surplus.append(below - at * total)
        margin = z * sigma * math.sqrt(k * (1 - at) ** 2 + (len(cells) - k) * at**2)
        if surplus[-1] + margin < 0:
            least = edges[k]
        if surplus[-1] - margin >= 0 and most == high:
            most = edges[k]
    value = _crossing(surplus, -at * total, edges)
    return Estimate(value, min(least, value), max(most, value), n)


def _crossing(surplus: Sequence[float], start: float, edges: Sequence[float]) -> float:
    """Where the surplus, straight between edges, first reaches 0."""
    before = start
    for (left, right), after in zip(itertools.pairwise(edges), surplus, strict=True):
        if after >= 0:
            share = -before / (after - before) if after > before else 1.0
            return left + (right - left) * min(1.0, max(0.0, share))
        before = after
    return edges[-1]
