"""Does DeepLift have an exact rule for what this model does? Looked up before it is asked, by a forward pass.

DeepLift passes differences back by a rule for each module. Captum 0.9 has exact ones for linear modules and for seven
activations; whatever else is not linear is passed back by its gradient, without a word, and the result may miss the
answer by more than its size (LayerNorm, GroupNorm, GELU, SiLU, recurrent layers, attention). Modules that a forward
pass reaches are tabled here, and the graph between them is searched for functions that are no module at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from pellucid.explain.answers import called
from pellucid.explain.inputs import check_rows
from pellucid.explain.model import device_of, frozen, untouched

__all__ = ["Preflight", "Reached", "preflight", "table"]

Node = torch.autograd.graph.Node

_RESCALE: Final = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
_POOLS: Final = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
# One thing each to a reader, though torch runs them as functions of many parts.
_WHOLE: Final = (nn.RNNBase, nn.MultiheadAttention)
# Linear in each operand, however many depend on the input.
_LINEAR: Final = frozenset(
    (
        "Add",
        "Alias",
        "AsStrided",
        "AvgPool1D",
        "AvgPool2D",
        "AvgPool3D",
        "AdaptiveAvgPool2D",
        "AdaptiveAvgPool3D",
        "Cat",
        "Clone",
        "ConstantPadNd",
        "CudnnBatchNorm",
        "Expand",
        "Flip",
        "Index",
        "IndexSelect",
        "Mean",
        "MkldnnAdaptiveAvgPool2D",
        "NativeBatchNorm",
        "Neg",
        "Permute",
        "ReflectionPad1D",
        "ReflectionPad2D",
        "Repeat",
        "Reshape",
        "ReshapeAlias",
        "Roll",
        "Select",
        "Slice",
        "Split",
        "SplitWithSizes",
        "Squeeze",
        "Stack",
        "Sub",
        "Sum",
        "T",
        "ToCopy",
        "Transpose",
        "Unbind",
        "Unsqueeze",
        "UnsafeSplit",
        "UnsafeView",
        "View",
    )
)
# Linear in one operand as long as the others do not depend on the input.
_PRODUCTS: Final = frozenset(
    ("Addmm", "Addmv", "Baddbmm", "Bmm", "Convolution", "Mkldnn", "MkldnnConvolution", "Mm", "Mul", "Mv")
)


@dataclass(frozen=True, slots=True)
class Reached:
    """One module that a forward pass reaches, or what happens between modules (empty ``name``).

    Attributes:
        name: In the model.
        kind: Its type.
        exact: DeepLift has an exact rule.
        why: Why not; empty if so.
    """

    name: str
    kind: str
    exact: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The table of modules, in the order in which they are reached."""

    modules: tuple[Reached, ...]

    @property
    def obstacle(self) -> Reached | None:
        """The first without an exact rule; None if DeepLift may be asked."""
        return next((part for part in self.modules if not part.exact), None)

    @property
    def method(self) -> str:
        """``deep_lift`` where every rule is exact, else ``integrated_gradients``."""
        return "integrated_gradients" if self.obstacle else "deep_lift"


@dataclass(slots=True)
class _Call:
    name: str
    module: nn.Module
    inputs: frozenset[Node]
    output: Node | None
    times: int = field(default=1)


def preflight(model: nn.Module, x: Tensor, *, zero_baseline: bool = True) -> Preflight:
    """Whether DeepLift may be asked of ``model``, module by module.

    Args:
        model: Standard modules. A copy is asked.
        x: (N, …) float32; the first two rows are used.
        zero_baseline: The baseline is zero; pooling by maximum has a rule for no other (Captum 0.9,
            meta-pytorch/captum#1276).

    Raises:
        BadData: Wrong type or shape, or NaN.
        UnsupportedModel: The model cannot be copied, or does not take such rows.
    """
    check_rows(x)
    return table(frozen(model), x, zero_baseline=zero_baseline)


def table(model: nn.Module, x: Tensor, *, zero_baseline: bool = True) -> Preflight:
    """The table for a :func:`pellucid.explain.model.frozen` model; arguments as of :func:`preflight`."""
    calls, outside = _calls(model, x)
    found = [
        Reached(call.name, type(call.module).__name__, not why, why) for call, why in _judged(calls, zero_baseline)
    ]
    known = {call.output: call.inputs for call in calls.values() if call.output is not None}
    if (loose := _curved(outside, known, frozenset())) is not None:
        found.append(Reached("", "function", exact=False, why=f"a function between modules is not linear ({loose})"))
    return Preflight(tuple(found))


def _calls(model: nn.Module, x: Tensor) -> tuple[dict[str, _Call], Node | None]:
    """The innermost modules that are called, by name, and the node of the model's output."""
    calls: dict[str, _Call] = {}
    entered: dict[str, frozenset[Node]] = {}
    handles = []
    try:
        for name, module in _innermost(model):

            def enter(_: nn.Module, args: Any, kwargs: Any, *, name: str = name) -> None:
                entered[name] = frozenset(_nodes((args, kwargs)))

            def leave(module: nn.Module, _: Any, found: Any, *, name: str = name) -> None:
                times = calls[name].times + 1 if name in calls else 1
                calls[name] = _Call(name, module, entered[name], next(_nodes(found), None), times)

            handles += [
                module.register_forward_pre_hook(enter, with_kwargs=True),
                module.register_forward_hook(leave),
            ]
        with untouched():
            # the model is given a copy, so that the first module is given something that has a node
            found = called(model, x[:2].to(device_of(model)).detach().clone().requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    return calls, next(_nodes(found), None)


def _innermost(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    whole: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{above}.") or above == "" for above in whole):
            continue
        if isinstance(module, _WHOLE):
            whole.append(name)
            yield name, module
        elif next(module.children(), None) is None:
            yield name, module


def _judged(calls: dict[str, _Call], zero_baseline: bool) -> Iterator[tuple[_Call, str]]:
    """Each call, and why it has no exact rule (empty if it has)."""
    for call in calls.values():
        module, kind = call.module, type(call.module).__name__
        nonlinear = _curved(call.output, {}, call.inputs)
        if nonlinear is None:
            yield call, ""
        elif type(module) not in (*_RESCALE, *_POOLS):
            yield call, f"{kind} is not linear ({nonlinear}), and has no rule"
        elif call.times > 1:
            yield call, f"this {kind} is called {call.times} times, and a module has one rule"
        elif getattr(module, "inplace", False):
            yield call, f"this {kind} works in place, and its rule needs what it was given"
        elif isinstance(module, _POOLS) and (not zero_baseline or module.stride != module.kernel_size):
            yield call, f"{kind} has an exact rule only from a zero baseline and for windows that do not overlap"
        else:
            yield call, ""


def _curved(start: Node | None, known: dict[Node, frozenset[Node]], stop: frozenset[Node]) -> str | None:
    """The first function that is not linear between ``start`` and ``stop``; ``known`` modules are stepped over."""
    waiting, seen = [start], set(stop)
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in known:
            waiting.extend(known[node])
            continue
        above = [following for following, _ in node.next_functions if following is not None]
        kind = re.sub(r"Backward\d*$", "", node.name())
        straight = kind in _LINEAR or (kind in _PRODUCTS and len(above) == 1)
        if kind == "Div":
            straight = node.next_functions[1][0] is None  # by what does not depend on the input
        if above and not straight:
            return kind
        waiting.extend(above)
    return None


def _nodes(found: Any) -> Iterator[Node]:
    if isinstance(found, Tensor):
        if found.grad_fn is not None:
            yield found.grad_fn
    elif isinstance(found, dict):
        for part in found.values():
            yield from _nodes(part)
    elif isinstance(found, (tuple, list)):
        for part in found:
            yield from _nodes(part)
