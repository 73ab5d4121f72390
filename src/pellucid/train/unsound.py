"""What no clipping can bound: kinds of layers that learn past the gradient, and forward passes that mix people.

Kinds are told by looking; what a forward pass does, by probing it with generated rows, never with private ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pellucid.errors import UnsupportedModel
from pellucid.train.calls import coupling, layer_name
from pellucid.train.probe import changed_state, coupled_rows
from pellucid.train.workers import local

__all__ = ["Found", "by_kind", "by_pass", "takes_batch_for_time"]

Found = tuple[str, nn.Module, UnsupportedModel]
"""Dotted name of the layer, the layer, and what is wrong with it."""

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_INSTANCE_NORM = nn.modules.instancenorm._InstanceNorm
_DISTRIBUTED = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def by_kind(model: nn.Module) -> list[Found]:
    """Every layer that is unsound whatever it is given, with the remedy."""
    found: list[Found] = []
    for name, module in model.named_modules():
        for what, fix in _kinds(module):
            found.append((name, module, UnsupportedModel(what, where=layer_name(name, module), fix=fix)))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        what, fix = "no parameter is trainable", "leave at least one parameter with requires_grad"
        found.append(("", model, UnsupportedModel(what, where=type(model).__name__, fix=fix)))
    return found


def _kinds(module: nn.Module) -> list[tuple[str, str]]:
    """What is wrong with one layer by its kind, and what to do."""
    found: list[tuple[str, str]] = []
    if isinstance(module, _BATCH_NORM):
        what = "batch normalisation mixes people with each other, and keeps their means, even when frozen"
        found.append((what, "use GroupNorm or LayerNorm"))
    elif isinstance(module, _INSTANCE_NORM) and module.track_running_stats:
        found.append(("running statistics learn from the data without noise", "set track_running_stats=False"))
    elif isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
        what = "max_norm rewrites the rows of the table that people's data look up, without clipping and noise"
        found.append((what, "leave max_norm out"))
    elif isinstance(module, torch.jit.ScriptModule):
        found.append(("a scripted module cannot be taken apart into layers", "give the Python module it was made from"))
    elif isinstance(module, _DISTRIBUTED):
        what = "gradients would be averaged over processes or devices before they are clipped"
        found.append((what, "give the bare module: the engine adds up what several processes say itself"))
    elif type(module).__module__.startswith("opacus.grad_sample"):
        found.append(("this module is private already, by another engine", "give the bare module"))
    if type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
        found.append(("a compiled module cannot be taken apart into layers", "give the module before torch.compile"))
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module._parameters.values()):
        fix = "run one forward pass on made-up rows, or give the shapes"
        found.append(("the parameter has no shape yet", fix))
    return found


def by_pass(model: nn.Module, x: Any) -> list[Found]:
    """What training forward passes on generated rows ``x`` show: one finding, since the first may hide others."""
    try:
        state, written = _changed(model, x)
        if written is not None:
            what = "a forward pass writes to this parameter, past the clipped and noisy gradient"
            return [_at(model, what, written, "leave weights to the optimizer")]
        if state is not None:
            what = "a training forward pass changes this tensor: it learns from the data without clipping and noise"
            fix = "remove it, or fill it from public knowledge and keep it constant"
            return [_at(model, what, state, fix)]
        if coupled_rows(model, x):
            where, layer = coupling(model, x)
            what = (
                "the output for one row depends on the other rows of the batch, so one person's influence cannot be "
                "bounded"
            )
            fix = "compute every row on its own: no mean, maximum, sort or attention over the batch"
            if layer is not None and takes_batch_for_time(layer):
                fix = "give it batch_first=True: it takes the rows of the batch for steps in time"
            error = UnsupportedModel(what, where=where, fix=fix)
            name = next((name for name, module in model.named_modules() if module is layer), "")
            return [(name, layer or model, error)]
    except UnsupportedModel as error:
        return [("", model, error)]
    return []


def takes_batch_for_time(layer: nn.Module) -> bool:
    """Whether ``layer`` walks along its first dimension, which is that of the rows."""
    return getattr(layer, "batch_first", None) is False


def _at(model: nn.Module, what: str, where: str, fix: str) -> Found:
    name = where.rpartition(".")[0]
    return name, model.get_submodule(name), UnsupportedModel(what, where=where, fix=fix)


def _changed(model: nn.Module, x: Any) -> tuple[str | None, str | None]:
    """The names of a buffer or attribute, and of a parameter, that a forward pass changes; all are put back."""
    before = [(name, local(p.detach()), local(p.detach()).clone()) for name, p in model.named_parameters()]
    written: str | None = None
    try:
        state = changed_state(model, x)
    finally:
        with torch.no_grad():
            for name, values, kept in before:
                if not torch.equal(values.nan_to_num(), kept.nan_to_num()):
                    written = written or name
                    values.copy_(kept)
    return state, written
