"""For which models a requirement or a waiver is meant.

    applies-to = { models = ["credit-*"], kinds = ["mlp"], data = ["applicants"], purposes = ["credit scoring"] }

Every key that is there has to fit; ``*``, ``?`` and ``[…]`` stand for parts of a name. What the evidence does not say
excuses nobody: a requirement for ``kinds`` is for every model whose kind is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from pellucid.check.tables import Table
from pellucid.errors import BadFile

__all__ = ["EVERYTHING", "Scope", "named", "parse_scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Patterns, one of each that is not empty must fit.

    Attributes:
        models: Of the model's name, with or without its version.
        kinds: Of what the model is: the recipe's kind, such as ``mlp``, or its architecture in words.
        data: Of the data set it was trained on.
        purposes: Of the purpose it was trained for.
    """

    models: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def fits(self, model: str, values: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether a model is meant.

        Args:
            model: Its name, such as ``credit-risk@1``.
            values: Its evidence: kind -> values.
        """
        training = values.get("training", {})
        said = (
            (self.kinds, (_text(training, "recipe", "model", "kind"), _text(training, "architecture"))),
            (self.data, (_text(training, "dataset", "name"),)),
            (self.purposes, (_text(training, "purpose"),)),
        )
        return named(self.models, model) and all(_fits(patterns, words) for patterns, words in said)

    def text(self) -> str:
        """For a reader: ``models credit-*; kinds mlp, logistic``."""
        parts = [f"{key} {', '.join(getattr(self, key))}" for key in _KEYS if getattr(self, key)]
        return "; ".join(parts) or "every model"


EVERYTHING: Final = Scope()
_KEYS: Final = ("models", "kinds", "data", "purposes")


def named(patterns: Iterable[str], model: str) -> bool:
    """Whether a model's name, with or without its version, fits one of the patterns, or there are none."""
    patterns = tuple(patterns)
    short = model.partition("@")[0]
    return not patterns or any(fnmatchcase(model, each) or fnmatchcase(short, each) for each in patterns)


def _fits(patterns: tuple[str, ...], words: Sequence[str]) -> bool:
    known = [word for word in words if word]
    return not patterns or not known or any(fnmatchcase(word, each) for word in known for each in patterns)


def _text(values: Mapping[str, Any], *steps: str) -> str:
    """The text under a path; empty if there is none."""
    found: Any = values
    for step in steps:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def parse_scope(table: Table, key: str = "applies-to") -> Scope:
    """The scope under ``key``; without the key, everything.

    Raises:
        BadFile: It is no table of lists of texts, has an unknown key (with the nearest known one), or says nothing.
    """
    if key not in table.content:
        return EVERYTHING
    content = table.content[key]
    if not isinstance(content, dict) or not content:
        example = '{ models = ["credit-*"] }'
        raise BadFile(f"{key} is a table such as {example}", where=table.where)
    inner = Table(content, f"{table.where}.{key}")
    inner.only(_KEYS)
    return Scope(**{name: tuple(inner.texts(name)) for name in content})
