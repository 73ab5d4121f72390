"""Rows of the model as units: the views of a unit are adjacent rows, and their gradients add."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel

__all__ = ["fold", "require_rows", "total"]


def require_rows(rows: int, units: int, layer: nn.Module) -> None:
    """Refuse what cannot be rows of the model's batch.

    Args:
        rows: Length of the first dimension of the layer's output.
        units: Privacy units of the batch.
        layer: For the error.

    Raises:
        UnsupportedModel: Rows are not a multiple of units: the output was broadcast over the batch, or stands in
            another order, and the gradient does not say what is whose.
    """
    if rows < units or rows % units:
        raise UnsupportedModel(
            "the layer's output does not begin with the rows of the batch, so its gradient cannot be taken apart",
            where=type(layer).__name__,
            fix="put the batch first, and expand what all rows share before the layer: positions.expand(len(x), -1)",
        )


def fold(values: Tensor, units: int, kept: int) -> Tensor:
    """``(rows, …, *last)`` as ``(U, T, *last)``, with ``kept`` dimensions in ``last``; those between are positions."""
    return values.reshape(units, -1, *values.shape[values.dim() - kept :])


def total(values: Tensor, units: int) -> Tensor:
    """``(rows, d, …)``, channels second, as ``(U, d)``: the sum over positions and views."""
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    if values.dim() > 2:
        values = values.flatten(2).sum(2)
    return values if len(values) == units else values.view(units, -1, values.shape[1]).sum(1)
