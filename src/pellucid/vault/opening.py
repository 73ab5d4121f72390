"""Opening: some columns of a sealed data set as Arrow, after the caller has released the keys of their groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pellucid.errors import Misuse
from pellucid.schema import Schema
from pellucid.vault import parquet
from pellucid.vault.arrow import pa, pc
from pellucid.vault.casts import arrow_type
from pellucid.vault.groups import TAG, Group
from pellucid.vault.manifest import Manifest
from pellucid.vault.verifying import verify_files

__all__ = ["read"]


def read(
    folder: Path,
    manifest: Manifest,
    columns: Sequence[str],
    release: Callable[[Group, Mapping[str, str]], bytes],
) -> pa.Table:
    """Decrypt ``columns``.

    Every file is first held against its digest. Then ``release`` is asked once for the key of each group that is
    needed, that of the split tags (which opens the files) last; it decides, records, and returns the key or raises.
    Only when all keys are there is a file opened; nothing is kept afterwards.

    Args:
        folder: The sealed data set.
        manifest: What :func:`pellucid.vault.verifying.verify` gave for it.
        columns: Column names in the order wanted; ``__tag__`` is the split tag.
        release: From a group and its wrapped keys (``role@generation`` to base64) to its 32-byte key.

    Returns:
        The table, typed as :func:`pellucid.vault.values.check_table` describes, with rows in the order of sealing.

    Raises:
        Misuse: No column, or one column twice.
        UnknownName: There is no such column.
        Tampered: A file is not what was sealed, or a key does not open it.
        Exception: Whatever ``release`` raises comes through unchanged.
    """
    if not columns or len(set(columns)) != len(columns):
        raise Misuse("name every column once, and at least one", where=manifest.title)
    needed = {manifest.group_of(column).id for column in (*columns, TAG)}
    verify_files(folder, manifest)
    keys = {group.id: release(group, manifest.wrapped[group.id]) for group in manifest.groups if group.id in needed}
    parts = [
        parquet.read(folder / file.path, columns, keys=keys, context=f"{manifest.title}|{file.path}")
        for file in manifest.files
    ]
    return _typed(parts, manifest.schema)


def _typed(parts: Sequence[pa.Table], schema: Schema) -> pa.Table:
    """The parts as one table; categories again in their declared order, whatever order a file kept them in."""
    result = {}
    for name in parts[0].column_names:
        chunks = [chunk for part in parts for chunk in part.column(name).chunks]
        column = schema.columns.get(name)
        if column is not None and column.type == "category":
            chunks = [_declared(chunk, column.categories) for chunk in chunks]
        result[name] = pa.chunked_array(chunks, arrow_type(column) if column else pa.uint64())
    return pa.table(result)


def _declared(chunk: pa.DictionaryArray, categories: tuple[str, ...]) -> pa.DictionaryArray:
    declared = pa.array(categories, pa.string())
    places = pc.index_in(chunk.dictionary, declared)
    return pa.DictionaryArray.from_arrays(places.take(chunk.indices).cast(pa.int32()), declared)
