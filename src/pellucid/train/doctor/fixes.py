"""What stands in for a layer that is unsound: the same job, each row on its own.

Opacus's ``ModuleValidator.fix`` is not used: it leaves frozen and unaffine batch normalisation in place, and puts one
number into each group where there are no places to normalise over, which erases the data.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from pellucid.train.calls import Call, layer_name
from pellucid.train.doctor.construction import Edit, Site, made_at
from pellucid.train.unsound import takes_batch_for_time

__all__ = ["Fix", "erases", "fixed", "normalisers", "replaced"]

GROUPS: Final = 32  # of group normalisation (Wu and He 2018, arXiv 1803.08494, section 4.1)
LEAST: Final = 8  # numbers in a group: normalised over fewer, little is left of them
_MOST_GROUPS: Final = (
    f"groups: the largest power of two up to {GROUPS} that divides the channels of every layer made there and leaves "
    f"{LEAST} numbers in each group, or else one"
)
_NO_GROUPS: Final = "no groups: a row has channels only, and is normalised over all of them"
_ONE_GROUP: Final = "one group: a number in a group of its own becomes zero"
_HOLDERS: Final = ("TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer")
_INPUTS: Final = ("in_features", "in_channels", "num_features")  # what a lazy layer learns from the first rows

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_INSTANCE_NORM = nn.modules.instancenorm._InstanceNorm


@dataclass(frozen=True, slots=True)
class Fix:
    """One layer, mended.

    Attributes:
        layer: Its name, as the error says it.
        before: How it prints.
        after: How what stands in for it prints.
        replacement: That module.
        site: Where in the watched file the layer was made, if there.
        edit: What the call there is to become, if that can be said.
        why: How what could have been chosen otherwise was chosen; empty if there was no choice.
    """

    layer: str
    before: str
    after: str
    replacement: nn.Module
    site: Site | None = None
    edit: Edit | None = None
    why: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        line = self.site.line if self.site else None
        return {"layer": self.layer, "before": self.before, "after": self.after, "why": self.why, "line": line}


def fixed(
    name: str,
    module: nn.Module,
    was: nn.Module,
    calls: Sequence[Call],
    groups: Mapping[Any, int],
    *,
    coupled: bool = False,
) -> Fix | None:
    """What mends ``module``, or None if that takes a person.

    Args:
        name: Its dotted name.
        module: A layer that is unsound, or was lazy; its shapes are known.
        was: The layer as the user made it: ``module``, or the lazy one that it was.
        calls: What layers were given on generated rows.
        groups: Of :func:`normalisers`.
        coupled: Rows touch each other in this very layer.
    """
    new: nn.Module
    edit: Edit | None
    keywords: dict[str, str] = {}
    why = ""
    if isinstance(module, _BATCH_NORM):
        count = groups.get(made_at(module) or module)
        if count is None:
            return None
        new, edit = _group_norm(module, was, count)
        why = _MOST_GROUPS if count else _NO_GROUPS
    elif isinstance(module, nn.GroupNorm) and erases(module, calls):
        if module.num_channels < LEAST:
            return None
        new = _carrying(nn.GroupNorm(1, module.num_channels, module.eps, module.affine), module)
        edit, why = None, _ONE_GROUP
    else:
        new = copy.deepcopy(module)
        lazy = type(was) is not type(module)
        names: tuple[str, ...] = (type(was).__name__,)
        if isinstance(new, _INSTANCE_NORM) and new.track_running_stats:
            new.track_running_stats = False
            new.running_mean = new.running_var = new.num_batches_tracked = None
            keywords["track_running_stats"] = "False"
        elif isinstance(new, nn.Embedding | nn.EmbeddingBag) and new.max_norm is not None:
            new.max_norm = None
            keywords["max_norm"] = "None"
        elif coupled and takes_batch_for_time(new):
            new.batch_first = True  # type: ignore[assignment]  # a plain attribute of this kind of layer
            keywords["batch_first"] = "True"
            names = (*names, *_HOLDERS)
        elif not lazy:
            return None
        width = next((str(getattr(new, key)) for key in _INPUTS if hasattr(new, key)), "") if lazy else ""
        edit = Edit(names, type(new).__name__ if lazy else "", (width,) if width else (), keywords=(*keywords.items(),))
    before, after = _shown(was), _shown(new)
    if before == after:  # how it prints does not say
        after = _shown(new, *(f"{key}={value}" for key, value in keywords.items()))
    return Fix(layer_name(name, was), before, after, new, made_at(module), edit, why)


def _shown(module: nn.Module, *more: str) -> str:
    """A layer in one line, without what is in it."""
    return f"{type(module).__name__}({', '.join([*filter(None, [module.extra_repr()]), *more])})"


def normalisers(model: nn.Module, calls: Sequence[Call]) -> dict[Any, int]:
    """By the site where batch normalisation is made, or the layer, into how many groups its channels go.

    A call that makes several layers, such as in a loop, becomes one call: the number divides all their channels. 0
    stands for layer normalisation, where a row has channels only. Absent: each row has one number, and nothing can be
    normalised.
    """
    found: dict[Any, int] = {}
    barred: set[Any] = set()
    for module in model.modules():
        if not isinstance(module, _BATCH_NORM) or not isinstance(module.num_features, int):
            continue
        key = made_at(module) or module
        channels = module.num_features
        places = _places(module, calls)
        if channels * places < 2:
            barred.add(key)
            continue
        flat = {call.inputs[0].dim() == 2 for call in calls if call.module is module and call.inputs} == {True}
        count = 0 if flat else math.gcd(GROUPS, channels)
        while count > 1 and channels // count * places < LEAST:
            count //= 2
        before = found.get(key, count)
        found[key] = 0 if before == count == 0 else math.gcd(before or 1, count or 1)
    return {key: count for key, count in found.items() if key not in barred}


def _places(module: nn.Module, calls: Sequence[Call]) -> int:
    """The fewest places of a row that ``module`` was given a channel of."""
    seen = [math.prod(call.inputs[0].shape[2:]) for call in calls if call.module is module and call.inputs]
    if seen:
        return min(seen)
    return 1 if isinstance(module, nn.BatchNorm1d) else LEAST


def erases(module: nn.GroupNorm, calls: Sequence[Call]) -> bool:
    """Whether each group holds one number: minus itself that is zero, whatever it was."""
    seen = any(call.module is module and call.inputs for call in calls)
    return seen and module.num_groups == module.num_channels and _places(module, calls) == 1


def _group_norm(old: Any, was: nn.Module, groups: int) -> tuple[nn.Module, Edit]:
    channels = int(old.num_features)
    new: nn.Module = nn.LayerNorm(channels, old.eps, old.affine)
    leading: tuple[str, ...] = ()
    if groups:
        new, leading = nn.GroupNorm(groups, channels, old.eps, old.affine), (str(groups),)
    keywords = _spelled(old, "affine" if groups else "elementwise_affine")
    first = "num_features"
    if type(was) is not type(old):  # a lazy layer
        leading, first = (*leading, str(channels)), ""
    return _carrying(new, old), Edit((type(was).__name__,), type(new).__name__, leading, first, keywords)


def _spelled(old: Any, affine: str) -> tuple[tuple[str, str], ...]:
    """Arguments that differ from their defaults."""
    eps = [("eps", repr(old.eps))] if old.eps != 1e-5 else []
    return (*eps, *([] if old.affine else [(affine, "False")]))


def _carrying(new: nn.Module, old: nn.Module) -> nn.Module:
    """``new`` with the weights of ``old``, in its type, place and mode."""
    weights = dict(old.named_parameters())
    for name, parameter in new.named_parameters():
        with torch.no_grad():
            parameter.data = weights[name].detach().clone()
        parameter.requires_grad_(weights[name].requires_grad)
    return new.train(old.training)


def replaced(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """``model`` with ``new`` wherever ``old`` was, in place; ``new`` itself if ``old`` is all of it."""
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
    return new if model is old else model
