"""The attack: scores of members and non-members in, a lower bound on epsilon out.

Whoever tells members from non-members by a score, better than (epsilon, delta) allows, has shown that the true epsilon
is larger: ``TPR <= e^epsilon · FPR + delta`` for every rule (Kairouz et al. 2015; as an audit Jagielski et al. 2020,
arXiv 2006.07709, and Nasr et al. 2021, arXiv 2101.04535). The bound holds with the stated confidence if the scores of
different people are independent; scores by one model are only nearly so, and ``how()`` says that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadData, BadPlan
from pellucid.evidence import Estimate, round_down
from pellucid.privacy.events import round_epsilon_down

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Scores = NDArray[np.float64]

__all__ = ["LEAST_SCORES", "AttackBound", "membership_bound"]

LEAST_SCORES: Final = 20
"""Fewer members or non-members than this say nothing."""

_METHOD: Final = "score threshold, Clopper-Pearson on the half that did not choose it (Jagielski et al. 2020)"


@dataclass(frozen=True, slots=True)
class AttackBound:
    """What a membership attack showed.

    Attributes:
        epsilon_lower: With ``confidence`` the true epsilon at ``delta`` is at least this. 0 or more, rounded down.
        epsilon_ceiling: What the same number of people could have shown at most, had every guess been right: the
            attack's power, without which a low bound says nothing.
        auc: Area under the ROC curve of all scores, with a Hanley-McNeil interval at ``confidence``; 0.5 is guessing.
        delta: The delta of the bound.
        confidence: Chance that the bound holds, over both directions and all four rates.
        n: Members and non-members whose scores were measured, rounded down to ten.
        threshold_chosen_on: Which scores chose the threshold.
    """

    epsilon_lower: float
    epsilon_ceiling: float
    auc: Estimate
    delta: float
    confidence: float
    n: int
    threshold_chosen_on: str = "scores at even places"

    def values(self) -> dict[str, Any]:
        """The values of ``attack`` evidence."""
        return {
            "epsilon_lower": self.epsilon_lower,
            "epsilon_ceiling": self.epsilon_ceiling,
            "delta": self.delta,
            "confidence": self.confidence,
            "auc": self.auc.values(),
            "method": _METHOD,
        }

    def how(self) -> dict[str, Any]:
        """How the bound was made, as JSON."""
        return {
            "method": _METHOD,
            "rates": "measured on the scores at odd places, one-sided, a quarter of the error each (Bonferroni)",
            "threshold_chosen_on": self.threshold_chosen_on,
            "auc_interval": "Hanley & McNeil 1982, inverted as a score interval (Newcombe 2006)",
            "assumes": "scores of different people are independent; those of one model are nearly so",
            "n": self.n,
        }


def membership_bound(
    member_scores: ArrayLike, nonmember_scores: ArrayLike, *, delta: float, confidence: float = 0.95
) -> AttackBound:
    """The lower bound on epsilon that these scores show.

    The scores at even places choose a threshold for each of two directions: taking those above it for members, and
    taking those below it for non-members. The scores at odd places measure both rates of each direction, each with a
    one-sided Clopper-Pearson limit at a quarter of ``1 - confidence``, so that all four hold together. The same
    scores in the same order give the same bound.

    Args:
        member_scores: Shape (m,), of people trained on; higher says member. Infinities are admitted.
        nonmember_scores: Shape (n,), of people not trained on.
        delta: In [0, 1).
        confidence: In (0, 1).

    Raises:
        BadData: Fewer than :data:`LEAST_SCORES` of either, more than one dimension, or a NaN.
        BadPlan: ``delta`` or ``confidence`` out of range.
    """
    if not 0 <= delta < 1:
        raise BadPlan("delta must be in [0, 1)", where="delta")
    if not 0 < confidence < 1:
        raise BadPlan("confidence must be in (0, 1)", where="confidence")
    inside, outside = _scores(member_scores, "member_scores"), _scores(nonmember_scores, "nonmember_scores")
    risk = (1 - confidence) / 4
    found = 0.0
    # The second direction is the first with the classes and the order of scores turned round.
    for positive, negative in ((inside, outside), (-outside, -inside)):
        threshold = _best_threshold(positive[::2], negative[::2], delta, risk)
        measured, against = positive[1::2], negative[1::2]
        right, wrong = int((measured >= threshold).sum()), int((against >= threshold).sum())
        found = max(found, float(_bound(right, len(measured), wrong, len(against), delta, risk)))
    # From rounded counts, since exact ones are private.
    half_in, half_out = (max(round_down(len(scores) // 2), 10) for scores in (inside, outside))
    ceiling = max(
        float(_bound(half_in, half_in, 0, half_out, delta, risk)),
        float(_bound(half_out, half_out, 0, half_in, delta, risk)),
        0.0,
    )
    return AttackBound(
        epsilon_lower=round_epsilon_down(found),
        epsilon_ceiling=round_epsilon_down(ceiling),
        auc=_auc(inside, outside, confidence),
        delta=float(delta),
        confidence=float(confidence),
        n=round_down(len(inside) + len(outside)),
    )


def _scores(scores: ArrayLike, where: str) -> Scores:
    import numpy as np

    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1:
        raise BadData("scores must have one dimension", where=where)
    if len(array) < LEAST_SCORES:
        raise BadData(f"fewer than {LEAST_SCORES} scores say nothing", where=where)
    if np.isnan(array).any():
        raise BadData("a score is not a number", where=where)
    return array


def _bound(right: Any, positives: int, wrong: Any, negatives: int, delta: float, risk: float) -> Any:
    """``log((TPR - delta) / FPR)`` at the pessimistic limits of both rates, elementwise; -inf if it shows nothing."""
    import numpy as np

    excess = _lower_limit(right, positives, risk) - delta
    # The upper limit of a rate is one less the lower limit of its complement.
    false = 1 - _lower_limit(negatives - np.asarray(wrong), negatives, risk)
    with np.errstate(divide="ignore"):
        return np.where(excess > 0, np.log(np.maximum(excess, 0.0)) - np.log(false), -math.inf)


def _lower_limit(successes: Any, trials: int, risk: float) -> Any:
    """The Clopper-Pearson lower limit at one-sided risk ``risk``: the beta quantile, 0 for no success."""
    import numpy as np
    from scipy.special import betaincinv

    successes = np.asarray(successes, dtype=np.float64)
    some = np.maximum(successes, 1.0)
    return np.where(successes > 0, betaincinv(some, trials - some + 1, risk), 0.0)


def _best_threshold(positive: Scores, negative: Scores, delta: float, risk: float) -> float:
    """The score such that ``>=`` it gives the greatest bound on these scores; the least such for ties."""
    import numpy as np

    candidates = np.unique(np.concatenate([positive, negative]))
    right = len(positive) - np.searchsorted(np.sort(positive), candidates, side="left")
    wrong = len(negative) - np.searchsorted(np.sort(negative), candidates, side="left")
    bounds = _bound(right, len(positive), wrong, len(negative), delta, risk)
    return float(candidates[int(np.argmax(bounds))])


def _auc(inside: Scores, outside: Scores, confidence: float) -> Estimate:
    """P(member's score > non-member's) with half for ties, by ranks, and its interval."""
    import numpy as np

    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left").sum(dtype=np.int64)
    upto = np.searchsorted(ordered, inside, side="right").sum(dtype=np.int64)
    m, n = len(inside), len(outside)
    auc = float(below + upto) / (2 * m * n)
    return Estimate(auc, *_auc_interval(auc, m, n, confidence), m + n)


def _auc_interval(auc: float, m: int, n: int, confidence: float) -> tuple[float, float]:
    """All areas from which ``auc`` is no surprise: Hanley & McNeil's error at the area supposed, not at the estimate.

    So the interval stays inside [0, 1] and does not shrink to a point at 0 or 1 (Newcombe 2006, Statistics in
    Medicine 25:559, method 5).
    """
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + confidence) / 2)

    def surprising(area: float) -> bool:
        return abs(auc - area) > z * hanley_mcneil_error(area, m, n)

    def edge(beyond: float) -> float:
        if not surprising(beyond):
            return beyond
        inner, outer = auc, beyond
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if surprising(middle) else (middle, outer)
        return outer

    return edge(0.0), edge(1.0)


def hanley_mcneil_error(area: float, m: int, n: int) -> float:
    """Standard error of an area under the curve from ``m`` positives and ``n`` negatives, symmetric in the two.

    Hanley & McNeil 1982 (Radiology 143:29) for exponential scores, with the mean of ``m`` and ``n`` in both terms.
    """
    mean = (m + n) / 2 - 1
    pairs = 1 + mean * ((1 - area) / (2 - area) + area / (1 + area))
    return math.sqrt(max(area * (1 - area) * pairs / (m * n), 0.0))
