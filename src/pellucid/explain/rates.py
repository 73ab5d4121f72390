"""How often is each group right, selected, and wrongly so; and how far are the groups apart? The door to fairlearn."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate, round_down
from pellucid.explain.groups import Names
from pellucid.explain.intervals import Floats, rate
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import auc, publish_auc

__all__ = ["ColumnFairness", "GroupRates", "column_fairness"]

CELLS: Final = 1 << 22  # numbers of the resampled cells that are held at a time


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
    resamples: int,
    rng: np.random.Generator,
) -> ColumnFairness:
    """The rates of the groups of one column and the gaps between them.

    Args:
        predictions: Of a model.
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
    if predictions.classes > 2:
        groups, gaps = _of_classes(truth, guess, rows, predictions.classes, minimum_cell, resamples, rng)
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


def _of_classes(
    truth: npt.NDArray[np.int64],
    guess: npt.NDArray[np.int64],
    rows: Names,
    classes: int,
    minimum_cell: int,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[tuple[GroupRates, ...], tuple[Estimate | None, Estimate | None]]:
    """Accuracy by group, and of each class against the rest the gaps in its rates: the largest of all classes.

    True and false positive rates enter of groups that have the minimum cell of every class, as of two classes.
    """
    names = np.unique(rows)
    kind = (len(names), classes, classes)
    place = (np.searchsorted(names, rows) * classes + truth) * classes + guess
    cells = np.bincount(place, minlength=math.prod(kind)).reshape(kind)  # (group, truth, guess)
    totals = cells.sum(axis=(1, 2))
    hits = np.trace(cells, axis1=1, axis2=2)
    groups = tuple(
        GroupRates(str(name), round_down(int(n)), rate(int(right) / int(n), int(n)), None, None, None, None)
        for name, n, right in zip(names, totals, hits, strict=True)
    )
    full = cells.sum(axis=2).min(axis=1) >= minimum_cell
    shares = _shares(cells[None].astype(float))
    counts = (np.broadcast_to(totals[:, None], kind[:2]), cells.sum(axis=2), totals[:, None] - cells.sum(axis=2))
    published = [
        [
            [rate(float(share[0, g, k]), int(of[g, k])) if selection or full[g] else None for g in range(kind[0])]
            for k in range(classes)
        ]
        for share, of, selection in zip(shares, counts, (True, False, False), strict=True)
    ]
    resampled: list[list[Floats]] = [[], [], []]
    size = max(1, CELLS // cells.size)
    for start in range(0, resamples, size):
        drawn = rng.multinomial(len(rows), cells.ravel() / len(rows), size=min(size, resamples - start))
        for kept, share in zip(resampled, _shares(drawn.reshape(-1, *kind).astype(float)), strict=True):
            kept.append(share)
    found = [
        [_gap(rates[k], np.concatenate(kept)[:, :, k]) for k in range(classes)]
        for rates, kept in zip(published, resampled, strict=True)
    ]
    count = round_down(len(rows))
    return groups, (_largest(found[0], count), _largest([*found[1], *found[2]], count))


def _shares(cells: Floats) -> tuple[Floats, Floats, Floats]:
    """Of cells (R, group, truth, guess) the selection, true and false positive rate (R, group, class) of each class."""
    of_truth, of_guess = cells.sum(axis=3), cells.sum(axis=2)
    hits = np.diagonal(cells, axis1=2, axis2=3)
    totals = cells.sum(axis=(2, 3))[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return of_guess / totals, hits / of_truth, (of_guess - hits) / (totals - of_truth)


def _largest(gaps: Sequence[tuple[float, Floats] | None], count: int) -> Estimate | None:
    """The largest of gaps, as published and in each resample; None if one of them could not be measured."""
    there = [gap for gap in gaps if gap is not None]
    if len(there) < len(gaps):
        return None
    return _percentile(max(value for value, _ in there), np.fmax.reduce([drawn for _, drawn in there]), count)


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
