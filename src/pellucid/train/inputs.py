"""What the private model is shown: the very rows of the batch, through its whole forward pass, or nothing counts.

Per-example clipping bounds the influence of a row of the input. It bounds a person's influence only if each row is one
person's: mixup, resampling or any other blend of rows outside the module would spread a person over several rows.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import nn

from pellucid.errors import Misuse
from pellucid.train.state import same

__all__ = ["InputGuard"]

_HARMLESS = (bool, int, float, str, type(None))


class InputGuard:
    """Follows the forward passes of one module, and admits gradients only of the rows of the batch."""

    def __init__(self) -> None:
        self._watching = True  # until the first batch only the way through the module is held to
        self._rows: torch.Tensor | None = None
        self._draw = object()
        self._open: dict[int, list[bool]] = {}  # by thread: for every pass under way, whether its rows are right

    def expect(self, rows: torch.Tensor | None) -> None:
        """Hold to ``rows`` from here on, of which a copy is kept; None lets go until the next batch."""
        self._watching = rows is not None
        self._rows = None if rows is None else rows.clone()
        self._draw = object()
        self._open.clear()

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the module: look at the rows before anything can write to them."""
        passes = self._open.setdefault(threading.get_ident(), [])
        # a module that calls itself gives hidden rows to the inner pass
        passes.append(passes[0] if passes else self._right([*args, *kwargs.values()]))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """Forward hook of the module, also after an error."""
        passes = self._open.get(threading.get_ident())
        if passes:
            passes.pop()

    def admit(self) -> object:
        """Called when a layer is about to be recorded; gives a token of the batch for :meth:`recall`.

        Raises:
            Misuse: The module was given other rows than those of the batch, or the layer was called on its own.
        """
        passes = self._open.get(threading.get_ident())
        if self._watching and not passes:
            raise Misuse(
                "a layer was called on its own, outside a forward pass of the model",
                where="model",
                fix="call the model that private() returned on the rows of the batch, without activation checkpointing",
            )
        if self._watching and passes and not passes[0]:
            raise Misuse(
                "the rows are not those that batches gave: each row must be one person's, without mixup or resampling",
                where="model",
                fix="call the model on exactly the rows of the batch; put any change of a row inside the module",
            )
        return self._draw

    def recall(self, token: object) -> None:
        """Called when a gradient comes back to a layer.

        Raises:
            Misuse: Its forward pass was made before the present batch was drawn.
        """
        if token is not self._draw:
            raise Misuse(
                "a backward pass through a forward pass of another batch",
                where="loss.backward",
                fix="call model(x) and loss.backward() on the rows of the present batch",
            )

    def _right(self, inputs: list[Any]) -> bool:
        if self._rows is None:
            return True
        given = [value for value in inputs if not isinstance(value, _HARMLESS)]
        if len(given) != 1 or not isinstance(given[0], torch.Tensor):
            return False
        # moved like the input, so that a cast or another device makes no difference
        return same(given[0].detach(), self._rows.to(given[0].device, given[0].dtype))
