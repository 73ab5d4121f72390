"""A copy of a model that can be asked questions without a trace on the model itself."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.schema import Encoding

__all__ = ["CHUNK", "check_rows", "frozen", "log_odds", "outputs", "steady", "untouched"]

CHUNK: Final = 4096  # rows a forward pass: a few megabytes of activations, which stay in the cache
PROBED: Final = 256  # rows on which a model must answer the same twice

_HOOKS: Final = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


@contextmanager
def untouched() -> Iterator[None]:
    """Whatever happens inside, the generators of torch, NumPy and Python stand afterwards where they stood."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def frozen(model: nn.Module) -> nn.Module:
    """A deep copy of ``model`` in eval mode whose parameters take no gradient.

    Raises:
        UnsupportedModel: The model carries the hooks of a private training engine (they would write per-sample
            gradients that a later step reads), or cannot be copied.
    """
    for name, module in model.named_modules():
        hooks = [hook for kind in _HOOKS for hook in getattr(module, kind, {}).values()]
        if any(_origin(part).startswith("opacus") for part in (type(module), *hooks)):
            raise UnsupportedModel(
                "this model is wrapped for private training; its hooks write per-sample gradients on every pass",
                where=name or "model",
                fix="hand over the standard module (to_standard_module() of a copy)",
            )
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise UnsupportedModel(
            f"the model cannot be copied ({type(error).__name__}), and the original must not be touched",
            where="model",
            fix="keep no tensors with a graph, locks or open files on the module",
        ) from error
    twin.eval()
    twin.requires_grad_(requires_grad=False)
    return twin


def outputs(model: nn.Module, x: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Outputs of a :func:`frozen` model for ``x`` (N, …), in inference mode and in chunks of rows.

    Returns:
        float64 on the CPU: (N,) log-odds of class 1 for two classes, (N, C) logits for more.

    Raises:
        UnsupportedModel: The output is of another shape, or not finite.
    """
    device = _device(model)
    parts = []
    with torch.inference_mode(), untouched():
        for start in range(0, len(x), chunk):
            part = x[start : start + chunk].to(device)
            parts.append(_flat(_call(model, part), len(part)).double().cpu())
    found = torch.cat(parts)
    if not bool(torch.isfinite(found).all()):
        raise UnsupportedModel(
            "the model gives NaN or infinity for some rows", where="model", fix="lower the learning rate and retrain"
        )
    return found


def log_odds(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The differentiable function x (n, …) → log-odds of class 1 (n,) of a two-class ``model``.

    Raises:
        UnsupportedModel: On call, if the model has more than two classes.
    """

    def score(x: Tensor) -> Tensor:
        found = _flat(_call(model, x), len(x))
        if found.ndim != 1:
            raise UnsupportedModel(
                f"attributions explain one score, and this model has {found.shape[1]} classes",
                where="model",
                fix="explain a two-class model",
            )
        return found

    return score


def steady(model: nn.Module, x: Tensor) -> None:
    """Check that a :func:`frozen` model answers the same twice, and that rows do not influence each other.

    Raises:
        UnsupportedModel: It draws randomness in eval mode (dropout that stays on), keeps state between calls, or
            mixes rows (batch statistics): no explanation of a single answer means anything then.
    """
    rows = x[:PROBED]
    with torch.inference_mode(), untouched():
        part = rows.to(_device(model))
        first = _flat(_call(model, part), len(part))
        second = _flat(_call(model, part), len(part))
        if not torch.equal(first, second) and not torch.allclose(first, second, rtol=1e-6, atol=1e-7, equal_nan=True):
            raise UnsupportedModel(
                "in eval mode the model answers differently the second time: it draws randomness or keeps state",
                where="model",
                fix="let every random layer follow self.training, as nn.Dropout does",
            )
        half = (len(part) + 1) // 2
        alone = torch.cat(
            [_flat(_call(model, piece), len(piece)) for piece in (part[:half], part[half:]) if len(piece)]
        )
        if not torch.allclose(first, alone, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise UnsupportedModel(
                "the answer for a row depends on the other rows of its batch",
                where="model",
                fix="use GroupNorm or LayerNorm instead of batch statistics",
            )


def check_rows(x: Tensor, encoding: Encoding | None = None) -> None:
    """Check that ``x`` is finite float32 (N, width) with N >= 1, of the width of ``encoding`` if that is given.

    Raises:
        BadData: It is not; no value is shown.
    """
    if getattr(x, "dtype", None) != torch.float32:  # also what is no tensor at all
        raise BadData("x must be a float32 tensor", where="x")
    if x.ndim < 2 or len(x) == 0:
        raise BadData(f"x must have at least one row and two dimensions, and has shape {tuple(x.shape)}", where="x")
    if encoding is not None and (x.ndim != 2 or x.shape[1] != encoding.width):
        slots = " × ".join(map(str, x.shape[1:]))
        raise BadData(
            f"a row must have the {encoding.width} slots of the encoding, and has {slots}",
            where="x",
            fix="encode the rows with the encoding that is handed in",
        )
    if not bool(torch.isfinite(x).all()):
        raise BadData("x holds NaN or infinity", where="x", fix="declare how missing values are encoded in the schema")


def _origin(thing: Any) -> str:
    """The module in which a class or hook was defined, also through ``functools.partial`` and bound methods."""
    thing = getattr(thing, "func", thing)
    return str(getattr(thing, "__module__", None) or "")


def _device(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in model.parameters()), torch.device("cpu"))


def _call(model: nn.Module, x: Tensor) -> Any:
    try:
        return model(x)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnsupportedModel(
            f"the model does not take rows of shape {tuple(x.shape[1:])} ({type(error).__name__})",
            where="model",
            fix="hand over the model that was trained on this encoding",
        ) from error


def _flat(found: Any, rows: int) -> Tensor:
    """(n,) log-odds where there are two classes, else (n, C) logits."""
    if isinstance(found, Tensor) and found.is_floating_point() and found.ndim in (1, 2) and len(found) == rows:
        if found.ndim == 1:
            return found
        if found.shape[1] == 1:
            return found[:, 0]
        if found.shape[1] == 2:
            return found[:, 1] - found[:, 0]
        return found
    shape = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    raise UnsupportedModel(
        f"the model returns {shape} for {rows} rows",
        where="model",
        fix="return logits of shape (N,), (N, 1) or (N, classes)",
    )
