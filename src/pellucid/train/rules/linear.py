"""Linear, Bilinear and PReLU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pellucid.train.contributions import Direct, Outer
from pellucid.train.contributions.base import common_kind
from pellucid.train.rules.fold import fold, require_rows, total

if TYPE_CHECKING:
    from pellucid.train.rules import Pieces

__all__ = ["bilinear", "linear", "prelu"]


def linear(layer: Any, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """``y = x Wᵀ + b``: one outer product a position."""
    return _products(layer, inputs[0], gradient, units, None)


def bilinear(layer: Any, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """``y_k = x₁ᵀ W_k x₂ + b_k``: linear in the products of both inputs."""
    kind = common_kind(*inputs)
    first, second = (x.to(kind) for x in inputs)
    products = (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2)
    return _products(layer, products, gradient, units, tuple(layer.weight.shape))


def prelu(layer: Any, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """``y = max(0, x) + w min(0, x)``, w shared by all channels or one a channel (the second dimension)."""
    x, weight = inputs[0], layer.weight
    require_rows(len(gradient), units, layer)
    if weight.requires_grad:
        kind = common_kind(x, gradient)
        products = x.to(kind).clamp(max=0) * gradient.to(kind)
        shared = weight.numel() == 1
        yield weight, Direct(total(products.reshape(len(x), 1, -1) if shared else products, units))


def _products(layer: Any, a: Tensor, gradient: Tensor, units: int, shape: tuple[int, ...] | None) -> Pieces:
    weight, bias = layer.weight, layer.bias
    require_rows(len(gradient) if gradient.dim() > 1 else 1, units, layer)
    if gradient.dtype in (torch.float16, torch.bfloat16):
        gradient = gradient.float()  # once for both
    flat = gradient.dim() == 2 and len(gradient) == units
    if not flat:
        a, gradient = fold(a, units, 1), fold(gradient, units, 1)
    direct = None
    if bias is not None and bias.requires_grad:
        direct = Direct(gradient if flat else gradient.sum(1))
        yield bias, direct
    if weight.requires_grad:
        yield weight, Outer(a, gradient, shape, direct if flat else None)
