"""What every method is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pellucid.explain.answers import outputs, pick
from pellucid.explain.attribution.completeness import Gap
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import Floats

__all__ = ["Answer", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """Rows of a frozen model to be explained.

    Attributes:
        model: As :func:`pellucid.explain.model.frozen` makes it.
        x: (N, …) rows: float32, or token ids.
        start: (M, …) baselines, M = 1 but where a method takes a distribution; (1, T) token ids, where -1 stands for
            the zero vector.
        fields: What is explained; its slots are those of a flattened row.
        target: The class, as :func:`pellucid.explain.model.pick` understands it.
        tolerance: The largest admissible completeness gap.
        steps: Points on a path to begin with.
        limit: Points on a path at most.
        draws: Draws a row to begin with, where the method draws.
        seed: Public; the draws follow from it.
    """

    model: nn.Module
    x: Tensor
    start: Tensor
    fields: Fields
    target: int | None
    tolerance: float
    steps: int
    limit: int
    draws: int
    seed: int

    def change(self) -> Floats:
        """(N,) f(x) less the mean of f over the baselines, which is what complete attributions sum to."""
        answers = [pick(outputs(self.model, rows), self.target) for rows in (self.x, self.start)]
        found: Floats = (answers[0] - answers[1].mean()).numpy()
        return found

    def marks(self) -> Tensor:
        """(1, …) of a row's shape: the number of the field that each slot belongs to."""
        mask = torch.empty(self.fields.width, dtype=torch.int64)
        for number, group in enumerate(self.fields.slots):
            mask[list(group)] = number
        return mask.reshape(1, *self.x.shape[1:])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method found.

    Attributes:
        rows: (N, fields) attributions.
        gap: What they miss by; None for methods that do not claim to add up.
        steps: Points on a path, 0 where there is none.
        draws: Draws a row, 0 where nothing is drawn.
        noise: (N, fields) standard errors of ``rows`` over the draws; None where nothing is drawn.
        precision: Of the arithmetic.
    """

    rows: Floats = field(repr=False)
    gap: Gap | None = None
    steps: int = 0
    draws: int = 0
    noise: Floats | None = field(default=None, repr=False)
    precision: str = "float32"
