"""Vectors of sums over people, exact and in whole numbers: what noise is added to before anybody sees it.

A person, who is one row, changes a vector by at most :data:`~pellucid.privacy.mechanism.FINE` in L2 norm, whatever the
row holds: values are clipped to bounds that were declared, and one that is missing adds nothing or to a cell of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.schema import Column, Schema
from pellucid.vault.arrow import pa, pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.privacy.statistics import Vector

__all__ = ["aggregate"]


def aggregate(table: pa.Table, schema: Schema, vector: Vector, fine: int) -> NDArray[np.int64]:
    """The sums of ``vector`` over the rows of ``table``.

    Args:
        table: With the vector's column, as :func:`pellucid.vault.read` gives it.
        schema: Says what stands for a value that is missing.
        vector: Which sums; not ``scores``, which no column holds.
        fine: Steps of one unit of sensitivity.

    Returns:
        (``vector.size``,) in steps of 1/``fine``. Private: whoever calls adds noise to it.
    """
    if vector.column is None:
        return np.array([table.num_rows * fine], dtype=np.int64)
    column, values = schema.columns[vector.column], table.column(vector.column)
    if vector.what == "present":
        return np.array([(len(values) - values.null_count) * fine], dtype=np.int64)
    if vector.what == "cells":
        cells = _cells(values, column, vector)
        return np.bincount(cells, minlength=vector.size).astype(np.int64) * fine
    numbers, there = _numbers(values, column)
    low, high = vector.bounds or (0.0, 0.0)
    clipped = np.clip(numbers[there], low, high)
    if vector.what == "sum":
        parts = clipped / max(abs(low), abs(high))
    else:
        parts = (clipped - (low + high) / 2) / ((high - low) / 2)
    # a cast to whole numbers makes of what is not finite the largest there is, whatever the clipping
    parts = np.where(np.isfinite(parts), parts, 0.0)
    # whole numbers from here on, so that the sum is exact, and clipped again: division may round past 1
    whole = np.clip(np.rint(parts * fine), -fine, fine).astype(np.int64)
    return np.array([whole.sum()], dtype=np.int64)


def _cells(values: pa.ChunkedArray, column: Column, vector: Vector) -> NDArray[np.int64]:
    """The cell of each row that has one."""
    last = vector.size - 1
    if vector.categories:
        texts = pc.cast(values, pa.string())
        if isinstance(column.missing, Mapping):
            fill = column.missing["fill"]
            texts = pc.fill_null(texts, str(fill).lower() if isinstance(fill, bool) else str(fill))
        places = pc.index_in(texts, value_set=pa.array(vector.categories, pa.string()))
        found = np.asarray(pc.fill_null(places, -1).to_numpy(), dtype=np.int64)
    else:
        numbers, there = _numbers(values, column)
        low, high = vector.bounds or (0.0, 0.0)
        clipped = np.clip(np.where(there, numbers, low), low, high)
        found = np.where(there, np.searchsorted(np.asarray(vector.edges), clipped, side="right"), -1)
    if vector.missing:
        return np.where(found < 0, last, found)
    present: NDArray[np.int64] = found[found >= 0]
    return present


def _numbers(values: pa.ChunkedArray, column: Column) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Values as float64 (anything where one is missing), and which are there."""
    if isinstance(column.missing, Mapping):
        values = pc.fill_null(values.cast(pa.float64()), float(column.missing["fill"]))
    numbers = np.asarray(pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy(), dtype=np.float64)
    return numbers, np.asarray(pc.is_valid(values).to_numpy(), dtype=bool)
