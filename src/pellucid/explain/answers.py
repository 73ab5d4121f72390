"""What a model answers: guarded calls, in pieces that memory holds, and the one score that a question is about."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from pellucid.errors import BadData, PellucidError, UnsupportedModel
from pellucid.explain.model import device_of, precision_of, untouched

__all__ = ["CHUNK", "SLOTS", "answered", "called", "exhausted", "fitting", "outputs", "pick", "reduced", "scored"]

T = TypeVar("T")

CHUNK: Final = 4096  # rows a forward pass: a few megabytes of activations, which stay in the cache
SLOTS: Final = 2**20  # numbers a forward pass is given at most: images are wider than people


def called(model: nn.Module, x: Tensor, *, spare: bool = False) -> Any:
    """What ``model`` returns for ``x``; numbers are given in the precision of its weights, if it takes no other.

    Args:
        model: Frozen.
        x: (n, …). The model is given a copy of it, since a model that works in place writes into what it is given.
        spare: ``x`` is needed no more, and is given itself.

    Raises:
        BadData: A token id that the model does not know.
        UnsupportedModel: The model does not take such rows, or not as one tensor.
    """
    try:
        return model(x if spare else x.clone())
    except Exception as error:  # of any kind: it comes out of the user's own code
        if isinstance(error, PellucidError) or exhausted(error):
            raise
        own = precision_of(model)
        if isinstance(error, RuntimeError) and x.is_floating_point() and own not in (None, x.dtype):
            return called(model, x.to(own), spare=spare)
        if isinstance(error, IndexError) and not x.is_floating_point():
            raise BadData(
                "a token id, or a place in the row, is one that the model does not know",
                where="x",
                fix="tokenise with the vocabulary and the length the model was trained with",
            ) from error
        if isinstance(error, RuntimeError) and "in-place operation" in str(error):
            raise UnsupportedModel(
                "the model writes into what it is given, which a gradient does not allow",
                where="model",
                fix="let forward make a new tensor: x.clamp(…) instead of x.clamp_(…), x = x - 1 instead of x -= 1",
            ) from error
        raise UnsupportedModel(
            f"the model does not take rows of shape {tuple(x.shape[1:])} as one tensor ({type(error).__name__})",
            where="model",
            fix="hand over the model that was trained on this encoding, with a forward that takes a batch of rows",
        ) from error


def answered(model: nn.Module, x: Tensor, *, spare: bool = False) -> Tensor:
    """What ``model`` answers for ``x`` (n, …): (n,) log-odds of class 1 for two classes, (n, C) logits for more.

    ``spare`` as for :func:`called`.

    Raises:
        BadData: As :func:`called`.
        UnsupportedModel: As :func:`called`, or the output is of another shape.
    """
    return reduced(called(model, x, spare=spare), len(x))


def outputs(model: nn.Module, x: Tensor, *, chunk: int = CHUNK, finite: bool = True, spare: bool = False) -> Tensor:
    """Outputs of a :func:`frozen` model for ``x`` (N, …), in inference mode and in chunks of rows.

    Args:
        model: Frozen.
        x: (N, …). It stays as it is, whatever the model does.
        chunk: Rows a forward pass.
        finite: Refuse what is not finite.
        spare: ``x`` is needed no more, and the model may have it. Where memory runs out it is asked again with what it
            has written, so that this is for models that write nothing, or what leaves the answer as it is.

    Returns:
        float64 on the CPU: (N,) log-odds of class 1 for two classes, (N, C) logits for more.

    Raises:
        UnsupportedModel: The output is of another shape, or, unless ``finite`` is false, not finite.
    """
    device = device_of(model)

    def answers(size: int) -> Tensor:
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size].to(device)
            parts.append(answered(model, part, spare=spare).cpu().double())
        return torch.cat(parts)

    with untouched(), torch.inference_mode():
        found = fitting(max(1, min(chunk, SLOTS // max(1, x[0].numel()))), answers)
    if finite and not bool(torch.isfinite(found).all()):
        raise UnsupportedModel(
            "the model gives NaN or infinity for some rows", where="model", fix="lower the learning rate and retrain"
        )
    return found


def scored(model: nn.Module, target: int | None = None, *, spare: bool = False) -> Callable[[Tensor], Tensor]:
    """The differentiable function x (n, …) → the one score (n,) of ``model`` that :func:`pick` picks.

    ``spare`` as for :func:`called`.
    """
    return lambda x: pick(answered(model, x, spare=spare), target)


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


def exhausted(error: BaseException) -> bool:
    """Whether memory ran out; on the CPU torch says so in words only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def reduced(found: Any, rows: int) -> Tensor:
    """What a model returned for so many rows: (n,) log-odds where there are two classes, else (n, C) logits.

    Raises:
        UnsupportedModel: It is no such tensor.
    """
    if isinstance(found, Tensor):
        plain = found.layout == torch.strided and not found.is_nested and found.is_floating_point()
        if plain and found.ndim in (1, 2) and len(found) == rows and found.numel():
            if found.ndim == 1:
                return found
            if found.shape[1] == 1:
                return found[:, 0]
            if found.shape[1] == 2:
                return found[:, 1] - found[:, 0]
            return found
        shape = f"a tensor of shape {tuple(found.shape)}" if not found.is_nested else "a nested tensor"
    else:
        shape = f"a {type(found).__name__}"
    raise UnsupportedModel(
        f"the model returns {shape} for {rows} rows",
        where="model",
        fix="return logits of shape (N,), (N, 1) or (N, classes), as an ordinary tensor of floating point numbers",
    )
