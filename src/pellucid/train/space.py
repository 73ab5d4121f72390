"""The space of a tuning: what a trial may differ in. Declared, and drawn from without a look at any score.

Each trial draws its own configuration, independently and from the same distribution, as private selection needs it
(Papernot & Steinke 2022, arXiv 2110.03620). Only what costs nothing may vary: keys that would change the sampling, the
steps or the noise of a trial would change its price, and the price is one for all.
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pellucid.errors import BadFile, nearest
from pellucid.schema import read_toml
from pellucid.train.recipes import Recipe

__all__ = ["FREE", "Between", "Space", "read"]

FREE: Final = frozenset(
    {"model.hidden", "model.bins", "model.leaves"}
    | {f"train.{key}" for key in ("learning_rate", "clip", "optimizer", "momentum", "weight_decay")}
    | {f"train.{key}" for key in ("schedule", "warm_up", "average")}
)
"""Keys of a recipe that may vary."""
_KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "trials": (int, float),
    "distribution": (str,),
    "score": (str,),
    "score_noise": (int, float),
    "hold": (int, float),
}
_MOST: Final = 2000
"""Combinations that are tried out beforehand: all, if there are no more; else so many draws."""


@dataclass(frozen=True, slots=True)
class Between:
    """Numbers from ``low`` to ``high``, uniform, or uniform in their logarithm."""

    low: float
    high: float
    log: bool = False

    def record(self) -> dict[str, Any]:
        """As TOML has it."""
        return {"low": self.low, "high": self.high, **({"scale": "log"} if self.log else {})}


@dataclass(frozen=True, slots=True)
class Space:
    """Lists of values and ranges of numbers, by dotted key of a recipe. Made by :meth:`of`, which checks it whole."""

    choices: Mapping[str, tuple[Any, ...] | Between] = field(hash=False)

    @classmethod
    def of(cls, document: Any, *, where: str = "space") -> Space:
        """The space in a table.

        Args:
            document: By dotted key, or in a table of the section, a list of values, or
                ``{"low": 0.1, "high": 4.0, "scale": "log"}``.
            where: What it is, for errors.

        Raises:
            BadFile: A key is none that may vary, a list is empty or holds a value twice, a range is none, or there is
                only one point.
        """
        if isinstance(document, Space):
            return document
        if not isinstance(document, Mapping) or not document:
            raise BadFile("a space is a table of lists and ranges", where=where)
        found: dict[str, tuple[Any, ...] | Between] = {}
        flat: dict[Any, Any] = {}
        for key, given in document.items():
            nested = key in ("model", "train") and isinstance(given, Mapping)
            flat |= {f"{key}.{name}": value for name, value in given.items()} if nested else {key: given}
        for key, given in flat.items():
            if key not in FREE:
                raise BadFile(
                    f"this key may not vary{nearest(str(key), FREE)}",
                    where=f"{where}: {key}",
                    fix=f"vary {', '.join(sorted(FREE))}; what costs privacy is set once, in the recipe",
                )
            found[key] = _choice(given, f"{where}: {key}")
        if all(not isinstance(choice, Between) and len(choice) == 1 for choice in found.values()):
            fix = "pellucid train trains the one there is"
            raise BadFile("a space with one point leaves nothing to choose", where=where, fix=fix)
        return cls(found)

    def document(self) -> dict[str, Any]:
        """The space as JSON; :meth:`of` gives it back."""
        return {k: c.record() if isinstance(c, Between) else list(c) for k, c in self.choices.items()}

    def draw(self) -> dict[str, Any]:
        """A configuration, independent of all others: a value by key."""
        from scipy.stats import loguniform, uniform
        from sklearn.model_selection import ParameterSampler

        def of(choice: tuple[Any, ...] | Between) -> Any:
            if not isinstance(choice, Between):
                return list(choice)
            return loguniform(choice.low, choice.high) if choice.log else uniform(choice.low, choice.high - choice.low)

        ways = {key: of(choice) for key, choice in self.choices.items()}
        # one at a time: several from lists alone would be drawn without replacement, and so depend on each other
        (drawn,) = ParameterSampler(ways, 1, random_state=secrets.randbits(32))
        return {key: float(value) if isinstance(self.choices[key], Between) else value for key, value in drawn.items()}

    def recipe(self, base: Recipe, drawn: Mapping[str, Any]) -> Recipe:
        """``base`` with what was drawn.

        Raises:
            BadFile: They do not go together.
        """
        document = {section: dict(content) for section, content in base.document().items()}
        for key, value in drawn.items():
            section, _, name = key.partition(".")
            document[section][name] = value
        return Recipe.from_document(document, where="configuration")

    def check(self, base: Recipe) -> None:
        """Returns if every configuration, or each of many, makes a recipe: a trial must not be what finds out.

        Raises:
            BadFile: One does not; names the key.
        """
        for drawn in self._some():
            self.recipe(base, drawn)

    def _some(self) -> Iterator[dict[str, Any]]:
        """All combinations of values and ends of ranges, or as many draws."""
        ends = {k: (c.low, c.high) if isinstance(c, Between) else c for k, c in self.choices.items()}
        if math.prod(len(values) for values in ends.values()) <= _MOST:
            for values in itertools.product(*ends.values()):
                yield dict(zip(ends, values, strict=True))
        else:
            for _ in range(_MOST):
                yield {key: secrets.choice(values) for key, values in ends.items()}


def read(path: Path) -> tuple[Space, dict[str, Any]]:
    """The space in a TOML file, and how it is tuned over: its tables ``space`` and ``tune``.

    Raises:
        BadFile: It does not parse, a key is unknown, missing or of another type, or the space is none.
    """
    document, where = read_toml(path), str(path)
    for section, content in document.items():
        if section not in ("space", "tune") or not isinstance(content, Mapping):
            raise BadFile(f"unknown key{nearest(section, ('space', 'tune'))}", where=f"{where}: {section}")
    settings: dict[str, Any] = dict(document.get("tune", {}))
    for key, value in settings.items():
        if key not in _KEYS:
            raise BadFile(f"unknown key{nearest(key, _KEYS)}", where=f"{where}: tune.{key}")
        if isinstance(value, bool) or not isinstance(value, _KEYS[key]):
            raise BadFile("this is of another type", where=f"{where}: tune.{key}")
    if "trials" not in settings:
        raise BadFile("this key is missing", where=f"{where}: tune.trials", fix="say how many trials to expect")
    return Space.of(document.get("space", {}), where=f"{where}: space"), settings


def _choice(given: Any, where: str) -> tuple[Any, ...] | Between:
    if isinstance(given, Between):
        given = given.record()
    if isinstance(given, Mapping):
        return _between(given, where)
    if not isinstance(given, list | tuple) or not given:
        raise BadFile("this must be a list of values, or a table of low and high", where=where)
    if any(given[i] in given[:i] for i in range(len(given))):
        raise BadFile("a value stands twice", where=where)
    return tuple(given)


def _between(given: Mapping[str, Any], where: str) -> Between:
    if not {"low", "high"} <= set(given) <= {"low", "high", "scale"}:
        raise BadFile("a range has low, high and perhaps scale", where=where)
    low, high, scale = given["low"], given["high"], given.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise BadFile('scale is "linear" or "log"', where=where)
    for number in (low, high):
        if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
            raise BadFile("low and high must be finite numbers", where=where)
    if not low < high or (scale == "log" and low <= 0):
        raise BadFile("low must be below high, and above 0 on a log scale", where=where)
    return Between(float(low), float(high), scale == "log")
