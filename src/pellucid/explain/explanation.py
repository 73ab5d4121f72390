"""What the model goes by: attribution and importance as one piece of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.errors import BadData
from pellucid.evidence import Coverage, Evidence, Subject, Tier
from pellucid.explain.ale import LocalEffects
from pellucid.explain.attribution import Attribution
from pellucid.explain.effects import PartialDependence
from pellucid.explain.importance import Importance
from pellucid.explain.intervals import MINIMUM_CELL
from pellucid.explain.readout import Readout
from pellucid.explain.shapes import Shapes
from pellucid.explain.strength import Strength
from pellucid.explain.surrogate import Surrogate

__all__ = ["Explanation"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Attribution by column beside permutation importance by column.

    Attributes:
        attribution: What carried the answers, row by row and in the mean.
        importance: What the model loses without a column. None where only public rows were looked at: it needs people
            and their labels.
        shapley: The strength of each column by Shapley values.
        effects: How the answer moves along a column.
        surrogate: A simple model of the model, with its fidelity.
        readout: The model itself, where it can be read: a linear one, or an additive one.

    Raises:
        BadData: Attribution and importance are not of the same columns, or not of the same class of more than two.
    """

    attribution: Attribution
    importance: Importance | None = None
    shapley: Strength | None = None
    effects: tuple[LocalEffects | PartialDependence, ...] = ()
    surrogate: Surrogate | None = None
    readout: Readout | Shapes | None = None

    def __post_init__(self) -> None:
        if self.importance is not None and tuple(self.importance.columns) != self.attribution.columns:
            raise BadData("attribution and importance are of different columns", where="explanation")
        if self.importance is not None and self.importance.target not in (None, self.attribution.target):
            raise BadData("attribution and importance are of different classes", where="explanation")

    def values(self) -> dict[str, Any]:
        """The values of ``explanation`` evidence, version 1; importance is empty where it was not measured."""
        found: dict[str, Any] = {
            "method": self.attribution.method,
            "baseline": self.attribution.baseline,
            "importance": {},
            "attribution": self.attribution.published(self.attribution.magnitude()),
            "completeness_gap": self.attribution.gaps()["completeness_gap"],
        }
        if self.attribution.target is not None:
            found["target"] = self.attribution.target
        if self.importance is not None:
            found |= self.importance.values()
        if self.shapley is not None:
            found["shapley"] = {name: estimate.values() for name, estimate in self.shapley.columns.items()}
        if self.effects:
            found["effects"] = [effect.values() for effect in self.effects]
        if self.surrogate is not None:
            found["surrogate"] = self.surrogate.values()
        if self.readout is not None:
            found["readout"] = self.readout.values()
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        found: dict[str, Any] = {"attribution": dict(self.attribution.how())}
        if self.importance is not None:
            found["importance"] = dict(self.importance.how())
        if self.shapley is not None:
            found["shapley"] = dict(self.shapley.how())
        if self.effects:
            found["effects"] = {effect.name: dict(effect.how()) for effect in self.effects}
        if self.surrogate is not None:
            found["surrogate"] = dict(self.surrogate.how())
        if self.readout is not None:
            found["readout"] = dict(self.readout.how())
        return found

    def error(self) -> Mapping[str, Any]:
        """How wrong attributions may be; importances carry their own intervals."""
        return {
            **self.attribution.gaps(),
            "attribution_standard_error": self.attribution.published(self.attribution.standard_error()),
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``.

        Attributions of public rows are post-processing of the weights and may be read by anyone; as soon as
        held-out people were looked at, the whole is uncovered and for auditors.

        Raises:
            BadData: Fewer than ten people were explained.
        """
        people = self.importance is not None or self.shapley is not None or bool(self.effects)
        fitted = self.surrogate is not None and not self.surrogate.public
        covered = self.attribution.public and not people and not fitted
        if not self.attribution.public and len(self.attribution.rows) < MINIMUM_CELL:
            raise BadData(
                f"an explanation of fewer than {MINIMUM_CELL} people is theirs, and is not published",
                where="attribution",
                fix="explain more held-out people, or rows made from the schema",
            )
        coverage: Coverage = "post-processing" if covered else "uncovered"
        tier: Tier = "public" if covered else "auditor"
        return Evidence("explanation", subject, self.values(), self.how(), coverage, self.error(), tier)
