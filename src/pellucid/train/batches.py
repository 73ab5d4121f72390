"""The batches of a run, and the rule that each is followed by exactly one step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from pellucid.errors import BudgetExhausted, Misuse
from pellucid.train.drawing import drawing
from pellucid.train.inputs import leaves, mapped
from pellucid.train.noise import Noise, SecureNoise
from pellucid.train.persons import MADE_UP, Persons
from pellucid.train.probe import generated_tree
from pellucid.train.state import StateGuard

if TYPE_CHECKING:
    from torch import nn

    from pellucid.privacy import Plan
    from pellucid.train.recorder import Recorder

__all__ = ["Augment", "Batches"]

Augment = Callable[[torch.Tensor], torch.Tensor]


class Batches:
    """The plan's Poisson samples of the data, each to be followed by exactly one step. An iterator, used once.

    Attributes:
        lock: Held while a batch is drawn or a step is taken, so that threads cannot step twice on one batch.
    """

    def __init__(
        self,
        model: nn.Module,
        recorder: Recorder,
        plan: Plan,
        x: Any,
        y: Any,
        noise: Noise,
        *,
        augment: Augment | None = None,
        on_step: Callable[[int], None] | None = None,
        start: int = 0,
        persons: Persons | None = None,
    ) -> None:
        self.lock = threading.RLock()  # re-entrant, because on_step may close the run
        self._steps = plan.steps
        self._taken = start
        self._noise = noise
        self._recorder = recorder
        self._x, self._y = x, y
        self._views = plan.augmentations
        self._augment = augment
        self._persons = persons
        self._drawing = drawing(len(leaves(x)[0]) if persons is None else len(persons), plan)
        self._on_step = on_step
        self._guard = StateGuard(model)
        self._drawn: int | None = None  # rows of the batch that waits for its step
        self._empty = False
        self._closed = False
        self._halted: str | None = None
        self._cut_short: Misuse | None = None
        self.drop: Callable[[], None] = lambda: None

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

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self

    def __next__(self) -> tuple[Any, Any]:
        with self.lock:
            return self._next()

    def _next(self) -> tuple[Any, Any]:
        if self._drawn is not None:
            raise Misuse(
                "the next batch was asked for before a step was taken on the last one",
                where="batches",
                fix="call optimizer.step() exactly once for each batch",
            )
        self._guard.check()
        if self._halted is not None:
            raise BudgetExhausted(self._halted, where="batches", fix="the run keeps its model and settles what it took")
        if self._cut_short is not None:
            raise self._cut_short
        if self._closed or self.steps_taken >= self.steps:
            raise BudgetExhausted(
                f"the run is over after {self.steps_taken} of {self.steps} steps",
                where="batches",
                fix="take a new run with a plan of its own for further steps",
            )
        index, counts = self._drawing.draw(self.steps_taken), None
        self.drop()
        self._empty = len(index) == 0
        if self._persons is not None:
            index, counts = (index, MADE_UP) if self._empty else self._persons.rows_of(index)
        if self._empty:
            x = generated_tree(self._x, 1)
            y = mapped(lambda leaf: torch.zeros_like(leaf[:1]), self._y)
        else:
            x, y = (mapped(lambda leaf: leaf.index_select(0, index), tree) for tree in (self._x, self._y))
        if self._views > 1:
            x, y = (mapped(lambda leaf: leaf.repeat_interleave(self._views, 0), tree) for tree in (x, y))
            if self._augment is not None:
                x = mapped(self._augment, x)
        self._recorder.expect(x, counts)
        self._drawn = len(leaves(x)[0])
        return x, y

    def halt(self, why: str) -> None:
        """No further batch, for a reason that is not the plan's end: a loop over batches ends after this step."""
        with self.lock:
            self._halted = why

    def cut_short(self, problem: Misuse) -> None:
        """The run was ended before its plan was: ``problem`` is for a loop that goes on all the same.

        A loop that was left never asks again; one that does would end as if all steps had been taken.
        """
        with self.lock:
            self._cut_short = problem

    def close(self) -> None:
        """End the run: no further batch, no further step.

        Raises:
            Misuse: The weights were changed outside the private optimizer.
        """
        with self.lock:
            self._closed = True
            self._drawn = None
            self._recorder.expect(None)
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
        self._recorder.expect(None)
        if self._on_step is not None:
            self._on_step(self.steps_taken)
