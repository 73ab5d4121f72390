"""Conv1d to Conv3d and their transposes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Convolution, Direct
from pellucid.train.contributions.convolution import Geometry
from pellucid.train.rules.fold import require_rows, total

if TYPE_CHECKING:
    from pellucid.train.rules import Pieces

__all__ = ["convolution", "transposed"]


def convolution(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """Any stride, padding, padding mode, dilation and groups."""
    _check(layer, gradient, units)
    conv: Any = layer
    if conv.bias is not None and conv.bias.requires_grad:
        yield conv.bias, Direct(total(gradient, units))
    if not conv.weight.requires_grad:
        return
    x, padding = inputs[0], conv.padding
    sides = conv._reversed_padding_repeated_twice
    if conv.padding_mode != "zeros":
        x, padding = nn.functional.pad(x, sides, mode=conv.padding_mode), None
    elif isinstance(padding, str):
        if sides[::2] == sides[1::2]:
            padding = tuple(reversed(sides[::2]))
        else:
            x, padding = nn.functional.pad(x, sides), None
    yield conv.weight, _contribution(conv, x, gradient, units, padding or (0,) * len(conv.stride))


def transposed(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """The adjoint of a convolution of the same weight: input and output change places."""
    _check(layer, gradient, units)
    conv: Any = layer
    if conv.bias is not None and conv.bias.requires_grad:
        yield conv.bias, Direct(total(gradient, units))
    if conv.weight.requires_grad:
        x, padding = inputs[0], conv.padding
        axes = zip(x.shape[2:], conv.stride, conv.dilation, conv.kernel_size, strict=True)
        reaches = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in axes]  # padding included
        spare = [n + 2 * p - r for n, p, r in zip(gradient.shape[2:], padding, reaches, strict=True)]
        if any(more >= s for more, s in zip(spare, conv.stride, strict=True)):
            # output_padding beyond the stride would give the convolution more places than x has: cut to those
            sides = [side for p, more in zip(padding, spare, strict=True) for side in (p - more, p)]
            gradient, padding = nn.functional.pad(gradient, sides[::-1]), (0,) * len(padding)
        yield conv.weight, _contribution(conv, gradient, x, units, padding)


def _contribution(conv: Any, a: Tensor, g: Tensor, units: int, padding: tuple[int, ...]) -> Convolution:
    geometry = Geometry(conv.kernel_size, conv.stride, padding, conv.dilation, conv.groups)
    return Convolution(a, g, conv.weight.shape[0], units, geometry)


def _check(layer: nn.Module, gradient: Tensor, units: int) -> None:
    conv: Any = layer
    if gradient.dim() != conv.weight.dim():
        raise UnsupportedModel(
            "a convolution was given one example without a batch dimension",
            where=type(layer).__name__,
            fix="put the batch first: (rows, channels, …)",
        )
    require_rows(len(gradient), units, layer)
