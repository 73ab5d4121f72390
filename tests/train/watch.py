"""The engine's part in small, for layers that are made of watched parts, and torch's own layer as their twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from pellucid.train.contributions import Contribution, combine

Reader = Callable[[Tensor, int], Iterable[tuple[nn.Parameter, Contribution]]]


class Watch:
    """Catches gradients and asks what they mean."""

    def __init__(self) -> None:
        self.edges: list[Any] = []
        self.readers: list[Reader] = []

    def __call__(self, tensor: Tensor, pieces: Reader) -> None:
        if tensor.requires_grad:
            self.edges.append(get_gradient_edge(tensor))
            self.readers.append(pieces)

    def per_unit(self, outputs: list[Tensor], seeds: list[Tensor], units: int) -> dict[nn.Parameter, Tensor]:
        found = torch.autograd.grad(outputs, self.edges, seeds, allow_unused=True, retain_graph=True)
        parts: dict[nn.Parameter, list[Contribution]] = {}
        for reader, gradient in zip(self.readers, found, strict=True):
            if gradient is not None:
                for parameter, part in reader(gradient, units):
                    parts.setdefault(parameter, []).append(part)
        return {parameter: combine(several).per_unit() for parameter, several in parts.items()}


def near(found: Tensor, expected: Tensor, scale: float | None = None) -> bool:
    """To rounding of the largest entry, or of ``scale``."""
    accuracy = 1e-5 if expected.dtype == torch.float32 else 1e-10
    scale = float(expected.abs().max()) if scale is None else scale
    return found.shape == expected.shape and bool((found - expected).abs().max() <= accuracy * scale)


def hold_gradients(
    plain: list[Tensor],
    twin: list[Tensor],
    watch: Watch,
    leaves: list[Tensor],
    parameters: list[nn.Parameter],
    units: int,
    *,
    together: bool = False,
) -> None:
    """Gradients at ``leaves``, and the gradient of each unit alone, against autograd's.

    Args:
        plain: What torch's own layers give, rows first.
        twin: What the watched parts give.
        watch: Watched them.
        leaves: Inputs.
        parameters: All that have a gradient.
        units: A unit's views are adjacent rows.
        together: A unit's gradients are measured by the largest of them all, not each by itself.
    """
    seeds = [torch.randn_like(output) for output in plain]
    expected_leaves = torch.autograd.grad(plain, leaves, seeds, retain_graph=True)
    for a, b in zip(torch.autograd.grad(twin, leaves, seeds, retain_graph=True), expected_leaves, strict=True):
        assert near(a, b)
    found = watch.per_unit(twin, seeds, units)
    assert set(found) == set(parameters)
    views = len(plain[0]) // units
    for unit in range(units):
        alone = [torch.zeros_like(seed) for seed in seeds]
        for mine, seed in zip(alone, seeds, strict=True):
            mine[unit * views : (unit + 1) * views] = seed[unit * views : (unit + 1) * views]
        expected = torch.autograd.grad(plain, parameters, alone, retain_graph=True)
        scale = max(float(gradient.abs().max()) for gradient in expected) if together else None
        for parameter, gradient in zip(parameters, expected, strict=True):
            assert near(found[parameter][unit], gradient, scale)
