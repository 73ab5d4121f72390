"""Do two attributions of the same rows agree? Ranks, signs and top fields, for all rows at once. Pure NumPy."""

from __future__ import annotations

from typing import Final

import numpy as np

from pellucid.explain.intervals import Floats

__all__ = ["kendall", "midranks", "sign", "spearman", "top"]

CELLS: Final = 1 << 22  # pairs of fields in flight at a time


def midranks(values: Floats) -> Floats:
    """Ranks from 1 within each row of ``values`` (N, F); equal values share the mean of their ranks."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.arange(values.shape[1])
    fresh = np.ones(values.shape, dtype=bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = np.ones(values.shape, dtype=bool)
    last[:, :-1] = fresh[:, 1:]
    first = np.maximum.accumulate(np.where(fresh, place, 0), axis=1)
    end = np.minimum.accumulate(np.where(last, place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + end) / 2.0 + 1.0, axis=1)
    return ranks


def spearman(left: Floats, right: Floats) -> Floats:
    """Spearman's correlation over fields of the rows (N, F) that have one: not below three fields, not constant rows.

    Returns:
        (n,) in [-1, 1], n <= N; :func:`pellucid.explain.ranking.spearman` of each row.
    """
    if left.shape[1] < 3:
        return np.empty(0)
    kept = (np.ptp(left, axis=1) > 0) & (np.ptp(right, axis=1) > 0)
    a, b = (midranks(values[kept]) - (left.shape[1] + 1) / 2.0 for values in (left, right))
    found: Floats = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.clip(found, -1.0, 1.0)


def kendall(left: Floats, right: Floats) -> Floats:
    """Kendall's tau-b over fields of the rows (N, F) that have one, as :func:`spearman` (Kendall 1945, Biometrika 33).

    O(F²) a row, in chunks of rows.
    """
    if left.shape[1] < 3:
        return np.empty(0)
    kept = (np.ptp(left, axis=1) > 0) & (np.ptp(right, axis=1) > 0)
    one, two = np.triu_indices(left.shape[1], 1)
    a, b = left[kept], right[kept]
    parts = [np.empty(0)]
    step = max(1, CELLS // one.size)
    for start in range(0, len(a), step):
        p, q = (
            np.sign(values[start : start + step][:, one] - values[start : start + step][:, two]) for values in (a, b)
        )
        parts.append((p * q).sum(axis=1) / np.sqrt((p * p).sum(axis=1) * (q * q).sum(axis=1)))
    return np.clip(np.concatenate(parts), -1.0, 1.0)


def sign(left: Floats, right: Floats) -> Floats:
    """Share of fields on whose sign both agree, among those that neither calls 0, by row (N, F) that has such a field.

    Returns:
        (n,) in [0, 1], n <= N.
    """
    both = (left != 0) & (right != 0)
    count = both.sum(axis=1)
    same = (both & ((left > 0) == (right > 0))).sum(axis=1)
    found: Floats = same[count > 0] / count[count > 0]
    return found


def top(left: Floats, right: Floats, count: int) -> Floats:
    """Share of the ``count`` largest |attributions| that both name, by row (N, F); constant rows name none.

    Fields that tie for the last places share them, so that the order of the fields decides nothing.
    """
    kept = (np.ptp(np.abs(left), axis=1) > 0) & (np.ptp(np.abs(right), axis=1) > 0)
    found: Floats = np.minimum(_belongs(left[kept], count), _belongs(right[kept], count)).sum(axis=1) / count
    return found


def _belongs(values: Floats, count: int) -> Floats:
    """(N, F) how far each field belongs to the ``count`` largest of its row: 1, 0, or a share of the last places."""
    size = np.abs(values)
    edge = np.partition(size, size.shape[1] - count, axis=1)[:, [size.shape[1] - count]]
    above, level = size > edge, size == edge
    left = count - above.sum(axis=1, keepdims=True)
    share: Floats = above + level * left / level.sum(axis=1, keepdims=True)
    return share
