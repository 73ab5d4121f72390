"""What a tracker of experiments is told: parameters, metrics and tags, from the evidence alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pellucid.report.exports.statements import Statements

__all__ = ["Tracked", "tracked"]

_LONGEST: Final = 250  # characters of a key, and of a parameter's value; MLflow takes 250 and 6000
_NAMES: Final = re.compile(r"[^\w./ -]")


@dataclass(frozen=True, slots=True)
class Tracked:
    """One run: its experiment, its name, and what is logged."""

    experiment: str
    run: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def tracked(statements: Statements) -> Tracked:
    """Estimates as three metrics each (``auc``, ``auc.low``, ``auc.high``); ``/`` leads to a group's.

    Metrics of privacy are ``privacy.epsilon``, ``privacy.delta`` and ``attack.epsilon_lower``, where they are there.
    """
    metrics: dict[str, float] = {}
    for each in statements.estimates():
        name = f"{each.group}/{each.name}" if each.group else each.name
        for suffix, value in (("", each.value), (".low", each.low), (".high", each.high)):
            metrics[_key(name + suffix)] = float(value)
    for kind, name in (("privacy", "epsilon"), ("privacy", "delta"), ("attack", "epsilon_lower")):
        claimed = statements.of(kind).get(name)
        if isinstance(claimed, int | float):
            metrics[f"{kind}.{name}"] = float(claimed)
    parameters = {
        _key(f"{kind}.{name}"): str(value)[:_LONGEST]
        for kind in ("training", "privacy")
        for name, value in statements.of(kind).items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    tags = {
        "pellucid.project": statements.project,
        "pellucid.model": statements.subject.name,
        "pellucid.weights.sha256": statements.subject.sha256,
        "pellucid.bundle.sha256": statements.bundle_sha256,
        "pellucid.owner": statements.owner,
    }
    return Tracked(statements.project, statements.subject.name, parameters, metrics, tags)


def _key(name: str) -> str:
    return _NAMES.sub("_", name)[:_LONGEST]
