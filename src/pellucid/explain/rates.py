"""How often is each group right, selected, and wrongly so; and how far are the groups apart? The door to fairlearn."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate, round_down
from pellucid.explain.groups import Names
from pellucid.explain.intervals import bounded, rate
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import auc, publish_auc

__all__ = ["ColumnFairness", "GroupRates", "column_fairness", "newcombe", "widest"]


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One group's rates.

    AUC, true and false positive rate are absent (None, never 0) where the group has fewer people of either class than
    the minimum cell. They go together: with accuracy and selection rate, each would give another away. Of more than two
    classes accuracy alone is said of a group.
    """

    group: str
    n: int
    accuracy: Estimate
    selection_rate: Estimate | None
    auc: Estimate | None
    true_positive_rate: Estimate | None
    false_positive_rate: Estimate | None

    def values(self) -> dict[str, Any]:
        """The record of one group; what is absent has no key."""
        found: dict[str, Any] = {"group": self.group, "n": self.n}
        for name in ("auc", "accuracy", "selection_rate", "true_positive_rate", "false_positive_rate"):
            estimate = getattr(self, name)
            if estimate is not None:
                found[name] = estimate.values()
        return found


@dataclass(frozen=True, slots=True)
class ColumnFairness:
    """One special column: its published groups, the names of the suppressed ones, and the gaps between the former.

    Of more than two classes each is held against the rest, and a gap is that of the class where it is largest.
    """

    groups: tuple[GroupRates, ...]
    suppressed: tuple[str, ...]
    demographic_parity_difference: Estimate | None
    equalized_odds_difference: Estimate | None

    def values(self) -> dict[str, Any]:
        """The record of one column; a gap that could not be measured has no key."""
        found: dict[str, Any] = {
            "groups": [group.values() for group in self.groups],
            "suppressed": list(self.suppressed),
        }
        for name in ("demographic_parity_difference", "equalized_odds_difference"):
            estimate = getattr(self, name)
            if estimate is not None:
                found[name] = estimate.values()
        return found


def column_fairness(
    predictions: Predictions,
    rows: Names,
    hidden: tuple[str, ...],
    minimum_cell: int,
    held: Collection[str] = (),
) -> ColumnFairness:
    """The rates of the groups of one column and the gaps between them.

    Args:
        predictions: Of a model.
        rows: The group of each person.
        hidden: Groups that are not published.
        minimum_cell: Rates by truth of groups with fewer people of a class are absent.
        held: Groups of which rates by truth are absent for another reason: an earlier publication would give people
            away by subtraction.
    """
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    kept = ~np.isin(rows, hidden)
    if not kept.any():
        return ColumnFairness((), hidden, None, None)
    truth, guess, rows = predictions.labels[kept], predictions.predicted[kept], rows[kept]
    if predictions.classes > 2:
        groups, gaps = _of_classes(truth, guess, rows, predictions.classes, minimum_cell, held)
        return ColumnFairness(groups, hidden, *gaps)
    frame = MetricFrame(
        metrics={
            "accuracy": _accuracy,
            "selection_rate": selection_rate,
            "true_positive_rate": functools.partial(true_positive_rate, pos_label=1),
            "false_positive_rate": functools.partial(false_positive_rate, pos_label=1),
        },
        y_true=truth,
        y_pred=guess,
        sensitive_features=rows,
    ).by_group
    published = []
    for name in frame.index:
        inside = rows == name
        total, positives = int(inside.sum()), int(truth[inside].sum())
        smallest = min(positives, total - positives)
        both = smallest >= minimum_cell and name not in held  # fairlearn would answer 0 for a group without them
        table = {metric: float(frame.loc[name, metric]) for metric in frame.columns}
        published.append(
            GroupRates(
                group=str(name),
                n=round_down(total),
                accuracy=rate(table["accuracy"], total),
                selection_rate=rate(table["selection_rate"], total),
                auc=publish_auc(auc(predictions.logits[kept][inside], truth[inside] == 1), smallest) if both else None,
                true_positive_rate=rate(table["true_positive_rate"], positives) if both else None,
                false_positive_rate=rate(table["false_positive_rate"], total - positives) if both else None,
            )
        )
    parity = widest([[group.selection_rate for group in published]], round_down(len(rows)))
    by_truth = [[getattr(group, name) for group in published] for name in ("true_positive_rate", "false_positive_rate")]
    return ColumnFairness(tuple(published), hidden, parity, widest(by_truth, round_down(len(rows))))


def _of_classes(
    truth: npt.NDArray[np.int64],
    guess: npt.NDArray[np.int64],
    rows: Names,
    classes: int,
    minimum_cell: int,
    held: Collection[str],
) -> tuple[tuple[GroupRates, ...], tuple[Estimate | None, Estimate | None]]:
    """Accuracy by group, and of each class against the rest the gaps in its rates: the largest of all classes.

    True and false positive rates enter of groups that have the minimum cell of every class, as of two classes. The gaps
    follow from rates of the classes that are rounded as if they were published.
    """
    names = np.unique(rows)
    kind = (len(names), classes, classes)
    place = (np.searchsorted(names, rows) * classes + truth) * classes + guess
    cells = np.bincount(place, minlength=math.prod(kind)).reshape(kind)  # (group, truth, guess)
    totals, of_truth, of_guess = cells.sum(axis=(1, 2)), cells.sum(axis=2), cells.sum(axis=1)
    hits = np.diagonal(cells, axis1=1, axis2=2)
    groups = tuple(
        GroupRates(str(name), round_down(int(n)), _rate(right, n), None, None, None, None)
        for name, n, right in zip(names, totals, hits.sum(axis=1), strict=True)
    )
    full = [g for g, name in enumerate(names) if of_truth[g].min() >= minimum_cell and str(name) not in held]
    every = range(len(names))
    selected = [[_rate(of_guess[g, k], totals[g]) for g in every] for k in range(classes)]
    passed = [[_rate(hits[g, k], of_truth[g, k]) for g in full] for k in range(classes)]
    raised = [[_rate(of_guess[g, k] - hits[g, k], totals[g] - of_truth[g, k]) for g in full] for k in range(classes)]
    count = round_down(len(rows))
    return groups, (widest(selected, count), widest([*passed, *raised], count))


def _rate(hits: Any, n: Any) -> Estimate:
    return rate(int(hits) / int(n), int(n))


def widest(sets: Sequence[Sequence[Estimate | None]], count: int) -> Estimate | None:
    """The largest gap between two rates of one of ``sets``, with an interval that holds for all pairs together.

    Each pair has Newcombe's interval (1998, method 10) from the published rates alone, at the level at which all of
    them hold together with 95 % (Bonferroni): so the gap of groups that are treated alike is not thought to be above 0
    because the largest of many differences is never 0.

    Args:
        sets: Rates of the groups, published; None for a group without one. Gaps are between rates of one set.
        count: How many people, rounded down.

    Returns:
        None if a set has fewer than two rates.
    """
    pairs = []
    for rates in sets:
        there = [found for found in rates if found is not None]
        if len(there) < 2:
            return None
        pairs += list(itertools.combinations(there, 2))
    z = NormalDist().inv_cdf(1 - 0.025 / len(pairs))
    ends = [newcombe(bounded(one.value, one.n, z), bounded(two.value, two.n, z)) for one, two in pairs]
    value = max(abs(end.value) for end in ends)
    low = max(max(end.low, -end.high) for end in ends)  # of the size of the difference: 0 where its sign is open
    high = max(max(end.high, -end.low) for end in ends)
    return Estimate(round(value, 9), max(0.0, min(low, value)), max(value, min(1.0, high)), count)


def newcombe(one: Estimate, two: Estimate) -> Estimate:
    """The difference of two published rates with the interval that follows from theirs (Newcombe 1998, method 10)."""
    value = round(one.value - two.value, 9)
    low = value - math.hypot(one.value - one.low, two.high - two.value)
    high = value + math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(value, max(-1.0, low), min(1.0, high), one.n + two.n)


def _accuracy(y_true: npt.NDArray[np.int64], y_pred: npt.NDArray[np.int64]) -> float:
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))
