"""Do predicted probabilities mean what they say?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadData
from pellucid.evidence import Estimate, Evidence, Subject, round_down
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, Z, mean, rate, versions
from pellucid.explain.predictions import Predictions

__all__ = ["Bin", "Calibration", "bin_edges", "debiased_ece", "measure_calibration"]

BINS: Final = 10
RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Bin:
    """People whose predicted probability lies in [low, high): mean prediction and observed share of class 1."""

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
class Calibration:
    """Expected calibration error, Brier score and the reliability diagram."""

    ece: Estimate
    brier: Estimate
    bins: tuple[Bin, ...]
    plugin: float
    resamples: int
    seed: int

    def values(self) -> dict[str, Any]:
        """The values of ``calibration`` evidence, version 1."""
        return {"ece": self.ece.values(), "brier": self.brier.values(), "bins": [b.values() for b in self.bins]}

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
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

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("calibration", subject, self.values(), self.how(), "uncovered", tier="auditor")


def measure_calibration(predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = 0) -> Calibration:
    """Reliability bins, debiased expected calibration error and Brier score, with 95 % intervals.

    Args:
        predictions: Of a two-class model.
        resamples: Bootstrap resamples of rows for the calibration error, at least two.
        seed: Public: it draws resamples of evaluation rows, no noise.

    Raises:
        BadData: One class only, fewer than ten people of a class, or fewer than two resamples.
        UnsupportedModel: More than two classes.
    """
    predictions.require("calibration")
    if resamples < 2:
        raise BadData("an interval needs at least two resamples", where="resamples")
    probability, labels = predictions.probability, predictions.labels.astype(np.float64)
    edges = bin_edges(probability)
    place = np.searchsorted(edges[1:-1], probability, side="right")
    counts = np.bincount(place)
    predicted = np.bincount(place, probability) / counts
    observed = np.bincount(place, labels) / counts
    value, plugin = debiased_ece(counts, predicted, observed)

    # ECE of a resample needs only, by bin, the sum of (probability - label).
    rng = np.random.default_rng(seed)
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
    brier = mean((probability - labels) ** 2, low=0.0, high=1.0)
    return Calibration(
        ece=Estimate(value, max(0.0, min(low, value)), min(1.0, max(high, value)), round_down(total)),
        brier=brier,
        bins=tuple(
            Bin(float(a), float(b), float(p), rate(float(o), int(c)))
            for a, b, p, o, c in zip(edges[:-1], edges[1:], predicted, observed, counts, strict=True)
        ),
        plugin=plugin,
        resamples=resamples,
        seed=seed,
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
