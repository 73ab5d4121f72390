"""The file behind a log in SQLite: how it is made, how it is opened with and without the right to write, its errors.

Everything here is the standard library's ``sqlite3``; the statements are in :mod:`pellucid.log.store.rows`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from pellucid.errors import Misuse, PellucidError, Tampered, UnknownName

__all__ = ["File"]

_BUSY: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")  # the last: lost the race for the lock too often
_PAUSE: Final = 0.002  # seconds between two attempts


class File:
    """One SQLite file in write-ahead mode."""

    def __init__(self, path: Path, *, wait: float) -> None:
        self.path = path
        self.wait = wait

    def make(self) -> None:
        """An empty file with a write-ahead log, which the file then remembers; missing folders are made.

        Several processes may do so at once; all come back with the one file.

        Raises:
            Misuse: The folder or the file cannot be made, or another process held the file for all of ``wait``.
            Tampered: There is a file that is no database.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=self.wait)
            try:
                self._write_ahead(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self.meaning(error) from error
        except OSError as error:
            raise Misuse(
                "the log's folder cannot be made", where=str(self.path), fix="check the rights on it"
            ) from error

    def check(self) -> None:
        """Raise ``UnknownName`` if there is no file, ``Misuse`` if the rights do not let it be seen."""
        try:
            there = self.path.is_file()
        except OSError as error:
            raise Misuse(
                "the log's folder cannot be read", where=str(self.path), fix="check the rights on it"
            ) from error
        if not there:
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
        name, where = _name(error), str(self.path)
        if name.startswith(_BUSY):
            what = f"another process has been writing the log for more than {self.wait:g} seconds"
            return Misuse(what, where=where, fix="wait for it to end and try again")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):  # of a write that found no space SQLite says either
            what = "the log cannot be read or written: the disk is full or failing"
            return Misuse(what, where=where, fix="make space on the disk and try again")
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            what = "the log cannot be read or written: its file or its folder may not be opened or changed"
            return Misuse(what, where=where, fix="check the rights on both")
        return Tampered("this is not a log, or a damaged one", where=where, fix="restore it from a backup")

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        # The change of journal turns a read lock into an exclusive one. While another process makes the same change
        # SQLite answers SQLITE_BUSY to that at once and does not wait for ``timeout``, so the waiting is done here.
        until = time.monotonic() + self.wait
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not _name(error).startswith(_BUSY) or time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _beside(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _writable(self) -> bool:
        effective = os.access in os.supports_effective_ids
        return all(os.access(path, os.W_OK, effective_ids=effective) for path in (self.path, self.path.parent))


def _name(error: BaseException | None) -> str:
    return getattr(error, "sqlite_errorname", None) or ""
