"""How good is the model on people it has not seen?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.evidence import Estimate, Evidence, Subject
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, publish, rate, versions
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import AUC_ROUNDING, auc, macro_auc, publish_auc

__all__ = ["Evaluation", "evaluate", "roc_points"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality on held-out people.

    Attributes:
        auc: Area under the ROC curve; over more than two classes the mean of one against rest.
        accuracy: Share of right predictions.
        majority_accuracy: What always naming the most frequent class would reach.
        classes: How many classes.
        base_rate: Share of class 1; absent over more than two classes.
        roc: Points (false positive rate, true positive rate), at least ten people apart; empty for more classes.
        threshold: Probability above which class 1 is predicted.
    """

    auc: Estimate
    accuracy: Estimate
    majority_accuracy: Estimate
    classes: int
    base_rate: Estimate | None = None
    roc: tuple[tuple[float, float], ...] = ()
    threshold: float = 0.5

    def values(self) -> dict[str, Any]:
        """The values of ``evaluation`` evidence, version 1."""
        found: dict[str, Any] = {
            "auc": self.auc.values(),
            "accuracy": self.accuracy.values(),
            "majority_accuracy": self.majority_accuracy.values(),
        }
        if self.base_rate is not None:
            found["base_rate"] = self.base_rate.values()
            found["roc"] = [{"fpr": fpr, "tpr": tpr} for fpr, tpr in self.roc]
            found["threshold"] = self.threshold
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        two = self.classes == 2
        return {
            "data": "held-out split",
            "classes": self.classes,
            "auc": ("DeLong 1988" if two else "mean of one against rest, interval from the influence function")
            + f", {AUC_ROUNDING}",
            "rates": ROUNDING,
            "roc": f"highest true positive rate at each false positive rate; {MINIMUM_CELL} or more people apart",
            "libraries": versions("numpy", "torch"),
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("evaluation", subject, self.values(), self.how(), "uncovered", tier="auditor")


def evaluate(predictions: Predictions) -> Evaluation:
    """AUC (DeLong), accuracy, base rate and majority accuracy (Wilson) and a coarse ROC curve, with 95 % intervals.

    Raises:
        BadData: All held-out people are of one class, or fewer than ten of some class.
    """
    predictions.require("the evaluation", two_classes=False)
    labels, total = predictions.labels, len(predictions)
    right = float((predictions.predicted == labels).mean())
    sizes = np.bincount(labels, minlength=predictions.classes)
    majority, smallest = float(sizes.max()) / total, int(min(sizes.min(), total - sizes.max()))
    if predictions.classes > 2:
        return Evaluation(
            auc=publish_auc(macro_auc(predictions.probability, labels), smallest),
            accuracy=rate(right, total),
            majority_accuracy=rate(majority, total),
            classes=predictions.classes,
        )
    positive = labels == 1
    return Evaluation(
        auc=publish_auc(auc(predictions.logits, positive), smallest),
        accuracy=rate(right, total),
        majority_accuracy=rate(majority, total),
        classes=2,
        base_rate=rate(float(positive.mean()), total),
        roc=roc_points(predictions.logits, positive),
    )


def roc_points(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """The ROC curve on a fixed grid of at most 41 false positive rates.

    Between two points lie at least ten negatives, and true positive rates are on the grid of
    :func:`pellucid.explain.intervals.step`, so that no step of the curve is one person. Each point is the highest true
    positive rate whose false positive rate does not exceed the grid's.

    Args:
        scores: (N,) higher means rather positive.
        positive: (N,) at least ten of each class.
    """
    negatives, positives = np.sort(scores[~positive])[::-1], np.sort(scores[positive])
    cells = min(40, negatives.size // MINIMUM_CELL)
    points = [(0.0, 0.0)]
    for cell in range(1, cells):
        fpr = cell / cells
        allowed = int(np.floor(fpr * negatives.size + 1e-9))
        # the lowest cut that lets at most `allowed` negatives pass: strictly above the next negative
        above = positives.size - int(np.searchsorted(positives, negatives[allowed], side="right"))
        points.append((round(fpr, 6), publish(above / positives.size, positives.size)))
    return (*points, (1.0, 1.0))
