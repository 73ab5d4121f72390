"""The naive twin of a private step, and what it takes: a plan, made-up people, noise that is none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.privacy import Plan
from pellucid.train.noise import UnsafeZeroNoise

LOSS = nn.CrossEntropyLoss()
Make = Callable[[], nn.Module]
Loss = Callable[[Tensor, Tensor], Tensor]


def plan(*, steps: int | None = None, **changes: Any) -> Plan:
    """A plan by its arithmetic alone; the claim is not what is tested here."""
    fields: dict[str, Any] = {
        "epsilon": 1.0,
        "delta": 1e-6,
        "units": 64,
        "test": 0.0,
        "batch": 16,
        "epochs": 1.0,
        "clip": 1.0,
        "noise_multiplier": 1.0,
        **changes,
    }
    if steps is not None:
        fields["epochs"] = steps * fields["batch"] / fields["units"]
    made = Plan(**fields)
    assert steps in (None, made.steps)
    return made


def quiet() -> UnsafeZeroNoise:
    """No noise, and no warning of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return UnsafeZeroNoise()


def people(*shape: int, rows: int = 64) -> tuple[Tensor, Tensor]:
    """Rows of ``shape`` in [-1, 1], and one of three classes for each."""
    generator = torch.Generator().manual_seed(5)
    return torch.rand((rows, *shape), generator=generator) * 2 - 1, torch.randint(0, 3, (rows,), generator=generator)


def mlp() -> nn.Module:
    """Five numbers to three classes."""
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def alone(module: nn.Module, x: Tensor, y: Tensor, views: int = 1, loss: Loss = LOSS) -> Iterator[dict[str, Tensor]]:
    """The gradient of one unit after the other, of the mean loss of its views; zeros where it has none."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    for start in range(0, len(x), views):
        unit = slice(start, start + views)
        gradients = torch.autograd.grad(loss(module(x[unit]), y[unit]), parameters, materialize_grads=True)
        yield dict(zip(names, gradients, strict=True))


def length(gradients: dict[str, Tensor]) -> float:
    """The norm of a whole gradient, summed in float64."""
    return float(torch.cat([gradient.flatten() for gradient in gradients.values()]).double().norm())


def clipped_mean(
    gradients: Iterator[dict[str, Tensor]], how: Plan, factor: Callable[[float], float] | None = None
) -> dict[str, Tensor]:
    """What a step without noise is to give: every unit's gradient scaled, added up, and divided by the normaliser."""
    total: dict[str, Tensor] = {}
    for each in gradients:
        norm = length(each)
        scale = factor(norm) if factor else min(1.0, how.clip / norm) if norm else 0.0
        for name, gradient in each.items():
            total[name] = total.get(name, 0.0) + gradient * scale
    return {name: value / how.normaliser for name, value in total.items()}


def brute(
    module: nn.Module, x: Tensor, y: Tensor, how: Plan, factor: Callable[[float], float] | None = None
) -> dict[str, Tensor]:
    """:func:`clipped_mean` of all units of a batch, one at a time."""
    return clipped_mean(alone(module, x, y, how.augmentations), how, factor)


def whole(shape: tuple[int, ...], kind: torch.dtype, draw: int) -> Tensor:
    """Small whole numbers: their sums of products are exact in float32, however they cancel."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(draw)).to(kind)
