"""A model that ends in probabilities where logits are wanted: it trains, badly, and nothing shows.

Training names the layer and goes on, since such a model is private all the same; measurements refuse it, by a stricter
look at what comes out (``explain.probabilities``, a room of its own).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from pellucid.errors import UnsupportedModel
from pellucid.train.calls import layer_name, observe

__all__ = ["FIX", "WHAT", "probabilities_at"]

WHAT: Final = "the model gives probabilities, and what it gives is read as logits: it would be squashed twice"
FIX: Final = "leave it out: cross_entropy and binary_cross_entropy_with_logits take logits, and so do measurements"

_SQUASHES: Final = (nn.Softmax, nn.Softmax2d, nn.Sigmoid, nn.Hardsigmoid)  # log-probabilities are logits


def probabilities_at(model: nn.Module, x: Any) -> str | None:
    """The place at which ``model`` turns logits into probabilities at its end; None if it does not.

    Told by the layer that gives the output, or by several columns in [0, 1] that sum to 1 in every row.

    Args:
        model: Not private at this moment. Is left as it was.
        x: Generated rows.
    """
    try:
        calls = observe(model, x, training=False)
    except UnsupportedModel:
        return None  # which is said elsewhere
    if not calls or len(calls[-1].outputs) != 1:
        return None
    (out,) = calls[-1].outputs
    for call in reversed(calls):
        if isinstance(call.module, _SQUASHES) and len(call.outputs) == 1 and torch.equal(call.outputs[0], out):
            return call.where
    whole = out.dim() == 2 and out.shape[1] > 1 and bool(((out >= 0) & (out <= 1)).all())
    return (
        layer_name("", model) if whole and torch.allclose(out.sum(1), torch.ones_like(out[:, 0]), atol=1e-3) else None
    )
