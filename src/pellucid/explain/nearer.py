"""The search for a row with another decision that is near to a person's: steps, draws, and drawing back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.explain.answers import outputs
from pellucid.explain.intervals import Floats
from pellucid.explain.moves import Movable

__all__ = ["Search"]

BATCH: Final = 256
HALVINGS: Final = 12
MOVED: Final = 4
BEYOND: Final = 1e-3  # how far past the border a row must be, as a share of the way to it: rounding cannot undo it


class _Spent(Exception):
    """No budget or no time is left."""


class Search:
    """Rows with another decision, nearer and nearer, until budget or time are spent."""

    def __init__(
        self,
        model: nn.Module,
        row: Tensor,
        columns: list[Movable],
        decision: int,
        target: int | None,
        budget: int,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self.model, self.row, self.columns = model, row, columns
        self.decision, self.target = decision, target
        self.budget, self.deadline, self.clock = budget, deadline, clock
        self.asked, self.border = 0, math.inf
        self.best: Tensor | None = None
        self.least = math.inf
        options = [(column.place, option) for column in columns for option in column.candidates()]
        self.chosen = torch.zeros((len(options), len(row)), dtype=torch.bool)
        self.option = torch.zeros((len(options), len(row)), dtype=torch.float32)
        for number, (place, option) in enumerate(options):
            self.chosen[number, place] = True
            self.option[number, place] = torch.from_numpy(option.astype(np.float32))

    def run(self, rng: np.random.Generator) -> None:
        """Search until budget or time are spent; what was found is in ``best``."""
        try:
            self.border = BEYOND * abs(float(self.ask(self.row[None])[0]))
            if len(self.option):
                self.greedy()
                for _ in range(1 + self.budget // BATCH):
                    self.random(rng)
        except _Spent:
            return

    def ask(self, rows: Tensor) -> Floats:
        """By row, how far on the wanted side of the border it is; negative on the present side."""
        found = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH][: self.budget - self.asked]
            if not len(part) or self.clock() >= self.deadline:
                raise _Spent
            self.asked += len(part)
            logits = outputs(self.model, part)
            if logits.ndim == 1:
                margin = logits if self.decision == 0 else -logits
            else:
                wanted = torch.zeros(logits.shape[1], dtype=torch.bool)
                wanted[[c for c in range(logits.shape[1]) if c == self.target or self.target is None]] = True
                wanted[self.decision] = False
                margin = logits[:, wanted].amax(dim=1) - logits[:, ~wanted].amax(dim=1)
            self.keep(part, margin)
            found.append(margin.numpy())
        return np.concatenate(found)

    def keep(self, rows: Tensor, margin: Tensor) -> None:
        """Remember the nearest row of those that are over the border."""
        over = rows[margin > self.border]
        if len(over):
            far = self.distance(over)
            if far.min() < self.least:
                self.best, self.least = over[int(far.argmin())].clone(), float(far.min())

    def distance(self, rows: Tensor) -> Floats:
        """How far ``rows`` (n, width) are from the person's, in declared ranges: (n,)."""
        return sum((c.distance(rows[:, c.place].numpy()) for c in self.columns), np.zeros(len(rows)))

    def greedy(self) -> None:
        """The steepest move of one column after the other, until the border is crossed or no move helps."""
        here, height = self.row, -math.inf
        for _ in self.columns:
            rows = torch.where(self.chosen, self.option, here)
            margin = self.ask(rows)
            if self.best is not None:
                self.tighten()
                return
            if margin.max() <= height:
                return
            here, height = rows[int(margin.argmax())], float(margin.max())

    def random(self, rng: np.random.Generator) -> None:
        """A batch of rows with a few columns changed at random, none of them further than the best."""
        rows = self.row.expand(BATCH, -1)
        several = rng.integers(1, 1 + MOVED, BATCH)
        for turn in range(MOVED):
            move = torch.from_numpy(rng.integers(0, len(self.option), BATCH))
            rows = torch.where(self.chosen[move] & torch.from_numpy(several > turn)[:, None], self.option[move], rows)
        if self.best is not None:
            self.draw(rows, rng.random(BATCH))
        far, before = self.distance(rows), self.least
        near = rows[torch.from_numpy((far > 0) & (far < before))]
        if len(near):
            self.ask(near)
        if self.least < before:
            self.tighten()

    def draw(self, rows: Tensor, share: Floats) -> None:
        """Move the changed numbers of ``rows`` to ``share`` (n,) of their way from the person's."""
        for column in (column for column in self.columns if column.number):
            start, there = column.present[0], rows[:, column.place.start].double().numpy()
            drawn = np.where(there == start, start, column.snap(start + share * (there - start)))
            rows[:, column.place.start] = torch.from_numpy(drawn.astype(np.float32))

    def tighten(self) -> None:
        """Draw the best row back towards the person, one column after the other, as far as it stays over the border."""
        for column in sorted(self.columns, key=lambda one: -self.left(one)):
            if self.left(column) == 0:
                continue
            back = self.nearest().clone()
            back[column.place] = self.row[column.place]
            if self.ask(back[None])[0] > self.border or not column.number:
                continue
            inside, outside = float(column.present[0]), float(self.nearest()[column.place.start])
            for _ in range(HALVINGS):
                middle = self.nearest().clone()
                value = float(column.snap(np.array([(inside + outside) / 2]))[0])
                if value in (inside, outside):
                    break
                middle[column.place.start] = value
                if self.ask(middle[None])[0] > self.border:
                    outside = value
                else:
                    inside = value

    def nearest(self) -> Tensor:
        """The best row so far; the person's own before there is one."""
        return self.row if self.best is None else self.best

    def left(self, column: Movable) -> float:
        """How far the best row is from the person in one column."""
        return float(column.distance(self.nearest()[None, column.place].numpy())[0])
