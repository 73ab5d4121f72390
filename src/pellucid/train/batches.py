"""The batches of a run, and the rule that each is followed by exactly one step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from pellucid.errors import Misuse
from pellucid.train.noise import Noise, SecureNoise
from pellucid.train.probe import PerExample, generated
from pellucid.train.sampling import PoissonSampler
from pellucid.train.state import StateGuard

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["Batches"]


class Batches:
    """The plan's Poisson samples of the data, each to be followed by exactly one step. An iterator, used once.

    Attributes:
        lock: Held while a batch is drawn or a step is taken, so that threads cannot step twice on one batch.
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
        self.lock = threading.RLock()  # re-entrant, because on_step may close the run
        self._steps = plan.steps
        self._taken = 0
        self._noise = noise
        self._model = model
        self._x, self._y = x, y
        self._sampler = PoissonSampler(len(x), plan.sample_rate, plan.steps)
        self._on_step = on_step
        self._guard = StateGuard(model)
        self._drawn: int | None = None  # rows of the batch that waits for its step
        self._empty = False
        self._closed = False

    @property
    def steps(self) -> int:
        """How many steps the plan has."""
        return self._steps

    @property
    def steps_taken(self) -> int:
        """How many steps were taken; counted before the weights move, so never too few."""
        return self._taken

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Names of the Unsafe doors that were opened for this run; empty in earnest."""
        return () if isinstance(self._noise, SecureNoise) else (type(self._noise).__name__,)

    @property
    def noise(self) -> Noise:
        """For the optimizer: where noise comes from."""
        return self._noise

    def __repr__(self) -> str:
        return f"Batches(steps={self.steps}, steps_taken={self.steps_taken})"

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        with self.lock:
            return self._next()

    def _next(self) -> tuple[torch.Tensor, torch.Tensor]:
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
            rows, targets = generated(tuple(self._x.shape[1:]), self._x.dtype, 1), torch.zeros_like(self._y[:1])
        else:
            rows, targets = self._x[index], self._y[index]
        self._model.expect(rows)
        self._drawn = len(rows)
        return rows, targets

    def close(self) -> None:
        """End the run: no further batch, no further step.

        Raises:
            Misuse: The weights were changed outside the private optimizer.
        """
        with self.lock:
            self._closed = True
            self._drawn = None
            self._model.expect(None)
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
        self._taken += 1
        self._drawn = None

    def end_step(self) -> None:
        """For the optimizer: the weights have moved."""
        self._guard.remember()
        self._model.forget()
        self._model.expect(None)
        if self._on_step is not None:
            self._on_step(self.steps_taken)
