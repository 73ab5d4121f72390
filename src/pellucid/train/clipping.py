"""Clipping: what bounds one person's influence on a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from pellucid.errors import Misuse

__all__ = ["clipped_sum", "per_example", "squared_norms"]

# Norms are summed in float32 over blocks of 128, whose worst rounding is 64 · 2**-23 = 3.8e-6 of the norm in any order
# of summation (Higham 2002, section 4.2), and in float64 over blocks. With the rounding of factor and product, the
# margin keeps a clipped gradient's norm at or below C all the same.
BLOCK: Final = 128
MARGIN: Final = 1.0 - 5e-6
LEAST: Final = 1e-30  # below, float32 has no room to round a factor within that margin


def per_example(parameters: Sequence[torch.nn.Parameter], rows: int) -> list[torch.Tensor | None]:
    """Per-example gradients ``(rows, …)`` by parameter; None where the loss did not use the parameter."""
    found = [getattr(p, "grad_sample", None) for p in parameters]
    if all(gradient is None for gradient in found):
        raise Misuse(
            "there is no gradient to step on",
            where="optimizer.step",
            fix="call model(x) of the private model in training mode and loss.backward() once for each batch; use "
            "torch.no_grad() for any other pass",
        )
    for index, gradient in enumerate(found):
        if isinstance(gradient, list):
            raise Misuse(
                "more than one backward pass since the last step",
                where=f"parameter {index} of the optimizer",
                fix="call loss.backward() exactly once for each batch",
            )
        if gradient is not None and len(gradient) != rows:
            raise Misuse(
                "the gradients are not those of the rows that batches gave",
                where=f"parameter {index} of the optimizer",
                fix="call the model on exactly the rows of the batch",
            )
    return found


def clipped_sum(
    gradients: Sequence[torch.Tensor | None], parameters: Sequence[torch.nn.Parameter], clip: float, empty: bool
) -> torch.Tensor:
    """Sum over examples of ``g · min(1, C / ‖g‖)``, flat over all parameters, float64.

    An example with a value that is not finite, or so large that its square is not, contributes zero, as does the row
    that stands in for an empty sample.
    """
    present = [g for g in gradients if g is not None]
    squares = torch.zeros(len(present[0]), dtype=torch.float64)
    for g in present:
        squares += squared_norms(g)
    factors = (clip * MARGIN / squares.sqrt()).clamp_(max=1.0)
    finite = squares.isfinite() & (factors >= LEAST)
    factors[~finite] = 0.0
    if empty:
        factors.zero_()
    parts = []
    for gradient, p in zip(gradients, parameters, strict=True):
        if gradient is None:
            parts.append(torch.zeros(p.numel(), dtype=torch.float64))
            continue
        # a half-precision factor could round up by more than the margin
        flat = gradient.reshape(len(gradient), -1).to(torch.promote_types(gradient.dtype, torch.float32))
        if not finite.all():  # zero times NaN is NaN
            flat = torch.where(finite[:, None], flat, 0.0)
        parts.append((factors.to(flat.dtype) @ flat).double())
    return torch.cat(parts)


def squared_norms(gradient: torch.Tensor) -> torch.Tensor:
    """Squared L2 norm of every row, float64: exact but for ``MARGIN``, four times as fast as float64 throughout.

    A float32 norm in one pass underestimates large gradients, by 1e-3 at 23 million elements, and C would not hold.
    """
    flat = gradient.reshape(len(gradient), -1)
    kind = torch.promote_types(flat.dtype, torch.float32)
    whole = flat.shape[1] // BLOCK * BLOCK
    blocks = flat[:, :whole].view(len(flat), whole // BLOCK, BLOCK)
    sums: torch.Tensor = torch.linalg.vector_norm(blocks, dim=2, dtype=kind).double().square_().sum(1)
    return sums.add_(torch.linalg.vector_norm(flat[:, whole:], dim=1, dtype=kind).double().square_())
