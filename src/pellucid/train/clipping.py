"""Clipping: what bounds one person's influence on a step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import torch

from pellucid.errors import Misuse

if TYPE_CHECKING:
    from torch import nn

    from pellucid.train.contributions import Contribution, Room

__all__ = ["BLOCK", "MARGIN", "Clipping", "margin_for", "squared_norms"]

# Norms are summed in float32 over blocks of 128, whose worst rounding is 64 · 2**-23 = 3.8e-6 of the norm in any order
# of summation (Higham 2002, section 4.2), and in float64 over blocks. The norm of an outer product has two such
# factors: 7.6e-6. With the rounding of factor and product, and the 6e-7 by which the noise's grid widens a sum of 1e8
# parameters (docs/adr/0014-noise.md), the margin keeps a clipped gradient's norm at or below C all the same.
BLOCK: Final = 128
MARGIN: Final = 1.0 - 9e-6
LARGE: Final = 4096  # units up to which the rounding of a float32 sum stays within the margin, whatever it sums
MOST: Final = 1 << 20  # units that a float32 sum may have; a quarter of the clip is margin then
LEAST: Final = 1e-30  # below, float32 has no room to round a factor within that margin
GAMMA: Final = 0.01  # of automatic clipping (Bu et al. 2023, arXiv 2206.07136, section 4)
QUANTILE: Final = 0.5  # of adaptive clipping: the share of units that are not clipped (Andrew et al. 2021, section 3)
RATE: Final = 0.2  # of adaptive clipping: the geometric step towards that quantile (the same, section 3)


class Clipping:
    """Scales every unit's gradient so that its L2 norm, over all parameters, is at most ``clip``.

    ``flat``: by ``min(1, C / ‖g‖)``. ``per_layer``: every layer's part by ``min(1, C / (√L · ‖g_l‖))`` for L layers.
    ``automatic``: by ``C / (‖g‖ + 0.01)``, so that no clip has to be tuned (Bu et al. 2023, arXiv 2206.07136).
    ``adaptive``: as flat, and C follows the median norm by a noisy count of who was clipped, which the plan pays for
    (Andrew et al. 2021, arXiv 1905.03871).

    A unit whose gradient is not finite, or so large that its square is not, contributes zero; nothing says so.

    Args:
        kind: One of those.
        clip: C, above 0.
        groups: By parameter, the number of its layer, from 0; used by ``per_layer``.
        margin: What a clipped norm is kept below, in units of ``clip``; see :func:`margin_for`.
    """

    def __init__(self, kind: str, clip: float, groups: Sequence[int], margin: float = MARGIN) -> None:
        self._kind = kind
        self.clip = clip
        self._margin = margin
        self._groups = list(groups) if kind == "per_layer" else [0] * len(groups)
        self._count = max(self._groups, default=0) + 1
        self.within = 0.0  # sum over units of whether they were within the clip, less a half: private

    def __repr__(self) -> str:
        return f"Clipping({self._kind!r})"

    def sums(
        self,
        parameters: Sequence[nn.Parameter],
        gradients: Mapping[nn.Parameter, Contribution],
        out: Sequence[torch.Tensor],
        room: Room,
        *,
        empty: bool = False,
        fresh: bool = False,
    ) -> None:
        """Add the clipped sum of each parameter to its tensor in ``out``.

        Args:
            parameters: All trainable ones, in the order of ``out`` and of ``groups``.
            gradients: Of those that the loss used.
            out: Tensors of the parameters' shapes.
            room: For gradients that are written out.
            empty: The batch was a stand-in: nothing is added.
            fresh: What stood in ``out`` is dropped.
        """
        if fresh:
            self.within = 0.0
        if fresh and (empty or len(gradients) < len(parameters)):
            for total in out:
                total.zero_()
            fresh = False
        if empty or not gradients:
            return
        parts: list[list[torch.Tensor]] = [[] for _ in range(self._count)]
        found = [gradients.get(p) for p in parameters]
        for contribution, group in zip(found, self._groups, strict=True):
            if contribution is not None:
                parts[group].append(contribution.squared_norms(room))
        if self._count == 1:
            squares = _total(parts[0])[None]
        else:
            some = next(part[0] for part in parts if part)
            squares = torch.stack([_total(part) if part else torch.zeros_like(some) for part in parts])
        factors, keep = self._factors(squares)
        # of everybody, also of those who are left out: or the presence of one more would count all others
        inside = (
            float((squares[0].sqrt() <= self.clip).sum()) - squares.shape[1] / 2 if self._kind == "adaptive" else 0.0
        )
        if keep is not None and len(keep) == 0:
            self.within += inside
            for total in out if fresh else ():
                total.zero_()
            return
        rows = factors.to(out[0].dtype).unbind()  # rounded once for all: products are of that type
        # all before the first is added: if memory runs out on the way, nobody is counted twice
        summed = [
            None if part is None else (part if keep is None else part.select(keep)).weighted_sum(rows[group])
            for part, group in zip(found, self._groups, strict=True)
        ]
        self.within += inside
        for part, total in zip(summed, out, strict=True):
            if part is not None and fresh:
                total.copy_(part)
            elif part is not None:
                total.add_(part)

    def _factors(self, squares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Factors by group and unit, and which units those are if some were left out."""
        if self._kind == "automatic":
            factors = (self.clip * self._margin) / squares.sqrt().add_(GAMMA)
        else:
            factors = squares.rsqrt().mul_(self.clip * self._margin / math.sqrt(self._count)).clamp_(max=1.0)
        if float(factors.min()) >= LEAST:  # the factor of an infinite norm is zero, and of NaN it is NaN
            return factors, None
        keep = (factors >= LEAST).all(0).nonzero().squeeze(1)
        return factors[:, keep], keep

    def follow(self, within: float, normaliser: int) -> None:
        """Move an adaptive clip by ``within``, all workers' plus noise: released, and paid for by the plan."""
        share = within / normaliser + 0.5
        self.clip *= math.exp(-RATE * (share - QUANTILE))
        self.within = 0.0


def margin_for(batch: int, kind: torch.dtype) -> float:
    """The share of the clip that clipped norms are kept below, so that one unit moves the *rounded* sum by at most C.

    Two neighbouring sums round differently. In float32 that stays within :data:`MARGIN` up to 4096 units, also where
    all gradients point one way; above, each unit more may cost 2**-22 of the clip (measured: 1e-4 at 16,384 units, 2e-2
    at 262,144; tests/train/test_sensitivity.py).

    Args:
        batch: Expected units of a step, a public number.
        kind: Of the sum.

    Raises:
        Misuse: So many units that float32 leaves no margin to speak of.
    """
    if batch > MOST and kind != torch.float64:
        raise Misuse(
            f"the gradients of more than {MOST} people cannot be summed in float32 so that each stays within the clip",
            where="plan.batch",
            fix="take smaller batches, or model.double()",
        )
    return MARGIN if batch <= LARGE or kind == torch.float64 else MARGIN - batch * 2.0**-22


def _total(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def squared_norms(gradient: torch.Tensor) -> torch.Tensor:
    """Squared L2 norm of every row, float64: exact but for ``MARGIN``, four times as fast as float64 throughout.

    A float32 norm in one pass underestimates large gradients, by 1e-3 at 23 million elements, and C would not hold.
    """
    flat = gradient.reshape(len(gradient), -1)
    kind = torch.promote_types(flat.dtype, torch.float32)
    whole = flat.shape[1] // BLOCK * BLOCK
    blocks = flat[:, :whole].view(len(flat), whole // BLOCK, BLOCK)
    sums: torch.Tensor = torch.linalg.vector_norm(blocks, dim=2, dtype=kind).double().square_().sum(1)
    if whole == flat.shape[1]:
        return sums
    return sums.add_(torch.linalg.vector_norm(flat[:, whole:], dim=1, dtype=kind).double().square_())
