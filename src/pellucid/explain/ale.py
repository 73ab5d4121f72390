"""What happens to the answers when one field changes a little, for those who have about that value? ALE curves.

Accumulated local effects (Apley and Zhu 2020, JRSS B 82(4)) move a person only within the bin that the person is in.
Where two fields go together, partial dependence asks about people who cannot be and credits one field with what it has
learnt there; this does not, at the price of saying nothing about large changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.evidence import Estimate, round_down
from pellucid.explain.coalitions import score_name, scores
from pellucid.explain.fields import Fields
from pellucid.explain.grids import PLACES, Grid, grid, place, span
from pellucid.explain.intervals import MEANS, MINIMUM_CELL, Floats, Mean, Z, grid_of, versions
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady
from pellucid.schema import Encoding

__all__ = ["LocalEffects", "local_effects"]


@dataclass(frozen=True, slots=True)
class LocalEffects:
    """The accumulated local effect of a field at each point; its mean over people is 0.

    Attributes:
        name: The field.
        points: The values of the field: held by ten people or more, or rounded means over at least ten.
        curve: The accumulated effect at each point, with its interval over people.
        n: People, rounded down to ten.
        target: The class whose score is meant; None for the log-odds of class 1.
    """

    name: str
    points: tuple[float, ...]
    curve: tuple[Estimate, ...]
    n: int
    target: int | None

    def values(self) -> dict[str, Any]:
        """Points and curve as JSON."""
        return {
            "field": self.name,
            "points": [round(value, 6) for value in self.points],
            "accumulated_local_effects": [estimate.values() for estimate in self.curve],
        }

    def how(self) -> Mapping[str, Any]:
        """How the curve was made."""
        return {
            "method": "accumulated local effects (Apley and Zhu 2020), read at the rounded mean of each bin",
            "points": PLACES,
            "score": score_name(self.target),
            "bins": f"by quantiles, at least {MINIMUM_CELL} people each",
            "interval": "normal over people within bins; the bins are taken as given",
            "rounding": MEANS,
            "data": "held-out split",
            "n": self.n,
            "libraries": versions("numpy", "torch"),
        }


def local_effects(
    model: nn.Module, x: Tensor, fields: Fields | Encoding, name: str, *, bins: int = 20, target: int | None = None
) -> LocalEffects:
    """Accumulated local effects of field ``name``, a number with one slot.

    A constant field has one point, with the effect 0.

    Args:
        model: Standard modules, not wrapped for private training. It is not touched.
        x: (N, width) float32, at least ten people.
        fields: Of a row; an encoding also says how wide the range of a number is.
        name: The field.
        bins: At most; each holds at least ten people.
        target: The class whose score is meant; by default the log-odds of class 1 of two.

    Raises:
        BadData: Wrong type, shape or range, NaN, fewer than ten people, or a field of several slots.
        UnknownName: There is no such field.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    slots = place(x, fields, name)
    bins_of = grid(x, slots, bins, span(fields))
    twin = frozen(model)
    steady(twin, x)
    low, high, step, along, own = _bins(bins_of)
    sides = []
    for edge in (low, high):
        moved = x.clone()
        moved[:, slots[0]] = torch.from_numpy(edge[step]).to(x)
        sides.append(scores(twin, moved, target).numpy())
    change = sides[1] - sides[0]
    held = np.bincount(step, minlength=len(low))
    slope = np.bincount(step, change, minlength=len(low)) / held
    spread = np.bincount(step, (change - slope[step]) ** 2, minlength=len(low)) / (held - 1) / held
    middle = (np.bincount(bins_of.member, minlength=len(own)) / len(x)) @ own
    along, own = along - middle, own - middle
    curve, half = along @ slope, Z * np.sqrt(along**2 @ spread)
    # a person adds to the slope of a bin, and to the mean that is taken off everywhere
    n, rounding = round_down(len(x)), max(grid_of(change), grid_of((own @ slope)[bins_of.member]))
    return LocalEffects(
        name=name,
        points=tuple(bins_of.points.tolist()),
        curve=tuple(Mean(float(v), float(v - h), float(v + h), n, rounding) for v, h in zip(curve, half, strict=True)),
        n=n,
        target=target,
    )


def _bins(found: Grid) -> tuple[Floats, Floats, np.ndarray[Any, np.dtype[np.int64]], Floats, Floats]:
    """Lower and upper edges (K,), the bin of each person (N,), and how much of each bin lies below each point (G, K)
    and below the mean of each bin (B, K).

    Between values there is one bin for each two neighbours, with the people of the upper one, and with those of the
    lowest in the first (Apley and Zhu 2020, section 5.1).
    """
    points = len(found.points)
    if found.edges is None:
        steps = max(1, points - 1)
        low, high = found.points[:steps], found.points[-steps:]
        below = np.tri(points, steps, -1)
        return low, high, np.maximum(found.member - 1, 0), below, below
    low, high = found.edges[:-1], found.edges[1:]
    along, own = (np.clip((at[:, None] - low) / (high - low), 0.0, 1.0) for at in (found.points, found.means))
    return low, high, found.member, along, own
