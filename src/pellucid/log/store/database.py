"""Where the log lives: a database with three tables, and its transactions.

    entries      number, leaf             the bytes of every entry
    nodes        level, number, hash      every complete subtree of the tree over them; level 0 are the leaf hashes
    checkpoints  size, note               every signed checkpoint

``nodes`` is derived: with it an append or a proof touches O(log n) rows. Nothing is ever updated or deleted.

SQLite: write-ahead log and ``synchronous = FULL``, so that what was acknowledged survives a loss of power; a writer
begins with ``BEGIN IMMEDIATE``. Every transaction has a connection of its own, closed at its end: nothing is inherited
by a forked worker, and between transactions the log is one file. PostgreSQL: one writer at a time by an advisory lock,
readers see one snapshot. The statements are the same.

Reading needs no right to write: where the file or its folder cannot be written the file is opened read-only. Only if a
writer was killed and left its write-ahead files, these must be there and readable too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadFile, MissingExtra, Misuse, PellucidError, Tampered
from pellucid.log.store.rows import TABLES, Rows, tables
from pellucid.log.store.sqlite import File

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Store"]

_LOCK: Final = 0x70656C6C75636964  # the advisory lock's number on PostgreSQL: "pellucid" in ASCII


class Store:
    """The log's database: an address and its transactions."""

    def __init__(self, url: str, *, wait: float) -> None:
        """The database at ``url``, which need not exist yet.

        Args:
            url: ``sqlite:///relative.sqlite``, ``sqlite:////absolute.sqlite`` or ``postgresql+DRIVER://…``.
            wait: Seconds to wait for another writer.

        Raises:
            BadFile: Not such a URL.
            MissingExtra: The database's driver is not installed.
        """
        import sqlalchemy as sa

        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError) as error:
            raise BadFile("not the URL of a log", where="log", fix="use sqlite:///PATH or postgresql://…") from error
        self._wait = wait
        self._url = parsed
        self._made: sa.Engine | None = None
        self._file: File | None = None
        self.where = parsed.render_as_string(hide_password=True)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in (None, "", ":memory:") or parsed.query:
                raise BadFile("a log in SQLite is a file", where="log", fix="use sqlite:///PATH")
            self._file = File(Path(str(parsed.database)).absolute(), wait=wait)
            self.where = str(self._file.path)
        elif parsed.get_backend_name() != "postgresql":
            fix = "use sqlite:///PATH or postgresql://…"
            raise BadFile(f'a log cannot live in "{parsed.get_backend_name()}"', where="log", fix=fix)

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """One snapshot of the log.

        Raises:
            UnknownName: There is no log at the URL.
            Tampered: What is there is not a log, or a damaged one.
        """
        with self._transaction(write=False) as connection:
            yield Rows(connection)

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        """The one transaction that may write: committed at its end, or, on any exception, as if it had never been.

        Raises:
            UnknownName: There is no log at the URL.
            Misuse: Another process held the log for all of ``wait``, or the log cannot be written.
        """
        with self._transaction(write=True) as connection:
            yield Rows(connection)

    def create(self) -> None:
        """Make the tables of an empty log, all or none. Of several processes at once, one does.

        Raises:
            BadFile: There is one already.
            Misuse: Another process held the log for all of ``wait``, or the log cannot be written.
            Tampered: What is there is not a database.
        """
        import sqlalchemy as sa

        if self._file:
            self._file.make()
        with self._transaction(write=True) as connection:
            if any(sa.inspect(connection).has_table(name) for name in TABLES):
                raise BadFile("there is a log already", where=self.where)
            tables().metadata.create_all(connection, checkfirst=False)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        import sqlalchemy as sa

        if self._file:
            self._file.check()
        before = self._file.state() if self._file and self._file.frozen() else None
        try:
            with self._engine().connect() as connection:
                self._begin(connection, write=write)
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
        except (sa.exc.DBAPIError, Tampered) as error:
            if before and self._file and self._file.state() != before:
                what = "the log was written while it was read without the right to lock it"
                raise Misuse(what, where=self.where, fix="try again, or read it as who may write it") from error
            if isinstance(error, Tampered):
                raise
            raise self._meaning(error.orig) from error

    def _begin(self, connection: sa.Connection, *, write: bool) -> None:
        if self._file:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
        elif write:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(self._wait * 1000)}ms'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")

    def _engine(self) -> sa.Engine:
        import sqlalchemy as sa

        if self._made is None:
            # NullPool: the engine keeps compiled statements and no connection
            options: dict[str, Any] = {"poolclass": sa.pool.NullPool, "hide_parameters": True}
            if self._file:
                self._made = sa.create_engine("sqlite://", creator=self._file.connect, **options)
                return self._made
            try:
                self._made = sa.create_engine(self._url, **options)
            except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
                fix = "install a driver, such as psycopg, and name it: postgresql+psycopg://…"
                raise MissingExtra("the driver of this database is not installed", where=self.where, fix=fix) from error
        return self._made

    def _meaning(self, error: BaseException | None) -> PellucidError:
        if self._file:
            return self._file.meaning(error)
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state == "55P03":  # lock_not_available
            what = f"another process has been writing the log for more than {self._wait:g} seconds"
            return Misuse(what, where=self.where, fix="wait for it to end and try again")
        if state in ("42P01", "23505"):  # undefined_table, unique_violation
            return Tampered("this is not a log, or a damaged one", where=self.where, fix="restore it from a backup")
        return Misuse(
            "the log's database cannot be read or written", where=self.where, fix="check its address and rights"
        )
