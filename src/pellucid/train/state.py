"""The model between two steps: nothing but the engine may change it."""

from __future__ import annotations

import operator
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pellucid.errors import Misuse
from pellucid.train.workers import local

__all__ = ["StateGuard", "same"]

SMALL: Final = 1 << 16  # elements
_WHOLE: Final = (nn.Parameter, torch.Tensor)  # types that are never sharded, seen at one glance


class StateGuard:
    """Notices when anything but the engine changes the model between two steps.

    Parameters, also frozen ones, and buffers are held by value, which also catches changes through ``.data`` or another
    optimizer: small tensors against a copy, large ones by the sum of their words modulo 2**64, which any single change
    alters, at a twentieth of the cost of a copy. Frozen parameters and buffers must also be the same objects.
    """

    def __init__(self, model: nn.Module) -> None:
        self._trainable = [(name, p, Mark(p)) for name, p in model.named_parameters() if p.requires_grad]
        self._known = {id(p) for _, p, _ in self._trainable}
        self._model = model
        self._constant = {name: (tensor, Mark(tensor)) for name, tensor in self._constants().items()}
        self._tensors = _tensors(model)

    def remember(self) -> None:
        """Take the present trainable parameters as the right ones."""
        for _, parameter, mark in self._trainable:
            mark.take(parameter)

    def check(self) -> None:
        """Compare.

        Raises:
            Misuse: A parameter or buffer was changed, replaced, frozen or made trainable since :meth:`remember`.
        """
        for name, parameter, mark in self._trainable:
            if not parameter.requires_grad or not mark.holds(parameter):
                raise self._misuse(name)
        now = _tensors(self._model)
        if len(now) == len(self._tensors) and all(map(operator.is_, now, self._tensors)):  # no need of names
            for name, (tensor, mark) in self._constant.items():
                if not mark.holds(tensor):
                    raise self._misuse(name)
            return
        self._compare(self._constants())
        self._tensors = now

    def _compare(self, now: dict[str, torch.Tensor]) -> None:
        for name in sorted(now.keys() | self._constant.keys()):
            known = self._constant.get(name)
            if known is None or now.get(name) is not known[0] or not known[1].holds(known[0]):
                raise self._misuse(name)

    def _constants(self) -> dict[str, torch.Tensor]:
        frozen = {name: p for name, p in self._model.named_parameters() if id(p) not in self._known}
        return {**frozen, **dict(self._model.named_buffers())}

    @staticmethod
    def _misuse(name: str) -> Misuse:
        return Misuse(
            "changed outside the private optimizer: a step that nobody accounted, or an edit",
            where=name.removeprefix("_module."),
            fix="step only the optimizer that private() returned; change weights before it or after the run",
        )


def _tensors(model: nn.Module) -> list[torch.Tensor | None]:
    """Parameters and buffers of every module, in order: what ``named_parameters`` and ``named_buffers`` look at."""
    found: list[torch.Tensor | None] = []
    waiting: list[nn.Module | None] = [model]
    seen = set()
    while waiting:
        module = waiting.pop()
        if module is None or module in seen:
            continue
        seen.add(module)
        found += module._parameters.values()
        found += module._buffers.values()
        waiting += module._modules.values()
    return found


class Mark:
    """What a tensor was."""

    def __init__(self, tensor: torch.Tensor) -> None:
        tensor = local(tensor)
        words = tensor.numel() * tensor.element_size() % 8 == 0
        self._copy = None if words and tensor.numel() > SMALL and tensor.is_contiguous() else tensor.detach().clone()
        self._sum = 0
        self._here = Memory()
        self._there = None if self._copy is None else Memory().words(self._copy)
        self.take(tensor)

    def take(self, tensor: torch.Tensor) -> None:
        """The present value is the right one."""
        tensor = _plain(tensor)
        here = None if self._there is None else self._here.words(tensor)
        if here is not None and self._there is not None and len(here) == len(self._there):
            np.copyto(self._there, here)
        elif self._copy is None:
            self._sum = _words(tensor)
        else:
            self._copy.copy_(tensor)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether ``tensor`` has that value."""
        tensor = _plain(tensor)
        if self._copy is None:
            return tensor.is_contiguous() and not tensor.is_neg() and _words(tensor) == self._sum
        here = None if self._there is None else self._here.words(tensor)
        if here is None or tensor.shape != self._copy.shape or tensor.dtype != self._copy.dtype:
            return same(tensor, self._copy)
        return bool((here == self._there).all()) or same(tensor, self._copy)


class Memory:
    """The memory of one tensor in whole words: looked up again only where the tensor has come to lie elsewhere.

    It keeps that memory alive, so that an address cannot come to mean another tensor's.
    """

    def __init__(self) -> None:
        self._place: object = None
        self._words: npt.NDArray[np.int64] | None = None

    def words(self, tensor: torch.Tensor) -> npt.NDArray[np.int64] | None:
        """The words of ``tensor``, or None where its memory is not its value."""
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.is_neg())
        if place != self._place:
            comparable = _comparable(tensor)
            self._words = tensor.detach().view(-1).view(torch.int64).numpy() if comparable else None
            self._place = place
        return self._words


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of ``tensor``, without a graph."""
    return tensor.detach() if type(tensor) in _WHOLE else local(tensor).detach()


def _words(tensor: torch.Tensor) -> int:
    """Sum of the 64-bit words of ``tensor`` modulo 2**64."""
    return int(tensor.view(-1).view(torch.int64).sum())


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have one type, place, shape and value; NaN is the same as NaN, and as nothing else."""
    if one.dtype != other.dtype or one.device != other.device or one.shape != other.shape:
        return False
    if _comparable(one) and _comparable(other):
        # whole words in numpy: a fifth of the time of torch.equal; bits that differ may still be equal values
        here, there = (value.detach().view(-1).view(torch.int64).numpy() for value in (one, other))
        if np.array_equal(here, there):
            return True
    # the second comparison runs only when something differs
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())


def _comparable(tensor: torch.Tensor) -> bool:
    """Whether the memory of ``tensor`` is its value, in whole words: no subclass, no lazy sign, no gaps."""
    return (
        type(tensor) in _WHOLE
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not (tensor.is_neg() or tensor.is_complex())
        and tensor.numel() * tensor.element_size() % 8 == 0
    )
