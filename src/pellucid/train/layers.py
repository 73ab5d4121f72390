"""Which rule a layer goes by: our own, one registered with Opacus, or none, so that functorch runs it again.

The only door to Opacus.
"""

from __future__ import annotations

from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.layers.dp_rnn import RNNLinear
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_flatten, tree_unflatten

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Contribution, Direct
from pellucid.train.rules import REPLACEMENTS, RULES, Replacement, Rule

__all__ = ["fallback", "owned_parameters", "replacement_of", "rule_of"]

_OWN_FORWARD = ("forward", "_conv_forward", "_check_input_dim")


def rule_of(layer: nn.Module) -> Rule | None:
    """The rule for exactly what ``layer`` computes: of its class, or of a base class whose forward it inherits."""
    if "forward" in vars(layer) or parametrize.is_parametrized(layer):
        return None
    kind = type(layer)
    if kind is RNNLinear:  # a linear layer that Opacus's recurrent layers call at every time step
        return RULES[nn.Linear]
    for base in kind.__mro__:
        if base in RULES:
            same = all(getattr(kind, name, None) is getattr(base, name, None) for name in _OWN_FORWARD)
            return RULES[base] if same else None
    return None


def replacement_of(layer: nn.Module) -> Replacement | None:
    """The function that stands in for the forward of ``layer``, if it is of a kind whose parts cannot be watched."""
    if "forward" in vars(layer) or parametrize.is_parametrized(layer):
        return None
    return REPLACEMENTS.get(type(layer))


def owned_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that ``layer`` itself uses; of a parametrised layer also those that its weights are made from."""
    return dict(layer.named_parameters(recurse=parametrize.is_parametrized(layer)))


def fallback(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], gradient: torch.Tensor, units: int
) -> list[tuple[nn.Parameter, Contribution]]:
    """Per-example gradients of a layer without a rule: right, and slow, since the layer runs again.

    A grad sampler that was registered with ``opacus.grad_sample.register_grad_sampler`` for this very type is used;
    else functorch differentiates the layer example by example.

    Raises:
        UnsupportedModel: It holds a buffer that would be shared, or cannot be run by example.
    """
    trainable = {name: p for name, p in owned_parameters(layer).items() if p.requires_grad}
    sampler = GradSampleModule.GRAD_SAMPLERS.get(type(layer))
    if sampler is not None and not kwargs:
        found = sampler(layer, [value.detach() for value in args if isinstance(value, torch.Tensor)], gradient)
        return [(p, _folded(samples, units)) for p, samples in found.items() if p.requires_grad]
    leaves, form = tree_flatten((args, kwargs))
    rows = len(gradient)
    tensors = [leaf.detach() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    shared = [not (isinstance(leaf, torch.Tensor) and leaf.dim() and len(leaf) == rows) for leaf in tensors]

    def value(parameters: dict[str, torch.Tensor], wanted: torch.Tensor, *each: Any) -> torch.Tensor:
        whole = [leaf if alike else leaf.unsqueeze(0) for leaf, alike in zip(each, shared, strict=True)]
        given, named = tree_unflatten(whole, form)
        out: torch.Tensor = functional_call(layer, parameters, given, named)
        return (out.squeeze(0) * wanted).sum()

    constant = {name: p.detach() for name, p in trainable.items()}
    places = (None, 0, *(None if alike else 0 for alike in shared))
    try:
        with torch.enable_grad():
            samples = vmap(grad(value), in_dims=places)(constant, gradient, *tensors)
    except Exception as error:
        raise UnsupportedModel(
            f"the layer cannot be differentiated by example: {type(error).__name__}: {str(error).splitlines()[0]}",
            where=type(layer).__name__,
            fix="put its parameters into a small module of their own, without dropout, or register a grad sampler "
            "with Opacus",
        ) from error
    return [(parameter, _folded(samples[name], units)) for name, parameter in trainable.items()]


def _folded(samples: torch.Tensor, units: int) -> Direct:
    """By unit instead of by row: a unit's views are adjacent."""
    if len(samples) != units:
        samples = samples.view(units, -1, *samples.shape[1:]).sum(1)
    return Direct(samples.detach())
