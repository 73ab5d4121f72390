"""Multi-head attention: the same parameters and the same function, from projections whose gradients can be watched.

``nn.MultiheadAttention`` (Vaswani et al. 2017) multiplies by its weights, those of its child ``out_proj`` too, inside
one function, where no layer is called. Here each projection is a linear layer with one position for each token. The
packed weight of query, key and value is one such layer where the three are the same tensor, and a stack of two or three
where they are not.

All options: packed and separate weights (``kdim``, ``vdim``), no bias, ``add_bias_kv``, ``add_zero_attn``, boolean and
float masks for keys and for pairs, ``is_causal``, weights of the attention or none, dropout, and the batch in the first
or in the second place. Mind that a *model* whose layers see ``(positions, rows, features)`` cannot be trained
privately: a Linear or LayerNorm there takes positions for rows, which the self-check refuses. Set ``batch_first=True``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Contribution, Direct, Outer, Stacked
from pellucid.train.rules.positions import by_unit, caught, kept, trainable

if TYPE_CHECKING:
    from pellucid.train.rules import Pieces, Watch

__all__ = ["attention"]

_WHERE = "MultiheadAttention"


def attention(
    layer: nn.MultiheadAttention,
    watch: Watch,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What ``layer(query, key, value, …)`` gives, with the output of every projection watched.

    Args:
        layer: The layer; its child ``out_proj`` is used here, and is no layer of its own.
        watch: Catches the gradient of a tensor.
        query: ``(B, L, E)`` if ``batch_first``, else ``(L, B, E)``.
        key: ``(B, S, kdim)`` or ``(S, B, kdim)``.
        value: ``(B, S, vdim)`` or ``(S, B, vdim)``.
        key_padding_mask: ``(B, S)``, True for keys that do not count, or floats that are added.
        need_weights: Whether the weights are returned; without, the memory for them is saved.
        attn_mask: ``(L, S)`` or ``(B · heads, L, S)``, True for pairs that do not count, or floats that are added.
        average_attn_weights: Weights averaged over heads, or one by one.
        is_causal: A hint that ``attn_mask`` is the causal one.

    Returns:
        The output, in the layout of ``query``; and the weights ``(B, L, S)`` or ``(B, heads, L, S)``, or None.

    Raises:
        UnsupportedModel: One sequence without a batch dimension, or a causal hint without the mask.
    """
    if query.dim() != 3:
        raise UnsupportedModel(
            "attention was given one sequence without a batch dimension",
            where=_WHERE,
            fix="give (rows, positions, features) with batch_first=True",
        )
    if is_causal and attn_mask is None:
        raise UnsupportedModel(
            "the hint is_causal needs the mask that it is about", where=_WHERE, fix="give attn_mask as well"
        )
    q, k, v = (_heads(part, layer) for part in _projected(layer, watch, query, key, value))
    k, v = _extended(layer, watch, k, v)
    causal = is_causal and key_padding_mask is None and not need_weights
    mask = None if causal else _mask(attn_mask, key_padding_mask, q, k)
    dropout = layer.dropout if layer.training else 0.0
    weights = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(-2, -1)
        weights = nn.functional.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
        mixed = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
    mixed = mixed.permute(0, 2, 1, 3) if layer.batch_first else mixed.permute(2, 0, 1, 3)
    return _outward(layer, watch, mixed.flatten(2)), weights


def _projected(
    layer: nn.MultiheadAttention, watch: Watch, query: Tensor, key: Tensor, value: Tensor
) -> Sequence[Tensor]:
    """Queries, keys and values ``(B, positions, E)``, or positions first as the layer has it."""
    packed: Any = layer.in_proj_weight
    bias: Any = layer.in_proj_bias
    width = layer.embed_dim
    own: tuple[Any, ...] = (packed,)
    weights: Sequence[Tensor]
    if packed is None:
        inputs, sizes = [query, key, value], [width] * 3
        weights = own = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
    else:
        if key is not value:
            inputs, sizes = [query, key, value], [width] * 3
        elif query is not key:
            inputs, sizes = [query, key], [width, 2 * width]
        else:
            inputs, sizes = [query], [3 * width]
        weights = packed.split(sizes)
    biases = [None] * len(sizes) if bias is None else bias.split(sizes)
    parts = [nn.functional.linear(x, weight, b) for x, weight, b in zip(inputs, weights, biases, strict=True)]
    if len(parts) == 1:
        whole = caught(parts[0], *own, bias)
        watch(whole, _linear(layer, query, packed, bias))
        return whole.chunk(3, -1)
    if torch.is_grad_enabled() and any(trainable(p) for p in (*own, bias)):
        rows = query.shape[0 if layer.batch_first else 1]
        share = parts[0].new_zeros(()).expand(rows, sum(part.numel() for part in parts) // rows).requires_grad_()
        watch(share, _stacked(layer, inputs, own, bias, [tuple(part.shape) for part in parts]))
        parts = list(_Joint.apply(share, layer.batch_first, *parts))  # type: ignore[no-untyped-call]  # torch's is untyped
    return [half for part in parts for half in torch.split(part, width, -1)]


class _Joint(Function):
    """Tensors as they are; the gradients at all of them reach ``share`` together, one row of it for each row.

    What one parameter gets through several projections is then known at one place, and a projection that the loss does
    not use has the gradient zero.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, batch_first: bool, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.batch_first = batch_first
        return tuple(part.view_as(part) for part in parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows = [grad if ctx.batch_first else grad.transpose(0, 1) for grad in grads]
        return torch.cat([row.flatten(1) for row in rows], 1), None, *grads


def _stacked(
    layer: nn.MultiheadAttention, inputs: list[Tensor], own: tuple[Any, ...], bias: Any, shapes: list[tuple[int, ...]]
) -> Callable[[Tensor, int], Pieces]:
    """What the gradient ``(B, numbers of all projections)`` means for the weights ``own`` and their bias."""
    factors = [kept(x, _WHERE) for x in inputs]

    def pieces(gradient: Tensor, units: int) -> Pieces:
        sizes = [math.prod(shape) // len(gradient) for shape in shapes]
        parts = [
            part.reshape(len(gradient), -1, shape[2])
            for part, shape in zip(torch.split(gradient, sizes, 1), shapes, strict=True)
        ]
        g = [by_unit(part, units, _WHERE) for part in parts]
        outer = [Outer(by_unit(_rows(x(), layer), units, _WHERE), part) for x, part in zip(factors, g, strict=True)]
        whole: list[Contribution] = [Stacked(outer)] if len(own) == 1 else list(outer)
        yield from ((weight, piece) for weight, piece in zip(own, whole, strict=True) if trainable(weight))
        if trainable(bias):
            yield bias, Direct(torch.cat([part.sum(1) for part in g], 1))

    return pieces


def _linear(layer: nn.MultiheadAttention, x: Tensor, weight: Any, bias: Any) -> Callable[[Tensor, int], Pieces]:
    """What the gradient at ``x @ weight.T + bias``, with two or three dimensions, means for both."""
    shape, factor = x.shape, kept(x, _WHERE)

    def pieces(gradient: Tensor, units: int) -> Pieces:
        g = by_unit(_rows(gradient.reshape(*shape[:2], -1), layer), units, _WHERE)
        if trainable(weight):
            yield weight, Outer(by_unit(_rows(factor(), layer), units, _WHERE), g)
        if trainable(bias):
            yield bias, Direct(g.sum(1))

    return pieces


def _extended(layer: nn.MultiheadAttention, watch: Watch, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values ``(B, heads, S, d)`` with the learned one and the zero one behind, where the layer has them."""
    if layer.bias_k is not None and layer.bias_v is not None:
        k, v = (
            torch.cat([part, _learned(layer, watch, bias, part)], 2)
            for part, bias in ((k, layer.bias_k), (v, layer.bias_v))
        )
    if layer.add_zero_attn:
        k, v = (nn.functional.pad(part, (0, 0, 0, 1)) for part in (k, v))
    return k, v


def _learned(layer: nn.MultiheadAttention, watch: Watch, bias: Any, like: Tensor) -> Tensor:
    """A learned key or value ``(1, 1, E)`` for every row: ``(B, heads, 1, d)``."""
    each = caught(bias.to(like.dtype).expand(len(like), 1, -1), bias)

    def pieces(gradient: Tensor, units: int) -> Pieces:
        yield bias, Direct(by_unit(gradient, units, _WHERE).sum(1)[:, None, None])

    if trainable(bias):
        watch(each, pieces)
    return each.view(len(like), 1, layer.num_heads, -1).transpose(1, 2)


def _outward(layer: nn.MultiheadAttention, watch: Watch, mixed: Tensor) -> Tensor:
    """The output projection; what is watched is no view, for a view that somebody writes to leaves its place."""
    weight, bias = layer.out_proj.weight, layer.out_proj.bias
    output = nn.functional.linear(mixed.flatten(0, 1), weight, bias)
    if trainable(weight) or trainable(bias):
        watch(output, _linear(layer, mixed, weight, bias))
    output = output.view(mixed.shape)
    # laid out in memory as torch's own, because a dropout after it draws its mask in that order
    return output.transpose(0, 1).contiguous().transpose(0, 1) if layer.batch_first else output


def _mask(pairs: Tensor | None, keys: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """Both masks as one that is added to the scores, broadcasting to ``(B, heads, L, S)``."""
    masks = []
    if pairs is not None:
        pairs = pairs[None, None] if pairs.dim() == 2 else pairs.view(len(q), -1, *pairs.shape[1:])
        masks.append(pairs)
    if keys is not None:
        masks.append(keys[:, None, None])
    added = [_additive(mask, q.dtype) for mask in masks]
    # the keys that the layer adds count for everybody
    added = [nn.functional.pad(mask, (0, k.shape[2] - mask.shape[3])) for mask in added]
    return functools.reduce(torch.add, added) if added else None


def _additive(mask: Tensor, kind: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(kind)
    return torch.zeros_like(mask, dtype=kind).masked_fill_(mask, -math.inf)


def _heads(part: Tensor, layer: nn.MultiheadAttention) -> Tensor:
    """``(B, heads, positions, d)``."""
    rows = _rows(part, layer)
    return rows.view(*rows.shape[:2], layer.num_heads, -1).transpose(1, 2)


def _rows(part: Tensor, layer: nn.MultiheadAttention) -> Tensor:
    """``(B, positions, E)``, whatever the layout of the layer."""
    return part if layer.batch_first else part.transpose(0, 1)
