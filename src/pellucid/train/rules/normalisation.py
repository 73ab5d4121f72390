"""LayerNorm, RMSNorm, GroupNorm and InstanceNorm: scale and shift of an input normalised row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Direct
from pellucid.train.contributions.base import common_kind
from pellucid.train.rules.fold import fold, require_rows, total

if TYPE_CHECKING:
    from pellucid.train.rules import Pieces

__all__ = ["group_norm", "instance_norm", "layer_norm", "refuse_running", "rms_norm"]

Normalise = Callable[[Tensor], Tensor]


def layer_norm(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """Normalised over the last dimensions."""
    norm: Any = layer
    return _last(
        norm, lambda x: nn.functional.layer_norm(x, norm.normalized_shape, eps=norm.eps), inputs[0], gradient, units
    )


def rms_norm(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """Divided by the root of the mean square over the last dimensions."""
    norm: Any = layer
    # torch takes the epsilon of the type of the input, if none is given
    eps = torch.finfo(inputs[0].dtype).eps if norm.eps is None else norm.eps
    return _last(norm, lambda x: nn.functional.rms_norm(x, norm.normalized_shape, eps=eps), inputs[0], gradient, units)


def group_norm(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """Normalised over groups of channels and all positions of a row."""
    norm: Any = layer
    return _channels(
        norm, lambda x: nn.functional.group_norm(x, norm.num_groups, eps=norm.eps), inputs[0], gradient, units
    )


def instance_norm(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """Normalised over all positions of a row, channel by channel."""
    refuse_running(layer)
    norm: Any = layer
    if norm.weight is not None and gradient.dim() != norm._get_no_batch_dim() + 1:
        raise UnsupportedModel(
            "the layer was given one example without a batch dimension",
            where=type(layer).__name__,
            fix="put the batch first: (rows, channels, …)",
        )
    return _channels(norm, lambda x: nn.functional.instance_norm(x, eps=norm.eps), inputs[0], gradient, units)


def refuse_running(layer: nn.Module) -> None:
    """Refuse running statistics: they learn from the data past any clipping.

    Raises:
        UnsupportedModel: ``track_running_stats`` is set.
    """
    if getattr(layer, "track_running_stats", False):
        raise UnsupportedModel(
            "running statistics learn from the data without clipping or noise",
            where=type(layer).__name__,
            fix="set track_running_stats=False",
        )


def _last(norm: Any, normalise: Normalise, x: Tensor, gradient: Tensor, units: int) -> Pieces:
    kept = len(norm.normalized_shape)
    require_rows(len(gradient) if gradient.dim() > kept else 1, units, norm)
    bias = getattr(norm, "bias", None)  # RMSNorm has none
    yield from _pieces(norm.weight, bias, normalise, x, gradient, lambda values: fold(values, units, kept).sum(1))


def _channels(norm: Any, normalise: Normalise, x: Tensor, gradient: Tensor, units: int) -> Pieces:
    require_rows(len(gradient), units, norm)
    yield from _pieces(norm.weight, norm.bias, normalise, x, gradient, lambda values: total(values, units))


def _pieces(
    weight: Any, bias: Any, normalise: Normalise, x: Tensor, gradient: Tensor, by_unit: Callable[[Tensor], Tensor]
) -> Pieces:
    kind = common_kind(x, gradient)
    gradient = gradient.to(kind)
    if weight is not None and weight.requires_grad:
        yield weight, Direct(by_unit(normalise(x.to(kind)).mul_(gradient)))
    if bias is not None and bias.requires_grad:
        yield bias, Direct(by_unit(gradient))
