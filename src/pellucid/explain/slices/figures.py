"""The figures of a slice as they may be published: no exact count of people can be read off them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import MINIMUM_CELL, Z, publish, rate, step
from pellucid.explain.slices.distinct import mask
from pellucid.explain.slices.halves import Half
from pellucid.explain.slices.search import Conjunction
from pellucid.explain.slices.significance import Sample

__all__ = ["SMALLEST", "Figures", "decade", "estimate", "figures", "overlap", "overlaps", "ratio"]

SMALLEST: Final = 1e-9
GRID: Final = 0.05


@dataclass(frozen=True, slots=True)
class Figures:
    """One slice on one half of the people.

    Attributes:
        n: People in it, rounded down to ten.
        error: Mean loss in it.
        rest: Mean loss of everybody else.
        lift: ``error`` over ``rest``; None where the interval of either reaches 0.
        p: One-sided p-value as :func:`decade` shows it.
        q: The same, adjusted for how many were tested on this half.
    """

    n: int
    error: Estimate
    rest: Estimate
    lift: Estimate | None
    p: float
    q: float

    def values(self) -> dict[str, Any]:
        """The record of one half; a lift that has no meaning has no key."""
        found = {"n": self.n, "error": self.error.values(), "rest": self.rest.values(), "p": self.p, "q": self.q}
        return found if self.lift is None else {**found, "lift": self.lift.values()}


def decade(p: float, level: float) -> float:
    """``p`` rounded up to a power of ten, at least 1e-9; never above the ``level`` that it is known not to exceed.

    More digits of a p-value would give exact counts away: a single person moves it by a factor.
    """
    if p <= SMALLEST:
        return SMALLEST
    return min(level, float(f"1e{math.ceil(round(math.log10(p), 9))}"))


def estimate(sample: Sample, *, binary: bool, by_row: bool) -> Estimate:
    """The mean of ``sample`` with its 95 % interval: Wilson's for a rate over people, else the normal one.

    Args:
        sample: At least ten people.
        binary: Losses are 0 or 1.
        by_row: Every row is another person.
    """
    n, value = int(sample.n.item()), sample.mean.item()
    if binary and by_row:
        return rate(value, n)
    half = Z * math.sqrt(sample.variance.item() / n)
    if not binary:
        return Estimate(value, max(0.0, value - half), value + half, round_down(n))
    value, half = publish(value, n), half + step(round_down(n)) / 2
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), round_down(n))


def ratio(inside: Estimate, outside: Estimate) -> Estimate | None:
    """``inside`` over ``outside`` with its 95 % interval; None where an interval reaches 0, for then it is unbounded.

    From the published numbers alone: the distances to their limits, on the logarithmic scale, are added in quadrature
    (method of variance estimates recovery; Zou and Donner 2008, Statistics in Medicine 27).
    """
    if inside.low <= 0 or outside.low <= 0:
        return None
    value = inside.value / outside.value
    down = math.hypot(math.log(inside.value / inside.low), math.log(outside.high / outside.value))
    up = math.hypot(math.log(inside.high / inside.value), math.log(outside.value / outside.low))
    return Estimate(value, value * math.exp(-down), value * math.exp(up), inside.n)


def overlap(both: int, either: int) -> float | None:
    """Jaccard's index of two slices on a grid of 0.05 or coarser; None where fewer than ten people are in both."""
    if both < MINIMUM_CELL:
        return None
    grid = max(GRID, step(round_down(either)))
    return round(min(1.0, round(both / either / grid) * grid), 9)


def figures(where: Conjunction, half: Half, tested: tuple[float, float], *, level: float, binary: bool) -> Figures:
    """What is published of the slice ``where`` on one half.

    Args:
        where: At least ten people are in it and ten are not.
        half: The half.
        tested: Its p-value there, and that adjusted.
        level: The false discovery rate; neither is above it.
        binary: Losses are 0 or 1.
    """
    rows = mask(half.codes, where)
    by_row = half.units is None
    error = estimate(half.sample(rows), binary=binary, by_row=by_row)
    rest = estimate(half.sample(~rows), binary=binary, by_row=by_row)
    p, q = (decade(value, level) for value in tested)
    return Figures(error.n, error, rest, ratio(error, rest), p, q)


def overlaps(slices: Sequence[Conjunction], one: Half, two: Half) -> list[dict[int, float]]:
    """By slice, :func:`overlap` with every other one over both halves, where it is shown."""
    found: list[dict[int, float]] = [{} for _ in slices]
    masks = [[mask(half.codes, where) for half in (one, two)] for where in slices]
    for number, mine in enumerate(masks):
        for other, theirs in enumerate(masks[:number]):
            parts = list(zip((one, two), mine, theirs, strict=True))
            both = sum(half.size(a & b) for half, a, b in parts)
            index = overlap(both, sum(half.size(a | b) for half, a, b in parts))
            if index is not None:
                found[number][other] = found[other][number] = index
    return [dict(sorted(item.items())) for item in found]
