"""How far are predicted probabilities from what happens? Bins of people, and the calibration error over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import MINIMUM_CELL, Floats, Mean, Z, coarse, rate, step, wilson
from pellucid.explain.predictions import Predictions

__all__ = ["BINS", "Bin", "bin_edges", "debiased_ece", "reliability"]

BINS: Final = 10


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
        """The record of one bin. The mean prediction too is rounded, as its place between the edges of the bin."""
        grid = step(self.observed.n) * (self.high - self.low)
        return {
            "low": self.low,
            "high": self.high,
            "predicted": round(self.low + coarse(self.predicted - self.low, grid), 6),
            "observed": self.observed.values(),
        }


def reliability(
    predictions: Predictions, resamples: int, rng: np.random.Generator
) -> tuple[Estimate, tuple[Bin, ...], float]:
    """Debiased calibration error of class 1 (or of the most probable class) with its bins, and the plug-in.

    Args:
        predictions: At least ten people.
        resamples: Of rows, at least two.
        rng: Of a public seed.
    """
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
    # Where all people of a bin have one outcome no resample varies: there the far end of Wilson's interval is taken.
    for share, p, count in zip(observed, predicted, counts, strict=True):
        if share in (0.0, 1.0):
            far = max(abs(p - end) for end in wilson(float(share), int(count)))
            high += float(count / total * (far - abs(p - share)))
    smooth = (observed * counts + 1) / (counts + 2)
    noise = np.abs(rng.normal(0.0, np.sqrt(smooth * (1 - smooth) / counts), size=(resamples, len(counts))))
    low = plugin - float(np.quantile(noise @ counts / total, 0.975))
    bins = tuple(
        Bin(float(a), float(b), float(p), rate(float(o), int(c)))
        for a, b, p, o, c in zip(edges[:-1], edges[1:], predicted, observed, counts, strict=True)
    )
    grid = step(round_down(total))  # finer digits are a function of counts where the model gives few answers
    ece = Mean(value, max(0.0, min(low, value)), min(1.0, max(high, value)), round_down(total), grid)
    return ece, bins, plugin


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
