"""Found on one half of the people, confirmed on the other: what is left is not what a search of millions must find."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadData
from pellucid.evidence import round_down
from pellucid.explain.intervals import MINIMUM_CELL, Floats
from pellucid.explain.slices.cards import Slice, Slices
from pellucid.explain.slices.columns import code_table
from pellucid.explain.slices.distinct import distinct
from pellucid.explain.slices.figures import estimate, figures, overlaps
from pellucid.explain.slices.halves import check_people, halves
from pellucid.explain.slices.search import search
from pellucid.explain.slices.significance import Sample, adjust

__all__ = ["find_slices"]

SHARE: Final = 0.002
LARGEST: Final = 1e100  # squares of anything larger are no numbers


def find_slices(
    losses: npt.NDArray[Any],
    table: Mapping[str, npt.NDArray[Any]],
    *,
    people: npt.NDArray[Any] | None = None,
    edges: Mapping[str, Sequence[float]] | None = None,
    bins: int = 10,
    order: int = 3,
    share: float = SHARE,
    q: float = 0.1,
    top: int = 10,
    seed: int = 0,
) -> Slices:
    """The slices on which the mean loss is higher than elsewhere, each with the evidence for it.

    All conjunctions of up to ``order`` values of different columns are tested on one half of the people. Those that
    stand out at a false discovery rate of ``q`` over all of them, and that no stronger one explains, are tested again
    on the other half at a false discovery rate of ``q`` over these. Data without any pattern therefore yields nothing.

    Args:
        losses: (N,) 0 or above: 1 where the model is wrong and else 0, or a loss such as the cross-entropy.
        table: Column → (N,) text, booleans or numbers (NaN is a value of its own: missing). All columns, but for what
            the reader of the result may not see.
        people: (N,) text or whole numbers: who each row is about. Every row another person by default.
        edges: Column of numbers → rising inner edges of its bins, as a schema declares them.
        bins: Quantile bins of a column of numbers without edges.
        order: Most columns in a conjunction: 1, 2 or 3.
        share: Least share of a half that a slice must be; never fewer than ten people.
        q: The false discovery rate on each half.
        top: Most cards.
        seed: Public: it draws the halves, no noise.

    Raises:
        BadData: Losses that are negative, not finite or not one a row; columns that do not fit; fewer than forty
            people; no value that enough people share; more columns or values than can be gone through.
        UnknownName: Edges of a column that is not there.
    """
    _parameters(bins, order, share, q, top, seed)
    values = _losses(losses)
    columns = code_table(table, values.size, edges=edges or {}, bins=bins)
    units = None if people is None else check_people(people, values.size)
    one, two = halves(values, columns, units, seed)
    if min(one.people, two.people) < 2 * MINIMUM_CELL:
        raise BadData(
            f"a slice and the rest need {MINIMUM_CELL} people each in both halves",
            where="losses",
            fix=f"look at {4 * MINIMUM_CELL} people or more",
        )
    minimum = max(MINIMUM_CELL, math.ceil(share * round_down(min(one.people, two.people))))
    screened = search(one.codes, one.losses, order=order, minimum=minimum, q=q)
    if not screened.searched:
        raise BadData(
            "no value of any column is shared by enough people, and not by nearly all",
            where="table",
            fix="use fewer bins, or columns of fewer categories",
        )
    strongest = distinct(screened.found, one.codes, one.losses, q=q)
    chosen = [found for found in strongest if one.admits(found.where, minimum)]
    p = np.array([two.p_value(found.where, minimum) for found in chosen])
    adjusted = adjust(p, p.size)
    confirmed = [place for place in range(p.size) if adjusted[place] <= q]
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    shared = overlaps([chosen[place].where for place in confirmed[:top]], one, two)
    cards = []
    for number, place in enumerate(confirmed[:top]):
        found = chosen[place]
        cards.append(
            Slice(
                where=" and ".join(columns[column].words[value] for column, value in found.where),
                columns=tuple(columns[column].name for column, _ in found.where),
                found=figures(found.where, one, (found.p, found.q), level=q, binary=binary),
                confirmed=figures(found.where, two, (p[place], adjusted[place]), level=q, binary=binary),
                overlap=shared[number],
            )
        )
    return Slices(
        slices=tuple(cards),
        error=estimate(Sample.of(values, units), binary=binary, by_row=units is None),
        binary=binary,
        searched=screened.searched,
        candidates=len(chosen),
        confirmed=len(confirmed),
        columns=tuple(column.name for column in columns),
        order=order,
        minimum=minimum,
        q=q,
        seed=seed,
        unit="row" if units is None else "person",
    )


def _parameters(bins: int, order: int, share: float, q: float, top: int, seed: int) -> None:
    if order not in (1, 2, 3):
        raise BadData("conjunctions are of one, two or three columns", where="order")
    if bins < 2 or top < 1 or seed < 0:
        raise BadData("bins must be at least 2, top at least 1, and the seed not negative", where="find_slices")
    if not 0 <= share < 0.5:
        raise BadData("the least share of a slice must be in [0, 0.5)", where="share")
    if not 0 < q < 0.5:
        raise BadData("the false discovery rate must be between 0 and 0.5", where="q")


def _losses(losses: npt.NDArray[Any]) -> Floats:
    found = np.asarray(losses)
    if found.ndim != 1 or found.size == 0 or found.dtype.kind not in "buif":
        raise BadData("losses must be one number a row", where="losses")
    values = found.astype(np.float64)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= LARGEST):
        raise BadData(f"losses must be finite, not negative, and at most {LARGEST:g}", where="losses")
    return values
