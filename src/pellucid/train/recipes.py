"""Recipes: a private training written down in TOML, for ``pellucid train`` and for the evidence.

A recipe holds no secret and nothing read off the data. Trying several recipes on the same private data costs budget
for each; the shipped numbers were found on a public data set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pellucid.errors import BadFile, nearest
from pellucid.schema import Encoding, parse_toml, read_toml

if TYPE_CHECKING:
    from pellucid.train.batches import Batches
    from pellucid.train.engine import PrivateModel, PrivateOptimizer

__all__ = ["Recipe", "build", "fit"]

KINDS: Final = ("logistic", "mlp")
OPTIMIZERS: Final = ("sgd", "adam")
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "model": frozenset({"kind", "hidden"}),
    "train": frozenset({"epochs", "batch", "learning_rate", "clip", "optimizer", "momentum"}),
    "privacy": frozenset({"epsilon", "delta"}),
    "data": frozenset({"features"}),
    "split": frozenset({"test"}),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build and train a model. Made by :meth:`parse`, which checks its form; the plan checks its privacy.

    Attributes:
        kind: ``logistic`` or ``mlp``.
        hidden: Widths of the hidden layers; none for ``logistic``.
        epochs: Expected passes over the training people.
        batch: Expected batch.
        learning_rate: Above 0.
        clip: L2 norm to which each person's gradient is clipped.
        optimizer: ``sgd`` or ``adam``.
        momentum: Of ``sgd``, in [0, 1).
        epsilon: The most the model may claim.
        delta: At this delta.
        features: Feature columns, or None for the schema's default.
        test: Share of people held out.
    """

    kind: str
    hidden: tuple[int, ...]
    epochs: float
    batch: int
    learning_rate: float
    clip: float
    optimizer: str
    momentum: float
    epsilon: float
    delta: float
    features: tuple[str, ...] | None
    test: float

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """:meth:`from_document` of a TOML file."""
        return cls.from_document(read_toml(path), where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str = "recipe") -> Recipe:
        """:meth:`from_document` of TOML ``text``."""
        return cls.from_document(parse_toml(text, where=where), where=where)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, where: str) -> Recipe:
        """The recipe in a parsed document (TOML, or :meth:`document`).

        Raises:
            BadFile: A key is unknown (names the nearest), missing, or out of its range. Names the dotted key.
        """
        table = _Reader(document, where)
        kind = table.choice("model.kind", KINDS)
        hidden = table.get("model.hidden", [] if kind == "logistic" else None)
        if not isinstance(hidden, list | tuple) or not all(_whole(width) and width >= 1 for width in hidden):
            raise table.bad("model.hidden", "this must be a list of positive whole numbers, such as [64]")
        if bool(hidden) == (kind == "logistic"):
            raise table.bad("model.hidden", "an mlp has hidden layers, and a logistic regression has none")
        batch = table.get("train.batch")
        if not _whole(batch) or batch < 1:
            raise table.bad("train.batch", "this must be a positive whole number")
        optimizer = table.choice("train.optimizer", OPTIMIZERS, "sgd")
        momentum = table.number("train.momentum", 0.0, least=0.0)
        if momentum >= 1 or (momentum and optimizer != "sgd"):
            raise table.bad("train.momentum", "this must be below 1, and only sgd has it")
        features = table.get("data.features", None, optional=True)
        if features is not None and not (
            isinstance(features, list | tuple) and features and all(isinstance(name, str) for name in features)
        ):
            raise table.bad("data.features", "this must be a list of column names; leave it out for the default")
        return cls(
            kind=kind,
            hidden=tuple(hidden),
            epochs=table.number("train.epochs"),
            batch=batch,
            learning_rate=table.number("train.learning_rate"),
            clip=table.number("train.clip"),
            optimizer=optimizer,
            momentum=momentum,
            epsilon=table.number("privacy.epsilon"),
            delta=table.number("privacy.delta"),
            features=tuple(features) if features is not None else None,
            test=table.number("split.test", least=0.0),
        )

    def document(self) -> dict[str, Any]:
        """The recipe as JSON, defaults included; :meth:`from_document` gives it back."""
        return {
            "model": {"kind": self.kind, "hidden": list(self.hidden)},
            "train": {
                "epochs": self.epochs,
                "batch": self.batch,
                "learning_rate": self.learning_rate,
                "clip": self.clip,
                "optimizer": self.optimizer,
                **({"momentum": self.momentum} if self.optimizer == "sgd" else {}),
            },
            "privacy": {"epsilon": self.epsilon, "delta": self.delta},
            "data": {"features": list(self.features)} if self.features is not None else {},
            "split": {"test": self.test},
        }

    def plan_arguments(self, units: int) -> dict[str, Any]:
        """The keyword arguments of ``Plan.calibrate`` for a data set of ``units`` declared people."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "units": units,
            "test": self.test,
            "batch": self.batch,
            "epochs": self.epochs,
            "clip": self.clip,
        }

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """The recipe's optimizer over all parameters of ``module``."""
        if self.optimizer == "adam":
            return torch.optim.Adam(module.parameters(), lr=self.learning_rate)
        return torch.optim.SGD(module.parameters(), lr=self.learning_rate, momentum=self.momentum)


def build(recipe: Recipe, encoding: Encoding) -> nn.Module:
    """The recipe's module: inputs ``(B, encoding.width)``, logits ``(B, classes)``.

    Raises:
        BadFile: The target has no classes; recipes train classifiers.
    """
    if len(encoding.classes) < 2:
        raise BadFile(
            "recipes train classifiers, and this target is a number",
            where="recipe: model.kind",
            fix="choose a category or boolean target, or train with your own loop",
        )
    widths = [encoding.width, *recipe.hidden]
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], len(encoding.classes)))


def fit(model: PrivateModel, optimizer: PrivateOptimizer, batches: Batches) -> None:
    """The loop of ``pellucid train``: cross-entropy over all batches of the plan. Nothing is measured on the way."""
    loss = nn.CrossEntropyLoss()
    for x, y in batches:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()


_REQUIRED: Final = object()


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Reader:
    """Reads dotted keys of a recipe, and says where one is wrong."""

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        self._document = document
        self._where = where
        for section, content in document.items():
            if section not in _KEYS:
                raise self.bad(section, f"unknown key{nearest(section, _KEYS)}")
            if not isinstance(content, Mapping):
                raise self.bad(section, "this must be a table")
            for key in content:
                if key not in _KEYS[section]:
                    raise self.bad(f"{section}.{key}", f"unknown key{nearest(key, _KEYS[section])}")

    def bad(self, key: str, what: str) -> BadFile:
        return BadFile(what, where=f"{self._where}: {key}")

    def get(self, dotted: str, default: Any = _REQUIRED, *, optional: bool = False) -> Any:
        section, _, key = dotted.partition(".")
        value = self._document.get(section, {}).get(key, default)
        if value is _REQUIRED or (value is None and not optional):
            raise self.bad(dotted, "this key is missing")
        return value

    def number(self, dotted: str, default: Any = _REQUIRED, *, least: float | None = None) -> float:
        value = self.get(dotted, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.bad(dotted, "this must be a finite number")
        if value < least if least is not None else value <= 0:
            raise self.bad(dotted, "this must be above 0" if least is None else f"this must be at least {least:g}")
        return float(value)

    def choice(self, dotted: str, known: tuple[str, ...], default: Any = _REQUIRED) -> str:
        value = self.get(dotted, default)
        if value not in known:
            near = nearest(value, known) if isinstance(value, str) else ""
            raise self.bad(dotted, f"this must be one of {', '.join(known)}{near}")
        return str(value)
