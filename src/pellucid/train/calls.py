"""Which layer was given what, on generated rows, and the first layer at which rows touch each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from pellucid.errors import UnsupportedModel
from pellucid.train.probe import ROWS, close, forward, generated_tree, in_training_mode

__all__ = ["Call", "coupling", "layer_name", "observe"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module, kept when it ended.

    Attributes:
        name: Dotted name of the module; empty for the model itself.
        module: The module.
        inputs: Float tensors that it was given.
        outputs: Float tensors that it gave.
    """

    name: str
    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]

    @property
    def where(self) -> str:
        """The module, as an error names it."""
        return layer_name(self.name, self.module)


def layer_name(name: str, module: nn.Module) -> str:
    """How an error names a module: ``block.norm (BatchNorm2d)``, or ``the model (Net)``."""
    return f"{name or 'the model'} ({type(module).__name__})"


def observe(model: nn.Module, x: Any, *, training: bool = True) -> list[Call]:
    """The calls of all modules in one forward pass on ``x``, in the order in which they ended.

    Args:
        model: Is left as it was, but for lazy layers, which take their shapes in evaluation mode.
        x: Generated rows.
        training: In training mode, else in evaluation mode.

    Raises:
        UnsupportedModel: The pass fails. Its cause is what the model raised, and ``where`` the innermost layer that was
            under way; without a cause the pass went through, and gave what no model may.
    """
    calls: list[Call] = []
    mode = in_training_mode(model) if training else _in_evaluation_mode(model)
    with mode, torch.no_grad(), _watched(model, calls):
        forward(model, x)
    return calls


@contextmanager
def _in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=[]):
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode


@contextmanager
def _watched(model: nn.Module, calls: list[Call]) -> Iterator[None]:
    names = {module: name for name, module in model.named_modules()}
    under_way: list[nn.Module] = []  # the innermost last
    given: list[tuple[torch.Tensor, ...]] = []  # to those of them whose own hooks have run

    def enter(module: nn.Module, args: Any) -> None:
        under_way.append(module)

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        given.append(_floats((args, kwargs)))  # copied, since the module may write to them

    def end(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        under_way.pop()
        calls.append(Call(names[module], module, given.pop(), _floats(output)))

    handles: list[Any] = []
    for module in names:
        handles.append(module.register_forward_pre_hook(enter, prepend=True))  # before a lazy layer looks for its shape
        handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
        handles.append(module.register_forward_hook(end, with_kwargs=True))
    try:
        yield
    except UnsupportedModel as error:
        if error.__cause__ is None or not under_way:
            raise
        where = layer_name(names[under_way[-1]], under_way[-1])
        raise UnsupportedModel(error.what, where=where, fix=error.fix) from error.__cause__
    finally:
        for handle in handles:
            handle.remove()


def _floats(tree: Any) -> tuple[torch.Tensor, ...]:
    leaves = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    return tuple(leaf.detach().clone() for leaf in leaves)


def coupling(model: nn.Module, x: Any) -> tuple[str, nn.Module | None]:
    """Where the first rows of a model touch each other, of which :func:`~pellucid.train.probe.coupled_rows` says so.

    Args:
        model: Couples rows.
        x: Generated rows.

    Returns:
        The place, and the layer if it is the layer's own doing: what it was given for a row was the same whatever the
        other rows were, and what it gave was not. Otherwise rows touch in the code between two layers.
    """
    try:
        whole = observe(model, x)
        others = [(row, observe(model, _but(x, row))) for row in (0, ROWS - 1)]
        fewer = [(0, observe(model, tree_map(lambda leaf: leaf[:1], x)))]
    except UnsupportedModel:
        return layer_name("", model), None
    called = {call.module for call in whole}
    parents = {child: (name, part) for name, part in model.named_modules() for child in part.children()}
    # with fewer rows dropout draws another mask, so that this comes last
    for variants, (place, one) in itertools.product((others, fewer), enumerate(whole)):
        for row, other in variants:
            if place >= len(other) or other[place].module is not one.module:
                continue
            if not _same_row(one.inputs, other[place].inputs, row):
                return f"{layer_name(*parents.get(one.module, ('', model)))}, before {one.name}", None
            if not _same_row(one.outputs, other[place].outputs, row):
                own = called.isdisjoint(one.module.children())
                return one.where, one.module if own else None
    return layer_name("", model), None


def _but(x: Any, row: int) -> Any:
    """Other rows than those of ``x`` in all places but one."""

    def other(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        changed = new * -7 if old.is_floating_point() else (1 - old.long()).to(old.dtype)
        changed[row] = old[row]
        return changed

    return tree_map(other, x, generated_tree(x, ROWS, 10))


def _same_row(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor], row: int) -> bool:
    """Whether the part of a row is the same; tensors that are not by row say nothing."""
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        size = len(a) // ROWS if a.dim() else 0  # a layer may see each row as several
        if size and a.dim() == b.dim() and len(a) == size * ROWS and len(b) % size == 0:
            here, then = a[row * size :][:size], b[row * size :][:size]
            if not close(here, then):
                return False
    return True
