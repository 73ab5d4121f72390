"""What the layers on sequences share: positions of a unit side by side, and which gradients are to be caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.train.rules.fold import fold

__all__ = ["by_unit", "caught", "kept", "trainable"]


def by_unit(rows: Tensor, units: int, layer: str) -> Tensor:
    """``(rows, positions, d)`` as ``(units, views · positions, d)``, contiguous: the views of a unit are adjacent rows.

    Args:
        rows: Rows first.
        units: Privacy units of the batch.
        layer: Where, for the error.

    Raises:
        UnsupportedModel: The rows are not a multiple of the units, so that they cannot be the rows of the model.
    """
    if len(rows) % units:
        raise UnsupportedModel(
            "the batch of the layer is not the batch of the model",
            where=layer,
            fix="set batch_first=True, or transpose the input to (positions, rows, features)",
        )
    # several products and sums read it, at half the speed if the rows are not side by side
    return fold(rows.contiguous(), units, 1)


def trainable(parameter: Any) -> TypeGuard[nn.Parameter]:
    """Whether contributions to the gradient of ``parameter``, if there is one, are wanted."""
    return isinstance(parameter, nn.Parameter) and parameter.requires_grad


def caught(tensor: Tensor, *parameters: Any) -> Tensor:
    """``tensor``, made part of the graph if what led to it is constant and one of ``parameters`` is trainable."""
    if not torch.is_grad_enabled():
        return tensor.detach()  # a view of a parameter claims to need a gradient all the same
    if not tensor.requires_grad and any(trainable(p) for p in parameters):
        tensor.requires_grad_()
    return tensor


def kept(factor: Tensor, layer: str) -> Callable[[], Tensor]:
    """Gives ``factor`` back after the backward pass, as it is now.

    Args:
        factor: What a weight is multiplied by.
        layer: Where, for the error.

    Raises:
        UnsupportedModel: Somebody wrote to it in the meantime (when it is asked for).
    """
    value, version = factor.detach(), factor._version

    def read() -> Tensor:
        if value._version != version:
            raise UnsupportedModel(
                "what a layer was given was changed in place afterwards",
                where=layer,
                fix="do not write into the input of a layer that has parameters",
            )
        return value

    return read
