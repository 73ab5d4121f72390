"""Does the model treat groups of people alike?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadData
from pellucid.evidence import Estimate, Evidence, Subject, round_down
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, rate, versions
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import AUC_ROUNDING, auc, publish_auc

__all__ = ["ColumnFairness", "Fairness", "GroupRates", "compare_groups", "suppressed_groups"]

RESAMPLES: Final = 1000
Names = npt.NDArray[np.str_]


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


@dataclass(frozen=True, slots=True)
class Fairness:
    """Rates by group for every special column."""

    columns: Mapping[str, ColumnFairness]
    minimum_cell: int
    resamples: int
    seed: int

    def values(self) -> dict[str, Any]:
        """The values of ``fairness`` evidence, version 1."""
        return {
            "minimum_cell": self.minimum_cell,
            "columns": {name: column.values() for name, column in self.columns.items()},
        }

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "data": "held-out split",
            "auc": f"DeLong 1988, {AUC_ROUNDING}",
            "rates": ROUNDING,
            "differences": "largest minus smallest published rate; equalized odds: the larger of the gaps in true and "
            "false positive rate",
            "difference_intervals": f"{self.resamples} bootstrap resamples of the published groups, 95 % percentiles; "
            "a largest gap is biased upwards by chance differences, most for small groups",
            "seed": self.seed,
            "suppression": f"groups below {self.minimum_cell} people, then the next smallest until the suppressed "
            f"ones are two and together {self.minimum_cell} people, so that no total gives one away; AUC, true "
            "and false positive rate of a group with fewer people of a class are absent and not in the differences",
            "libraries": versions("fairlearn", "numpy"),
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("fairness", subject, self.values(), self.how(), "uncovered", tier="auditor")


def compare_groups(
    predictions: Predictions,
    groups: Mapping[str, npt.NDArray[Any]],
    *,
    minimum_cell: int = MINIMUM_CELL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Fairness:
    """Rates of every group of every column of ``groups``, and the gaps between them, with 95 % intervals.

    Args:
        predictions: Of a two-class model.
        groups: Column → (N,) text, the group of each row. At least one column.
        minimum_cell: Groups below this many people, and rates by truth of groups with fewer of a class, are
            suppressed; at least ten.
        resamples: Bootstrap resamples for the gaps.
        seed: Public: it draws resamples of evaluation rows, no noise.

    Raises:
        BadData: No column, a column of the wrong length or with missing names, or a minimum cell below ten.
        UnsupportedModel: More than two classes.
    """
    predictions.require("fairness")
    if minimum_cell < MINIMUM_CELL:
        raise BadData(f"cells below {MINIMUM_CELL} people are never published", where="minimum_cell")
    if resamples < 2:
        raise BadData("an interval needs at least two resamples", where="resamples")
    if not groups:
        raise BadData(
            "there is no column of groups to compare", where="groups", fix="declare a special column in the schema"
        )
    found = {}
    for place, (name, values) in enumerate(groups.items()):
        rows = _names(values, len(predictions), name)
        found[name] = _compare(predictions, rows, minimum_cell, resamples, np.random.default_rng([seed, place]))
    return Fairness(found, minimum_cell, resamples, seed)


def suppressed_groups(sizes: Mapping[str, int], minimum_cell: int = MINIMUM_CELL) -> tuple[str, ...]:
    """The groups that must not be published, in order of name.

    Primary suppression takes those below ``minimum_cell``. Complementary suppression goes on with the next smallest
    until the suppressed are at least two and together at least ``minimum_cell`` people: what is left over when the
    published groups are taken from a published total is then never one small group. A single group that would remain
    is suppressed too, for there is nothing to compare it with.
    """
    order = sorted(sizes, key=lambda name: (sizes[name], name))
    out = [name for name in order if sizes[name] < minimum_cell]
    rest = order[len(out) :]
    while out and rest and (len(out) < 2 or sum(sizes[name] for name in out) < minimum_cell):
        out.append(rest.pop(0))
    if out and len(rest) == 1:
        out.append(rest.pop())
    return tuple(sorted(out))


def _compare(
    predictions: Predictions, rows: Names, minimum_cell: int, resamples: int, rng: np.random.Generator
) -> ColumnFairness:
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    names, sizes = np.unique(rows, return_counts=True)
    hidden = suppressed_groups(dict(zip(names.tolist(), sizes.tolist(), strict=True)), minimum_cell)
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


def _names(values: npt.NDArray[Any], rows: int, column: str) -> Names:
    array = np.asarray(values)
    if array.shape != (rows,):
        raise BadData(f"groups must be one name a row: {array.shape} for {rows} rows", where=column)
    if array.dtype.kind == "U":
        return array
    if not all(isinstance(value, str) for value in array):
        raise BadData("a row has no group, or its group is not a text", where=column, fix="name missing values")
    return array.astype(np.str_)
