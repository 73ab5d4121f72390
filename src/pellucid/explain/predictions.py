"""Score held-out people once; every question about errors is then asked of the scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import round_down
from pellucid.explain.answers import CHUNK, outputs
from pellucid.explain.inputs import check_numbers_or_tokens
from pellucid.explain.intervals import MINIMUM_CELL, Floats
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady

__all__ = ["Predictions", "check_labels", "predict"]


SUM: Final = 1e-6  # what float32 leaves of a sum of probabilities


class Predictions:
    """Logits and labels of N people. Both are private: ``repr`` shows only the rounded number of rows.

    Attributes:
        logits: (N,) log-odds of class 1 for two classes, also where they were handed over as (N, 1) or two logits
            (N, 2); (N, C) for more.
        labels: (N,) int64 in 0..classes-1.

    Raises:
        BadData: Shapes do not match, a logit is not finite, every row is made of probabilities, or a label is out of
            range.
    """

    __slots__ = ("labels", "logits")

    def __init__(self, logits: Floats, labels: npt.NDArray[np.int64]) -> None:
        found = np.asarray(logits)
        if found.dtype.kind not in "fiu" or found.ndim not in (1, 2) or 0 in found.shape:
            raise BadData("logits must be finite numbers, of shape (N,) or (N, classes)", where="logits")
        found = found.astype(np.float64)
        if found.ndim == 2 and _shares(found):
            raise BadData(
                "these are probabilities, each row from 0 to 1 with the sum 1: logits are needed, or softmax would be "
                "taken twice",
                where="logits",
                fix="hand over what enters the last softmax, or numpy.log(probabilities)",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            if found.ndim == 2 and found.shape[1] <= 2:
                found = found[:, -1] - (found[:, 0] if found.shape[1] == 2 else 0.0)
        if not np.isfinite(found).all():
            raise BadData("logits must be finite numbers, and so their differences", where="logits")
        check_labels(np.asarray(labels), len(found), 2 if found.ndim == 1 else found.shape[1])
        self.logits = found
        self.labels = np.asarray(labels).astype(np.int64)

    def __repr__(self) -> str:
        return f"Predictions(n={round_down(len(self))}, classes={self.classes})"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return 2 if self.logits.ndim == 1 else self.logits.shape[1]

    def values(self) -> dict[str, Any]:
        """What may be said of the scores themselves: how many people, rounded down to ten, and how many classes."""
        return {"n": round_down(len(self)), "classes": self.classes}

    def how(self) -> Mapping[str, Any]:
        """How the scores were made."""
        return {"score": "log-odds of class 1" if self.classes == 2 else "one logit a class", "data": "held-out split"}

    @property
    def probability(self) -> Floats:
        """(N,) probability of class 1, or (N, C) softmax."""
        if self.logits.ndim == 1:
            return np.exp(-np.logaddexp(0.0, -self.logits))
        shifted = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
        return found

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) the predicted class: 1 where the probability is above 0.5, or the most probable class."""
        if self.logits.ndim == 1:
            return (self.logits > 0).astype(np.int64)
        found: npt.NDArray[np.int64] = self.logits.argmax(axis=1).astype(np.int64)
        return found

    def require(self, question: str, *, two_classes: bool = True) -> None:
        """Check that there are enough people of every class to publish an answer to ``question``.

        Raises:
            BadData: One class only, or fewer than ten people of a class.
            UnsupportedModel: More than two classes where only two can be answered for.
        """
        if two_classes and self.classes != 2:
            raise UnsupportedModel(f"{question} is defined here for two classes, not {self.classes}", where="model")
        counts = np.bincount(self.labels, minlength=self.classes)
        if np.count_nonzero(counts) < 2:
            raise BadData(
                f"{question} needs people of both classes, and all held-out people are of one class",
                where="labels",
                fix="hold out a larger share of the data",
            )
        if counts.min() < MINIMUM_CELL:
            raise BadData(
                f"{question} would rest on fewer than {MINIMUM_CELL} held-out people of a class",
                where="labels",
                fix="hold out a larger share of the data; smaller cells are not published",
            )


def predict(model: nn.Module, x: Tensor, y: Tensor, *, chunk: int = CHUNK) -> Predictions:
    """Score ``x`` with a copy of ``model`` in eval mode.

    Args:
        model: Returns logits (N,), (N, 1) or (N, classes). It is not touched.
        x: (N, …) float32, finite; or token ids (N, T) int64.
        y: (N,) int64 class numbers.
        chunk: Rows a forward pass; changes speed and memory, not the result beyond rounding.

    Raises:
        BadData: Wrong type, shape or range, or NaN.
        UnsupportedModel: The model is random in eval mode, mixes rows, or returns something else than logits.
    """
    check_numbers_or_tokens(x)
    if getattr(y, "dtype", None) != torch.int64:  # also what is no tensor at all
        raise BadData("y must be an int64 tensor of class numbers", where="y", fix="explain a classifier")
    twin = frozen(model)
    steady(twin, x)
    return Predictions(outputs(twin, x, chunk=chunk).numpy(), y.cpu().numpy())


def _shares(found: Floats) -> bool:
    """Whether every row (N, classes) lies in [0, 1] and sums to 1, as what a softmax returns does."""
    inside = bool((found >= 0).all()) and bool((found <= 1).all())
    return inside and found.shape[1] > 1 and bool((np.abs(found.sum(axis=1) - 1) <= SUM).all())


def check_labels(labels: npt.NDArray[np.int64], rows: int, classes: int) -> None:
    """Check that ``labels`` is (rows,) of integers in 0..classes-1.

    Raises:
        BadData: It is not; no label is shown.
    """
    if labels.shape != (rows,) or rows == 0:
        raise BadData("labels must be one number a row, of as many rows as there are", where="labels")
    if labels.dtype.kind not in "iu":
        raise BadData("labels must be whole class numbers", where="labels")
    if labels.min() < 0 or labels.max() >= classes:
        raise BadData(
            f"labels must be in 0..{classes - 1}, the classes the model answers for",
            where="labels",
            fix="train the model on this target",
        )
