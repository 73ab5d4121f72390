"""Weight standardisation: convolutions whose filters have mean 0 and norm 1 in every forward pass.

Qiao et al. (2019, arXiv 1903.10520), scaled by the fan-in as in Brock et al. (2021, arXiv 2101.08692); beside GroupNorm
one of the changes by which De et al. (2022, arXiv 2204.13650, section 3.1) train deep networks with DP-SGD. It looks at
weights only, never at data, so nothing about privacy changes; but the gradient that is clipped must be the one of the
raw weight, which is why it needs a rule of its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from pellucid.train.contributions.base import SCRATCH, Contribution, Direct, Room, chunks, row_squares
from pellucid.train.rules import RULES
from pellucid.train.rules.convolution import convolution

__all__ = ["Standardised", "WSConv2d", "standardised", "wsconv2d"]

EPS: Final = 1e-6


class WSConv2d(nn.Conv2d):
    """``nn.Conv2d`` with each filter standardised: ``c / sqrt(‖c‖² + 1e-6)``, c the filter less its mean.

    Arguments, weight and state dictionary are those of ``nn.Conv2d``. There is no gain: follow it with
    ``nn.GroupNorm``, which has one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Conv2d`` with the standardised weight."""
        output: Tensor = self._conv_forward(input, _standardise(self.weight)[0], self.bias)
        return output


def standardised(module: nn.Module) -> nn.Module:
    """A copy of ``module`` in which every ``nn.Conv2d`` is a :class:`WSConv2d` with the same weights and settings.

    Other layers, and convolutions of other types, stay as they are. Layers that are shared stay shared.
    """
    made = copy.deepcopy(module)
    for part in made.modules():
        if type(part) is nn.Conv2d:
            # the subclass adds no state; changing the class keeps sharing, hooks and the root module in place
            part.__class__ = WSConv2d
    return made


def wsconv2d(
    layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int
) -> Iterable[tuple[nn.Parameter, Contribution]]:
    """Rule of :class:`WSConv2d`: the convolution's, taken back through the standardisation."""
    for parameter, contribution in convolution(layer, inputs, gradient, units):
        if parameter is layer.weight:
            contribution = Standardised(contribution, layer.weight.detach())
        yield parameter, contribution


class Standardised(Contribution):
    """The gradient of a raw weight, of which ``inner`` is the gradient of the standardised one.

    With ``w`` a filter, ``s² = ‖c‖² + eps`` and ``ŵ = c / s``, the Jacobian takes a gradient g of ŵ to
    ``(g - mean(g) - ŵ⟨ŵ, g⟩) / s``. It is linear, so the weighted sum goes through it once; norms do not, and are taken
    of the mapped gradients, written out a few units at a time.
    """

    def __init__(self, inner: Contribution, weight: Tensor) -> None:
        """``weight``: the raw one, of the inner contribution's shape."""
        self.units = inner.units
        self.shape = inner.shape
        self._inner = inner
        self._weight = weight
        self._kept: Direct | None = None

    def squared_norms(self, room: Room) -> Tensor:
        """Row norms of the mapped gradient, which is kept if it fits."""
        size = math.prod(self.shape) * (8 if self._weight.dtype == torch.float64 else 4)
        if room.take(self.units * size):
            self._kept = Direct(self.per_unit())
            return self._kept.squared_norms(room)
        squares = torch.empty(self.units, dtype=torch.float64)
        for part in chunks(self.units, size, SCRATCH):
            some = torch.arange(part.start, part.stop)
            squares[part] = row_squares(self.select(some).per_unit())
        return squares

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Of the inner contribution, then mapped; or of what is kept."""
        if self._kept is not None:
            return self._kept.weighted_sum(factors)
        return self._back(self._inner.weighted_sum(factors)[None])[0]

    def per_unit(self) -> Tensor:
        """Of the inner contribution, then mapped."""
        return self._back(self._inner.per_unit())

    def select(self, units: Tensor) -> Contribution:
        """The same of these units; of what is kept, if anything is."""
        if self._kept is not None:
            return self._kept.select(units)
        return Standardised(self._inner.select(units), self._weight)

    def _back(self, gradient: Tensor) -> Tensor:
        """``(…, *shape)`` of the standardised weight to ``(…, *shape)`` of the raw one."""
        unit, scale = _standardise(self._weight.to(torch.promote_types(self._weight.dtype, torch.float32)))
        flat, unit = gradient.flatten(2), unit.flatten(1)
        flat = flat - flat.mean(2, keepdim=True)
        flat = (flat - (flat * unit).sum(2, keepdim=True) * unit) / scale.view(-1, 1)
        return flat.view(gradient.shape)


def _standardise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The standardised weight, and for each filter what its centred one was divided by: ``(C, 1, 1, 1)``."""
    axes = tuple(range(1, weight.dim()))
    centred = weight - weight.mean(axes, keepdim=True)
    scale = (centred.square().sum(axes, keepdim=True) + EPS).sqrt()
    return centred / scale, scale


RULES[WSConv2d] = wsconv2d  # here, not in the table: whoever has such a layer has this module
