"""A copy of a model that can be asked questions without a trace on the model itself, and how it is asked."""

from __future__ import annotations

import contextlib
import copy
import numbers
import random
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, PellucidError, UnsupportedModel

__all__ = [
    "CHUNK",
    "answered",
    "called",
    "device_of",
    "exhausted",
    "fitting",
    "frozen",
    "in_precision",
    "outputs",
    "pick",
    "precision_of",
    "scored",
    "untouched",
]

T = TypeVar("T")

CHUNK: Final = 4096  # rows a forward pass: a few megabytes of activations, which stay in the cache
SLOTS: Final = 2**20  # numbers a forward pass is given at most: images are wider than people

_HOOKS: Final = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


@contextmanager
def untouched() -> Iterator[None]:
    """Inside, torch computes as it does by default; afterwards all generators stand where they stood.

    Gradients are recorded and nothing is cast, whatever the caller has switched on: an answer must not depend on
    whether it is asked for under ``no_grad``, ``inference_mode`` or ``autocast``.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
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
    if not isinstance(model, nn.Module):
        raise UnsupportedModel(f"a model is a torch.nn.Module, and this is a {type(model).__name__}", where="model")
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
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise UnsupportedModel(
            "this model is on the meta device, which holds shapes and no weights", where="model", fix="load its weights"
        )
    try:
        with torch.inference_mode(mode=False):
            twin = copy.deepcopy(model)
    except Exception as error:  # of any kind: modules may say how they are copied
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
            parts.append(answered(model, part).cpu().double())
        return torch.cat(parts)

    with untouched(), torch.inference_mode():
        found = fitting(max(1, min(chunk, SLOTS // max(1, x[0].numel()))), answers)
    if not bool(torch.isfinite(found).all()):
        raise UnsupportedModel(
            "the model gives NaN or infinity for some rows", where="model", fix="lower the learning rate and retrain"
        )
    return found


def scored(model: nn.Module, target: int | None = None) -> Callable[[Tensor], Tensor]:
    """The differentiable function x (n, …) → the one score (n,) of ``model`` that :func:`pick` picks."""
    return lambda x: pick(answered(model, x), target)


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
    given: Any = target  # whatever a caller wrote
    if given is not None and (isinstance(given, bool) or not isinstance(given, numbers.Integral)):
        raise BadData(
            f"a target is the number of one class, and this is a {type(given).__name__}",
            where="target",
            fix=f"a whole number from 0 to {classes - 1}",
        )
    if target is not None and not 0 <= target < classes:
        raise BadData(f"there is no class {target}: the model has {classes}, from 0", where="target")
    if found.ndim == 1:
        return -found if target == 0 else found
    if target is None:
        raise UnsupportedModel(
            f"this question is about one score, and the model has {classes} classes",
            where="model",
            fix="name the class whose logit is meant: target=…",
        )
    return found[:, target]


def exhausted(error: BaseException) -> bool:
    """Whether memory ran out; on the CPU torch says so in words only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _origin(thing: Any) -> str:
    """The module in which a class or hook was defined, also through ``functools.partial`` and bound methods."""
    thing = getattr(thing, "func", thing)
    return str(getattr(thing, "__module__", None) or "")


def called(model: nn.Module, x: Tensor) -> Any:
    """What ``model`` returns for ``x``; numbers are given in the precision of its weights, if it takes no other.

    Raises:
        BadData: A token id that the model does not know.
        UnsupportedModel: The model does not take such rows, or not as one tensor.
    """
    try:
        return model(x)
    except Exception as error:  # of any kind: it comes out of the user's own code
        if isinstance(error, PellucidError) or exhausted(error):
            raise
        own = precision_of(model)
        if isinstance(error, RuntimeError) and x.is_floating_point() and own not in (None, x.dtype):
            return called(model, x.to(own))
        if isinstance(error, IndexError) and not x.is_floating_point():
            raise BadData(
                "a token id, or a place in the row, is one that the model does not know",
                where="x",
                fix="tokenise with the vocabulary and the length the model was trained with",
            ) from error
        raise UnsupportedModel(
            f"the model does not take rows of shape {tuple(x.shape[1:])} as one tensor ({type(error).__name__})",
            where="model",
            fix="hand over the model that was trained on this encoding, with a forward that takes a batch of rows",
        ) from error


def answered(model: nn.Module, x: Tensor) -> Tensor:
    """What ``model`` answers for ``x`` (n, …): (n,) log-odds of class 1 for two classes, (n, C) logits for more.

    Raises:
        BadData: As :func:`called`.
        UnsupportedModel: As :func:`called`, or the output is of another shape.
    """
    return _flat(called(model, x), len(x))


def precision_of(model: nn.Module) -> torch.dtype | None:
    """The one type of all floating-point weights of ``model``; None without any, or with several."""
    found = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def in_precision(model: nn.Module, precision: torch.dtype) -> nn.Module:
    """``model`` itself where it computes in ``precision`` (or casts by itself), else a copy in that precision."""
    found = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    if found <= {precision} or (precision == torch.float32 and precision in found):
        return model
    return copy.deepcopy(model).to(precision)


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
