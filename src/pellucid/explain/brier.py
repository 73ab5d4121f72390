"""The Brier score: how far predicted probabilities are from outcomes in the mean, and what that is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.evidence import round_down
from pellucid.explain.intervals import Floats, Mean, Z, mean, step
from pellucid.explain.predictions import Predictions
from pellucid.explain.reliability import bin_edges

__all__ = ["BrierSplit", "brier", "brier_split", "brier_terms"]


@dataclass(frozen=True, slots=True)
class BrierSplit:
    """The Brier score taken apart: brier = reliability - resolution + uncertainty + within_bins, but for rounding.

    Attributes:
        reliability: Mean squared distance of predicted and observed share over bins; 0 is perfect calibration.
        resolution: Variance of the observed share over bins; higher tells people apart better.
        uncertainty: Variance of the outcome itself, which no model can lower.
        within_bins: Variance of predictions inside bins less twice their covariance with the outcome there.
    """

    reliability: Mean
    resolution: Mean
    uncertainty: Mean
    within_bins: Mean

    def values(self) -> dict[str, Any]:
        """The record of the split."""
        return {name: getattr(self, name).values() for name in self.__dataclass_fields__}


def brier(predictions: Predictions) -> Mean:
    """The mean squared error of the probabilities, over more than two classes summed over classes."""
    if predictions.classes == 2:
        return mean((predictions.probability - predictions.labels) ** 2, low=0.0, high=1.0)
    return mean(((predictions.probability - _indicators(predictions)) ** 2).sum(axis=1), low=0.0, high=2.0)


def _indicators(predictions: Predictions) -> Floats:
    found: Floats = np.eye(predictions.classes)[predictions.labels]
    return found


def brier_split(predictions: Predictions, resamples: int, rng: np.random.Generator) -> BrierSplit:
    """The Brier score taken apart over the bins of :func:`bin_edges`, with intervals over bootstrap resamples."""
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
    # uncertainty is a function of the share of class 1, and as private as that
    grid = step(round_down(total))
    ends = zip(plain[:4], low, high, strict=True)
    return BrierSplit(*(Mean(float(v), float(a), float(b), round_down(total), grid) for v, a, b in ends))


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
