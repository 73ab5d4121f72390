"""Models that the benchmarks of explanations ask: small networks that have learnt something, from fixed generators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["learnt", "people"]


def people(rows: int, features: int, seed: int) -> Tensor:
    """(rows, features) float32, standard normal, neighbours correlated."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=source)
    return (x + 0.5 * x.roll(1, dims=1)) / 1.25**0.5


def learnt(features: int, hidden: int = 64, steps: int = 300) -> nn.Sequential:
    """A network of two hidden layers that was trained on a label with products, bends and plain terms."""
    x = people(4000, features, 1)
    weights = torch.linspace(1.5, -1.5, features)
    score = x @ weights / 2 + 2 * x[:, 0] * x[:, 1] + 2 * x[:, 2].relu() * x[:, 3] - 1.5 * (x[:, 4] + x[:, 5]).abs()
    y = (score > score.median()).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(steps):
            some = torch.randint(0, len(x), (256,))
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(x[some])[:, 0], y[some]).backward()
            optimizer.step()
    return model.eval()
