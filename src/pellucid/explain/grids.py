"""At which values of a field is an effect shown? At values that are nobody's alone.

A quantile is some person's value, and so are the least and the greatest. A point of a published curve is therefore a
value that at least ten people share, or the mean over at least ten people who are next to each other. Such a mean is a
fraction whose denominator is their number, and where one person comes or goes it tells that person's value: it is
rounded to the range of the field over people. So are the edges of the bins, since what is said at a point follows from
them; a rounded mean then never leaves its bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pellucid.errors import BadData, UnknownName
from pellucid.explain.fields import Fields, as_fields
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import MINIMUM_CELL, Floats, order, step
from pellucid.schema import Encoding

__all__ = ["PLACES", "Grid", "grid", "place", "span"]

PLACES: Final = (
    "values that ten people or more share, else means over the people of a bin, rounded to the range of the field "
    "times the least of 1, 2, 5 x 10^-k that is not below one over the people of any bin; so are the edges of the bins"
)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Points of a field with one slot, and the people at each.

    Attributes:
        points: (G,) rising: values shared by ten people or more, or rounded means over the people of a bin.
        edges: (B + 1,) of the bins, rounded too, B >= G: two neighbours may share a point. None where the points are
            the only values there are.
        member: (N,) the point each person is at, or the bin each is in.
        means: (B,) over the people of a bin; never shown.
    """

    points: Floats
    edges: Floats | None = field(repr=False)
    member: npt.NDArray[np.int64] = field(repr=False)
    means: Floats = field(repr=False)


def place(x: Tensor, fields: Fields | Encoding, name: str) -> tuple[int, ...]:
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


def span(fields: Fields | Encoding) -> float | None:
    """The width of the declared range of a number as it is encoded; None where nothing was declared."""
    return 2.0 if isinstance(fields, Encoding) else None


def grid(x: Tensor, slots: Sequence[int], bins: int, width: float | None = None) -> Grid:
    """At most ``bins`` points of a one-slot field of ``x`` (N, width), N >= 10.

    Args:
        x: Rows.
        slots: Of the field.
        bins: At most.
        width: Of the range of the field; by default twice the order of its largest value.

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
        return Grid(different, None, member, different)
    width = 2 * order(float(np.abs(values).max())) if width is None else width
    wanted = min(bins, len(values) // MINIMUM_CELL)
    cuts = np.quantile(values, np.linspace(0, 1, wanted + 1), method="inverted_cdf")
    ordered = np.sort(values)
    # Larger bins have a finer grid, which people who are close together need. The finest of the best is taken.
    unit, edges = max((_edges(ordered, cuts, people, width) for people in _sizes(len(values))), key=_best)
    inside = np.clip(np.searchsorted(edges[1:-1], values, side="left"), 0, len(edges) - 2)
    means = np.bincount(inside, values) / np.bincount(inside, minlength=len(edges) - 1)
    return Grid(np.unique(np.round(np.round(means / unit) * unit, 9)), edges, inside, means)


def _best(found: tuple[float, Floats]) -> tuple[int, float]:
    """More bins are better, then a finer grid."""
    unit, edges = found
    return len(edges), -unit


def _sizes(people: int) -> list[int]:
    """10, 20, 50, 100 and so on, as far as two bins can have them; at least the first."""
    steps = (size * 10**power for power in range(1, 12) for size in (1, 2, 5))
    return [size for size in steps if size == MINIMUM_CELL or 2 * size <= people]


def _edges(values: Floats, cuts: Floats, people: int, width: float) -> tuple[float, Floats]:
    """A grid of ``width`` over ``people``, and edges on it near the ``cuts``: bins (low, high] of so many at least.

    ``values`` rise.
    """
    unit = step(people) * width
    lowest, highest = math.floor(cuts[0] / unit + 1e-6), math.ceil(cuts[-1] / unit - 1e-6)
    kept, below = [lowest], 0
    for cut in np.unique(np.round(cuts[1:-1] / unit)).astype(int).tolist():
        up_to = int(np.searchsorted(values, round(cut * unit, 9), side="right"))
        if kept[-1] < cut < highest and up_to - below >= people and len(values) - up_to >= people:
            kept.append(cut)
            below = up_to
    return unit, np.round(np.array([*kept, max(highest, kept[-1] + 1)]) * unit, 9)
