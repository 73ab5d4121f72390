"""Contribution bounding: of a person with more rows than the schema admits, so many are kept, chosen by chance.

A guarantee for a person rests on a bound k on their rows, so the bound is made here, where the data is sealed, and not
trusted to whoever trains. Each row of a person draws a number, the keyed hash of the person and of the row's place
among their own rows; the k rows with the smallest numbers stay. So which of a person's rows stay depends on the key and
on that person alone: whoever else joins or leaves, nothing changes for them, and the neighbouring data sets of the
accountant are neighbouring data sets here too (Amin et al. 2019, "Bounding User Contributions").

The key is drawn for one sealing and kept nowhere, and nor is who had more rows, or which. Only k is public.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any

from pellucid.vault.arrow import pa, pc

if TYPE_CHECKING:
    from pellucid.schema import Schema

__all__ = ["bound_rows"]


def bound_rows(table: pa.Table, schema: Schema, *, key: bytes | None = None) -> pa.Table:
    """The rows of ``table`` that are sealed, in their order: at most ``rows_per_unit`` of each person.

    Args:
        table: As :func:`pellucid.vault.values.check_table` gives it.
        schema: Its schema; without ``rows_per_unit`` every row stays.
        key: Of the hash, for tests; drawn here and forgotten otherwise.
    """
    most = schema.rows_per_unit
    if most is None or schema.unit == "row":
        return table
    import numpy as np

    encoded: Any = pc.dictionary_encode(table.column(schema.unit)).combine_chunks()
    person = encoded.indices.to_numpy()
    counts = np.bincount(person)
    if counts.max() <= most:
        return table
    rows = np.flatnonzero(counts[person] > most)  # only of those who have too many
    rows = rows[np.argsort(person[rows], kind="stable")]
    owners = person[rows]
    key = key or secrets.token_bytes(32)
    names = {code: encoded.dictionary[code].as_py().encode() for code in np.unique(owners).tolist()}
    place = _ordinals(owners)
    numbers = [
        hashlib.blake2b(at.to_bytes(8, "little") + names[code], key=key, digest_size=8).digest()
        for code, at in zip(owners.tolist(), place.tolist(), strict=True)
    ]
    order = np.lexsort((np.frombuffer(b"".join(numbers), dtype=np.uint64), owners))
    dropped = rows[order[_ordinals(owners) >= most]]  # owners stay where they are when sorted by them
    kept = np.ones(table.num_rows, dtype=np.bool_)
    kept[dropped] = False
    return table.filter(pa.array(kept))


def _ordinals(owners: Any) -> Any:
    """For each entry of a sorted array, how many equal ones stand before it."""
    import numpy as np

    fresh = np.r_[True, owners[1:] != owners[:-1]]
    starts = np.flatnonzero(fresh)
    return np.arange(len(owners)) - np.repeat(starts, np.diff(np.r_[starts, len(owners)]))
