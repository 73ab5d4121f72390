"""The file behind a log in SQLite: how it is made, how it is opened with and without the right to write, its errors.

Everything here is the standard library's ``sqlite3``; the statements are in :mod:`pellucid.log.store.rows`.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from pellucid.errors import Misuse, PellucidError, Tampered, UnknownName

__all__ = ["File"]


class File:
    """One SQLite file in write-ahead mode."""

    def __init__(self, path: Path, *, wait: float) -> None:
        self.path = path
        self.wait = wait

    def make(self) -> None:
        """An empty file with a write-ahead log, which the file then remembers; missing folders are made.

        Raises:
            Misuse: The folder or the file cannot be made.
            Tampered: There is a file that is no database.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=self.wait)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self.meaning(error) from error
        except OSError as error:
            raise Misuse(
                "the log's folder cannot be made", where=str(self.path), fix="check the rights on it"
            ) from error

    def check(self) -> None:
        """Raise ``UnknownName`` if there is no file."""
        if not self.path.is_file():
            raise UnknownName("there is no log", where=str(self.path), fix="make a project with `pellucid init`")

    def connect(self) -> sqlite3.Connection:
        """A new connection that begins and commits only what it is told to, and never makes a file."""
        mode = "ro&immutable=1" if self.frozen() else "rw" if self._writable() else "ro"
        # isolation_level None: the module begins nothing on its own
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}", uri=True, timeout=self.wait, isolation_level=None
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")  # a view or trigger planted in the file may call nothing
        except BaseException as error:
            connection.close()
            if isinstance(error, UnicodeDecodeError):  # SQLite quotes its damaged schema in a message that is not UTF-8
                raise sqlite3.DatabaseError("the schema is damaged") from error
            raise
        return connection

    def frozen(self) -> bool:
        """Whether the one file must be read as it is, without locks: no write-ahead files, and no right to make them.

        Somebody who may write can still do so meanwhile; :meth:`state` shows that.
        """
        return not self._writable() and not self._beside().exists()

    def state(self) -> tuple[int, int, bool] | None:
        """What changes when somebody writes to the file; None if it is gone."""
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, self._beside().exists()

    def meaning(self, error: BaseException | None) -> PellucidError:
        """What an error of SQLite means for the log."""
        name, where = getattr(error, "sqlite_errorname", None) or "", str(self.path)
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            what = f"another process has been writing the log for more than {self.wait:g} seconds"
            return Misuse(what, where=where, fix="wait for it to end and try again")
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_PERM")):
            fix = "check the disk's free space and the rights on the file and its folder"
            return Misuse("the log cannot be read or written", where=where, fix=fix)
        return Tampered("this is not a log, or a damaged one", where=where, fix="restore it from a backup")

    def _beside(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _writable(self) -> bool:
        effective = os.access in os.supports_effective_ids
        return all(os.access(path, os.W_OK, effective_ids=effective) for path in (self.path, self.path.parent))
