"""What the privacy attack looks at: the loss of every example, member or not."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from pellucid.explain.answers import CHUNK
from pellucid.explain.intervals import Floats
from pellucid.explain.predictions import predict

__all__ = ["losses"]


def losses(model: nn.Module, x: Tensor, y: Tensor, *, chunk: int = CHUNK) -> Floats:
    """Cross-entropy in nats of every row under a copy of ``model``: (N,) float64, lower means better known.

    Call it once with members and once with non-members. One number a person: private, never evidence by itself.

    Args:
        model: Returns logits. It is not touched.
        x: (N, …) float32.
        y: (N,) int64.
        chunk: Rows a forward pass.

    Raises:
        BadData: Wrong type, shape or range, or NaN.
        UnsupportedModel: The model is random in eval mode, mixes rows, or returns something else than logits.
    """
    found = predict(model, x, y, chunk=chunk)
    if found.logits.ndim == 1:
        return np.logaddexp(0.0, np.where(found.labels == 1, -found.logits, found.logits))
    top = found.logits.max(axis=1)
    total = top + np.log(np.exp(found.logits - top[:, None]).sum(axis=1))
    result: Floats = total - found.logits[np.arange(len(found)), found.labels]
    return result
