"""How often is each group right, selected, and wrongly so; and how far are the groups apart? The door to fairlearn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate, round_down
from pellucid.explain.groups import Names
from pellucid.explain.intervals import Floats, rate
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import auc, publish_auc

__all__ = ["ColumnFairness", "GroupRates", "column_fairness"]


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One group's rates.

    AUC, true and false positive rate are absent (None, never 0) where the group has fewer people of either class than
    the minimum cell. They go together: with accuracy and selection rate, each would give another away.
    """

    group: str
    n: int
    accuracy: Estimate
    selection_rate: Estimate
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
    """One special column: its published groups, the names of the suppressed ones, and the gaps between the former."""

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
    resamples: int,
    rng: np.random.Generator,
) -> ColumnFairness:
    """The rates of the groups of one column and the gaps between them.

    Args:
        predictions: Of a two-class model.
        rows: The group of each person.
        hidden: Groups that are not published.
        minimum_cell: Rates by truth of groups with fewer people of a class are absent.
        resamples: Bootstrap resamples for the gaps.
        rng: Of a public seed.
    """
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    kept = ~np.isin(rows, hidden)
    if not kept.any():
        return ColumnFairness((), hidden, None, None)
    truth, guess, rows = predictions.labels[kept], predictions.predicted[kept], rows[kept]
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
        both = smallest >= minimum_cell  # fairlearn would answer 0 for a group without them
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
    parity, odds = _differences(published, rows, truth, guess, resamples, rng)
    return ColumnFairness(tuple(published), hidden, parity, odds)


def _differences(
    published: Sequence[GroupRates],
    rows: Names,
    truth: npt.NDArray[np.int64],
    guess: npt.NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Estimate | None, Estimate | None]:
    """Demographic parity and equalized odds difference between the published groups."""
    # Resampling rows with replacement is one multinomial draw over the cells (group, truth, guess).
    place = np.searchsorted([group.group for group in published], rows)
    cells = np.bincount(place * 4 + truth * 2 + guess, minlength=4 * len(published))
    drawn = rng.multinomial(len(rows), cells / len(rows), size=resamples).reshape(resamples, -1, 2, 2).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        selected = drawn[:, :, :, 1].sum(axis=2) / drawn.sum(axis=(2, 3))
        passed = drawn[:, :, :, 1] / drawn.sum(axis=3)  # (resamples, groups, truth)
    count = round_down(len(rows))
    parity = _gap([group.selection_rate for group in published], selected)
    true = _gap([group.true_positive_rate for group in published], passed[:, :, 1])
    false = _gap([group.false_positive_rate for group in published], passed[:, :, 0])
    odds = None
    if true is not None and false is not None:
        odds = (max(true[0], false[0]), np.fmax(true[1], false[1]))
    return (
        _percentile(*parity, count) if parity is not None else None,
        _percentile(*odds, count) if odds is not None else None,
    )


def _gap(rates: Sequence[Estimate | None], resampled: Floats) -> tuple[float, Floats] | None:
    """Largest minus smallest rate, as published and in each resample; None with fewer than two rates."""
    there = [place for place, found in enumerate(rates) if found is not None]
    if len(there) < 2:
        return None
    values = [found.value for found in rates if found is not None]
    part = resampled[:, there]
    gaps = np.fmax.reduce(part, axis=1) - np.fmin.reduce(part, axis=1)
    return max(values) - min(values), gaps


def _percentile(value: float, resampled: Floats, n: int) -> Estimate:
    value = round(value, 9)
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), n)


def _accuracy(y_true: npt.NDArray[np.int64], y_pred: npt.NDArray[np.int64]) -> float:
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))
