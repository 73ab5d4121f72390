"""Sealing: a checked table becomes an encrypted, signed, immutable version of a data set, complete or not at all.

The folder is built under a hidden name beside its place and renamed when every byte of it is on disk. What a killed
process leaves there is encrypted like the rest, belongs to nothing, and is removed by the next sealing in that place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pellucid.errors import BadFile, Misuse, UnknownName, nearest
from pellucid.evidence import digest
from pellucid.keys import SigningKey, WrapPublicKey, b64, identity_name
from pellucid.schema import Schema
from pellucid.vault import parquet
from pellucid.vault.arrow import pa
from pellucid.vault.bounding import bound_rows
from pellucid.vault.groups import TAG, TAGS_GROUP, Group, group_columns
from pellucid.vault.manifest import MANIFEST, Manifest, SealedFile, key_info
from pellucid.vault.tags import draw_tags
from pellucid.vault.values import check_table
from pellucid.vault.verifying import file_digest

__all__ = ["seal"]

_UNFINISHED: Final = ".sealing-"


def seal(
    data: Any,
    schema: Schema,
    folder: Path,
    *,
    name: str,
    version: int,
    readers: Mapping[str, frozenset[str]],
    role_keys: Mapping[str, tuple[int, WrapPublicKey]],
    signer: SigningKey,
    max_rows_per_file: int = 1_000_000,
) -> tuple[Manifest, str]:
    """Check ``data``, encrypt it and write it to ``folder``, which must not be there yet.

    Every column group gets a new random 256-bit key, wrapped to each role that may read it and kept nowhere else. Every
    unit gets a random split tag. Of a unit that has more rows than the schema's ``rows_per_unit``, that many are kept,
    chosen by chance (:mod:`pellucid.vault.bounding`). No plaintext is written anywhere. After a crash at any line the
    folder is either complete or absent.

    Args:
        data: An Arrow table or a pandas frame.
        schema: What ``data`` must be; see :func:`pellucid.vault.values.check_table`.
        folder: Where the version will stand. Its parent is made if need be.
        name: The data set's name.
        version: Its version, from 1.
        readers: For every column of the schema, the roles that may read it, as the adopted policy says.
        role_keys: For each of those roles, the generation of its key and the key's public half.
        signer: The sealing identity's key.
        max_rows_per_file: At which a further file is begun.

    Returns:
        The manifest, and the SHA-256 of ``manifest.json``, which belongs into the log.

    Raises:
        BadData: The data does not fit the schema. Nothing was written.
        BadFile: The version exists already, a name cannot be one, a column has no reader, or the disk refuses. Nothing
            was written.
        UnknownName: ``readers`` is not about the schema's columns, or a role has no key. Nothing was written.
        Misuse: ``version`` or ``max_rows_per_file`` is not a positive whole number.
    """
    title = f"{identity_name(name)}@{version}"
    if version < 1 or max_rows_per_file < 1:
        raise Misuse("version and max_rows_per_file start at 1", where=title)
    groups = _groups(schema, readers, role_keys, title)
    if os.path.lexists(folder):
        raise _exists(title, folder)
    table = bound_rows(check_table(data, schema, where=title), schema)
    tags = draw_tags(table.num_rows if schema.unit == "row" else table.column(schema.unit))
    table = table.append_column(TAG, tags)
    keys = {group.id: secrets.token_bytes(parquet.KEY_BYTES) for group in groups}

    with _written(folder), _unfinished(folder) as place:
        files = tuple(_write_parts(table, place, groups, keys, title, max_rows_per_file))
        manifest = Manifest(
            name, version, schema, groups, _wrap(groups, keys, role_keys, title), files, signer.verifier.line
        )
        sealed = manifest.sealed(signer)
        with (place / MANIFEST).open("xb") as file:
            file.write(sealed)
            _to_disk(file)
        _sync_folder(place)
        if os.path.lexists(folder):
            raise _exists(title, folder)
        try:
            place.rename(folder)  # refused by the system if someone else has just put files there
        except OSError as error:
            raise _exists(title, folder) from error
        _sync_folder(folder.parent)
    return manifest, digest(sealed)


def _groups(
    schema: Schema,
    readers: Mapping[str, frozenset[str]],
    role_keys: Mapping[str, tuple[int, WrapPublicKey]],
    title: str,
) -> tuple[Group, ...]:
    for column in readers:
        if column not in schema.columns:
            raise UnknownName(f'no column "{column}"{nearest(column, schema.columns)}', where=title)
    groups = group_columns({column: frozenset(readers.get(column, ())) for column in schema.columns})
    for role in sorted(frozenset().union(*(group.readers for group in groups))):
        if role not in role_keys:
            raise UnknownName(
                f'role "{role}" may read columns but has no key{nearest(role, role_keys)}',
                where=title,
                fix="grant the role to someone first, which makes its key",
            )
    return groups


def _wrap(
    groups: tuple[Group, ...],
    keys: Mapping[str, bytes],
    role_keys: Mapping[str, tuple[int, WrapPublicKey]],
    title: str,
) -> dict[str, dict[str, str]]:
    wrapped: dict[str, dict[str, str]] = {}
    for group in groups:
        wrapped[group.id] = {}
        for role in sorted(group.readers):
            generation, public = role_keys[role]
            holder = f"{role}@{generation}"
            secret = public.wrap(keys[group.id], info=key_info(title, group.id, holder))
            wrapped[group.id][holder] = b64(secret)
    return wrapped


def _write_parts(
    table: pa.Table,
    place: Path,
    groups: tuple[Group, ...],
    keys: Mapping[str, bytes],
    title: str,
    max_rows: int,
) -> Iterator[SealedFile]:
    for part, start in enumerate(range(0, table.num_rows, max_rows)):
        path = place / f"part-{part:05d}.parquet"
        with path.open("xb") as file:
            parquet.write(
                table.slice(start, max_rows),
                file,
                groups={group.id: group.columns for group in groups},
                footer=TAGS_GROUP,
                keys=keys,
                context=f"{title}|{path.name}",
            )
            _to_disk(file)
        yield SealedFile(path.name, file_digest(path), path.stat().st_size)


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadFile(
            f"the data set cannot be written: {error.strerror or 'the disk refuses'}", where=str(folder)
        ) from error


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A new hidden folder beside ``folder``, gone afterwards unless it was renamed.

    It is locked while its process lives, so that a later sealing can tell what a dead one has left.
    """
    prefix = f".{folder.name}{_UNFINISHED}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in [entry for entry in folder.parent.iterdir() if entry.name.startswith(prefix)]:
        with contextlib.suppress(OSError), contextlib.ExitStack() as lock:
            lock.enter_context(_locked(old))
            shutil.rmtree(old)
    with contextlib.ExitStack() as lock:
        place = _begin(folder.parent, prefix, lock)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _begin(parent: Path, prefix: str, lock: contextlib.ExitStack) -> Path:
    while True:
        place = parent / f"{prefix}{secrets.token_hex(8)}"
        place.mkdir()
        try:
            lock.enter_context(_locked(place))
            place.stat()
        except OSError:  # another sealing took it for a leftover in the moment before it was locked
            continue
        return place


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _exists(title: str, folder: Path) -> BadFile:
    return BadFile(f"{title} exists already and is immutable", where=str(folder), fix="seal it as the next version")


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
