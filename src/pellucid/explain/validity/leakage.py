"""Does an explanation tell who was trained on? Membership from the variance of explanations.

Shokri, Strobel and Zick 2021 (AIES, section 4): a model is sure about the people it was trained on, so its gradient is
small there, and so is the variance of the explanation over fields. Whoever sees a person's explanation can guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import MINIMUM_CELL, versions
from pellucid.explain.model import frozen
from pellucid.explain.ranking import AUC_ROUNDING, auc, publish_auc
from pellucid.explain.steady import steady
from pellucid.explain.validity.explainer import Explainer, ask, check_input, chosen, repeats, said

__all__ = ["Leakage", "measure_leakage"]


@dataclass(frozen=True, slots=True)
class Leakage:
    """What explanations tell of membership. It looks at people who were trained on: uncovered, and for auditors.

    Attributes:
        auc: The chance that a member's explanation varies less over fields than that of a person held out; 0.5 is
            nothing. The direction is fixed beforehand, so a value below 0.5 can be as telling as one above.
        members: How many members were looked at, rounded down to ten.
        others: How many people who were held out.
        seed: Public.
        deterministic: The explainer gives the same twice.
    """

    auc: Estimate
    members: int
    others: int
    seed: int
    deterministic: bool

    @property
    def leaks(self) -> bool:
        """Whether 0.5 lies outside the two-sided 95 % interval."""
        return not self.auc.low <= 0.5 <= self.auc.high

    def values(self) -> dict[str, Any]:
        """The values of this test."""
        return {"auc": self.auc.values(), "leaks": self.leaks}

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "method": "membership by a threshold on the variance of the explanation over fields "
            "(Shokri, Strobel and Zick 2021)",
            "auc": f"lower variance means rather a member; DeLong 1988, {AUC_ROUNDING}",
            "leaks": "0.5 is outside the two-sided interval",
            "data": "people trained on against people held out",
            "explainer": said(self.deterministic),
            "members": self.members,
            "others": self.others,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }


def measure_leakage(
    explain: Explainer, model: nn.Module, members: Tensor, others: Tensor, *, rows: int = 2000, seed: int = 0
) -> Leakage:
    """Attack membership with nothing but the explanations of ``model``.

    Args:
        explain: The explainer under test.
        model: The model that it explains. It is not touched.
        members: (N, …) rows that were trained on.
        others: (M, …) rows that were not, from the same population.
        rows: Rows of each to look at, at most; of more, a sample drawn with ``seed``.
        seed: Public.

    Raises:
        BadData: Wrong type or shape, NaN, fewer than ten people on a side, or one field, which does not vary.
        UnsupportedModel: The model is random in eval mode or mixes rows.
    """
    for side in (members, others):
        check_input(side)
    sides = [side[torch.from_numpy(chosen(len(side), rows, seed))] for side in (members, others)]
    smallest = min(map(len, sides))
    if smallest < MINIMUM_CELL:
        raise BadData(f"at least {MINIMUM_CELL} members and as many others are needed", where="members")
    twin = frozen(model)
    steady(twin, sides[0])
    found = [ask(explain, twin, side) for side in sides]
    if found[0].shape[1] < 2:
        raise BadData("an explanation by one field has no variance over fields", where="explainer")
    spread = np.concatenate([each.var(axis=1) for each in found])
    inside = np.arange(len(spread)) < len(sides[0])
    return Leakage(
        auc=publish_auc(auc(-spread, inside), smallest),
        members=round_down(len(sides[0])),
        others=round_down(len(sides[1])),
        seed=seed,
        deterministic=repeats(explain, twin, sides[0]),
    )
