"""Learning rates over the steps of a plan.

Poisson samples have no epochs: a run is ``plan.steps`` steps, whatever the sizes of the samples were, and a schedule
follows these. Nothing here sees data, so it costs no privacy; trying several schedules on private data does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch.optim.lr_scheduler import LambdaLR

from pellucid.errors import BadPlan, UnknownName, nearest

__all__ = ["factor", "schedule"]

_KINDS: Final[Mapping[str, Callable[[float], float]]] = {
    "constant": lambda _: 1.0,
    "linear": lambda part: 1.0 - part,
    "cosine": lambda part: 0.5 * (1.0 + math.cos(math.pi * part)),
}


def schedule(
    optimizer: torch.optim.Optimizer, steps: int, kind: str = "constant", *, warm_up: int = 0, last: float = 0.0
) -> LambdaLR:
    """A learning-rate schedule over a plan's steps, to be stepped once after each ``optimizer.step()``.

    Args:
        optimizer: The user's, or the one that ``private()`` returned.
        steps: ``plan.steps``.
        kind: ``constant``, ``linear`` or ``cosine``.
        warm_up: Steps over which the rate first rises in a line, in [0, steps).
        last: What a decay ends in, as a share of the full rate, in [0, 1].

    Raises:
        UnknownName: There is no such kind.
        BadPlan: A number is out of its range; ``where`` names it.
    """
    if kind not in _KINDS:
        raise UnknownName(f'there is no schedule "{kind}"{nearest(kind, _KINDS)}', where="kind", fix=", ".join(_KINDS))
    if steps < 1:
        raise BadPlan("there must be at least one step", where="steps")
    if not 0 <= warm_up < steps:
        raise BadPlan("the warm-up must be shorter than the run", where="warm_up")
    if not 0 <= last <= 1:
        raise BadPlan("this must be a share in [0, 1]", where="last")
    return LambdaLR(optimizer, functools.partial(factor, steps=steps, kind=kind, warm_up=warm_up, last=last))


def factor(t: int, *, steps: int, kind: str, warm_up: int, last: float) -> float:
    """The share of the full rate in step ``t``, from 0.

    It rises over the warm-up from ``1/(warm_up + 1)``, is 1 in step ``warm_up``, falls, and would be ``last`` in step
    ``steps``, the first that is not taken; it stays there. In (0, 1] for every step of the plan.
    """
    if t < warm_up:
        return (t + 1) / (warm_up + 1)
    part = min(1.0, (t - warm_up) / (steps - warm_up))
    return last + (1.0 - last) * _KINDS[kind](part)
