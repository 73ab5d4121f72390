"""The models and made-up rows that `benchmarks/training.py` measures, the same for every contender.

Sizes are those of the table that the engine is held against. Rows are random: what a step costs does not depend on what
they say. ``private`` and ``opacus`` build the same function; Opacus's own layers stand in where it has no grad sampler
for torch's (LSTM), or as its ``ModuleValidator.fix`` puts them (attention).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["TASKS", "Task"]

Rows = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Task:
    """One model of the table.

    Attributes:
        title: How the table names it.
        make: Builds it from torch's layers.
        rows: Makes that many inputs and targets.
        batches: Batch sizes, each with the ratio to a plain step that is required of the pure path.
        examples: What the sampler draws from.
        inner: Steps of a contender in a row before the next one has its turn.
        share: Rounds, relative to what the command line asks for.
        opacus: Builds it for Opacus, if from other layers.
        fix: Opacus's validator has to replace layers.
    """

    title: str
    make: Callable[[], nn.Module]
    rows: Rows
    batches: dict[int, float]
    examples: int = 60_000
    inner: int = 10
    share: float = 1.0
    opacus: Callable[[], nn.Module] | None = None
    fix: bool = False


def _table(features: int, classes: int) -> Rows:
    return lambda count: (torch.randn(count, features), torch.randint(0, classes, (count,)))


def _images(*shape: int) -> Rows:
    return lambda count: (torch.randn(count, *shape), torch.randint(0, 10, (count,)))


def _tokens(vocabulary: int, length: int) -> Rows:
    return lambda count: (torch.randint(0, vocabulary, (count, length)), torch.randint(0, 2, (count,)))


def _logistic() -> nn.Module:
    return nn.Linear(100, 2)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 2))


def _cnn() -> nn.Module:
    """The network of Opacus's MNIST example."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


class _Block(nn.Module):
    """A pre-activation residual block (Zagoruyko and Komodakis 2016) with group instead of batch normalisation."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(16, inside)
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second_norm = nn.GroupNorm(16, outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.short = None if inside == outside else nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first_norm(x))
        short = x if self.short is None else self.short(hidden)
        return short + self.second(torch.relu(self.second_norm(self.first(hidden))))


class _WideResNet(nn.Module):
    """WideResNet-16-4 for 32 x 32 images."""

    def __init__(self) -> None:
        super().__init__()
        widths = [16, 64, 128, 256]
        blocks: list[nn.Module] = []
        for group in range(3):
            blocks.append(_Block(widths[group], widths[group + 1], 1 if group == 0 else 2))
            blocks.append(_Block(widths[group + 1], widths[group + 1], 1))
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.GroupNorm(16, 256)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3)))


class _Recurrent(nn.Module):
    """An LSTM over words; the last state is classified."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.words = nn.Embedding(10_000, 100)
        self.lstm = kind(100, 128, batch_first=True)
        self.head = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(self.words(x))
        return self.head(states[:, -1])


def _lstm() -> nn.Module:
    return _Recurrent(nn.LSTM)


def _dp_lstm() -> nn.Module:
    from opacus.layers import DPLSTM

    return _Recurrent(DPLSTM)


class _Encoder(nn.Module):
    """Words and positions, encoder layers of torch, the mean over positions classified. Without dropout."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, inside: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width)
        self.layers = nn.Sequential(
            *(nn.TransformerEncoderLayer(width, heads, inside, dropout=0.0, batch_first=True) for _ in range(layers))
        )
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1]).repeat(len(x), 1)  # expanded ones are an error in Opacus's ghost mode
        return self.head(self.layers(self.words(x) + self.places(places)).mean(1))


def _transformer() -> nn.Module:
    return _Encoder(10_000, 64, 128, 4, 512, 4)


def _bert() -> nn.Module:
    return _Encoder(30_522, 128, 768, 12, 3072, 12)


TASKS: Final[dict[str, Task]] = {
    "logistic": Task("logistic 100", _logistic, _table(100, 2), {256: 1.9, 2048: 1.6}, inner=40),
    "mlp": Task("MLP 100-256-128-2", _mlp, _table(100, 2), {256: 2.2, 2048: 1.3}, inner=15),
    "cnn": Task("CNN 28x28", _cnn, _images(1, 28, 28), {256: 1.45, 1024: 1.45}, inner=2),
    "wrn": Task("WideResNet-16-4 GN", _WideResNet, _images(3, 32, 32), {64: 1.45}, examples=10_000, inner=1, share=0.3),
    "lstm": Task("LSTM 128 x 64", _lstm, _tokens(10_000, 64), {64: 2.8}, inner=2, opacus=_dp_lstm),
    "transformer": Task(
        "Transformer 4 x 128, T 64", _transformer, _tokens(10_000, 64), {64: 1.25}, inner=2, share=0.5, fix=True
    ),
    "bert": Task("BERT-base size, T 128", _bert, _tokens(30_522, 128), {8: 1.2}, inner=1, share=0.15, fix=True),
}
