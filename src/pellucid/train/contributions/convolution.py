"""Convolutions: outer products of patches of the input with the gradient at each place of the output."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from pellucid.train.contributions.base import (
    Contribution,
    Room,
    chunks,
    common_kind,
    kept_sum,
    not_below_rounding,
    row_squares,
    scaled,
    whole_squares,
)
from pellucid.train.contributions.gram import checked

__all__ = ["Convolution"]

# Cost of a step of each way to the norms, in multiplications of a matrix product, fitted on one core of an EPYC 9004:
# copying a number into a patch; writing a gradient's number out and squaring it; the same for a grouped convolution,
# which also changes its layout; reading it again for the sum; starting a row of a shifted addition; squaring a Gram
# entry in float64.
PATCH: Final = 30
WRITE: Final = 16
GROUPED: Final = 40
READ: Final = 7
ROW: Final = 550
SQUARE: Final = 60
WIDE: Final = 16  # channels below which a grouped convolution leaves its vector units half empty


@dataclass(frozen=True, slots=True)
class Geometry:
    """What ties a place of the output to a patch of the input, by dimension.

    Attributes:
        kernel: Entries of a patch.
        stride: Between patches.
        padding: Zeros at both ends of the input.
        dilation: Between the entries of a patch.
        groups: Of channels.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class Convolution(Contribution):
    """``G_u = Σ_l g[u, :, l] ⊗ patch(a[u], l)``, by group of channels, and over a unit's views.

    Written out by a convolution of which every unit is a group of channels, or by patches and a batched matrix
    product; or not written out: ``‖G_u‖² = Σ_lm ⟨patch_l, patch_m⟩⟨g_l, g_m⟩``, with the products of patches added up
    from products of pixels. Chosen by counting operations (see the constants above), never by the clock.
    """

    def __init__(self, a: Tensor, g: Tensor, channels: int, units: int, geometry: Geometry) -> None:
        """Factors of the gradient and what ties them.

        Args:
            a: Input ``(rows, C, …)``; a unit's views are adjacent rows.
            g: Gradient at the output ``(rows, D, …)``.
            channels: D.
            units: U; rows are a multiple of it.
            geometry: As of ``nn.Conv2d``, and so on.
        """
        kind = common_kind(a, g)
        self.a, self.g = a.to(kind).contiguous(), g.to(kind).contiguous()
        self.units, self.geometry = units, geometry
        self.shape = (channels, a.shape[1] // geometry.groups, *geometry.kernel)
        self._views = len(a) // units
        self._kept: list[Tensor] = []
        self._last = False  # channels come last in what is kept

    def squared_norms(self, room: Room) -> Tensor:
        """Of the gradient written out, and kept if it fits; or of Gram matrices."""
        self._kept = []
        size = math.prod(self.shape)
        places = self._views * math.prod(self.g.shape[2:])
        product = places * size
        patches = product + PATCH * places * size // self.shape[0] * self.geometry.groups + WRITE * size
        grouped = product + GROUPED * size if self._wide() else math.inf
        write, gram = min(patches, grouped), self._gram_cost(places)
        keep = write + READ * size <= gram + product and room.take(self.units * size * self.a.element_size())
        if not keep and gram <= write:
            each = 3 * places * places * self.geometry.groups * self.a.element_size()
            squares = torch.cat([self._gram(part) for part in chunks(self.units, each)])
        else:
            squares = self._norms(room, keep, grouped < patches)
        if self._kept:  # the sum is of the very gradients that the norms are of
            return squares
        terms = whole_squares(self.a, self.units) * whole_squares(self.g, self.units)
        return not_below_rounding(squares, terms * math.prod(self.geometry.kernel), self.a.dtype)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """The gradient of a plain convolution, of weighted rows; or a vector-matrix product of what is kept."""
        if self._kept:
            return self._shaped(kept_sum(self._kept, factors)[None], self._last)[0]
        each = factors if self._views == 1 else factors.repeat_interleave(self._views)
        return self._summed(self.a, scaled(self.g, each), self.shape, self.geometry.groups)

    def per_unit(self) -> Tensor:
        """Patches and one batched matrix product."""
        return self._shaped(self._written(slice(0, self.units), Room(0)), True)

    def select(self, units: Tensor) -> Convolution:
        """Both factors of these units; what was kept is dropped."""
        a, g = (x.view(self.units, -1, *x.shape[1:]).index_select(0, units).flatten(0, 1) for x in (self.a, self.g))
        return Convolution(a, g, self.shape[0], len(units), self.geometry)

    def double(self) -> Convolution:
        """The same in float64."""
        return Convolution(self.a.double(), self.g.double(), self.shape[0], self.units, self.geometry)

    # -- written out --------------------------------------------------------------------------------------------------

    def _wide(self) -> bool:
        """Whether a convolution by unit is worth a look: its fast kernels are for float32 and many channels."""
        each = min(self.shape[0] // self.geometry.groups, self.shape[1])
        return self.a.dtype == torch.float32 and each >= WIDE

    def _norms(self, room: Room, keep: bool, grouped: bool) -> Tensor:
        size = math.prod(self.shape)
        patches = size // self.shape[0] * self._views * math.prod(self.g.shape[2:])
        step = size if grouped else max(size, patches * self.geometry.groups)
        self._last = not grouped
        squares: list[Tensor] = []
        for part in chunks(self.units, step * self.a.element_size()):
            out = room.hold(part.stop - part.start, size, self.a) if keep else None
            written = self._grouped(part) if grouped else self._written(part, room, out)
            squares.append(row_squares(written))
            if out is not None:
                self._kept.append(out.copy_(written) if grouped else out)
        return torch.cat(squares)

    def _grouped(self, part: slice) -> Tensor:
        """``(units, numbers)``: the weight gradient of one convolution with a group of channels for every unit."""
        count, views = part.stop - part.start, self._views
        a, g = (self._of(x, part) for x in (self.a, self.g))
        a, g = (x.transpose(0, 1).reshape(views, count * x.shape[2], *x.shape[3:]) for x in (a, g))
        shape = (count * self.shape[0], *self.shape[1:])
        return self._summed(a, g, shape, count * self.geometry.groups).view(count, -1)

    def _summed(self, a: Tensor, g: Tensor, shape: tuple[int, ...], groups: int) -> Tensor:
        """The weight gradient of a plain convolution."""
        geometry = self.geometry
        zeros = (0,) * len(geometry.kernel)
        weight = a.new_empty(shape)  # read for its shape only
        _, gradient, _ = torch.ops.aten.convolution_backward(
            g, a, weight, None, geometry.stride, geometry.padding, geometry.dilation, False, zeros, groups,
            (False, True, False),
        )  # fmt: skip
        return gradient  # type: ignore[no-any-return]  # torch.ops has no types

    def _written(self, part: slice, room: Room, out: Tensor | None = None) -> Tensor:
        """``(units, numbers)``, channels last: patches, and a batched matrix product."""
        g, patches = self._blocks(self.g, part).flatten(2), self._patches(part, room)
        if out is not None:
            out = out.view(len(g), g.shape[1], patches.shape[2])
        return torch.bmm(g, patches, out=out).view(part.stop - part.start, -1)

    def _patches(self, part: slice, room: Room) -> Tensor:
        """``(units · groups, places, entries · channels)``; a unit's views are places like others."""
        geometry = self.geometry
        x = self._blocks(self.a, part)
        places, sizes = self.g.shape[2:], x.shape[3:]
        if math.prod(geometry.kernel) == 1 and not any(geometry.padding):
            for i, (n, stride) in enumerate(zip(places, geometry.stride, strict=True), 3):
                x = x[(slice(None),) * i + (slice(0, (n - 1) * stride + 1, stride),)]
            return x.flatten(2).transpose(1, 2)
        whole = [n + 2 * p for n, p in zip(sizes, geometry.padding, strict=True)]
        inside = tuple(slice(p, p + n) for n, p in zip(sizes, geometry.padding, strict=True))
        last = x.new_zeros(len(x), self._views, *whole, x.shape[1])
        last[(slice(None), slice(None), *inside)] = x.movedim(1, -1)
        block, view, *steps, one = last.stride()
        shifts = [s * step for s, step in zip(geometry.stride, steps, strict=True)]
        within = [d * step for d, step in zip(geometry.dilation, steps, strict=True)]
        size = (len(x), self._views, *places, *geometry.kernel, x.shape[1])
        patches = room.scratch(*size, like=x).copy_(last.as_strided(size, (block, view, *shifts, *within, one)))
        return patches.view(len(x), self._views * math.prod(places), -1)

    def _shaped(self, flat: Tensor, last: bool) -> Tensor:
        """``(n, numbers)`` as ``(n, *shape)``."""
        if not last:
            return flat.view(-1, *self.shape)
        return flat.view(-1, self.shape[0], *self.shape[2:], self.shape[1]).movedim(-1, 2)

    # -- Gram matrices ------------------------------------------------------------------------------------------------

    def _gram_cost(self, places: int) -> int:
        """Multiplications for the norm of a unit; see ``_gram``."""
        pixels = sum(math.prod(n for _, n in axes) ** 2 for axes in itertools.product(*self._phases()))
        entries = places * places
        shifted = math.prod(self.geometry.kernel) * (entries // self.g.shape[-1] * ROW)
        channels = self.shape[1] * self.geometry.groups
        return (
            pixels * self._views**2 * channels
            + entries * self.shape[0]
            + shifted
            + SQUARE * entries * self.geometry.groups
        )

    def _phases(self) -> list[list[tuple[int, int]]]:
        """By dimension: the remainders by the stride at which a patch has entries, and the pixels needed of each."""
        return [
            [(phase, max(shifts) + n) for phase, shifts in _offsets(k, s, d).items()]
            for k, s, d, n in zip(
                self.geometry.kernel, self.geometry.stride, self.geometry.dilation, self.g.shape[2:], strict=True
            )
        ]

    def _gram(self, part: slice) -> Tensor:
        """Squared norms of these units.

        Two patches have an entry in common places of the kernel, so their product is a sum of products of pixels that
        lie at the same remainder by the stride: products of all pixels of a remainder, added up shifted.
        """
        geometry, places = self.geometry, self.g.shape[2:]
        sides = [side for p in reversed(geometry.padding) for side in (p, p)]
        x = nn.functional.pad(self._blocks(self.a, part), sides)
        blocks, views = len(x), self._views
        offsets = [_offsets(*axis) for axis in zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True)]
        count = views * math.prod(places)
        products = x.new_zeros(blocks, *(views, *places) * 2)
        for axes in itertools.product(*self._phases()):
            at = [slice(phase, phase + (n - 1) * s + 1, s) for (phase, n), s in zip(axes, geometry.stride, strict=True)]
            pixels = x[(slice(None), slice(None), slice(None), *at)]
            shape = pixels.shape[2:]
            flat = pixels.flatten(2)
            pairs = torch.bmm(flat.transpose(1, 2), flat).view(blocks, *shape, *shape)
            for shift in itertools.product(*(o[phase] for o, (phase, _) in zip(offsets, axes, strict=True))):
                window = (slice(None), *(slice(q, q + n) for q, n in zip(shift, places, strict=True)))
                products += pairs[(slice(None), *window, *window)]
        g = self._blocks(self.g, part).flatten(2)
        return checked(
            products.view(blocks, count, count),
            torch.bmm(g.transpose(1, 2), g),
            geometry.groups,
            lambda which: self.select(which + part.start).double()._norms(Room(0), False, False),
        )

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _of(self, x: Tensor, part: slice) -> Tensor:
        """``(units, views, channels, …)`` of these units."""
        return x.view(self.units, self._views, *x.shape[1:])[part]

    def _blocks(self, x: Tensor, part: slice) -> Tensor:
        """``(units · groups, channels of a group, views, …)``: views as one more dimension of the image."""
        x = self._of(x, part)
        groups = self.geometry.groups
        x = x.reshape(len(x), self._views, groups, -1, *x.shape[3:])
        return x.movedim(1, 3).reshape(len(x) * groups, -1, self._views, *x.shape[4:])


def _offsets(kernel: int, stride: int, dilation: int) -> dict[int, list[int]]:
    """Entries of a patch along one dimension: by remainder, how many strides they lie from its first."""
    found: dict[int, list[int]] = {}
    for k in range(kernel):
        found.setdefault(k * dilation % stride, []).append(k * dilation // stride)
    return found
