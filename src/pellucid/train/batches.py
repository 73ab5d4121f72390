"""The batches of a run, and the rule that each is followed by exactly one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from pellucid.errors import Misuse
from pellucid.train.guards import StateGuard
from pellucid.train.noise import Noise, SecureNoise
from pellucid.train.probe import PerExample, generated
from pellucid.train.sampling import PoissonSampler

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["Batches"]


class Batches:
    """The plan's Poisson samples of the data, each to be followed by exactly one step. An iterator, used once.

    Attributes:
        steps: How many steps the plan has.
        steps_taken: How many were taken; counted before the weights move, so never too few.
        unsafe: Names of the Unsafe doors that were opened for this run; empty in earnest.
    """

    def __init__(
        self,
        model: PerExample,
        plan: Plan,
        x: torch.Tensor,
        y: torch.Tensor,
        noise: Noise,
        on_step: Callable[[int], None] | None,
    ) -> None:
        self.steps = plan.steps
        self.steps_taken = 0
        door = type(noise).__name__
        self.unsafe: tuple[str, ...] = () if isinstance(noise, SecureNoise) else (door,)
        self.noise = noise
        self._model = model
        self._x, self._y = x, y
        self._sampler = PoissonSampler(len(x), plan.sample_rate, plan.steps)
        self._on_step = on_step
        self._guard = StateGuard(model)
        self._drawn: int | None = None  # rows of the batch that waits for its step
        self._empty = False
        self._closed = False

    def __repr__(self) -> str:
        return f"Batches(steps={self.steps}, steps_taken={self.steps_taken})"

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._drawn is not None:
            raise Misuse(
                "the next batch was asked for before a step was taken on the last one",
                where="batches",
                fix="call optimizer.step() exactly once for each batch",
            )
        self._guard.check()
        if self._closed or self.steps_taken >= self.steps:
            raise StopIteration
        index = self._sampler.draw()
        self._model.forget()
        self._empty = len(index) == 0
        if self._empty:
            self._drawn = 1
            return generated(tuple(self._x.shape[1:]), self._x.dtype, 1), torch.zeros_like(self._y[:1])
        self._drawn = len(index)
        return self._x[index], self._y[index]

    def close(self) -> None:
        """End the run: no further batch, no further step.

        Raises:
            Misuse: The weights were changed outside the private optimizer.
        """
        self._closed = True
        self._drawn = None
        self._guard.check()

    def begin_step(self) -> tuple[int, bool]:
        """For the optimizer: rows of the batch and whether they are made up.

        Raises:
            Misuse: There is no batch to step on, or the weights were changed outside.
        """
        if self._closed or (self._drawn is None and self.steps_taken >= self.steps):
            raise Misuse(
                f"the run is over after {self.steps_taken} of {self.steps} steps",
                where="optimizer.step",
                fix="take a new run with a plan of its own for further steps",
            )
        if self._drawn is None:
            raise Misuse(
                "a step without a batch of its own",
                where="optimizer.step",
                fix="draw a batch from batches, and call optimizer.step() exactly once for it",
            )
        self._guard.check()
        return self._drawn, self._empty

    def count_step(self) -> None:
        """For the optimizer: from here on the step counts."""
        self.steps_taken += 1
        self._drawn = None

    def end_step(self) -> None:
        """For the optimizer: the weights have moved."""
        self._guard.remember()
        self._model.forget()
        if self._on_step is not None:
            self._on_step(self.steps_taken)
