"""A copy of a model that can be asked questions without a trace on the model itself."""

from __future__ import annotations

import contextlib
import copy
import random
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pellucid.errors import UnsupportedModel

__all__ = [
    "device_of",
    "frozen",
    "in_precision",
    "precision_of",
    "untouched",
]


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

    A model that :func:`pellucid.train.private` returned is copied as the plain model that it holds. What a hook, or a
    function kept on the module, holds by its closure is no part of the module and is not copied: code of the user's
    own that reaches outside of the module still does.

    Raises:
        UnsupportedModel: The model carries the hooks of a private training engine (they would write per-sample
            gradients that a later step reads), or cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise UnsupportedModel(f"a model is a torch.nn.Module, and this is a {type(model).__name__}", where="model")
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModel(
                "this model is compiled to TorchScript, which takes no hooks and keeps its weights to itself",
                where=name or "model",
                fix="hand over the nn.Module that was scripted or traced",
            )
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


def _origin(thing: Any) -> str:
    """The module in which a class or hook was defined, also through ``functools.partial`` and bound methods."""
    thing = getattr(thing, "func", thing)
    return str(getattr(thing, "__module__", None) or "")


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
