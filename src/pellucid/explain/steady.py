"""Is the answer for a row a function of that row, and a score? Tried before anything is said about it."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.explain.answers import answered, called, fitting, reduced
from pellucid.explain.model import device_of, untouched
from pellucid.explain.probabilities import gives_probabilities

__all__ = ["steady"]

PROBED: Final = 256  # rows on which a model must answer the same twice


def steady(model: nn.Module, x: Tensor, *, gradient: bool = False) -> None:
    """Check that a :func:`pellucid.explain.model.frozen` model answers each row by itself, the same way, with a score.

    It is tried on the first :data:`PROBED` rows: what a model does only with more of them at a time is not found.

    Args:
        model: Frozen.
        x: (N, …) rows.
        gradient: Whether the answer must also be the same while gradients are recorded.

    Raises:
        UnsupportedModel: It draws randomness in eval mode (dropout that stays on), keeps state between calls, mixes
            rows (batch statistics), or returns probabilities: no explanation of a single answer means anything then.
    """
    device = device_of(model)
    with untouched(), torch.inference_mode():
        fitting(min(PROBED, len(x)), lambda size: _look(model, x[:size].to(device)))
    if gradient and x.is_floating_point():
        with untouched():
            fitting(min(PROBED, len(x)), lambda size: _look_again(model, x[:size].to(device)))


def _look_again(model: nn.Module, x: Tensor) -> None:
    """Torch has other ways through some layers where no gradient is recorded: nn.TransformerEncoder drops padding."""
    with torch.no_grad():
        first = answered(model, x)
    with torch.enable_grad():
        try:
            second = answered(model, x.detach().clone().requires_grad_()).detach()
        except UnsupportedModel:  # a model without a gradient: whoever needs one says so
            return
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise UnsupportedModel(
            "the model answers differently while gradients are recorded",
            where="model",
            fix="build nn.TransformerEncoder with enable_nested_tensor=False, and leave padding out of what follows it",
        )


def _look(model: nn.Module, x: Tensor) -> None:
    found = called(model, x)
    first, second = reduced(found, len(x)), answered(model, x)
    if not torch.equal(first, second) and not torch.allclose(first, second, rtol=1e-6, atol=1e-7, equal_nan=True):
        raise UnsupportedModel(
            "in eval mode the model answers differently the second time: it draws randomness or keeps state",
            where="model",
            fix="let every random layer follow self.training, as nn.Dropout does",
        )
    half = (len(x) + 1) // 2
    # beside its own half, and beside a row of zeros: alike rows, or a single one, would not show that rows are mixed
    pieces = [torch.cat([piece, torch.zeros_like(x[:1])]) for piece in (x[:half], x[half:]) if len(piece)]
    apart = torch.cat([answered(model, piece)[:-1] for piece in pieces])
    slack = 16 * torch.finfo(first.dtype).eps  # another size of batch is summed up in another order
    if not torch.allclose(first, apart, rtol=max(1e-3, slack), atol=max(1e-4, slack), equal_nan=True):
        raise UnsupportedModel(
            "the answer for a row depends on the other rows of its batch",
            where="model",
            fix=_remedy(model),
        )
    if gives_probabilities(model, x, found):
        raise UnsupportedModel(
            "the model returns probabilities, where scores without bounds are needed",
            where="model",
            fix="return what enters the last sigmoid or softmax; the weights stay as they are",
        )


def _remedy(model: nn.Module) -> str:
    """What mends a model that mixes the rows of a batch."""
    for name, part in model.named_modules():
        if getattr(part, "batch_first", True) is False:
            return (
                f"build {type(part).__name__} ({name or 'the model itself'}) with batch_first=True, if rows come "
                "first: it takes them for the steps of a sequence"
            )
    return "use GroupNorm or LayerNorm instead of batch statistics"
