"""A model that has learned nothing in some of its layers: which layers there are, and how one is drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.explain.answers import called
from pellucid.explain.model import device_of, frozen, untouched

__all__ = ["layers", "randomised", "redraw"]


def layers(model: nn.Module, x: Tensor) -> dict[str, tuple[str, ...]]:
    """The layers of a :func:`pellucid.explain.model.frozen` model, in the order in which a pass leaves them last.

    A layer is a module with parameters of its own on which the output depends. One whose parameters another reads
    without calling it, as attention does with its projection, belongs to the layer that reads it.

    Args:
        model: Frozen.
        x: A few rows (n, …).

    Returns:
        Dotted name of each layer to the names of the modules that hold its parameters.

    Raises:
        UnsupportedModel: No layer has parameters.
    """
    twin = copy.deepcopy(model).requires_grad_(requires_grad=True)  # with gradients no fused path hides its parts
    names = {module: name for name, module in twin.named_modules()}
    left: dict[str, None] = {}

    def leave(module: nn.Module, *_: Any) -> None:
        left.pop(names[module], None)
        left[names[module]] = None

    for module in names:
        module.register_forward_hook(leave)
    with untouched():
        idle = _idle(twin, called(twin, x.to(device_of(twin))))
    owners: dict[str, list[str]] = {name: [] for name in left}
    for module, name in names.items():
        if all(tensor in idle for tensor in module.parameters(recurse=False)):
            continue
        reader = name
        while reader not in left:  # the root is left in every pass
            reader = reader.rpartition(".")[0]
        owners[reader].append(name)
    found = {name: tuple(modules) for name, modules in owners.items() if modules}
    if not found:
        raise UnsupportedModel("no layer of the model has parameters to draw anew", where="model")
    return found


def randomised(model: nn.Module, x: Tensor, *, seed: int) -> nn.Module:
    """A frozen copy of ``model`` whose last layer, as :func:`layers` finds it on ``x``, is drawn anew.

    Raises:
        UnsupportedModel: No layer has parameters.
    """
    twin = frozen(model)
    *_, last = layers(twin, x).values()
    redraw(twin, last, seed)
    return twin


def redraw(model: nn.Module, modules: Iterable[str], seed: int) -> None:
    """Draw the own parameters of the named ``modules`` anew, in place: by ``reset_parameters`` where there is one.

    What that leaves at a fixed value (the gain of a norm), and a module without it, is drawn from a normal distribution
    with the root mean square of what was learned: a layer that is not random would show nothing.

    Args:
        model: Frozen.
        modules: Dotted names.
        seed: Public.
    """
    for name in modules:
        module = model.get_submodule(name)
        own = list(module.parameters(recurse=False))
        scales = [float(tensor.square().mean().sqrt()) or 1.0 for tensor in own]
        reset = getattr(module, "reset_parameters", None)
        with untouched(), torch.no_grad():
            fixed = [True] * len(own)
            if callable(reset):
                torch.manual_seed(seed + 1)
                reset()
                other = [tensor.clone() for tensor in own]
                torch.manual_seed(seed)
                reset()
                fixed = [torch.equal(a, b) for a, b in zip(own, other, strict=True)]
            else:
                torch.manual_seed(seed)
            for tensor, scale, still in zip(own, scales, fixed, strict=True):
                if still:
                    tensor.normal_(std=scale)


def _idle(model: nn.Module, answer: Tensor) -> set[Tensor]:
    """The parameters on which ``answer`` does not depend; none where that cannot be told."""
    parameters: Mapping[str, Tensor] = dict(model.named_parameters())
    if not answer.requires_grad:
        return set()
    try:
        found: Sequence[Tensor | None] = torch.autograd.grad(answer.sum(), list(parameters.values()), allow_unused=True)
    except RuntimeError:  # recurrent layers on some devices have no gradient in eval mode
        return set()
    return {tensor for tensor, gradient in zip(parameters.values(), found, strict=True) if gradient is None}
