"""The user's optimizer, stepping on clipped and noisy gradients only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pellucid.errors import Misuse
from pellucid.train.clipping import Clipping, margin_for
from pellucid.train.contributions import Room
from pellucid.train.guards import check_hooks, check_numbers, check_plan
from pellucid.train.layers import owned_parameters
from pellucid.train.workers import shard_like

if TYPE_CHECKING:
    from pellucid.privacy import Plan
    from pellucid.train.batches import Batches
    from pellucid.train.recorder import Gradients, Recorder
    from pellucid.train.release import Release

__all__ = ["PrivateOptimizer"]

ROOM: Final = 224 << 20  # bytes for written-out gradients in a step


class PrivateOptimizer(torch.optim.Optimizer):
    """The user's optimizer, stepping on clipped and noisy gradients only.

    Attributes:
        noise_multiplier, max_grad_norm, expected_batch_size: The plan's; they cannot be changed.
        original_optimizer: The user's.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, plan: Plan, batches: Batches, recorder: Recorder, release: Release
    ) -> None:
        # not super().__init__: parameters, state and defaults are those of the user's optimizer
        self.original_optimizer = optimizer
        self.noise_multiplier = plan.noise_multiplier
        self.max_grad_norm = plan.clip
        self.expected_batch_size = plan.normaliser
        self._plan = plan
        self._batches = batches
        self._recorder = recorder
        self._release = release
        self._parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        kind = torch.float64 if any(p.dtype == torch.float64 for p in self._parameters) else torch.float32
        margin = margin_for(plan.batch, kind)
        self._clipping = Clipping(plan.clipping, plan.clip, _layers(recorder.module, self._parameters), margin)
        device = self._parameters[0].device
        self._flat = torch.zeros(sum(p.numel() for p in self._parameters), dtype=kind, device=device)
        sizes = [p.numel() for p in self._parameters]
        parts = torch.split(self._flat, sizes)
        self._views = [part.view(p.shape) for part, p in zip(parts, self._parameters, strict=True)]
        self._chunked = False
        self._room = Room(ROOM, lasting=True)
        recorder.consume = self._consume

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The user's parameter groups."""
        return self.original_optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.original_optimizer.param_groups = groups

    @property
    def state(self) -> Any:
        """The user's optimizer's state: it has seen noisy gradients only."""
        return self.original_optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        self.original_optimizer.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        """The user's defaults."""
        return self.original_optimizer.defaults

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.original_optimizer.defaults = defaults

    @property
    def clip(self) -> float:
        """The clip of the next step: the plan's, or where adaptive clipping has taken it."""
        return self._clipping.clip

    def resume_clip(self, clip: float) -> None:
        """Where adaptive clipping had got to in the run that this one resumes.

        Raises:
            Misuse: The clip of this plan does not move, or the value is not above 0 and finite.
        """
        if not (math.isfinite(clip) and clip > 0) or (self._plan.clipping != "adaptive" and clip != self._plan.clip):
            raise Misuse("the clip is not one that this plan could have got to", where="clip")
        self._clipping.clip = clip

    def __repr__(self) -> str:
        return f"PrivateOptimizer({type(self.original_optimizer).__name__})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Misuse("a private optimizer cannot be copied or pickled", where="optimizer", fix="save its state_dict()")

    def state_dict(self) -> dict[str, Any]:
        """Of the user's optimizer."""
        return self.original_optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refused: a state from elsewhere may hold what was never accounted."""
        raise Misuse(
            "an optimizer's state cannot be put in from outside", where="optimizer", fix="resume the run instead"
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: the parameters of a run are fixed."""
        raise Misuse("the parameters of a run are fixed", where="optimizer", fix="give them to the optimizer before")

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure, no loss
        """Clip, sum, add noise, divide by the expected batch, and let the user's optimizer step.

        Raises:
            Misuse: There is no batch to step on, no or more than one backward pass, the weights were changed outside,
                there are step hooks, or the noise multiplier, clip or expected batch is no longer the plan's.
            UnsupportedModel: The gradients cannot be taken apart by example.
        """
        if closure is not None:
            raise Misuse("a closure would look at the data again", where="optimizer.step", fix="call step() without")
        with self._batches.lock, torch.no_grad():
            self._step()

    def _step(self) -> None:
        rows, empty = self._batches.begin_step()
        check_hooks(self.original_optimizer)
        check_numbers(self.original_optimizer)
        check_plan(self, self._plan)
        self._recorder.check()
        self._sum(rows, empty)
        self._release.make(self._flat, self._clipping)
        for p, view in zip(self._parameters, self._views, strict=True):
            p.grad = view if type(p) is nn.Parameter and p.dtype == view.dtype else shard_like(view.to(p.dtype), p)
        self._batches.count_step()
        self.original_optimizer.step()
        self._batches.end_step()

    def _sum(self, rows: int, empty: bool) -> None:
        """The clipped sum of the batch into the flat buffer.

        Raises:
            Misuse: Nothing, too much, or something else was differentiated.
        """
        recorder = self._recorder
        for p in self._parameters:
            if p.grad is not None:
                raise Misuse(
                    "a gradient that was not clipped has reached this parameter",
                    where=self._name(p),
                    fix="compute the loss from nothing but what model(x) gives in training mode; weight decay belongs "
                    "into the optimizer",
                )
        if not recorder.units:
            raise Misuse(
                "there is no gradient to step on",
                where="optimizer.step",
                fix="call model(x) of the private model in training mode and loss.backward() once for each batch; use "
                "torch.no_grad() for any other pass",
            )
        if recorder.backward_passes > 1:
            raise Misuse(
                "more than one backward pass since the last step",
                where="optimizer.step",
                fix="call loss.backward() exactly once for each batch",
            )
        if recorder.units * recorder.views != rows:
            raise Misuse(
                "the gradients are not those of the rows that batches gave",
                where="optimizer.step",
                fix="call the model on exactly the rows of the batch",
            )
        if not self._chunked:
            self._clipping.sums(
                self._parameters, recorder.gradients(), self._views, self._emptied(), empty=empty, fresh=True
            )
        elif empty:
            self._flat.zero_()
        self._chunked = False

    def _consume(self, gradients: Gradients) -> None:
        """Clip and add the gradients of one chunk of a batch."""
        self._clipping.sums(self._parameters, gradients, self._views, self._emptied(), fresh=not self._chunked)
        self._chunked = True

    def _emptied(self) -> Room:
        """The room, whose memory is kept from step to step: fresh pages cost as much as what is written to them."""
        self._room.clear()
        return self._room

    def drop(self) -> None:
        """For the batches: nothing is left of an earlier batch."""
        self._chunked = False
        for p in self._parameters:
            p.grad = None

    def _name(self, parameter: nn.Parameter) -> str:
        return next(name for name, p in self._recorder.module.named_parameters() if p is parameter)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear gradients; to None, whatever is asked for."""
        for p in self._parameters:
            p.grad = None

    def attach_step_hook(self, fn: Callable[[Any], None]) -> Any:
        """Refused: steps are counted by the engine, and a hook could look at gradients before noise."""
        raise Misuse("hooks are not admitted here", where="optimizer.attach_step_hook", fix="use on_step of private()")

    register_step_pre_hook = register_step_post_hook = attach_step_hook  # type: ignore[assignment]  # refuses any

    def signal_skip_step(self, do_skip: bool = True) -> None:
        """Refused: a step that is skipped is a step that nobody accounts."""
        raise Misuse("a step cannot be skipped", where="optimizer.signal_skip_step", fix="choose a smaller batch")


def _layers(module: nn.Module, parameters: list[nn.Parameter]) -> list[int]:
    """By parameter, the number of the first layer that uses it, counted from 0 without gaps."""
    first: dict[nn.Parameter, int] = {}
    for number, layer in enumerate(module.modules()):
        for p in owned_parameters(layer).values():
            first.setdefault(p, number)
    numbers = sorted({first[p] for p in parameters})
    return [numbers.index(first[p]) for p in parameters]
