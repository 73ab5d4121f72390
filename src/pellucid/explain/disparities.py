"""Is a group treated unlike the others by more than chance? Exact tests, adjusted for all that are made together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pellucid.evidence import Estimate
from pellucid.explain.intervals import bounded, step
from pellucid.explain.rates import ColumnFairness, GroupRates, newcombe

__all__ = ["LEAST_P", "Disparities", "Disparity", "disparities"]

LEAST_P: Final = 1e-6  # smaller ones say no more about fairness, and more about counts


@dataclass(frozen=True, slots=True)
class Disparity:
    """One rate of one group against the other published groups of its column.

    Attributes:
        column: The column, or two joined by ``×``.
        group: The group; of two groups only the first is tested, since the other is the same test.
        metric: ``accuracy``, ``selection_rate``, ``true_positive_rate`` or ``false_positive_rate``.
        difference: The group's published rate less that of the others, with Newcombe's interval.
        p: Of Fisher's exact test on what is published, each rate moved towards the other by its rounding; in [1e-6, 1],
            rounded up to two digits.
        q: ``p`` adjusted for all tests made together (Benjamini and Hochberg 1995), in the same form.
    """

    column: str
    group: str
    metric: str
    difference: Estimate
    p: float
    q: float


@dataclass(frozen=True, slots=True)
class Disparities:
    """Every test of a group against the others, and the share of false discoveries that is put up with."""

    tests: tuple[Disparity, ...]
    level: float

    def found(self) -> tuple[Disparity, ...]:
        """The differences that chance does not explain: among them at most the share ``level`` is false on average."""
        return tuple(test for test in self.tests if test.q <= self.level)

    def values(self) -> dict[str, Any]:
        """The record of the tests."""
        return {
            "level": self.level,
            "tested": len(self.tests),
            "found": len(self.found()),
            "differences": [
                {
                    "column": test.column,
                    "group": test.group,
                    "metric": test.metric,
                    "difference": test.difference.values(),
                    "p": test.p,
                    "q": test.q,
                    "found": test.q <= self.level,
                }
                for test in self.tests
            ],
        }


def disparities(columns: Mapping[str, ColumnFairness], level: float) -> Disparities:
    """Every published group of every column held against the others of its column, adjusted over all tests.

    It follows from the published rates alone, so that it tells no count that they do not tell.

    Args:
        columns: By column, the groups that are published.
        level: The share of false discoveries that is put up with.
    """
    from scipy.stats import false_discovery_control

    tests = [(column, *test) for column, found in columns.items() for test in _tests(found.groups)]
    exact = np.array([p for *_, p in tests])
    adjusted = false_discovery_control(exact, method="bh") if tests else exact
    made = (
        Disparity(column, group, metric, difference, _coarse(p), _coarse(float(q)))
        for (column, group, metric, difference, p), q in zip(tests, adjusted, strict=True)
    )
    return Disparities(tuple(made), level)


def _tests(published: Sequence[GroupRates]) -> Iterator[tuple[str, str, Estimate, float]]:
    """(group, metric, difference to the other published groups, p) of every group and rate that may be tested."""
    for metric in ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate"):
        rates = {group.group: getattr(group, metric) for group in published if getattr(group, metric) is not None}
        for name in list(rates)[: len(rates) if len(rates) > 2 else len(rates) - 1]:
            mine = rates[name]
            rest = [found for other, found in rates.items() if other != name]
            people = sum(found.n for found in rest)
            value = round(sum(found.value * found.n for found in rest) / people, 9)
            grid = sum(step(found.n) * found.n for found in rest) / people
            others = bounded(value, people, grid=grid)
            yield name, metric, newcombe(mine, others), _p(mine, step(mine.n), others, grid)


def _p(one: Estimate, grid: float, two: Estimate, other: float) -> float:
    """Fisher's exact test of two published rates, each moved by half of its grid towards the other."""
    from scipy.stats import fisher_exact

    sign = 1 if one.value >= two.value else -1
    near, far = one.value - sign * grid / 2, two.value + sign * other / 2
    if (near - far) * sign <= 0:
        return 1.0
    table = [_counts(near, one.n, -sign), _counts(far, two.n, sign)]
    return float(fisher_exact(table).pvalue)


def _counts(share: float, n: int, towards: int) -> list[int]:
    """Of ``n`` people, those whom the rate counts and those whom it does not, rounded up or down."""
    hits = min(n, max(0, math.ceil(share * n - 1e-9) if towards > 0 else math.floor(share * n + 1e-9)))
    return [hits, n - hits]


def _coarse(p: float) -> float:
    """A p-value as it may be published: exact ones are a function of counts."""
    if p <= LEAST_P:
        return LEAST_P
    scale = 10.0 ** (1 - math.floor(math.log10(p)))
    return min(1.0, float(f"{math.ceil(p * scale - 1e-9) / scale:.6g}"))
