"""What must hold before the first step, and between steps, for the accountant's epsilon to be the truth.

Each guard names the layer or the parameter and says what to do. Guards before the start see the model, the optimizer
and generated rows, never a private one; guards before each step see the optimizer only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import optimizer as torch_optimizer
from torch.utils._pytree import tree_leaves, tree_map

from pellucid.errors import Misuse, PellucidError
from pellucid.train.patches import Patch
from pellucid.train.probe import ROWS, call, generated, generated_tree, in_training_mode
from pellucid.train.unsound import by_kind, by_pass

if TYPE_CHECKING:
    from pellucid.privacy import Plan

__all__ = [
    "check_hooks",
    "check_loss",
    "check_model",
    "check_numbers",
    "check_optimizer",
    "check_plan",
    "problems",
    "rows_like",
]

Loss = Callable[[Any, Any], torch.Tensor]

_NUMBERS = (int, float)
_OPTIMIZERS = ("torch.optim", "pellucid.train.adam")
_NEEDS_MORE_THAN_GRADIENTS = (torch.optim.LBFGS, torch.optim.SparseAdam)


def problems(model: nn.Module, like: Any, dtype: torch.dtype = torch.float32) -> list[PellucidError]:
    """Everything that makes ``model`` unsound under DP-SGD, as errors that name the layer and the remedy.

    Args:
        model: Takes rows and gives as many rows of floats.
        like: The shape of one row, as a tuple of whole numbers; or rows, of which only shape and type are read.
        dtype: Type of a row, if ``like`` is a shape.

    Returns:
        No error means sound. The probes run only if no layer is unsound by its kind.
    """
    found = by_kind(model) or by_pass(model, rows_like(like, dtype))
    return [problem for _, _, problem in found]


def rows_like(like: Any, dtype: torch.dtype = torch.float32) -> Any:
    """Generated rows of the shape ``like``, or like the rows ``like``."""
    if isinstance(like, tuple) and all(isinstance(size, int) for size in like):
        return generated(like, dtype)
    return generated_tree(like)


def check_model(model: nn.Module, like: Any) -> None:
    """Raise the first of :func:`problems`.

    Raises:
        UnsupportedModel: The model is unsound under DP-SGD.
    """
    for problem in problems(model, like):
        raise problem


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Hold the optimizer against the model, before the start.

    Raises:
        Misuse: It is not a fresh optimizer of ``torch.optim`` that steps on gradients alone, over exactly the trainable
            parameters of ``model``; it has step hooks; or model or optimizer is private already.
    """
    kind = type(optimizer).__name__
    if any(isinstance(vars(module).get("forward"), Patch) for module in model.modules()):
        raise Misuse(
            "the model is private already: one model, one optimizer, one run",
            where=type(model).__name__,
            fix="put all parameters into one optimizer, or start another run with a new model",
        )
    if not type(optimizer).__module__.startswith(_OPTIMIZERS) or isinstance(optimizer, _NEEDS_MORE_THAN_GRADIENTS):
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


def check_loss(model: nn.Module, loss: Callable[[Any, Any], torch.Tensor], x: Any, y: Any, reduction: str) -> None:
    """Hold the loss against what it is said to do, on made-up rows.

    Args:
        model: The model, not private at this moment or at rest.
        loss: Takes outputs and targets, gives one number.
        x: Of inputs, only shape and type are read.
        y: Of targets, only shape and type are read; made-up ones are 0 or 1, then any class, then
            with entries that losses of torch ignore.
        reduction: ``mean`` or ``sum``.

    Raises:
        Misuse: It gives no number, sums where it is said to average or the other way round, or what it says of one row
            depends on another.
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    with in_training_mode(model):
        with torch.no_grad():
            outputs = call(model, generated_tree(x))
        for targets in _made_up_targets(loss, outputs, y, name):
            _hold_loss(loss, outputs, targets, reduction, name)


def _hold_loss(loss: Loss, outputs: Any, targets: Any, reduction: str, name: str) -> None:
    """One round of :func:`check_loss`."""
    whole = _loss_gradient(loss, outputs, targets, name)
    share, other_share = (ROWS, 1) if reduction == "mean" else (1, ROWS)
    for row in range(ROWS):
        alone = _loss_gradient(loss, _row(outputs, row), _row(targets, row), name)
        for one, other in zip(whole, alone, strict=True):
            if _close(one[row] * share, other[0]):
                continue
            if _close(one[row] * other_share, other[0]):
                what = f"the loss does not {'average' if reduction == 'mean' else 'sum'} over the rows of the batch"
                fix = 'say reduction="mean"'
                if reduction == "mean":
                    fix = 'let it average, as losses of torch do unless told otherwise, or say reduction="sum"'
                raise Misuse(what, where=name, fix=fix)
            raise Misuse(
                "what the loss says of one row depends on the other rows of the batch",
                where=name,
                fix="use a loss that is a mean or a sum over rows, and within a row whatever you like; weights of "
                "classes and ignored entries must not change what the sum is divided by",
            )


def _made_up_targets(loss: Loss, outputs: Any, y: Any, name: str) -> Iterator[Any]:
    """Targets of 0 and 1; then of all classes that the outputs have; then with entries that losses of torch ignore.

    The later rounds are left out where the loss has no such targets.
    """
    yield tree_map(lambda leaf: _made_up(leaf, 2), y)
    classes = max((leaf.shape[axis] for leaf in tree_leaves(outputs) for axis in (1, -1) if leaf.dim() > 1), default=2)
    whole = [leaf for leaf in tree_leaves(y) if not leaf.is_floating_point() and leaf.dtype != torch.bool]
    for number in sorted({leaf.shape[axis] for leaf in tree_leaves(outputs) for axis in (1, -1) if leaf.dim() > 1}):
        if whole and 2 < number <= classes:
            targets = tree_map(lambda leaf: _made_up(leaf, number), y)  # noqa: B023 - called at once
            if _takes(loss, outputs, targets, name):
                yield targets
    if any(leaf.dim() > 1 for leaf in whole):
        targets = tree_map(_with_gaps, y)
        if _takes(loss, outputs, targets, name):
            yield targets


def _made_up(leaf: torch.Tensor, classes: int) -> torch.Tensor:
    if leaf.is_floating_point() or leaf.dtype == torch.bool or classes == 2:
        made = generated(tuple(leaf.shape[1:]), torch.int64, ROWS, 7)
    else:
        size = leaf.shape[1:].numel()
        made = (torch.arange(ROWS * size).view(ROWS, size).flip(1) * 7 % classes).view(ROWS, *leaf.shape[1:])
    return made.to(leaf.device, leaf.dtype)


def _with_gaps(leaf: torch.Tensor) -> torch.Tensor:
    """Of each row another number of entries is to be ignored, as losses of torch ignore -100."""
    made = generated(tuple(leaf.shape[1:]), torch.int64, ROWS, 7).to(leaf.device, leaf.dtype)
    if not leaf.is_floating_point() and leaf.dtype != torch.bool and leaf.dim() > 1:
        flat = made.view(ROWS, -1)
        for row in range(ROWS):
            flat[row, 1 + row :: 2 + row] = -100
    return made


def _takes(loss: Loss, outputs: Any, targets: Any, name: str) -> bool:
    try:
        return all(bool(g.isfinite().all()) for g in _loss_gradient(loss, outputs, targets, name))
    except Misuse:
        return False


def _row(tree: Any, row: int) -> Any:
    return tree_map(lambda leaf: leaf[row : row + 1], tree)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one, other, rtol=1e-3, atol=1e-6))


def _loss_gradient(loss: Loss, outputs: Any, targets: Any, name: str) -> list[torch.Tensor]:
    """Gradients of the loss at the outputs."""
    with torch.enable_grad():
        leaves = tree_map(lambda t: t.detach().requires_grad_(t.is_floating_point()), outputs)
        try:
            value = loss(leaves, targets)
            wanted = [leaf for leaf in tree_leaves(leaves) if leaf.requires_grad]
            found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(value, wanted, allow_unused=True)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0]
            raise Misuse(
                f"the loss failed on made-up rows: {type(error).__name__}: {said}",
                where=name,
                fix="give the function that the loop calls as loss(outputs, targets), which gives one number",
            ) from error
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(wanted, found, strict=True)]


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
            numbers = [value] if isinstance(value, _NUMBERS) else [float(value)] if _scalar(value) else []
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
