"""A network that starts with a linear layer need not run it once a point of the path.

Along x(a) = b + a (x − b) the output of an affine layer is a straight line too. It is computed at both ends, the path
is walked behind it, and the mean gradient there is taken through the layer once: two products a row instead of two a
point. The rest of the network is the same function, so nothing is approximated.
"""

from __future__ import annotations

from typing import Final

from torch import nn

__all__ = ["split"]

_SHAPES: Final = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout)  # dropout rests in eval mode
_HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks")


def split(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """``model`` as (head, tail) with model(x) = tail(head(x)): its first linear layer, and what follows.

    Only plain chains (:class:`torch.nn.Sequential`, nested or not) are taken apart, and only if no hook, no patched
    ``forward`` and no subclass could make the parts another function than the whole; else the head is the identity.
    A convolution stays in the tail: its output is larger than its input, and moving that costs more than computing it.
    """
    chain = _chain(model)
    for place, module in enumerate(chain):
        if type(module) is nn.Linear and _plain(module):
            return nn.Sequential(*chain[: place + 1]), nn.Sequential(*chain[place + 1 :])
        if type(module) not in _SHAPES or not _plain(module):
            break
    return nn.Identity(), model


def _chain(module: nn.Module) -> list[nn.Module]:
    if type(module) is not nn.Sequential or not _plain(module):
        return [module]
    return [part for child in module for part in _chain(child)]


def _plain(module: nn.Module) -> bool:
    return "forward" not in vars(module) and not any(getattr(module, kind) for kind in _HOOKS)
