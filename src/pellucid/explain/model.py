"""A copy of a model that can be asked questions without a trace on the model itself."""

from __future__ import annotations

import copy
import random
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.schema import Encoding

__all__ = [
    "CHUNK",
    "check_rows",
    "check_tokens",
    "device_of",
    "exhausted",
    "fitting",
    "frozen",
    "outputs",
    "pick",
    "scored",
    "steady",
    "untouched",
]

T = TypeVar("T")

CHUNK: Final = 4096  # rows a forward pass: a few megabytes of activations, which stay in the cache
SLOTS: Final = 2**20  # numbers a forward pass is given at most: images are wider than people
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

    A model that :func:`pellucid.train.private` returned is copied as the plain model that it holds.

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
    if any(isinstance(tensor, nn.parameter.UninitializedParameter) for tensor in model.parameters()):
        raise UnsupportedModel(
            "a lazy layer of this model has no weights yet", where="model", fix="train it, or load its weights"
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
    for part in twin.modules():
        forward = vars(part).get("forward")
        if isinstance(forward, types.MethodType) and forward.__func__ is type(part).forward:
            del part.forward  # what a patch of private training leaves in a copy: the same function again
        if isinstance(part, nn.RNNBase):
            # cuDNN has no gradient of a recurrent layer in eval mode; without dropout both modes are one function
            part.dropout = 0.0
            part.train()
    return twin


def device_of(model: nn.Module) -> torch.device:
    """Where the parameters of ``model`` are; the CPU if it has none."""
    return next((tensor.device for tensor in model.parameters()), torch.device("cpu"))


def fitting(size: int, work: Callable[[int], T]) -> T:
    """``work(size)``, with half the size as often as memory does not hold it.

    Args:
        size: Rows (or points) that go through the model at a time.
        work: Does all of the work in pieces of at most that many.

    Raises:
        UnsupportedModel: Memory does not even hold one row.
    """
    while True:
        try:
            return work(size)
        except (RuntimeError, MemoryError) as error:
            if not exhausted(error):
                raise
            if size == 1:
                raise UnsupportedModel(
                    "memory does not hold one row of this model", where="model", fix="free memory, or explain elsewhere"
                ) from error
        size //= 2  # outside of the handler, whose traceback holds the tensors


def outputs(model: nn.Module, x: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Outputs of a :func:`frozen` model for ``x`` (N, …), in inference mode and in chunks of rows.

    Returns:
        float64 on the CPU: (N,) log-odds of class 1 for two classes, (N, C) logits for more.

    Raises:
        UnsupportedModel: The output is of another shape, or not finite.
    """
    device = device_of(model)

    def answers(size: int) -> Tensor:
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size].to(device)
            parts.append(_flat(_call(model, part), len(part)).cpu().double())
        return torch.cat(parts)

    with torch.inference_mode(), untouched():
        found = fitting(max(1, min(chunk, SLOTS // max(1, x[0].numel()))), answers)
    if not bool(torch.isfinite(found).all()):
        raise UnsupportedModel(
            "the model gives NaN or infinity for some rows", where="model", fix="lower the learning rate and retrain"
        )
    return found


def scored(model: nn.Module, target: int | None = None) -> Callable[[Tensor], Tensor]:
    """The differentiable function x (n, …) → the one score (n,) of ``model`` that :func:`pick` picks."""
    return lambda x: pick(_flat(_call(model, x), len(x)), target)


def pick(found: Tensor, target: int | None = None) -> Tensor:
    """The one score (n,) that an explanation is about.

    Args:
        found: (n,) log-odds of class 1 for two classes, (n, C) logits for more, as of :func:`outputs`.
        target: The class. For two classes the score is the log-odds of the class, by default of class 1; for more it
            is the logit of the class, and there is no default.

    Raises:
        BadData: There is no such class.
        UnsupportedModel: There are more than two classes, and none is named.
    """
    classes = 2 if found.ndim == 1 else found.shape[1]
    if target is not None and not 0 <= target < classes:
        raise BadData(f"there is no class {target}: the model has {classes}, from 0", where="target")
    if found.ndim == 1:
        return -found if target == 0 else found
    if target is None:
        raise UnsupportedModel(
            f"attributions explain one score, and this model has {classes} classes",
            where="model",
            fix="name the class whose logit is to be explained: target=…",
        )
    return found[:, target]


def steady(model: nn.Module, x: Tensor) -> None:
    """Check that a :func:`frozen` model answers the same twice, and that rows do not influence each other.

    Raises:
        UnsupportedModel: It draws randomness in eval mode (dropout that stays on), keeps state between calls, or
            mixes rows (batch statistics): no explanation of a single answer means anything then.
    """
    with torch.inference_mode(), untouched():
        fitting(min(PROBED, len(x)), lambda size: _look(model, x[:size].to(device_of(model))))


def _look(model: nn.Module, x: Tensor) -> None:
    first = _flat(_call(model, x), len(x))
    second = _flat(_call(model, x), len(x))
    if not torch.equal(first, second) and not torch.allclose(first, second, rtol=1e-6, atol=1e-7, equal_nan=True):
        raise UnsupportedModel(
            "in eval mode the model answers differently the second time: it draws randomness or keeps state",
            where="model",
            fix="let every random layer follow self.training, as nn.Dropout does",
        )
    half = (len(x) + 1) // 2
    alone = torch.cat([_flat(_call(model, piece), len(piece)) for piece in (x[:half], x[half:]) if len(piece)])
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


def check_tokens(x: Tensor, words: int | None = None) -> None:
    """Check that ``x`` is whole numbers (N, T) with N, T >= 1, in 0..words-1 where the size of the vocabulary is known.

    Raises:
        BadData: It is not; no token is shown.
    """
    if getattr(x, "dtype", None) not in (torch.int64, torch.int32) or x.ndim != 2 or x.numel() == 0:
        raise BadData("token ids must be an int64 tensor (N, T) with at least one row and one token", where="x")
    if words is not None and not 0 <= int(x.min()) <= int(x.max()) < words:
        raise BadData(
            f"a token id is outside 0..{words - 1}, the words the model knows",
            where="x",
            fix="tokenise with the vocabulary the model was trained with",
        )


def exhausted(error: BaseException) -> bool:
    """Whether memory ran out; on the CPU torch says so in words only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _origin(thing: Any) -> str:
    """The module in which a class or hook was defined, also through ``functools.partial`` and bound methods."""
    thing = getattr(thing, "func", thing)
    return str(getattr(thing, "__module__", None) or "")


def _call(model: nn.Module, x: Tensor) -> Any:
    try:
        return model(x)
    except (RuntimeError, ValueError, IndexError) as error:
        if exhausted(error):
            raise
        if isinstance(error, IndexError) and not x.is_floating_point():
            raise BadData(
                "a token id, or a place in the row, is one that the model does not know",
                where="x",
                fix="tokenise with the vocabulary and the length the model was trained with",
            ) from error
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
