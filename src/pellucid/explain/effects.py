"""What happens to the answers when one field is set? Partial dependence, and how people differ around it.

Partial dependence sets the field for everybody (Friedman 2001, section 8.2), so it also asks about people who cannot
be: where fields depend on each other, :func:`pellucid.explain.ale.local_effects` does not. A curve of one person (ICE;
Goldstein, Kapelner, Bleich and Pitkin 2015) is a row of that person and stays inside; bands over at least ten people
say how far the curves are from being parallel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.evidence import Estimate, round_down
from pellucid.explain.coalitions import score_name, scores
from pellucid.explain.fields import Fields
from pellucid.explain.grids import PLACES, grid, place, span
from pellucid.explain.intervals import MEANS, MINIMUM_CELL, Floats, coarse, grid_of, mean, versions
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady
from pellucid.schema import Encoding

__all__ = ["LEVELS", "PartialDependence", "ice_curves", "partial_dependence"]

LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class PartialDependence:
    """The mean answer as a function of one field.

    Attributes:
        name: The field.
        points: The values of its slots at each point.
        curve: The mean score over people at each point, with its interval over people.
        change: The same less each person's own score at the first point.
        bands: By quantile level, the centred curves of people: means over ten people around the quantile. Levels with
            fewer than ten people beyond them are absent.
        n: People, rounded down to ten.
        target: The class whose score is meant; None for the log-odds of class 1.
        given: The points were handed in, not found from the people.
        grids: By level, the bands are published at multiples of these, point by point.
    """

    name: str
    points: tuple[tuple[float, ...], ...]
    curve: tuple[Estimate, ...]
    change: tuple[Estimate, ...]
    bands: Mapping[float, tuple[float, ...]]
    n: int
    target: int | None
    given: bool
    grids: Mapping[float, tuple[float, ...]] = field(repr=False)

    def values(self) -> dict[str, Any]:
        """Points, curve, change and bands as JSON."""
        return {
            "field": self.name,
            "points": [[round(value, 6) for value in point] for point in self.points],
            "partial_dependence": [estimate.values() for estimate in self.curve],
            "change": [estimate.values() for estimate in self.change],
            "bands": {
                f"{level:g}": [
                    round(coarse(value, grid), 6) for value, grid in zip(band, self.grids[level], strict=True)
                ]
                for level, band in self.bands.items()
            },
        }

    def how(self) -> Mapping[str, Any]:
        """How the curve was made."""
        return {
            "method": "partial dependence (Friedman 2001); bands of centred ICE curves (Goldstein et al. 2015)",
            "score": score_name(self.target),
            "points": "given" if self.given else PLACES,
            "bands": f"mean over {MINIMUM_CELL} people around the quantile, at each point by itself, rounded like a "
            "mean over so many",
            "interval": "normal over people",
            "rounding": MEANS,
            "data": "held-out split",
            "n": self.n,
            "libraries": versions("numpy", "torch"),
        }


def partial_dependence(
    model: nn.Module,
    x: Tensor,
    fields: Fields | Encoding,
    name: str,
    *,
    points: Tensor | None = None,
    bins: int = 20,
    target: int | None = None,
) -> PartialDependence:
    """The mean score when field ``name`` is set to each of some points, for everybody.

    Args:
        model: Standard modules, not wrapped for private training. It is not touched.
        x: (N, width) float32, at least ten people.
        fields: Of a row; an encoding also says how wide the range of a number is.
        name: The field.
        points: (G, slots of the field) float32, public; by default values or rounded means of at least ten people, of
            a field with one slot.
        bins: Points at most, where none are given.
        target: The class whose score is meant; by default the log-odds of class 1 of two.

    Raises:
        BadData: Wrong type, shape or range, NaN, fewer than ten people, or a field of several slots without points.
        UnknownName: There is no such field.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    slots = place(x, fields, name)
    if points is None:
        found = torch.from_numpy(grid(x, slots, bins, span(fields)).points).float()[:, None]
    else:
        found = points
        if found.ndim != 2 or found.shape[1] != len(slots):
            raise BadData(f"a point must have the {len(slots)} slots of the field", where="points")
    curves = ice_curves(model, x, fields, name, found, target=target)
    changes = curves - curves[:, :1]
    bands = _bands(changes)
    return PartialDependence(
        name=name,
        points=tuple(tuple(point) for point in found.double().tolist()),
        curve=tuple(mean(column) for column in curves.T),
        change=tuple(mean(column) for column in changes.T),
        bands={level: tuple(ten.mean(axis=0).tolist()) for level, ten in bands.items()},
        n=round_down(len(x)),
        target=target,
        given=points is not None,
        grids={level: tuple(grid_of(column) for column in ten.T) for level, ten in bands.items()},
    )


def ice_curves(
    model: nn.Module, x: Tensor, fields: Fields | Encoding, name: str, points: Tensor, *, target: int | None = None
) -> Floats:
    """The score of every person at every point: (N, G). One row a person: private, never evidence by itself.

    Args:
        model: As in :func:`partial_dependence`.
        x: (N, width) float32, at least ten people.
        fields: Of a row.
        name: The field.
        points: (G, slots of the field) float32.
        target: The class whose score is meant; by default the log-odds of class 1 of two.

    Raises:
        BadData: As in :func:`partial_dependence`.
        UnknownName: There is no such field.
        UnsupportedModel: As in :func:`partial_dependence`.
    """
    slots = list(place(x, fields, name))
    given: Any = points  # whatever a caller wrote
    if not isinstance(given, Tensor) or points.dtype != torch.float32 or points.ndim != 2 or len(points) == 0:
        raise BadData("points are a float32 tensor (points, slots of the field), at least one", where="points")
    if points.shape[1] != len(slots) or not bool(torch.isfinite(points).all()):
        raise BadData(f"a point has a finite number for each of the {len(slots)} slots of the field", where="points")
    twin = frozen(model)
    steady(twin, x)
    moved = x.clone()
    columns = []
    for point in points.to(x.device):
        moved[:, slots] = point
        columns.append(scores(twin, moved, target).numpy())
    return np.stack(columns, axis=1)


def _bands(changes: Floats) -> dict[float, Floats]:
    """At each point the ten people around each quantile (10, G); no level with fewer than ten beyond it."""
    people = len(changes)
    ranked = np.sort(changes, axis=0)
    found = {}
    for level in LEVELS:
        first = round(level * (people - 1) - (MINIMUM_CELL - 1) / 2)
        if people * min(level, 1 - level) >= MINIMUM_CELL:
            found[level] = ranked[first : first + MINIMUM_CELL]
    return found
