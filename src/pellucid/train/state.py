"""The model between two steps: nothing but the engine may change it.

Tensors are compared with a copy, at the cost of one pass over the parameters, not over per-example gradients.
"""

from __future__ import annotations

import torch
from torch import nn

from pellucid.errors import Misuse

__all__ = ["StateGuard", "same"]


class StateGuard:
    """Notices when anything but the engine changes the model between two steps.

    Parameters, also frozen ones, and buffers are compared value by value with a copy, which also catches changes
    through ``.data`` or another optimizer. Frozen parameters and buffers must also be the same objects.
    """

    def __init__(self, model: nn.Module) -> None:
        self._trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._copies = [p.detach().clone() for _, p in self._trainable]
        self._model = model
        self._constant = {name: (tensor, tensor.detach().clone()) for name, tensor in self._constants().items()}

    def remember(self) -> None:
        """Take the present state as the right one."""
        with torch.no_grad():
            for (_, parameter), copy in zip(self._trainable, self._copies, strict=True):
                copy.copy_(parameter)

    def check(self) -> None:
        """Compare.

        Raises:
            Misuse: A parameter or buffer was changed, replaced, frozen or made trainable since :meth:`remember`.
        """
        for (name, parameter), copy in zip(self._trainable, self._copies, strict=True):
            if not parameter.requires_grad or not same(parameter.detach(), copy):
                raise self._misuse(name)
        now = self._constants()
        for name in sorted(now.keys() | self._constant.keys()):
            known = self._constant.get(name)
            if known is None or now.get(name) is not known[0] or not same(known[0].detach(), known[1]):
                raise self._misuse(name)

    def _constants(self) -> dict[str, torch.Tensor]:
        known = {id(p) for _, p in self._trainable}
        frozen = {name: p for name, p in self._model.named_parameters() if id(p) not in known}
        return {**frozen, **dict(self._model.named_buffers())}

    @staticmethod
    def _misuse(name: str) -> Misuse:
        return Misuse(
            "changed outside the private optimizer: a step that nobody accounted, or an edit",
            where=name.removeprefix("_module."),
            fix="step only the optimizer that private() returned; change weights before it or after the run",
        )


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have one type, place, shape and value; NaN is the same as NaN, and as nothing else."""
    if (one.dtype, one.device, one.shape) != (other.dtype, other.device, other.shape):
        return False
    # the second comparison runs only when something differs
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())
