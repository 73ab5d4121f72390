"""What must hold before the first step, and between steps, for the accountant's epsilon to be the truth.

Each guard names the layer or the parameter and says what to do. Guards before the start see the model, the optimizer
and generated rows, never a private one; guards before each step see the optimizer only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import optimizer as torch_optimizer

from pellucid.errors import Misuse, PellucidError, UnsupportedModel
from pellucid.train.probe import changed_state, coupled_rows, generated

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = ["check_hooks", "check_model", "check_numbers", "check_optimizer", "check_plan", "problems"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_NEEDS_MORE_THAN_GRADIENTS = (torch.optim.LBFGS, torch.optim.SparseAdam)


def problems(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[PellucidError]:
    """Everything that makes ``model`` unsound under DP-SGD, as errors that name the layer and the remedy.

    Args:
        model: Takes a tensor ``(rows, *shape)`` of ``dtype``, gives ``(rows, …)`` floats.
        shape: Shape of one row.
        dtype: Type of a row.

    Returns:
        No error means sound. The probes run only if no layer is unsound by its kind.
    """
    found: list[PellucidError] = []
    for name, module in model.named_modules():
        where = f"{name or 'the model'} ({type(module).__name__})"
        if isinstance(module, _BATCH_NORM):
            found.append(
                UnsupportedModel(
                    "batch normalisation mixes people with each other, and keeps their means, even when frozen",
                    where=where,
                    fix="use GroupNorm or LayerNorm",
                )
            )
        elif isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats:
            found.append(
                UnsupportedModel(
                    "running statistics learn from the data without noise",
                    where=where,
                    fix="set track_running_stats=False",
                )
            )
    found += [
        UnsupportedModel(
            "the parameter has no shape yet", where=name, fix="run one forward pass on made-up rows, or give the shapes"
        )
        for name, parameter in model.named_parameters()
        if isinstance(parameter, nn.parameter.UninitializedParameter)
    ]
    if not any(parameter.requires_grad for parameter in model.parameters()):
        found.append(UnsupportedModel("no parameter is trainable", where=type(model).__name__))
    return found or _probed(model, shape, dtype)


def _probed(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> list[PellucidError]:
    x = generated(shape, dtype)
    try:
        state = changed_state(model, x)
        if state is not None:
            return [
                UnsupportedModel(
                    "a training forward pass changes this tensor: it learns from the data without clipping and noise",
                    where=state,
                    fix="remove it, or fill it from public knowledge and keep it constant",
                )
            ]
        if coupled_rows(model, x):
            return [
                UnsupportedModel(
                    "the output for one row depends on the other rows of the batch, so one person's influence cannot "
                    "be bounded",
                    where=type(model).__name__,
                    fix="compute every row on its own: no mean, maximum, sort or attention over the batch",
                )
            ]
    except UnsupportedModel as error:
        return [error]
    return []


def check_model(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise the first of :func:`problems`.

    Raises:
        UnsupportedModel: The model is unsound under DP-SGD.
    """
    for problem in problems(model, shape, dtype):
        raise problem


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Hold the optimizer against the model, before the start.

    Raises:
        Misuse: It is not a fresh optimizer of ``torch.optim`` that steps on gradients alone, over exactly the trainable
            parameters of ``model``; it has step hooks; or model or optimizer is private already.
    """
    kind = type(optimizer).__name__
    if any(hasattr(parameter, "grad_sample") for parameter in model.parameters()):
        raise Misuse(
            "the model is private already: one model, one optimizer, one run",
            where=type(model).__name__,
            fix="put all parameters into one optimizer, or start another run with a new model",
        )
    if not type(optimizer).__module__.startswith("torch.optim") or isinstance(optimizer, _NEEDS_MORE_THAN_GRADIENTS):
        raise Misuse(
            "this optimizer may look at more than the noisy gradient",
            where=kind,
            fix="use torch.optim.SGD, Adam, AdamW or another of torch.optim that needs no closure",
        )
    if optimizer.state:
        raise Misuse(
            "the optimizer has stepped before, and its state may hold what was never accounted",
            where=kind,
            fix="make a new optimizer for the run",
        )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for parameter in model.parameters():
        if parameter.requires_grad and id(parameter) not in held:
            raise Misuse(
                "this trainable parameter is in no optimizer",
                where=names[id(parameter)],
                fix="give the optimizer model.parameters(), or freeze the parameter with requires_grad_(False)",
            )
    for index, group in enumerate(optimizer.param_groups):
        if any(id(parameter) not in names for parameter in group["params"]):
            raise Misuse(
                "the optimizer holds a parameter that is not of this model",
                where=f"{kind}, parameter group {index}",
                fix="make the optimizer from the parameters of the very model that becomes private, after moving it",
            )
    check_hooks(optimizer)
    check_numbers(optimizer)


def check_hooks(optimizer: torch.optim.Optimizer) -> None:
    """No code of others around a step, before every step.

    Raises:
        Misuse: The optimizer, or torch for all optimizers, has hooks that run before or after a step.
    """
    hooks = (
        getattr(optimizer, "_optimizer_step_pre_hooks", None),
        getattr(optimizer, "_optimizer_step_post_hooks", None),
        torch_optimizer._global_optimizer_pre_hooks,
        torch_optimizer._global_optimizer_post_hooks,
    )
    if any(hooks):
        raise Misuse(
            "hooks around a step may look at the data or move the weights",
            where=type(optimizer).__name__,
            fix="remove the hooks, also those registered for all optimizers; use on_step of private()",
        )


def check_numbers(optimizer: torch.optim.Optimizer) -> None:
    """The optimizer's numbers, before every step.

    Raises:
        Misuse: The learning rate is negative, or some number is not finite.
    """
    for index, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            numbers = [value] if isinstance(value, int | float) else [float(value)] if _scalar(value) else []
            if any(not math.isfinite(number) or (key == "lr" and number < 0) for number in numbers):
                raise Misuse(
                    f"{key} must be finite{' and not negative' if key == 'lr' else ''}",
                    where=f"{type(optimizer).__name__}, parameter group {index}",
                    fix=f"look at what sets {key}, such as a schedule",
                )


def check_plan(optimizer: object, plan: Plan) -> None:
    """The public numbers of a private optimizer, before every step: a schedule, or a hand, may have changed them.

    Raises:
        Misuse: The noise multiplier, the clip or the expected batch size is not the plan's.
    """
    planned = {
        "noise_multiplier": plan.noise_multiplier,
        "max_grad_norm": plan.clip,
        "expected_batch_size": plan.normaliser,
    }
    for name, value in planned.items():
        if getattr(optimizer, name, None) != value:
            raise Misuse(
                "changed since the plan was accounted",
                where=f"optimizer.{name}",
                fix="plan the run with the value that you want; a schedule of noise or clip is not admitted",
            )


def _scalar(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.numel() == 1
