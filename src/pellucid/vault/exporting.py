"""Export: a table to a plaintext file that only its owner can read, never over another one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pellucid.errors import BadFile
from pellucid.vault.arrow import pa

__all__ = ["export"]


def export(table: pa.Table, path: Path) -> None:
    """Write ``table`` in plaintext as CSV or Parquet, by the extension of ``path``, with mode 0600.

    The decision and its record come before; this is where plaintext leaves. A file that could not be finished is
    removed. In CSV a missing value is an empty field, and images and audio cannot be written.

    Raises:
        BadFile: The file exists, its folder does not, the extension is another one, or CSV cannot hold a column.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise BadFile("an export is a .csv or a .parquet file", where=str(path))
    binary = [field.name for field in table.schema if pa.types.is_binary(field.type)]
    if kind == ".csv" and binary:
        raise BadFile(f'CSV cannot hold column "{binary[0]}"', where=str(path), fix="export it as .parquet")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise BadFile("the file exists already", where=str(path), fix="choose another name") from error
    except OSError as error:
        raise BadFile(f"the file cannot be written: {error.strerror or 'the disk refuses'}", where=str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(table, file, kind)
            file.flush()
            os.fsync(file.fileno())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        path.unlink(missing_ok=True)
        raise BadFile(f"{kind} cannot hold a column of this table", where=str(path)) from error
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BadFile(f"the file cannot be written: {error.strerror or 'the disk refuses'}", where=str(path)) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(table: pa.Table, file: Any, kind: str) -> None:
    if kind == ".csv":
        from pyarrow import csv

        plain = {
            name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        csv.write_csv(pa.table(plain), file)
    else:
        from pellucid.vault.parquet import write_plain

        write_plain(table, file)
