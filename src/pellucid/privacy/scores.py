"""How good a model is, from a noisy histogram of its scores by true class: accuracy, base rate and AUC, with intervals.

One histogram answers all three, and a person is in one cell of it. Intervals are 95 % and count three things in: the
noise, by its known variance; that other people would have been held out, as Wilson (1927) and Hanley & McNeil (1982)
do; and, of the AUC, that people of one bin cannot be ranked: pairs within a bin count half, and may all be right or
wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

from pellucid.evidence import Estimate
from pellucid.privacy.statistics import Statistic

__all__ = ["BINS", "Cells", "of_model", "rates", "roc_area"]

BINS: Final = 32
"""Of log-odds, from -6 to 6 and beyond: more of them add noise, fewer make ties."""
SPAN: Final = (-6.0, 6.0)
_Z: Final = NormalDist().inv_cdf(0.975)
Cells = Sequence[float]


def of_model(model: str, *, ranked: bool = True) -> Statistic:
    """The scores of a model.

    Args:
        model: Its name and version.
        ranked: Whether the AUC is wanted; without it, and of more than two classes, each person is right or wrong, and
            the accuracy has less noise.
    """
    return Statistic(kind="scores", model=model, bins=BINS if ranked else 1, bounds=SPAN)


def rates(cells: Cells, sigma: float, n: int) -> dict[str, Estimate]:
    """Accuracy, and of two classes the base rate too.

    Args:
        cells: (2·B,) noisy counts, class 0 by rising log-odds and then class 1, the middle edge at 0; or (2,) wrong
            and right.
        sigma: Deviation of the noise on each.
        n: Public number of people that the answer rests on.
    """
    bins = len(cells) // 2
    if bins == 1:
        return {"accuracy": _share(cells[1], cells[0], sigma, sigma, n)}
    half, spread = bins // 2, sigma * math.sqrt(bins)
    zero, one = cells[:bins], cells[bins:]
    right = math.fsum([*zero[:half], *one[half:]])
    wrong = math.fsum([*zero[half:], *one[:half]])
    return {
        "accuracy": _share(right, wrong, spread, spread, n),
        "base_rate": _share(math.fsum(one), math.fsum(zero), spread, spread, n),
    }


def _share(these: float, others: float, noise: float, noise_of_others: float, n: int) -> Estimate:
    """``these`` of all, by the delta method; of so few that noise may be all of them, nothing is known."""
    total = these + others
    if total <= 2 * _Z * math.hypot(noise, noise_of_others):
        return Estimate(0.5, 0.0, 1.0, n)
    share = min(1.0, max(0.0, these / total))
    by_noise = math.hypot((1 - share) * noise, share * noise_of_others) / total
    # Wilson's centre and width, so that a share of 0 or 1 has an interval too
    square = _Z * _Z / total
    centre = (share + square / 2) / (1 + square)
    by_people = math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    half = _Z * math.hypot(by_noise, by_people)
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def roc_area(cells: Cells, sigma: float, n: int) -> Estimate:
    """The area under the ROC curve; see :func:`rates` for the arguments."""
    bins = len(cells) // 2
    zero, one = cells[:bins], cells[bins:]
    negatives, positives = math.fsum(zero), math.fsum(one)
    least = 2 * _Z * sigma * math.sqrt(bins)
    if min(negatives, positives) <= least:
        return Estimate(0.5, 0.0, 1.0, n)
    below = [0.0, *itertools.accumulate(zero)]
    above = [positives - part for part in itertools.accumulate(one)]
    pairs = negatives * positives
    ties = math.fsum(a * b for a, b in zip(zero, one, strict=True)) / pairs
    area = math.fsum(b * (below[i] + zero[i] / 2) for i, b in enumerate(one)) / pairs
    # the slope of the area in each cell, where it is noisy
    slopes = [((below[i] + zero[i] / 2) / negatives - area) / positives for i in range(bins)]
    slopes += [((above[i] + one[i] / 2) / positives - area) / negatives for i in range(bins)]
    by_noise = sigma * math.sqrt(math.fsum(slope * slope for slope in slopes))
    by_noise = math.hypot(by_noise, sigma * sigma * bins / pairs)  # both cells of a pair are noisy
    value = min(1.0, max(0.0, area))
    half = _Z * math.hypot(by_noise, _hanley_mcneil(value, positives, negatives)) + max(0.0, ties) / 2
    return Estimate(
        value, max(0.0, area - half) if area - half < value else value, min(1.0, max(value, area + half)), n
    )


def _hanley_mcneil(area: float, positives: float, negatives: float) -> float:
    """Standard error of an AUC (Radiology 143, 1982)."""
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area * area) + (negatives - 1) * (q2 - area * area)
    return math.sqrt(max(0.0, variance) / (positives * negatives))
