"""What the private model is shown: the very rows of the batch, through its whole forward pass, or nothing counts.

Per-example clipping bounds the influence of a row of the input. It bounds a person's influence only if each row is one
person's: mixup, resampling or any other blend of rows outside the module would spread a person over several rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from pellucid.train.state import same

__all__ = ["Expected", "leaves", "mapped"]

_ADMITTED = (torch.Tensor, bool, int, float, str, type(None))


class Expected:
    """The rows that a forward pass must be given.

    Attributes:
        watching: False between a step and the next batch, when nothing counts.
    """

    def __init__(self) -> None:
        self.watching = True  # until the first batch only the way through the module is held to
        self._rows: list[torch.Tensor] | None = None
        self._floats: list[float] | None = None

    def hold(self, rows: Any | None) -> None:
        """Hold to ``rows`` (a tensor, or tensors in dictionaries, lists and tuples), of which a copy is kept."""
        self.watching = rows is not None
        self._rows = None if rows is None else [leaf.clone() for leaf in leaves(rows)]

    def judge(self, inputs: Sequence[Any]) -> tuple[int, bool]:
        """How many rows a forward pass was given, and whether they are the right ones.

        Right is at least one tensor, each of which is one of the batch's, cast or moved at most; no gradient is asked
        for them. Texts, flags and whole numbers may go along, and numbers that are the same in every pass.
        """
        if self._rows is not None and len(self._rows) == 1 and len(inputs) == 1:  # the usual case, quickly
            value, rows = inputs[0], self._rows[0]
            if type(value) is torch.Tensor and not value.requires_grad and same(value, rows):
                return len(rows), True
        given = leaves(inputs)
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        count = len(tensors[0]) if tensors and tensors[0].dim() else 0
        if self._rows is None:
            return count, True
        if not tensors or any(not isinstance(value, _ADMITTED) for value in given):
            return count, False
        # a number that changes from batch to batch may have been read off the others
        floats = [value for value in given if isinstance(value, float)]
        self._floats = floats if self._floats is None else self._floats
        alike = floats == self._floats
        return count, alike and all(not value.requires_grad and self._known(value) for value in tensors)

    def _known(self, value: torch.Tensor) -> bool:
        # moved like the input, so that a cast, another device or another shape of a row makes no difference
        return any(
            value.shape[:1] == rows.shape[:1]
            and value.numel() == rows.numel()
            and same(value.detach().reshape(rows.shape), rows.to(value.device, value.dtype))
            for rows in self._rows or ()
        )


def leaves(tree: Any) -> list[Any]:
    """What ``tree`` holds; a bare tensor, the usual case, without a detour."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    found: list[Any] = tree_flatten(tree)[0]
    return found


def mapped(change: Callable[[torch.Tensor], Any], tree: Any) -> Any:
    """``tree`` with every tensor changed; a bare tensor without a detour."""
    return change(tree) if isinstance(tree, torch.Tensor) else tree_map(change, tree)
