"""The score by which a trial, or a step of a training, is judged: exact on public data, noisy on private people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pellucid.privacy import accounting
from pellucid.privacy.mechanism import FINE, gaussian
from pellucid.privacy.scores import of_model, rates, roc_area

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import nn

    from pellucid.explain import Predictions

__all__ = ["METRICS", "cells", "judged", "noise_for", "private_score", "public_score"]

METRICS: Final = ("accuracy", "auc")
_POINTS: Final = {"accuracy": 0.005, "auc": 0.001}
"""Noise on a cell, as a share of the people scored: it moves either score by about half a point."""
_SHARE: Final = 0.3
_SURE: Final = 1e3
"""A logit beyond all bins."""


def noise_for(metric: str, people: int, *, epsilon: float, delta: float) -> float:
    """The noise multiplier of a score over so many people, in a tuning that may cost ``epsilon`` as a whole.

    So much that the score moves by about half a point, or more where that would be dear: one score alone, with nothing
    tuned, costs at most :data:`_SHARE` of the whole.
    """
    least = accounting.calibrate(1.0, 1, _SHARE * epsilon, delta)
    return max(least, round(_POINTS[metric] * people, 4))


def public_score(module: nn.Module, x: torch.Tensor, y: torch.Tensor, metric: str) -> dict[str, Any]:
    """The exact score of public people: ``rank`` and the metric."""
    from pellucid import explain

    predictions = explain.predict(module, x, y)
    if metric == "accuracy":
        found = float((predictions.predicted == predictions.labels).mean())
    else:
        found = explain.evaluate(predictions).auc.value
    return {"rank": found, metric: found}


def private_score(
    module: nn.Module, x: torch.Tensor, y: torch.Tensor, metric: str, noise_multiplier: float, people: int
) -> dict[str, Any]:
    """A differentially private score of held-out people: ``rank``, and the metric with its interval.

    One person is in one cell of a histogram, whose noise has ``noise_multiplier``; both numbers are taken from it.
    """
    noisy: list[float] = gaussian(cells(judged(module, x, y), ranked=metric == "auc"), noise_multiplier).tolist()
    if metric == "auc":
        area = roc_area(noisy, noise_multiplier, people)
        return {"rank": area.value, metric: area.values()}
    # how many more are right than wrong: as good as the accuracy, and without a noisy number to divide by
    return {"rank": noisy[1] - noisy[0], metric: rates(noisy, noise_multiplier, people)["accuracy"].values()}


def judged(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Predictions:
    """The scores of private people, of whom none can make it fail by what the model answers for them.

    As :func:`pellucid.explain.predict`, but that a row whose logits are not finite counts as wrong with certainty: an
    error would tell exactly that there is such a person.
    """
    import numpy as np

    from pellucid.explain import Predictions
    from pellucid.explain.answers import outputs
    from pellucid.explain.model import frozen
    from pellucid.explain.steady import steady

    twin = frozen(module)
    steady(twin, x)
    logits, labels = outputs(twin, x, finite=False).numpy(), y.cpu().numpy()
    if logits.ndim == 1:
        logits = np.where(np.isfinite(logits), logits, np.where(labels == 1, -_SURE, _SURE))
    else:
        (lost,) = np.nonzero(~np.isfinite(logits).all(axis=1))
        logits[lost] = 0.0
        logits[lost, (labels[lost] + 1) % logits.shape[1]] = _SURE
    return Predictions(logits, labels)


def cells(predictions: Predictions, *, ranked: bool) -> npt.NDArray[np.int64]:
    """The histogram that :mod:`pellucid.privacy.scores` reads, before its noise: private.

    Args:
        predictions: Of private people, of whom each is in one cell.
        ranked: By class and log-odds, for the AUC; else wrong and right.

    Returns:
        Counts in steps of 1/:data:`~pellucid.privacy.mechanism.FINE`.
    """
    import numpy as np

    if not ranked:
        right = int((predictions.predicted == predictions.labels).sum())
        return np.array([len(predictions) - right, right], dtype=np.int64) * FINE
    (vector,) = of_model("", ranked=True).vectors
    bins = np.searchsorted(np.asarray(vector.edges), predictions.logits, side="right")
    places = predictions.labels * (len(vector.edges) + 1) + bins
    return np.bincount(places, minlength=vector.size).astype(np.int64) * FINE
