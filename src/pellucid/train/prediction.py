"""Probabilities from a module, as NumPy, for everything that asks a model questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from pellucid.errors import UnsupportedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["predict"]

CHUNK: Final = 8_192


def predict(module: nn.Module, x: torch.Tensor, *, chunk: int = CHUNK) -> NDArray[np.float64]:
    """Class probabilities in evaluation mode.

    Args:
        module: Gives logits ``(B, classes)``, or one logit ``(B,)`` or ``(B, 1)`` for the second of two classes. Its
            mode is put back.
        x: Inputs ``(N, …)``.
        chunk: Rows at a time, at least 1.

    Returns:
        Float64 probabilities ``(N, classes)``; every row sums to 1.

    Raises:
        UnsupportedModel: The module does not give one row of finite logits for each row.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.inference_mode():
            parts = [_logits(module, x[start : start + chunk]) for start in range(0, max(len(x), 1), chunk)]
    finally:
        for part, mode in modes:
            part.training = mode
    return np.asarray(torch.cat(parts).softmax(dim=1).numpy(), dtype=np.float64)


def _logits(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    out = module(x)
    name = type(module).__name__
    if not isinstance(out, torch.Tensor) or len(out) != len(x) or out.dim() > 2:
        raise UnsupportedModel("the model must give one row of logits for each row", where=name)
    out = (
        out.double().reshape(len(x), -1) if len(x) else out.double().reshape(0, out.shape[-1] if out.dim() == 2 else 1)
    )
    if not out.isfinite().all():
        raise UnsupportedModel("the model gives logits that are not finite", where=name)
    return torch.cat([torch.zeros_like(out), out], dim=1) if out.shape[1] == 1 else out
