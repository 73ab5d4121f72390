"""Recipes: a private training written down in TOML, for ``pellucid train`` and for the evidence.

A recipe holds no secret and nothing read off the data. Trying several recipes on the same private data costs budget
for each; the shipped numbers were found on a public data set.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pellucid.errors import BadFile, Misuse
from pellucid.privacy.choices import CLIPPINGS, MECHANISMS, SAMPLINGS
from pellucid.schema import Encoding, Schema, parse_toml, read_toml
from pellucid.train import schedules
from pellucid.train.dotted import Dotted

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR

    from pellucid.privacy import AnyPlan, Plan
    from pellucid.train.batches import Batches
    from pellucid.train.engine import PrivateModel, PrivateOptimizer

__all__ = ["Recipe", "Rounds", "build", "fit"]

KINDS: Final = ("logistic", "mlp", "ebm")
OPTIMIZERS: Final = ("sgd", "adam", "dp-adam")
SCHEDULES: Final = ("constant", "linear", "cosine")
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "model": frozenset({"kind", "hidden"}),
    "train": frozenset(
        {"epochs", "batch", "learning_rate", "clip", "optimizer", "momentum"}
        | {"weight_decay", "schedule", "warm_up", "average", "clipping"}
    ),
    "privacy": frozenset({"epsilon", "delta", "mechanism", "bands", "sampling"}),
    "data": frozenset({"features"}),
    "split": frozenset({"test"}),
}
_EBM_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "model": frozenset({"kind", "bins", "leaves"}),
    "train": frozenset({"rounds", "learning_rate"}),
    "privacy": frozenset({"epsilon", "delta"}),
    "data": frozenset({"features"}),
    "split": frozenset({"test"}),
}
_MOST_BINS: Final = 1024


@dataclass(frozen=True, slots=True)
class Rounds:
    """How an ``ebm`` is boosted, in place of batches, clipping and an optimizer.

    Attributes:
        rounds: How often every column has its turn.
        bins: Cells of a number's table, in [2, 1024].
        leaves: Into which a table is cut in a step, at least 2.
    """

    rounds: int
    bins: int
    leaves: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build and train a model. Made by :meth:`parse`, which checks its form; the plan checks its privacy.

    Attributes:
        kind: ``logistic``, ``mlp``, or ``ebm``: additive lookup tables (:mod:`pellucid.train.ebm`).
        hidden: Widths of the hidden layers; only an ``mlp`` has some.
        epochs: Expected passes over the training people; of an ``ebm``, its rounds.
        batch: Expected batch; 0 of an ``ebm``, which has everybody in every step, no clip and no optimizer.
        learning_rate: Above 0.
        clip: L2 norm to which each person's gradient is clipped.
        optimizer: ``sgd``, ``adam``, or ``dp-adam``, which knows the variance of the noise.
        momentum: Of ``sgd``, in [0, 1).
        epsilon: The most the model may claim.
        delta: At this delta.
        features: Feature columns, or None for the schema's default.
        test: Share of people held out.
        weight_decay: At least 0: of ``sgd`` as torch does it, of the others decoupled (AdamW).
        schedule: Of the learning rate over the steps: ``constant``, ``linear`` or ``cosine``.
        warm_up: Share of the steps over which the rate first rises, in [0, 1).
        average: Decay of the moving average of the weights that is released in their place, in [0, 1); 0 for none.
        clipping: How a person's gradient is bounded; see :data:`pellucid.privacy.choices.CLIPPINGS`.
        mechanism: How noise runs over the steps; see :data:`pellucid.privacy.choices.MECHANISMS`.
        bands: Of ``banded``, at least 2; else 1.
        boosting: Of an ``ebm``; else None.
        sampling: What is drawn where people have several rows; see :data:`pellucid.privacy.choices.SAMPLINGS`. None:
            what needs less noise.

    A field from ``weight_decay`` on that has its default value is left out of documents, which so are what they
    always were.
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
    weight_decay: float = 0.0
    schedule: str = "constant"
    warm_up: float = 0.0
    average: float = 0.0
    clipping: str = "flat"
    mechanism: str = "gaussian"
    bands: int = 1
    boosting: Rounds | None = None
    sampling: str | None = None

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
            BadFile: A key is unknown (names the nearest), missing, out of its range, or does not go with another.
                Names the dotted key.
        """
        model = document.get("model")
        if isinstance(model, Mapping) and model.get("kind") == "ebm":
            return cls._boosted(Dotted(document, _EBM_KEYS, where))
        table = Dotted(document, _KEYS, where)
        kind = table.choice("model.kind", KINDS)
        hidden = table.get("model.hidden", [] if kind == "logistic" else None)
        if not isinstance(hidden, list | tuple) or not all(_positive(width) for width in hidden):
            raise table.bad("model.hidden", "this must be a list of positive whole numbers, such as [64]")
        if bool(hidden) == (kind == "logistic"):
            raise table.bad("model.hidden", "an mlp has hidden layers, and a logistic regression has none")
        recipe = cls(
            kind=kind,
            hidden=tuple(hidden),
            epochs=table.number("train.epochs"),
            batch=table.count("train.batch"),
            learning_rate=table.number("train.learning_rate"),
            clip=table.number("train.clip"),
            optimizer=table.choice("train.optimizer", OPTIMIZERS, "sgd"),
            momentum=table.number("train.momentum", 0.0, least=0.0, below=1.0),
            epsilon=table.number("privacy.epsilon"),
            delta=table.number("privacy.delta"),
            features=_features(table),
            test=table.number("split.test", least=0.0),
            weight_decay=table.number("train.weight_decay", 0.0, least=0.0),
            schedule=table.choice("train.schedule", SCHEDULES, "constant"),
            warm_up=table.number("train.warm_up", 0.0, least=0.0, below=1.0),
            average=table.number("train.average", 0.0, least=0.0, below=1.0),
            clipping=table.choice("train.clipping", CLIPPINGS, "flat"),
            mechanism=table.choice("privacy.mechanism", MECHANISMS, "gaussian"),
            bands=table.count("privacy.bands", 1),
            sampling=table.choice("privacy.sampling", SAMPLINGS) if table.has("privacy.sampling") else None,
        )
        recipe._agrees(table)
        return recipe

    @classmethod
    def _boosted(cls, table: Dotted) -> Recipe:
        """The recipe of an ``ebm``."""
        bins, leaves = table.count("model.bins", 64), table.count("model.leaves", 3)
        if not 2 <= bins <= _MOST_BINS:
            raise table.bad("model.bins", f"this must be from 2 to {_MOST_BINS}")
        if leaves < 2:
            raise table.bad("model.leaves", "this must be at least 2")
        rounds = table.count("train.rounds")
        return cls(
            kind="ebm",
            hidden=(),
            epochs=float(rounds),
            batch=0,
            learning_rate=table.number("train.learning_rate"),
            clip=1.0,
            optimizer="",
            momentum=0.0,
            epsilon=table.number("privacy.epsilon"),
            delta=table.number("privacy.delta"),
            features=_features(table),
            test=table.number("split.test", least=0.0),
            boosting=Rounds(rounds, bins, leaves),
        )

    def _agrees(self, table: Dotted) -> None:
        """Raise if two keys do not go together."""
        if self.momentum and self.optimizer != "sgd":
            raise table.bad("train.momentum", "only sgd has momentum of its own")
        if self.mechanism == "banded" and self.bands < 2:
            raise table.bad("privacy.bands", 'this must be at least 2 with mechanism = "banded"')
        if self.mechanism != "banded" and self.bands > 1:
            raise table.bad("privacy.bands", 'only mechanism = "banded" has bands')
        moving = "adaptive" if self.clipping == "adaptive" else self.mechanism
        if moving in ("adaptive", "banded") and self.optimizer == "dp-adam":
            what = f"dp-adam takes out noise of one variance for every step, which {moving} does not have"
            raise table.bad("train.optimizer", what)
        if moving in ("adaptive", "banded") and self.sampling == "example":
            raise table.bad("privacy.sampling", f'{moving} goes with sampling = "user" only')
        if self.clipping == "adaptive" and self.mechanism == "banded":
            raise table.bad("train.clipping", "adaptive clipping and banded noise do not go together")

    def _chosen(self, *names: str) -> dict[str, Any]:
        """Those of these fields that do not have their default value."""
        return {name: getattr(self, name) for name in names if getattr(self, name) != _DEFAULTS[name]}

    def document(self) -> dict[str, Any]:
        """The recipe as JSON; :meth:`from_document` gives it back."""
        data = {"features": list(self.features)} if self.features is not None else {}
        if self.boosting is not None:
            return {
                "model": {"kind": self.kind, "bins": self.boosting.bins, "leaves": self.boosting.leaves},
                "train": {"rounds": self.boosting.rounds, "learning_rate": self.learning_rate},
                "privacy": {"epsilon": self.epsilon, "delta": self.delta},
                "data": data,
                "split": {"test": self.test},
            }
        return {
            "model": {"kind": self.kind, "hidden": list(self.hidden)},
            "train": {
                "epochs": self.epochs,
                "batch": self.batch,
                "learning_rate": self.learning_rate,
                "clip": self.clip,
                "optimizer": self.optimizer,
                **({"momentum": self.momentum} if self.optimizer == "sgd" else {}),
                **self._chosen("weight_decay", "schedule", "warm_up", "average", "clipping"),
            },
            "privacy": {"epsilon": self.epsilon, "delta": self.delta, **self._chosen("mechanism", "bands", "sampling")},
            "data": data,
            "split": {"test": self.test},
        }

    def make_plan(self, schema: Schema) -> AnyPlan:
        """The recipe's plan for a data set that is declared so.

        Raises:
            BadPlan: A number is out of its range, or no noise is enough.
            UnknownName, BadFile: A feature is no column of the schema, or one that cannot be encoded.
        """
        from pellucid.privacy import BoostPlan, Plan

        if self.boosting is None:
            arguments = self.plan_arguments(schema.units)
            return Plan.calibrate(**arguments, unit_rows=schema.rows_per_unit or 1, rows=schema.rows)
        return BoostPlan.calibrate(
            epsilon=self.epsilon,
            delta=self.delta,
            units=schema.units,
            test=self.test,
            columns=len(schema.features(self.features)),
            rounds=self.boosting.rounds,
        )

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
            **self._chosen("clipping", "mechanism", "bands", "sampling"),
        }

    def make_optimizer(self, module: nn.Module, plan: Plan | None = None) -> torch.optim.Optimizer:
        """The recipe's optimizer over all parameters of ``module``.

        Args:
            module: The plain module.
            plan: By which it will be trained; ``dp-adam`` takes the variance of the noise from it.

        Raises:
            Misuse: The optimizer is ``dp-adam`` and no plan is given.
        """
        weights, rate, decay = module.parameters(), self.learning_rate, self.weight_decay
        if self.optimizer == "sgd":
            return torch.optim.SGD(weights, lr=rate, momentum=self.momentum, weight_decay=decay)
        if self.optimizer == "adam":
            return torch.optim.AdamW(weights, lr=rate, weight_decay=decay) if decay else torch.optim.Adam(weights, rate)
        if plan is None:
            raise Misuse("dp-adam has to know the noise", where="make_optimizer", fix="give the plan too")
        from pellucid.train.adam import DPAdamBC, noise_variance

        return DPAdamBC(weights, lr=rate, weight_decay=decay, noise_variance=noise_variance(plan))

    def make_schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR | None:
        """The recipe's schedule of the learning rate for :func:`fit`, or None if the rate stays what it is.

        Args:
            optimizer: The private one.
            steps: ``plan.steps``.
        """
        if self.schedule == "constant" and not self.warm_up:
            return None
        return schedules.schedule(optimizer, steps, self.schedule, warm_up=int(self.warm_up * steps))


_DEFAULTS: Final[Mapping[str, Any]] = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}


def build(recipe: Recipe, encoding: Encoding) -> nn.Module:
    """The recipe's module: inputs ``(B, encoding.width)``, logits ``(B, classes)``.

    Raises:
        BadFile: The target has no classes, or other than two for an ``ebm``; recipes train classifiers.
    """
    if len(encoding.classes) < 2:
        raise BadFile(
            "recipes train classifiers, and this target is a number",
            where="recipe: model.kind",
            fix="choose a category or boolean target, or train with your own loop",
        )
    if recipe.boosting is not None:
        from pellucid.train.additive import Additive

        return Additive(encoding, recipe.boosting.bins)
    widths = [encoding.width, *recipe.hidden]
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], len(encoding.classes)))


def fit(model: PrivateModel, optimizer: PrivateOptimizer, batches: Batches, schedule: LambdaLR | None = None) -> None:
    """The loop of ``pellucid train``: cross-entropy over all batches of the plan. Nothing is measured on the way.

    Args:
        model: The private model.
        optimizer: The private optimizer.
        batches: Of the plan; each is followed by a step.
        schedule: Of the learning rate; it follows the steps of the plan, also those that a killed run has lost.
    """
    loss = nn.CrossEntropyLoss()
    for x, y in batches:
        # before the step, so that a checkpoint of step N holds the rate of step N
        while schedule is not None and schedule.last_epoch < batches.steps_taken:
            schedule.step()
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()


def _features(table: Dotted) -> tuple[str, ...] | None:
    features = table.get("data.features", None, optional=True)
    if features is None:
        return None
    if isinstance(features, list | tuple) and features and all(isinstance(name, str) for name in features):
        return tuple(features)
    raise table.bad("data.features", "this must be a list of column names; leave it out for the default")


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
