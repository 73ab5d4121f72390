"""Integrated gradients beside Captum: the same model, rows and baseline, in turns, in one run.

    python benchmarks/attribution.py [--rounds 7] [--threads 2] [--quick]

Captum is called once for all rows, as a user would call it, with its default of 50 Gauss-Legendre points. Pellucid's
verb does more than that: it copies the model, looks whether its answers are steady, and measures what the attributions
miss by. It is timed twice: with the same 50 points (the attributions must be the same), and as it comes, with as many
points as a gap of 1 % needs. Ratios are of medians; rows are made up, for what they say does not change the time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from pellucid.explain.attribution import attribute
from pellucid.explain.fields import Fields

STEPS: Final = 50


class Lines(nn.Module):
    """An LSTM over 16 lines of 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines, self.head = nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lines(x)[0][:, -1])


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 2))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 14 * 14, 2),
    )


# title, model, rows, shape of a row, ratio required
TASKS: Final[tuple[tuple[str, Callable[[], nn.Module], int, tuple[int, ...], float], ...]] = (
    ("MLP 100-256-128-2, 1000 rows", mlp, 1000, (100,), 5.0),
    ("CNN 28x28 with GroupNorm, 100 rows", cnn, 100, (1, 28, 28), 1.5),
    ("LSTM 16x16, 200 rows", Lines, 200, (16, 16), 0.0),
)


def log_odds(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def score(x: Tensor) -> Tensor:
        found = model(x)
        return found[:, 1] - found[:, 0]

    return score


def gap(model: nn.Module, x: Tensor, rows: Tensor) -> float:
    with torch.no_grad():
        change = log_odds(model)(x) - log_odds(model)(torch.zeros_like(x[:1]))
    return float((rows.flatten(1).sum(dim=1) - change).abs().mean() / change.abs().mean())


def measure(make: Callable[[], nn.Module], count: int, shape: tuple[int, ...], rounds: int) -> list[float]:
    """Median seconds of Captum, of the verb with as many points, and of the verb as it comes; two gaps and its points.

    Raises:
        AssertionError: The attributions with as many points differ.
    """
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(count, *shape)
    fields = Fields.single(x[0].numel())
    peer = IntegratedGradients(log_odds(model))
    asks: list[Callable[[], object]] = [
        lambda: peer.attribute(x, n_steps=STEPS),
        lambda: attribute(model, x, fields, steps=STEPS, limit=STEPS, tolerance=1.0),
        lambda: attribute(model, x, fields),
    ]
    theirs = peer.attribute(x, n_steps=STEPS)
    same, ours = attribute(model, x, fields, steps=STEPS, limit=STEPS, tolerance=1.0), attribute(model, x, fields)
    # in float32 a point on the edge of a ReLU may fall on either side of it, which moves all of a row
    assert np.quantile(np.abs(same.rows - theirs.detach().flatten(1).numpy()), 0.99) < 1e-5
    seconds: list[list[float]] = [[] for _ in asks]
    for _ in range(rounds):
        for place, ask in enumerate(asks):
            begun = time.perf_counter()
            ask()
            seconds[place].append(time.perf_counter() - begun)
    return [*map(statistics.median, seconds), gap(model, x, theirs), ours.completeness_gap, ours.steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}")
    print(
        f"{'':36}{'captum':>9}{'same points':>20}{'as it comes':>20}{'gap captum':>12}{'gap':>8}{'points':>8}  required"
    )
    for title, make, count, shape, required in TASKS:
        peer, same, ours, theirs, left, points = measure(make, count, shape, 2 if options.quick else options.rounds)
        verdict = "" if not required else f"{required:g}x {'met' if peer / same >= required else 'MISSED'}"
        print(
            f"{title:36}{peer:8.3f}s{same:10.3f}s {peer / same:7.1f}x{ours:10.3f}s {peer / ours:7.1f}x"
            f"{theirs:11.2%}{left:9.2%}{points:7.0f}  {verdict}"
        )


if __name__ == "__main__":
    main()
