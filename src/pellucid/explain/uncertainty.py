"""Does the model know when it does not know? Conformal sets, and what is gained by leaving hard cases to a person."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import suppressed_groups
from pellucid.errors import BadData, UnknownName, nearest
from pellucid.evidence import Estimate, Evidence, Subject
from pellucid.explain.groups import group_names
from pellucid.explain.inputs import by_column, check_seed
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, mean, rate, versions
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import publish_auc

__all__ = [
    "ColumnCoverage",
    "Score",
    "Uncertainty",
    "conformal_scores",
    "conformal_threshold",
    "measure_uncertainty",
    "risk_coverage",
]

Score = Literal["lac", "aps"]

POINTS: Final = 10  # steps of the risk-coverage curve from everybody to one half
POOLED: Final = "<pooled>"

_METHODS: Final[Mapping[Score, str]] = {
    "lac": "least ambiguous sets: 1 - p of the label (Sadinle, Lei and Wasserman 2019, JASA 114)",
    "aps": "adaptive sets: summed probability of the more probable classes and a seeded random part of the label's own "
    "(Romano, Sesia and Candes 2020, NeurIPS)",
}


@dataclass(frozen=True, slots=True)
class ColumnCoverage:
    """Coverage of the sets by group of one column; groups of fewer than ten measured people are suppressed."""

    groups: Mapping[str, Estimate]
    suppressed: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """The record of one column."""
        return {
            "groups": [{"group": name, "coverage": found.values()} for name, found in self.groups.items()],
            "suppressed": list(self.suppressed),
        }


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Conformal sets of a model, and its errors when it may abstain.

    Attributes:
        alpha: The promised miss rate: a set holds the right class with probability at least ``1 - alpha``.
        coverage: Share of measured people whose set holds the right class.
        size: Mean number of classes in a set.
        certain: Share of sets with exactly one class.
        empty: Share of sets without a class.
        abstention: (share of people answered, errors among them), from everybody down to one half.
        thresholds: The score up to which a label is in the set, by group (one entry ``""`` without groups); absent
            where the calibration rows are too few for the promise and every label is in every set. Each is the exact
            score of one person: neither ``repr`` nor evidence shows it.
        columns: Coverage by group, or None where no groups were given.
        by: The column with thresholds of its own for each group, or None.
        method: The score.
        classes: How many classes there are.
        seed: Public: deals rows to the two halves.
    """

    alpha: float
    coverage: Estimate
    size: Estimate
    certain: Estimate
    empty: Estimate
    abstention: tuple[tuple[float, Estimate], ...]
    thresholds: Mapping[str, float] = field(repr=False)
    columns: Mapping[str, ColumnCoverage] | None
    by: str | None
    method: Score
    classes: int
    seed: int

    def values(self) -> dict[str, Any]:
        """The values of ``uncertainty`` evidence, version 1."""
        found: dict[str, Any] = {
            "alpha": self.alpha,
            "coverage": self.coverage.values(),
            "size": self.size.values(),
            "certain": self.certain.values(),
            "empty": self.empty.values(),
            "abstention": [{"coverage": share, "error": error.values()} for share, error in self.abstention],
        }
        if self.columns is not None:
            found["columns"] = {name: column.values() for name, column in self.columns.items()}
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        found: dict[str, Any] = {
            "data": "held-out split: thresholds from a random half, sets measured on the other",
            "method": "split conformal prediction (Vovk, Gammerman and Shafer 2005)",
            "score": _METHODS[self.method],
            "thresholds": "not recorded: each is the score of one person",
            "abstention": "people with the most probable class first (Geifman and El-Yaniv 2017), all held-out rows; "
            f"ties share their errors; points are {MINIMUM_CELL} or more people apart",
            "seed": self.seed,
            "rates": ROUNDING,
            "libraries": versions("numpy"),
        }
        if self.by is not None:
            found["by"] = (
                f"{self.by}: a threshold for each group (Mondrian, Vovk 2012); groups of fewer than {MINIMUM_CELL} "
                f'people in either half share the threshold "{POOLED}"'
            )
        if self.columns is not None:
            found["suppression"] = (
                f"groups below {MINIMUM_CELL} measured people, then the next smallest until the suppressed ones are "
                f"two and together {MINIMUM_CELL}"
            )
        return found

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("uncertainty", subject, self.values(), self.how(), "uncovered", tier="auditor")


def measure_uncertainty(
    predictions: Predictions,
    *,
    alpha: float = 0.1,
    method: Score | None = None,
    groups: Mapping[str, npt.NDArray[Any]] | None = None,
    by: str | None = None,
    seed: int = 0,
) -> Uncertainty:
    """Split conformal sets, calibrated on one half of the held-out rows and measured on the other.

    For exchangeable rows a set holds the right class with probability at least ``1 - alpha``, whatever the model; with
    ``by``, in each group that has a threshold of its own.

    Args:
        predictions: Of people the model was not trained on; at least ten a class.
        alpha: Miss rate, in (0, 1).
        method: ``lac`` or ``aps``; by default ``lac`` for two classes, which gives the smallest sets, and ``aps`` for
            more, which is nearer to the promise for hard rows.
        groups: Column → (N,) text, for coverage by group.
        by: A column of ``groups`` whose groups get a threshold each.
        seed: Public: it deals rows to the halves and draws no noise.

    Raises:
        BadData: ``alpha`` outside (0, 1), an unknown method, one class only, fewer than ten people of a class, or
            groups that are not one text a row.
        UnknownName: ``by`` is no column of ``groups``.
    """
    predictions.require("uncertainty", two_classes=False)
    check_seed(seed)
    if not 0 < alpha < 1:
        raise BadData("the miss rate lies between 0 and 1", where="alpha")
    method = method or ("lac" if predictions.classes == 2 else "aps")
    if method not in _METHODS:
        raise BadData("a conformal score is lac or aps", where="method")
    columns = {} if groups is None else by_column(groups, "groups")
    names = {name: group_names(column, len(predictions), name) for name, column in columns.items()}
    if by is not None and by not in names:
        raise UnknownName(f'there are no groups of "{by}"{nearest(by, names)}', where="by")

    total = len(predictions)
    rng = np.random.default_rng(seed)
    order = rng.permutation(total)
    first, second = order[: total // 2], order[total // 2 :]
    probability = predictions.probability
    if probability.ndim == 1:
        probability = np.stack([1 - probability, probability], axis=1)
    scores = conformal_scores(probability, method, rng.random(total))
    own = scores[np.arange(total), predictions.labels]

    taxon = _taxonomy(names[by], first, second) if by is not None else np.full(total, "")
    limits = {}
    for name in np.unique(taxon).tolist():
        rows = first[taxon[first] == name]
        limits[name] = conformal_threshold(own[rows], alpha)
    limit = np.array([limits[name] for name in taxon[second].tolist()])
    covered = own[second] <= limit
    sizes = (scores[second] <= limit[:, None]).sum(axis=1)

    count = len(second)
    share = publish_auc(mean(sizes / predictions.classes, low=0.0, high=1.0), count)
    classes = predictions.classes
    return Uncertainty(
        alpha=alpha,
        coverage=rate(float(covered.mean()), count),
        size=Estimate(share.value * classes, share.low * classes, share.high * classes, share.n),
        certain=rate(float((sizes == 1).mean()), count),
        empty=rate(float((sizes == 0).mean()), count),
        abstention=risk_coverage(probability.max(axis=1), predictions.predicted != predictions.labels),
        thresholds={name: limits[name] for name in limits if math.isfinite(limits[name])},
        columns=None if groups is None else {name: _by_group(rows[second], covered) for name, rows in names.items()},
        by=by,
        method=method,
        classes=classes,
        seed=seed,
    )


def conformal_scores(probability: Floats, method: Score, luck: Floats) -> Floats:
    """How badly each label fits each row.

    Args:
        probability: (N, C), sums to 1 by row.
        method: The score.
        luck: (N,) in [0, 1], the part of the label's own probability that ``aps`` counts; ones give the score without
            randomisation, whose sets are rather too large.

    Returns:
        (N, C) in [0, 1].
    """
    if method == "lac":
        return 1.0 - probability
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.take_along_axis(probability, order, axis=1)
    found = np.empty_like(probability)
    np.put_along_axis(found, order, np.cumsum(ranked, axis=1) - (1 - luck[:, None]) * ranked, axis=1)
    return np.clip(found, 0.0, 1.0)


def conformal_threshold(scores: Floats, alpha: float) -> float:
    """The ⌈(n + 1)(1 − alpha)⌉-th smallest of ``scores`` (n,), or infinity where n is too small for the promise.

    A new exchangeable score is at most that with probability at least ``1 - alpha``.
    """
    place = max(1, math.ceil((scores.size + 1) * (1 - alpha) - 1e-9))
    if place > scores.size:
        return math.inf
    return float(np.partition(scores, place - 1)[place - 1])


def risk_coverage(confidence: Floats, wrong: npt.NDArray[np.bool_]) -> tuple[tuple[float, Estimate], ...]:
    """The share of errors among the most confident people, from everybody down to one half of them.

    People of equal confidence share their errors equally, so that the order of rows says nothing.

    Args:
        confidence: (N,) higher is surer, N >= 20.
        wrong: (N,) whose prediction is wrong.
    """
    _, place, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.cumsum((np.bincount(place, wrong) / counts)[np.sort(place)])
    total = wrong.size
    points = max(1, min(POINTS, total // 2 // MINIMUM_CELL))
    found = []
    for point in range(points + 1):
        share = 1 - 0.5 * point / points
        kept = math.ceil(share * total - 1e-9)
        found.append((round(share, 6), rate(float(errors[kept - 1]) / kept, kept)))
    return tuple(found)


def _taxonomy(
    rows: npt.NDArray[np.str_], first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]
) -> npt.NDArray[np.str_]:
    """The group of each row whose threshold it takes: its own, or the pool of small ones."""
    halves = [Counter(rows[half].tolist()) for half in (first, second)]
    sizes = {name: min(half[name] for half in halves) for name in np.unique(rows).tolist()}
    small = suppressed_groups(sizes)
    return np.where(np.isin(rows, small), POOLED, rows)


def _by_group(rows: npt.NDArray[np.str_], covered: npt.NDArray[np.bool_]) -> ColumnCoverage:
    sizes = Counter(rows.tolist())
    hidden = suppressed_groups(sizes)
    return ColumnCoverage(
        {name: rate(float(covered[rows == name].mean()), sizes[name]) for name in sorted(sizes) if name not in hidden},
        hidden,
    )
