"""Is a group treated unlike the others by more than chance? Exact tests, adjusted for all that are made together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate
from pellucid.explain.groups import Names
from pellucid.explain.intervals import rate
from pellucid.explain.predictions import Predictions
from pellucid.explain.rates import ColumnFairness, GroupRates

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
        p: Of Fisher's exact test, in [1e-6, 1], rounded up to two digits.
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


def disparities(
    predictions: Predictions, names: Mapping[str, Names], columns: Mapping[str, ColumnFairness], level: float
) -> Disparities:
    """Every published group of every column held against the others of its column, adjusted over all tests.

    Args:
        predictions: Of a model; of more than two classes, accuracy alone is tested.
        names: By column, the group of each person.
        columns: By column, the groups that are published.
        level: The share of false discoveries that is put up with.
    """
    from scipy.stats import false_discovery_control

    truth, guess = predictions.labels, predictions.predicted
    if predictions.classes > 2:  # right or wrong
        truth, guess = np.ones_like(truth), (truth == guess).astype(np.int64)
    tests = [
        (column, *test)
        for column, found in columns.items()
        for test in _tests(names[column], truth, guess, found.groups)
    ]
    exact = np.array([p for *_, p in tests])
    adjusted = false_discovery_control(exact, method="bh") if tests else exact
    made = (
        Disparity(column, group, metric, difference, _coarse(p), _coarse(float(q)))
        for (column, group, metric, difference, p), q in zip(tests, adjusted, strict=True)
    )
    return Disparities(tuple(made), level)


def _tests(
    rows: Names, truth: npt.NDArray[np.int64], guess: npt.NDArray[np.int64], published: Sequence[GroupRates]
) -> Iterator[tuple[str, str, Estimate, float]]:
    """(group, metric, difference to the other published groups, p) of every group and rate that may be tested."""
    from scipy.stats import fisher_exact

    cells = {
        group.group: np.bincount((truth * 2 + guess)[rows == group.group], minlength=4).reshape(2, 2)
        for group in published
    }
    for metric in ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate"):
        there = [group.group for group in published if getattr(group, metric) is not None]
        counts = {name: _hits(cells[name], metric) for name in there}
        hits, people = (sum(part) for part in zip(*counts.values(), strict=True)) if counts else (0, 0)
        for name in there if len(there) > 2 else there[: len(there) - 1]:
            mine, total = counts[name]
            others, rest = hits - mine, people - total
            difference = _newcombe(rate(mine / total, total), rate(others / rest, rest))
            p = fisher_exact([[mine, total - mine], [others, rest - others]]).pvalue
            yield name, metric, difference, float(p)


def _hits(cell: npt.NDArray[np.int64], metric: str) -> tuple[int, int]:
    """Of one group, by (truth, guess): how many the metric counts, and out of how many."""
    hits, total = {
        "accuracy": (cell[0, 0] + cell[1, 1], cell.sum()),
        "selection_rate": (cell[:, 1].sum(), cell.sum()),
        "true_positive_rate": (cell[1, 1], cell[1].sum()),
        "false_positive_rate": (cell[0, 1], cell[0].sum()),
    }[metric]
    return int(hits), int(total)


def _newcombe(one: Estimate, two: Estimate) -> Estimate:
    """The difference of two published rates with the interval that follows from theirs (Newcombe 1998, method 10)."""
    value = round(one.value - two.value, 9)
    low = value - math.hypot(one.value - one.low, two.high - two.value)
    high = value + math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(value, max(-1.0, low), min(1.0, high), one.n + two.n)


def _coarse(p: float) -> float:
    """A p-value as it may be published: exact ones are a function of counts."""
    if p <= LEAST_P:
        return LEAST_P
    scale = 10.0 ** (1 - math.floor(math.log10(p)))
    return min(1.0, float(f"{math.ceil(p * scale - 1e-9) / scale:.6g}"))
