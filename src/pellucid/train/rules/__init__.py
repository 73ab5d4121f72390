"""Rules: what the gradient at a layer's output means for the gradients of its parameters, unit by unit.

``rule(layer, inputs, gradient, units)`` is given the tensors that went into the layer and the gradient at its output,
rows first; a unit's views are adjacent rows. It gives a contribution for each parameter that is trainable. Layers with
more than one place to look at (recurrent layers, attention) have a replacement instead: the same function, from parts
that can be watched. A layer in neither table is differentiated by running it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from torch import Tensor, nn

from pellucid.train.contributions import Contribution
from pellucid.train.rules.attention import attention
from pellucid.train.rules.convolution import convolution, transposed
from pellucid.train.rules.embedding import bag, embedding, refuse_table
from pellucid.train.rules.linear import bilinear, linear, prelu
from pellucid.train.rules.normalisation import group_norm, instance_norm, layer_norm, refuse_running, rms_norm
from pellucid.train.rules.recurrent import recurrent

__all__ = ["REPLACEMENTS", "RULES", "Pieces", "Replacement", "Rule", "Watch", "refuse"]

Pieces = Iterable[tuple[nn.Parameter, Contribution]]
Rule = Callable[[nn.Module, tuple[Tensor, ...], Tensor, int], Pieces]
Watch = Callable[[Tensor, Callable[[Tensor, int], Pieces]], None]
Replacement = Callable[..., Any]

RULES: Final[dict[type[nn.Module], Rule]] = {
    nn.Linear: linear,
    nn.Bilinear: bilinear,
    nn.PReLU: prelu,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    nn.ConvTranspose1d: transposed,
    nn.ConvTranspose2d: transposed,
    nn.ConvTranspose3d: transposed,
    nn.Embedding: embedding,
    nn.EmbeddingBag: bag,
    nn.LayerNorm: layer_norm,
    nn.RMSNorm: rms_norm,
    nn.GroupNorm: group_norm,
    nn.InstanceNorm1d: instance_norm,
    nn.InstanceNorm2d: instance_norm,
    nn.InstanceNorm3d: instance_norm,
}
REPLACEMENTS: Final[dict[type[nn.Module], Replacement]] = {
    nn.RNN: recurrent,
    nn.LSTM: recurrent,
    nn.GRU: recurrent,
    nn.MultiheadAttention: attention,
}


def refuse(layer: nn.Module) -> None:
    """Refuse a layer that has a rule, but whose settings no rule could make right; called before the run.

    Raises:
        UnsupportedModel: What is set, and the remedy.
    """
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        refuse_table(layer)
    refuse_running(layer)
