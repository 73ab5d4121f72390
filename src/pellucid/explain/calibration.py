"""Do predicted probabilities mean what they say?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import suppressed_groups
from pellucid.errors import BadData
from pellucid.evidence import Estimate, Evidence, Subject, round_down
from pellucid.explain.fairness import group_names
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, Z, mean, rate, versions
from pellucid.explain.predictions import Predictions

__all__ = [
    "Bin",
    "BrierSplit",
    "Calibration",
    "ColumnCalibration",
    "GroupCalibration",
    "bin_edges",
    "brier_terms",
    "debiased_ece",
    "measure_calibration",
]

BINS: Final = 10
RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Bin:
    """People whose predicted probability lies in [low, high): mean prediction and observed share of class 1.

    Over more than two classes: of the most probable class, and the share for whom it is the right one.
    """

    low: float
    high: float
    predicted: float
    observed: Estimate

    def values(self) -> dict[str, Any]:
        """The record of one bin."""
        return {
            "low": self.low,
            "high": self.high,
            "predicted": round(self.predicted, 6),
            "observed": self.observed.values(),
        }


@dataclass(frozen=True, slots=True)
class BrierSplit:
    """The Brier score taken apart: brier = reliability - resolution + uncertainty + within_bins, exactly.

    Attributes:
        reliability: Mean squared distance of predicted and observed share over bins; 0 is perfect calibration.
        resolution: Variance of the observed share over bins; higher tells people apart better.
        uncertainty: Variance of the outcome itself, which no model can lower.
        within_bins: Variance of predictions inside bins less twice their covariance with the outcome there.
    """

    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    within_bins: Estimate

    def values(self) -> dict[str, Any]:
        """The record of the split."""
        return {name: getattr(self, name).values() for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class GroupCalibration:
    """Calibration error and Brier score of one group."""

    group: str
    n: int
    ece: Estimate
    brier: Estimate

    def values(self) -> dict[str, Any]:
        """The record of one group."""
        return {"group": self.group, "n": self.n, "ece": self.ece.values(), "brier": self.brier.values()}


@dataclass(frozen=True, slots=True)
class ColumnCalibration:
    """One column: its published groups, and the names of those that are not."""

    groups: tuple[GroupCalibration, ...]
    suppressed: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """The record of one column."""
        return {"groups": [group.values() for group in self.groups], "suppressed": list(self.suppressed)}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, Brier score and the reliability diagram.

    Over more than two classes the calibration error is that of the most probable class, and the Brier score the sum
    over classes, in [0, 2]. ``split`` and ``columns`` are None where they were not asked for.
    """

    ece: Estimate
    brier: Estimate
    bins: tuple[Bin, ...]
    plugin: float
    resamples: int
    seed: int
    classes: int = 2
    split: BrierSplit | None = None
    columns: Mapping[str, ColumnCalibration] | None = None

    def values(self) -> dict[str, Any]:
        """The values of ``calibration`` evidence, version 1; what was not asked for has no key."""
        found = {"ece": self.ece.values(), "brier": self.brier.values(), "bins": [b.values() for b in self.bins]}
        if self.split is not None:
            found["split"] = self.split.values()
        if self.columns is not None:
            found["columns"] = {name: column.values() for name, column in self.columns.items()}
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        found = {
            "data": "held-out split",
            "bins": f"{BINS} of equal width over [0, 1], merged with a neighbour up to {MINIMUM_CELL} people",
            "ece": "plug-in less its bias under normal noise of the observed rates (Kumar, Liang and Ma 2019), from 0",
            "ece_plugin": round(self.plugin, 6),
            "ece_interval": f"95 %, conservative; above: plug-in plus 1.96 standard errors over {self.resamples} "
            "bootstrap resamples; below: plug-in less the 97.5 % quantile of the bins' mean absolute noise",
            "seed": self.seed,
            "brier": "mean squared error of the probability, normal interval",
            "rates": ROUNDING,
            "libraries": versions("numpy"),
        }
        if self.classes > 2:
            found["classes"] = self.classes
            found["event"] = "the most probable class is the right one (top-label calibration, Guo et al. 2017)"
            found["brier"] = "squared error of the probabilities summed over classes, from 0 to 2, normal interval"
        if self.split is not None:
            found["split"] = (
                "Murphy 1973 with the terms within bins of Stephenson, Coelho and Jolliffe 2008, over the bins above; "
                "over more than two classes the sum of one against rest. Intervals: the debiased term (Ferro and "
                f"Fricker 2012) give or take 1.96 standard errors over {self.resamples} bootstrap resamples, and "
                "wide enough to hold the plug-in"
            )
        if self.columns is not None:
            found["suppression"] = (
                f"groups with fewer than {MINIMUM_CELL} people of some class, then the next smallest until the "
                f"suppressed ones are two and together {MINIMUM_CELL} people of it, so that no total gives one away"
            )
        return found

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("calibration", subject, self.values(), self.how(), "uncovered", tier="auditor")


def measure_calibration(
    predictions: Predictions,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    split: bool = False,
    groups: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Calibration:
    """Reliability bins, debiased expected calibration error and Brier score, with 95 % intervals.

    Args:
        predictions: Of a model of any number of classes.
        resamples: Bootstrap resamples of rows for the calibration error, at least two.
        seed: Public: it draws resamples of evaluation rows, no noise.
        split: Whether the Brier score is taken apart.
        groups: Column → (N,) text, the group of each row, for calibration by group.

    Raises:
        BadData: One class only, fewer than ten people of a class, fewer than two resamples, or a column of groups of
            the wrong length or with missing names.
    """
    predictions.require("calibration", two_classes=False)
    if resamples < 2:
        raise BadData("an interval needs at least two resamples", where="resamples")
    ece, bins, plugin = _reliability(predictions, resamples, np.random.default_rng(seed))
    columns = None
    if groups is not None:
        columns = {
            name: _by_group(predictions, group_names(values, len(predictions), name), resamples, [seed, place])
            for place, (name, values) in enumerate(groups.items())
        }
    return Calibration(
        ece=ece,
        brier=_brier(predictions),
        bins=bins,
        plugin=plugin,
        resamples=resamples,
        seed=seed,
        classes=predictions.classes,
        split=_split(predictions, resamples, np.random.default_rng([seed, 0, 1])) if split else None,
        columns=columns,
    )


def _by_group(
    predictions: Predictions, rows: npt.NDArray[np.str_], resamples: int, seed: list[int]
) -> ColumnCalibration:
    names, place = np.unique(rows, return_inverse=True)
    cells = np.zeros((len(names), predictions.classes), dtype=np.int64)
    np.add.at(cells, (place, predictions.labels), 1)
    # a group counts for as much as its rarest class does
    hidden = suppressed_groups(dict(zip(names.tolist(), cells.min(axis=1).tolist(), strict=True)))
    published = []
    for number, name in enumerate(names.tolist()):
        if name in hidden:
            continue
        part = Predictions(predictions.logits[place == number], predictions.labels[place == number])
        ece, _, _ = _reliability(part, resamples, np.random.default_rng([*seed, number]))
        published.append(GroupCalibration(name, round_down(len(part)), ece, _brier(part)))
    return ColumnCalibration(tuple(published), hidden)


def _reliability(
    predictions: Predictions, resamples: int, rng: np.random.Generator
) -> tuple[Estimate, tuple[Bin, ...], float]:
    """Debiased calibration error of class 1 (or of the most probable class) with its bins, and the plug-in."""
    probability, labels = predictions.probability, predictions.labels.astype(np.float64)
    if predictions.classes > 2:
        probability, labels = probability.max(axis=1), (predictions.predicted == predictions.labels).astype(np.float64)
    edges = bin_edges(probability)
    place = np.searchsorted(edges[1:-1], probability, side="right")
    counts = np.bincount(place)
    predicted = np.bincount(place, probability) / counts
    observed = np.bincount(place, labels) / counts
    value, plugin = debiased_ece(counts, predicted, observed)

    # ECE of a resample needs only, by bin, the sum of (probability - label).
    total = len(labels)
    drawn = np.empty(resamples)
    for number in range(resamples):
        rows = rng.integers(0, total, total)
        drawn[number] = np.abs(np.bincount(place[rows], (probability - labels)[rows])).sum() / total
    # Above: the plug-in errs upwards, so adding its spread to it is safe. Below: near perfect calibration no bootstrap
    # reaches 0, but by the triangle inequality plug-in and truth differ by at most the mean |noise| of the bins,
    # whatever the truth, so a quantile of that is taken off.
    high = plugin + Z * float(drawn.std(ddof=1))
    smooth = (observed * counts + 1) / (counts + 2)
    noise = np.abs(rng.normal(0.0, np.sqrt(smooth * (1 - smooth) / counts), size=(resamples, len(counts))))
    low = plugin - float(np.quantile(noise @ counts / total, 0.975))
    bins = tuple(
        Bin(float(a), float(b), float(p), rate(float(o), int(c)))
        for a, b, p, o, c in zip(edges[:-1], edges[1:], predicted, observed, counts, strict=True)
    )
    ece = Estimate(value, max(0.0, min(low, value)), min(1.0, max(high, value)), round_down(total))
    return ece, bins, plugin


def _brier(predictions: Predictions) -> Estimate:
    if predictions.classes == 2:
        return mean((predictions.probability - predictions.labels) ** 2, low=0.0, high=1.0)
    return mean(((predictions.probability - _indicators(predictions)) ** 2).sum(axis=1), low=0.0, high=2.0)


def _indicators(predictions: Predictions) -> Floats:
    found: Floats = np.eye(predictions.classes)[predictions.labels]
    return found


def _split(predictions: Predictions, resamples: int, rng: np.random.Generator) -> BrierSplit:
    if predictions.classes == 2:
        events = [(predictions.probability, predictions.labels.astype(np.float64))]
    else:
        events = list(zip(predictions.probability.T, _indicators(predictions).T, strict=True))
    places = [np.searchsorted(bin_edges(p)[1:-1], p, side="right") for p, _ in events]
    total = len(predictions)

    def terms(weight: Floats) -> Floats:
        parts = [brier_terms(p, o, place, weight) for (p, o), place in zip(events, places, strict=True)]
        found: Floats = np.sum(parts, axis=0)
        return found

    plain = terms(np.ones(total))
    drawn = np.stack(
        [terms(np.bincount(rng.integers(0, total, total), minlength=total).astype(float)) for _ in range(resamples)]
    )
    half = Z * drawn[:, :4].std(axis=0, ddof=1)
    # reliability and resolution are too high by the noise of the bins' observed shares, uncertainty too low
    bins, whole = float(plain[4]), float(plain[2]) / (total - 1)
    centre = plain[:4] - np.array([bins, bins - whole, -whole, 0.0])
    floor = np.array([0.0, 0.0, 0.0, -np.inf])
    low, high = np.maximum(np.minimum(centre - half, plain[:4]), floor), np.maximum(centre + half, plain[:4])
    return BrierSplit(
        *(Estimate(float(v), float(a), float(b), round_down(total)) for v, a, b in zip(plain, low, high, strict=False))
    )


def brier_terms(probability: Floats, outcome: Floats, place: npt.NDArray[np.intp], weight: Floats) -> Floats:
    """The terms of the Brier score of one event (Stephenson, Coelho and Jolliffe 2008, Weather and Forecasting 23).

    Args:
        probability: (N,) that the event happens.
        outcome: (N,) 1.0 where it did, else 0.0.
        place: (N,) number of the row's bin.
        weight: (N,) how often each row counts: ones, or the counts of a resample.

    Returns:
        (5,) reliability, resolution, uncertainty, within bins, and the noise of the bins' observed shares by which
        reliability and resolution are too high in the mean. The first four add up to the score with signs + - + +.
    """
    count, predicted, happened, squares, products = (
        np.bincount(place, weight * part)
        for part in (np.ones_like(weight), probability, outcome, probability**2, probability * outcome)
    )
    there = count > 0
    count, predicted, happened = count[there], predicted[there], happened[there]
    total = count.sum()
    mean_predicted, observed, overall = predicted / count, happened / count, happened.sum() / total
    share = count / total
    spread = (squares[there] - predicted * mean_predicted).sum() / total
    covariance = (products[there] - predicted * observed).sum() / total
    noise = observed * (1 - observed) / np.maximum(count - 1, 1)
    return np.array(
        [
            share @ (mean_predicted - observed) ** 2,
            share @ (observed - overall) ** 2,
            overall * (1 - overall),
            spread - 2 * covariance,
            share @ noise,
        ]
    )


def bin_edges(probability: Floats) -> Floats:
    """Edges from 0 to 1 of the bins of equal width, each merged with its right neighbour until ten people are in it.

    What is left at the right end is merged with its left neighbour. A bin holds its lower edge; the last both.
    """
    edges = np.round(np.linspace(0.0, 1.0, BINS + 1), 9)
    counts = np.bincount(np.searchsorted(edges[1:-1], probability, side="right"), minlength=BINS)
    kept, inside = [0.0], 0
    for count, right in zip(counts, edges[1:], strict=True):
        inside += int(count)
        if inside >= MINIMUM_CELL:
            kept.append(float(right))
            inside = 0
    kept = [*kept[:-1], 1.0] if len(kept) > 1 else [0.0, 1.0]
    return np.array(kept)


def debiased_ece(counts: npt.NDArray[np.int64], predicted: Floats, observed: Floats) -> tuple[float, float]:
    """Expected calibration error, debiased and plug-in.

    The plug-in Σ w_b |p_b − o_b| is biased upwards, since |p_b − o_b| is above 0 by noise alone. With normal noise of
    variance o_b (1 − o_b) / n_b the bias of a bin is the mean of a folded normal less |p_b − o_b|, which is subtracted
    (Kumar, Liang and Ma 2019, "Verified Uncertainty Calibration", appendix; here in closed form instead of by draws).

    Args:
        counts: (B,) people a bin.
        predicted: (B,) mean probability.
        observed: (B,) share of class 1.

    Returns:
        (debiased, plug-in), both in [0, 1].
    """
    weight = counts / counts.sum()
    gap = np.abs(predicted - observed)
    spread = np.sqrt(observed * (1 - observed) / counts)
    folded = gap.copy()
    for place in np.flatnonzero(spread > 0):
        d, s = float(gap[place]), float(spread[place])
        ratio = d / s
        folded[place] = s * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2) + d * math.erf(ratio / math.sqrt(2))
    plugin = float(weight @ gap)
    return max(0.0, plugin - float(weight @ (folded - gap))), plugin
