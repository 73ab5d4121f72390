"""DP-SGD around a loop that stays the user's own; the only door to Opacus.

Abadi et al. (2016, arXiv 1607.00133): per-example gradients, clipped to L2 norm C, summed, Gaussian noise of standard
deviation sigma·C added, divided by the expected batch. Opacus computes the per-example gradients; sampling, clipping,
noise and the count of steps are ours, and nothing but this engine may move the weights in between.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.functorch import prepare_layer
from opacus.layers.dp_rnn import DPGRU, DPLSTM, DPRNN
from opacus.optimizers import DPOptimizer
from torch import nn

from pellucid.errors import BadData, Misuse, UnsupportedModel
from pellucid.train.batches import Batches
from pellucid.train.clipping import clipped_sum, per_example
from pellucid.train.guards import check_hooks, check_model, check_numbers, check_optimizer, check_plan
from pellucid.train.inputs import InputGuard
from pellucid.train.noise import Noise, SecureNoise
from pellucid.train.probe import check_gradients

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["ENGINE", "PrivateModel", "PrivateOptimizer", "private", "standard"]

ENGINE: Final = f"opacus {metadata.version('opacus')} hooks, AES-256-CTR noise and sampling"


def private(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    on_step: Callable[[int], None] | None = None,
    noise: Noise | None = None,
) -> tuple[PrivateModel, PrivateOptimizer, Batches]:
    """Make a model and its optimizer private, and the batches they learn from.

    The loop stays the user's own, with the usual losses that average over the batch::

        for x, y in batches:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()

    ``batches`` yields exactly ``plan.steps`` Poisson samples, and each must be followed by exactly one step. When a
    sample is empty, one made-up row stands in for it, and its gradient is replaced by zero before noise is added. An
    example whose gradient is not finite counts as zero. The model takes exactly the rows of the batch, at most cast or
    moved to a device: each row must be one person's, so whatever changes rows belongs inside the module.

    Args:
        model: Takes ``(B, *x.shape[1:])`` and gives one row of floats for each row. Is put into training mode.
        optimizer: A fresh one of ``torch.optim``, over all trainable parameters of ``model``.
        plan: Sample rate, clip, noise multiplier, steps and normaliser.
        x: Inputs of the training people, ``(N, …)``; N is private.
        y: Targets, ``(N, …)``.
        on_step: Called with the number of steps taken after each.
        noise: Where noise comes from; a cryptographically secure source unless tests open an Unsafe door.

    Returns:
        The model to call, the optimizer to step, and the batches.

    Raises:
        UnsupportedModel: The model couples rows, learns from data in a buffer, or its per-example gradients are not
            what autograd says. Names the layer or parameter and the remedy.
        Misuse: The optimizer is not a fresh one over exactly this model, has step hooks, or either is private already.
        BadData: ``x`` and ``y`` do not belong together.
    """
    if len(x) != len(y) or len(x) == 0:
        raise BadData("inputs and targets must have the same number of rows, at least one", where="x and y")
    check_optimizer(model, optimizer)
    shape = tuple(x.shape[1:])
    check_model(model, shape, x.dtype)
    _check_layers(model)
    wrapped = PrivateModel(model)
    try:
        check_gradients(wrapped, shape, x.dtype)
    except BaseException:
        wrapped.to_standard_module()
        raise
    model.train()
    batches = Batches(wrapped, plan, x, y, noise or SecureNoise(), on_step)
    return wrapped, PrivateOptimizer(optimizer, plan, batches), batches


def standard(model: nn.Module) -> nn.Module:
    """A plain copy of a private model: no hooks, no per-example gradients, evaluation mode. The original goes on."""
    plain = copy.deepcopy(model)
    if isinstance(plain, PrivateModel):
        plain = plain.to_standard_module()
    for parameter in plain.parameters():
        parameter.grad = None
    return plain.eval()


class PrivateModel(GradSampleModule):  # type: ignore[misc]  # Opacus carries no types
    """The user's model, with per-example gradients in ``parameter.grad_sample`` after a backward pass.

    Gradients are caught at the output tensors of the layers, not by full backward hooks: this is cheaper, does not
    warn about inputs without gradient, and survives in-place activations (Opacus issue 828).
    """

    def __init__(self, model: nn.Module) -> None:
        # not strict: strict refuses every buffer; ours refuses those that learn
        super().__init__(model, loss_reduction="mean", strict=False)

    def add_hooks(
        self, *, loss_reduction: str = "mean", batch_first: bool = True, force_functorch: bool = False
    ) -> None:
        """Catch activations and output gradients of every layer that has parameters of its own."""
        inputs = self._inputs = InputGuard()

        def catch(module: nn.Module, args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) else output
            recording = self.hooks_enabled and module.training and torch.is_grad_enabled()
            if recording and isinstance(first, torch.Tensor) and first.requires_grad:
                token = inputs.admit()
                self.capture_activations_hook(module, args, output)

                def back(gradient: torch.Tensor) -> None:
                    inputs.recall(token)
                    self.capture_backprops_hook(module, None, (gradient,), loss_reduction, batch_first)

                first.register_hook(back)  # type: ignore[no-untyped-call]  # torch carries no type here

        # on the user's module, so that it makes no difference whether it is called directly or through this one
        handles = [self._module.register_forward_pre_hook(inputs.enter, with_kwargs=True)]
        self._module.autograd_grad_sample_hooks = self.autograd_grad_sample_hooks = handles
        for module in self.iterate_submodules(self._module):
            if type(module) in (DPRNN, DPLSTM, DPGRU):  # their RNNLinear parts are caught instead
                continue
            if force_functorch or type(module) not in self.GRAD_SAMPLERS:
                prepare_layer(module, batch_first=batch_first)
            handles.append(module.register_forward_hook(catch))
        handles.append(self._module.register_forward_hook(inputs.leave, always_call=True))
        self.enable_hooks()

    def expect(self, rows: torch.Tensor | None) -> None:
        """Admit gradients of exactly these rows, or, with None, of any until the next batch, which drops them."""
        self._inputs.expect(rows)

    def forget(self) -> None:
        """Drop what forward and backward passes left behind."""
        for module in self._module.modules():
            vars(module).pop("activations", None)
            vars(module).pop("max_batch_len", None)
        for parameter in self._module.parameters():
            parameter.grad_sample = None
            parameter._forward_counter = 0
            vars(parameter).pop("_current_grad_sample", None)

    def to_standard_module(self) -> nn.Module:
        """The user's model again, without hooks."""
        self.forget()
        self.remove_hooks()
        for parameter in self._module.parameters():
            for name in ("grad_sample", "_forward_counter"):
                vars(parameter).pop(name, None)
        return self._module  # type: ignore[no-any-return]  # Opacus carries no types


class PrivateOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus carries no types
    """The user's optimizer, stepping on clipped and noisy gradients only."""

    def __init__(self, optimizer: torch.optim.Optimizer, plan: Plan, batches: Batches) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip,
            expected_batch_size=plan.normaliser,
            loss_reduction="mean",
        )
        self._plan = plan
        self._batches = batches

    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Clip, sum, add noise, divide by the expected batch, and let the user's optimizer step.

        Raises:
            Misuse: There is no batch to step on, no or more than one backward pass, the weights were changed outside,
                there are step hooks, or the noise multiplier, clip or expected batch is no longer the plan's.
            UnsupportedModel: A per-example gradient is not there for every row of the batch.
        """
        if closure is not None:
            raise Misuse("a closure would look at the data again", where="optimizer.step", fix="call step() without")
        with self._batches.lock:
            self._step()

    def _step(self) -> None:
        rows, empty = self._batches.begin_step()
        check_hooks(self.original_optimizer)
        check_numbers(self.original_optimizer)
        plan = self._plan
        check_plan(self, plan)
        gradients = per_example(self.params, rows)
        summed = clipped_sum(gradients, self.params, plan.clip, empty)
        std = plan.noise_multiplier * plan.clip
        noisy = summed.add_(self._batches.noise.normals(len(summed)), alpha=std).div_(plan.normaliser)
        place = 0
        for p in self.params:
            p.grad = noisy[place : place + p.numel()].view(p.shape).to(p.dtype)
            place += p.numel()
        self._batches.count_step()
        self.original_optimizer.step()
        self._batches.end_step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear gradients and per-example gradients."""
        for p in self.params:
            p.grad_sample = None
        self.original_optimizer.zero_grad(set_to_none)

    def attach_step_hook(self, fn: Callable[[DPOptimizer], None]) -> None:
        """Refused: steps are counted by the engine, and a hook could look at gradients before noise."""
        raise Misuse("hooks are not admitted here", where="optimizer.attach_step_hook", fix="use on_step of private()")

    register_step_pre_hook = register_step_post_hook = attach_step_hook

    def signal_skip_step(self, do_skip: bool = True) -> None:
        """Refused: a step that is skipped is a step that nobody accounts."""
        raise Misuse("a step cannot be skipped", where="optimizer.signal_skip_step", fix="choose a smaller batch")


def _check_layers(model: nn.Module) -> None:
    """Layers that Opacus differentiates by functorch may hold no buffer of their own.

    Raises:
        UnsupportedModel: One does; named.
    """
    for name, module in model.named_modules():
        own = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        known = type(module) in PrivateModel.GRAD_SAMPLERS or type(module) in (DPRNN, DPLSTM, DPGRU)
        if own and not known and next(module.buffers(), None) is not None:
            raise UnsupportedModel(
                "a layer with parameters of its own also holds a buffer, and cannot be differentiated by example",
                where=f"{name or 'the model'} ({type(module).__name__})",
                fix="hold the buffer in a module around the layer",
            )
