"""Ranks: the area under the ROC curve with DeLong's variance, and Spearman's correlation. Pure NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import Floats, Z, step

__all__ = ["AUC_ROUNDING", "Placements", "auc", "macro_auc", "midranks", "placements", "publish_auc", "spearman"]

AUC_ROUNDING: Final = "rounded like a rate over the smallest class, the interval outwards"


def midranks(values: Floats) -> Floats:
    """Ranks from 1 of ``values`` (n,); equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2.0)[inverse]
    return ranks


@dataclass(frozen=True, eq=False, repr=False)
class Placements:
    """DeLong's structural components: where each positive stands among the negatives, and the other way round.

    Attributes:
        positives: (m,) share of negatives below each positive, in the order of the rows; ties count one half.
        negatives: (n,) share of positives above each negative.
    """

    positives: Floats
    negatives: Floats

    @property
    def auc(self) -> float:
        """The area under the ROC curve: the chance that a positive scores above a negative."""
        return float(self.positives.mean())

    @property
    def variance(self) -> float:
        """DeLong's variance of :attr:`auc`; needs two rows of each class."""
        return float(
            self.positives.var(ddof=1) / self.positives.size + self.negatives.var(ddof=1) / self.negatives.size
        )


def placements(scores: Floats, positive: npt.NDArray[np.bool_]) -> Placements:
    """Structural components of ``scores`` (N,) in O(N log N) (Sun and Xu 2014, IEEE SPL 21(11), algorithm 2).

    Args:
        scores: Higher means rather positive.
        positive: (N,) which rows are positive; both classes must be there.
    """
    above, below = scores[positive], scores[~positive]
    ranks = midranks(scores)
    return Placements(
        positives=(ranks[positive] - midranks(above)) / below.size,
        negatives=1.0 - (ranks[~positive] - midranks(below)) / above.size,
    )


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> Estimate:
    """AUC with DeLong's 95 % interval (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44).

    At perfect separation DeLong's variance is zero and its interval a point. There the bound is taken from the
    min(m, n) disjoint, hence independent, pairs: all of them were in order, so AUC^k >= 0.025.
    """
    parts = placements(scores, positive)
    value = parts.auc
    half = Z * math.sqrt(parts.variance)
    low, high = max(0.0, value - half), min(1.0, value + half)
    pairs = min(parts.positives.size, parts.negatives.size)
    edge = 0.025 ** (1.0 / pairs)
    if value == 1.0:
        low = edge
    elif value == 0.0:
        high = 1.0 - edge
    return Estimate(value, low, high, round_down(scores.size))


def macro_auc(scores: Floats, labels: npt.NDArray[np.int64]) -> Estimate:
    """The mean over classes of the one-against-rest AUC, with a 95 % interval from its influence function.

    The influence of a row on one AUC is its centred structural component over the share of its class; the mean over
    classes keeps the correlation between them. For two classes this is DeLong's interval up to O(1/N).

    Args:
        scores: (N, C), column c higher means rather class c.
        labels: (N,) in 0..C-1, every class there.
    """
    total, classes = scores.shape
    influence = np.zeros(total)
    value = 0.0
    for number in range(classes):
        inside = labels == number
        parts = placements(scores[:, number], inside)
        share = inside.mean()
        influence[inside] += (parts.positives - parts.auc) / share / classes
        influence[~inside] += (parts.negatives - parts.auc) / (1 - share) / classes
        value += parts.auc / classes
    half = Z * math.sqrt(float((influence**2).mean()) / total)
    low, high = max(0.0, value - half), min(1.0, value + half)
    smallest = int(np.bincount(labels, minlength=classes).min())
    if value == 1.0:  # as for two classes, from the disjoint pairs of the class that has the fewest
        low = 0.025 ** (1.0 / smallest)
    elif value == 0.0:
        high = 1.0 - 0.025 ** (1.0 / smallest)
    return Estimate(value, low, high, round_down(total))


def publish_auc(found: Estimate, smallest: int) -> Estimate:
    """``found`` as it may be published: on the grid of rates over the smallest class, the interval rounded outwards.

    An exact AUC is ``k/(2·m·n)``, and so many digits of it that ``m`` and ``n`` can be read off as a denominator.

    Args:
        found: Of :func:`auc` or :func:`macro_auc`.
        smallest: People in the smallest class, at least ten.
    """
    grid = step(round_down(smallest))

    def on_grid(steps: int) -> float:
        return round(min(1.0, max(0.0, steps * grid)), 9)

    return Estimate(
        on_grid(round(found.value / grid)),
        on_grid(math.floor(round(found.low / grid, 9))),
        on_grid(math.ceil(round(found.high / grid, 9))),
        found.n,
    )


def spearman(left: Floats, right: Floats) -> float | None:
    """Spearman's rank correlation of two vectors (n,), or None where it has no meaning: n < 3, or one is constant."""
    if left.size < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    a, b = midranks(left), midranks(right)
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / math.sqrt(float(a @ a) * float(b @ b)), -1.0, 1.0))
