"""What becomes of the score of a row as its fields go to the baseline, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.explain.answers import CHUNK, outputs, pick
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import Floats

__all__ = ["Curves", "backwards"]

CELLS: Final = 1 << 24  # numbers in the rows of one forward pass


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Curves:
    """Scores of rows as their fields go, after ``removed`` fields each time.

    Attributes:
        model: A :func:`pellucid.explain.model.frozen` model.
        x: (N, …).
        baseline: (…) of one row.
        fields: The slots of a flattened row that belong to each field.
        target: The class whose logit is the score; for two classes None is the log-odds of class 1.
        removed: (points,) numbers of fields, rising from 0 to all of them.
    """

    model: nn.Module
    x: Tensor
    baseline: Tensor
    fields: Fields
    target: int | None
    removed: npt.NDArray[np.int64]

    def of(self, places: npt.NDArray[np.int64]) -> Floats:
        """Scores (N, points) when the field with the lowest of ``places`` (N, fields) goes first."""
        owner = np.empty(self.fields.width, dtype=np.int64)
        for number, group in enumerate(self.fields.slots):
            owner[list(group)] = number
        flat, start = self.x.reshape(len(self.x), -1), self.baseline.reshape(-1)
        chunk = max(1, min(CHUNK, CELLS // self.fields.width) // len(self.removed))
        parts = []
        for row in range(0, len(flat), chunk):
            gone = places[row : row + chunk, None, :] < self.removed[None, :, None]
            slots = torch.from_numpy(gone[:, :, owner]).to(flat.device)
            moved = torch.where(slots, start.to(flat.device), flat[row : row + chunk, None, :])
            asked = moved.reshape(-1, *self.x.shape[1:])
            scores = pick(outputs(self.model, asked), self.target)
            parts.append(scores.numpy().reshape(-1, len(self.removed)))
        return np.concatenate(parts)

    def area(self, heights: Floats) -> Floats:
        """Area under each row of ``heights`` (N, points) over the share of fields removed: (N,)."""
        steps = np.diff(self.removed) / self.removed[-1]
        found: Floats = ((heights[:, 1:] + heights[:, :-1]) / 2.0) @ steps
        return found


def backwards(curve: Floats, removed: npt.NDArray[np.int64]) -> Floats:
    """A curve over fields removed, read from its end: over fields brought back, at the same shares."""
    found: Floats = np.interp(removed, removed[-1] - removed[::-1], curve[::-1])
    return found
