"""Does the model treat groups of people alike?"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import held_back, suppressed_cells, suppressed_groups
from pellucid.errors import BadData
from pellucid.evidence import Estimate, Evidence, Subject, round_down
from pellucid.explain.inputs import by_column
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, rate, versions
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import AUC_ROUNDING, auc, publish_auc

__all__ = [
    "ColumnFairness",
    "Disparities",
    "Disparity",
    "Fairness",
    "GroupRates",
    "compare_groups",
    "group_names",
]

RESAMPLES: Final = 1000
CROSS: Final = " × "
LEAST_P: Final = 1e-6  # smaller ones say no more about fairness, and more about counts
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


@dataclass(frozen=True, slots=True)
class Fairness:
    """Rates by group for every special column.

    ``intersections`` (pairs of columns, ``"gender × age"``) and ``disparities`` are None where not asked for.
    """

    columns: Mapping[str, ColumnFairness]
    minimum_cell: int
    resamples: int
    seed: int
    intersections: Mapping[str, ColumnFairness] | None = None
    disparities: Disparities | None = None

    def values(self) -> dict[str, Any]:
        """The values of ``fairness`` evidence, version 1; what was not asked for has no key."""
        found: dict[str, Any] = {
            "minimum_cell": self.minimum_cell,
            "columns": {name: column.values() for name, column in self.columns.items()},
        }
        if self.intersections is not None:
            found["intersections"] = {name: column.values() for name, column in self.intersections.items()}
        if self.disparities is not None:
            found["disparities"] = self.disparities.values()
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        found: dict[str, Any] = {
            "data": "held-out split",
            "auc": f"DeLong 1988, {AUC_ROUNDING}",
            "rates": ROUNDING,
            "differences": "largest minus smallest published rate; equalized odds: the larger of the gaps in true and "
            "false positive rate",
            "difference_intervals": f"{self.resamples} bootstrap resamples of the published groups, 95 % percentiles; "
            "a largest gap is biased upwards by chance differences, most for small groups",
            "seed": self.seed,
            "suppression": f"groups below {self.minimum_cell} people, then the next smallest until the suppressed "
            f"ones are two and together {self.minimum_cell} people, so that no total gives one away; groups that an "
            "earlier report would give a few people of away by subtraction are suppressed like them; AUC, true "
            "and false positive rate of a group with fewer people of a class are absent and not in the differences",
            "libraries": versions("fairlearn", "numpy"),
        }
        if self.intersections is not None:
            found["intersections"] = (
                "every pair of columns; beside small cells further ones are suppressed, until by linear programming "
                f"the published totals leave each small cell uncertain by {self.minimum_cell} people or more"
            )
        if self.disparities is not None:
            found["disparities"] = (
                "each group against the other published groups of its column, of two groups the first only; Fisher's "
                "exact test, adjusted over all tests of this record (Benjamini and Hochberg 1995); differences of "
                "published rates with Newcombe's interval (1998, method 10); p and q rounded up to two digits, from "
                f"{LEAST_P:g}"
            )
            found["libraries"] = versions("fairlearn", "numpy", "scipy")
        return found

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
    intersections: bool = False,
    level: float | None = None,
    before: Mapping[str, Sequence[Mapping[str, int]]] | None = None,
) -> Fairness:
    """Rates of every group of every column of ``groups``, and the gaps between them, with 95 % intervals.

    Args:
        predictions: Of a two-class model.
        groups: Column → (N,) text, the group of each row. At least one column.
        minimum_cell: Groups below this many people, and rates by truth of groups with fewer of a class, are
            suppressed; at least ten.
        resamples: Bootstrap resamples for the gaps.
        seed: Public: it draws resamples of evaluation rows, no noise.
        intersections: Whether every pair of columns is compared too.
        level: The share of false discoveries to put up with, in (0, 1), if each group is to be tested against the
            others of its column; all tests of the call are adjusted together.
        before: Column (or two joined by ``×``) → for each publication about an earlier population: group → the number
            that was published. Groups that differ by a few people are suppressed (:mod:`pellucid.disclosure`).

    Raises:
        BadData: No column, a column of the wrong length or with missing names, a minimum cell below ten, fewer than two
            resamples, or a level outside (0, 1).
        UnsupportedModel: More than two classes.
    """
    predictions.require("fairness")
    if minimum_cell < MINIMUM_CELL:
        raise BadData(f"cells below {MINIMUM_CELL} people are never published", where="minimum_cell")
    if resamples < 2:
        raise BadData("an interval needs at least two resamples", where="resamples")
    groups = by_column(groups, "groups")
    if not groups:
        raise BadData(
            "there is no column of groups to compare", where="groups", fix="declare a special column in the schema"
        )
    if level is not None and not 0 < level < 1:
        raise BadData("the level of false discoveries lies between 0 and 1", where="level")
    names = {name: group_names(values, len(predictions), name) for name, values in groups.items()}
    found, crossed, earlier = {}, {}, before or {}
    for place, (name, rows) in enumerate(names.items()):
        sizes = Counter(rows.tolist())
        hidden = suppressed_groups(sizes, minimum_cell, held_back(sizes, earlier.get(name, ()), minimum_cell))
        rng = np.random.default_rng([seed, place])
        found[name] = _compare(predictions, rows, hidden, minimum_cell, resamples, rng)
    for place, (one, two) in enumerate(itertools.combinations(names, 2) if intersections else ()):
        title = f"{one}{CROSS}{two}"
        cross, hidden = _cross(names[one], names[two], minimum_cell, earlier.get(title, ()), where=title)
        rng = np.random.default_rng([seed, 1, place])
        names[f"{one}{CROSS}{two}"] = cross
        crossed[f"{one}{CROSS}{two}"] = _compare(predictions, cross, hidden, minimum_cell, resamples, rng)
    return Fairness(
        found,
        minimum_cell,
        resamples,
        seed,
        intersections=crossed if intersections else None,
        disparities=None if level is None else _disparities(predictions, names, {**found, **crossed}, level),
    )


def _cross(
    one: Names, two: Names, minimum_cell: int, before: Sequence[Mapping[str, int]], *, where: str
) -> tuple[Names, tuple[str, ...]]:
    """The group of each row in a pair of columns, and the groups that must not be published."""
    pairs = list(zip(one.tolist(), two.tolist(), strict=True))
    sizes = Counter(pairs)
    if len({CROSS.join(pair) for pair in sizes}) < len(sizes):
        raise BadData(f'names with "{CROSS}" in them cannot be told apart in pairs', where=where)
    held = held_back({CROSS.join(pair): size for pair, size in sizes.items()}, before, minimum_cell)
    also = [pair for pair in sizes if CROSS.join(pair) in held]
    hidden = tuple(sorted(CROSS.join(pair) for pair in suppressed_cells(sizes, minimum_cell, also)))
    return np.array([CROSS.join(pair) for pair in pairs], dtype=np.str_), hidden


def _disparities(
    predictions: Predictions, names: Mapping[str, Names], columns: Mapping[str, ColumnFairness], level: float
) -> Disparities:
    from scipy.stats import false_discovery_control

    tests = [
        (column, *test)
        for column, found in columns.items()
        for test in _tests(names[column], predictions.labels, predictions.predicted, found.groups)
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


def _compare(
    predictions: Predictions,
    rows: Names,
    hidden: tuple[str, ...],
    minimum_cell: int,
    resamples: int,
    rng: np.random.Generator,
) -> ColumnFairness:
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


def group_names(values: npt.NDArray[Any], rows: int, column: str) -> Names:
    """The groups of ``column`` as an array of texts (rows,).

    Raises:
        BadData: They are not one text a row; no name is shown.
    """
    array = np.asarray(values)
    if array.shape != (rows,):
        raise BadData(f"groups must be one name a row: {array.shape} for {rows} rows", where=column)
    if array.dtype.kind == "U":
        return array
    if not all(isinstance(value, str) for value in array):
        raise BadData("a row has no group, or its group is not a text", where=column, fix="name missing values")
    return array.astype(np.str_)
