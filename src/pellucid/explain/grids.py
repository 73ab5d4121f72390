"""At which values of a field is an effect shown? At values that are nobody's alone.

A quantile is some person's value, and so are the least and the greatest. A point of a published curve is therefore a
value that at least ten people share, or the mean over at least ten people who are next to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pellucid.errors import BadData, UnknownName
from pellucid.explain.fields import Fields, as_fields
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import MINIMUM_CELL, Floats

__all__ = ["Grid", "grid", "place"]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Points of a field with one slot, and the people at each.

    Attributes:
        points: (G,) rising: values shared by ten people or more, or means over the people of a bin.
        edges: (G + 1,) of the bins, None where the points are the only values there are. They are people's values:
            never shown.
        member: (N,) the point each person is at, or the bin each is in.
        values: (N,) of the field; never shown.
    """

    points: Floats
    edges: Floats | None = field(repr=False)
    member: npt.NDArray[np.int64] = field(repr=False)
    values: Floats = field(repr=False)


def place(x: Tensor, fields: Fields, name: str) -> tuple[int, ...]:
    """The slots of field ``name`` of ``x`` (N, width), N >= 10, after both were looked at.

    Raises:
        UnknownName: There is no such field.
        BadData: ``x`` is of another width or type, has NaN, or fewer than ten rows.
    """
    check_rows(x)
    fields = as_fields(fields)
    if x.ndim != 2:
        raise BadData(
            f"curves are drawn over the values of a column, and a row here has shape {tuple(x.shape[1:])}",
            where="x",
            fix='attribute(…, method="occlusion") says what a patch carries, estimate_shapley what any field does',
        )
    if name not in fields.names:
        raise UnknownName(f'there is no field "{name}"', where="effects", fix=f"one of {', '.join(fields.names)}")
    if x.ndim != 2 or x.shape[1] != fields.width:
        raise BadData(f"a row must have the {fields.width} slots of the fields", where="x")
    if len(x) < MINIMUM_CELL:
        raise BadData(f"an effect over fewer than {MINIMUM_CELL} people is not published", where="x")
    return fields.slots[fields.names.index(name)]


def grid(x: Tensor, slots: Sequence[int], bins: int) -> Grid:
    """At most ``bins`` points of a one-slot field of ``x`` (N, width), N >= 10.

    Raises:
        BadData: The field has several slots and so no order, or ``bins`` is below two.
    """
    if len(slots) != 1:
        raise BadData(
            f"a field of {len(slots)} slots, such as a category, has no order to bin",
            where="effects",
            fix="hand points (points, slots) to partial_dependence, of a column declared_points(encoding, name); "
            "accumulated local effects are for one number",
        )
    if bins < 2:
        raise BadData("at least two bins are needed", where="bins")
    values = x[:, slots[0]].double().cpu().numpy()
    different, member, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(different) <= bins and counts.min() >= MINIMUM_CELL:
        return Grid(different, None, member, values)
    wanted = min(bins, len(values) // MINIMUM_CELL)
    cuts = np.unique(np.quantile(values, np.linspace(0, 1, wanted + 1), method="inverted_cdf"))
    edges = _merged(values, cuts)
    inside = np.clip(np.searchsorted(edges[1:-1], values, side="left"), 0, len(edges) - 2)
    size = np.bincount(inside, minlength=len(edges) - 1)
    return Grid(np.bincount(inside, values) / size, edges, inside, values)


def _merged(values: Floats, cuts: Floats) -> Floats:
    """The ``cuts`` without those that would leave fewer than ten people between two: bins (low, high]."""
    kept = [float(cuts[0])]
    below = 0
    for cut in cuts[1:-1]:
        up_to = int((values <= cut).sum())
        if up_to - below >= MINIMUM_CELL and len(values) - up_to >= MINIMUM_CELL:
            kept.append(float(cut))
            below = up_to
    return np.array([*kept, float(cuts[-1])])
