"""The one door to Parquet, and to its encryption.

Sealed files use Parquet Modular Encryption (apache/parquet-format, Encryption.md) with AES-256-GCM, an encrypted footer
and every column under a key: a column that no key is named for would be stored in plaintext without a word. Each
column of each file has a random key of its own, which stands in the file wrapped by the key of its group (AES-256-GCM);
what it belongs to (data set, version, group, file) is authenticated with it, so that no file passes for another.

Three things PyArrow does that this file keeps out of reach: reading the statistics of a column whose key is refused
aborts the process; a filter on such a column hangs; and a crypto factory keeps keys for ten minutes. So all keys are
there before a file is opened, statistics are neither written nor asked for, no filter is ever passed, and every file
gets a factory of its own.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pellucid.errors import BadData, Misuse, Tampered
from pellucid.vault.arrow import pa  # first of the two: it says what to install

# isort: split
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

__all__ = ["KEY_BYTES", "read", "read_plain", "write", "write_plain"]

KEY_BYTES: Final = 32
_ALGORITHM: Final = "AES_GCM_V1"  # AES_GCM_CTR_V1 leaves pages unauthenticated
_NONCE: Final = 12


class _GroupKeys(pe.KmsClient):  # type: ignore[misc]  # PyArrow has no types
    """Wraps the keys of one file under the group keys it was given; it fetches nothing and knows no other key."""

    def __init__(self, keys: Mapping[str, bytes], context: str) -> None:
        super().__init__()
        self._keys = dict(keys)
        self._context = context

    def __repr__(self) -> str:
        return "_GroupKeys(…)"

    def _aad(self, group: str) -> bytes:
        return f"pellucid/data-key@1|{self._context}|{group}".encode()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._keys[master_key_identifier]).encrypt(nonce, key_bytes, self._aad(master_key_identifier))
        return base64.b64encode(nonce + sealed).decode("ascii")

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        key = self._keys.get(master_key_identifier)
        try:
            raw = base64.b64decode(wrapped_key, validate=True)
            if key is not None:
                return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], self._aad(master_key_identifier))
        except (binascii.Error, ValueError, InvalidTag):
            key = None
        raise Tampered("a column's key does not open with the key of its group", where=self._context)


def _physical(column: str) -> str:
    """A column's name in the file: PyArrow's list of encrypted columns breaks at commas, colons and dots."""
    return quote(column, safe=" ").replace(".", "%2E")


def _factory(keys: Mapping[str, bytes], context: str) -> pe.CryptoFactory:
    if any(len(key) != KEY_BYTES for key in keys.values()):
        raise Misuse(f"a group's key has {KEY_BYTES} bytes", where=context)
    return pe.CryptoFactory(lambda _config: _GroupKeys(keys, context))


def write(
    table: pa.Table,
    file: Any,
    *,
    groups: Mapping[str, Sequence[str]],
    footer: str,
    keys: Mapping[str, bytes],
    context: str,
) -> None:
    """Write ``table`` encrypted.

    Args:
        table: The rows.
        file: A binary file open for writing, or a path.
        groups: The columns of each group. Together exactly the columns of ``table``.
        footer: The group whose key also encrypts the footer; every reader has it.
        keys: 32 bytes for each group.
        context: What the file is, such as ``applicants@2|part-00000.parquet``; reading needs the same.

    Raises:
        Misuse: A column is in no group or in two, or a group has no key.
    """
    listed = [column for columns in groups.values() for column in columns]
    if sorted(listed) != sorted(table.column_names) or set(groups) != set(keys) or footer not in groups:
        raise Misuse("every column needs exactly one group, and every group a key", where=context)
    factory = _factory(keys, context)
    properties = factory.file_encryption_properties(
        pe.KmsConnectionConfig(),
        pe.EncryptionConfiguration(
            footer_key=footer,
            column_keys={group: [_physical(column) for column in columns] for group, columns in groups.items()},
            encryption_algorithm=_ALGORITHM,
            plaintext_footer=False,
            # Double wrapping puts an AES-128 key between ours and the column's.
            double_wrapping=False,
            internal_key_material=True,
            data_key_length_bits=8 * KEY_BYTES,
        ),
    )
    pq.write_table(
        # Without the schema's metadata: a frame's says what its index was.
        table.rename_columns([_physical(name) for name in table.column_names]).replace_schema_metadata(None),
        file,
        encryption_properties=properties,
        compression="zstd",
        write_statistics=False,
    )


def read(path: Path, columns: Sequence[str], *, keys: Mapping[str, bytes], context: str) -> pa.Table:
    """Decrypt some columns of a sealed file.

    Args:
        path: The file.
        columns: Names, in the order wanted.
        keys: The keys of their groups and of the footer's. Columns of other groups are never touched.
        context: What it was written as.

    Raises:
        Tampered: The file, or a key in it, is not what was sealed. Neither keys nor PyArrow's message, which may hold
            one (apache/arrow#35919), are in the error.
    """
    failed = False
    try:
        factory = _factory(keys, context)
        properties = factory.file_decryption_properties(
            pe.KmsConnectionConfig(), pe.DecryptionConfiguration(cache_lifetime=dt.timedelta(0))
        )
        with pq.ParquetFile(path, decryption_properties=properties) as file:
            table = file.read(columns=[_physical(column) for column in columns])
    except (pa.ArrowException, OSError, ValueError, KeyError):
        failed = True
    if failed or len(table.column_names) != len(columns):
        raise Tampered("the sealed file does not decrypt", where=path.name, fix="restore it from a backup")
    # PyArrow gives columns in the order of the file.
    return table.select([_physical(column) for column in columns]).rename_columns(list(columns))


def read_plain(path: Path) -> pa.Table:
    """The table in an ordinary Parquet file.

    Raises:
        BadData: It is damaged, encrypted, or no Parquet file.
    """
    failed = False
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError, ValueError, KeyError):
        failed = True
    if failed:
        raise BadData(
            "the file cannot be read as Parquet: it is damaged, encrypted, or another kind of file",
            where=str(path),
            fix="write it again with frame.to_parquet(path)",
        )
    return table


def write_plain(table: pa.Table, file: Any) -> None:
    """Write ``table`` in plaintext, for an export, to a binary file that is open for writing."""
    pq.write_table(table, file, compression="zstd")
