"""The log's tables, and the reads and inserts on them inside one transaction. Nothing here updates or deletes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import Tampered

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["TABLES", "Rows", "tables"]

TABLES: Final = ("entries", "nodes", "checkpoints")
_PAGE: Final = 1000  # rows a query returns at most; entries never change, so paging needs no cursor kept open


@cache
def tables() -> SimpleNamespace:
    """The three tables and their ``metadata``, the same for every database."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

    def key(name: str) -> sa.Column[int]:
        return sa.Column(name, whole, primary_key=True, autoincrement=False)

    entries = sa.Table("entries", metadata, key("number"), sa.Column("leaf", sa.LargeBinary, nullable=False))
    nodes = sa.Table(
        "nodes",
        metadata,
        key("level"),
        key("number"),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    checkpoints = sa.Table("checkpoints", metadata, key("size"), sa.Column("note", sa.Text, nullable=False))
    return SimpleNamespace(metadata=metadata, entries=entries, nodes=nodes, checkpoints=checkpoints)


class Rows:
    """The rows of the log inside one transaction. Made by :meth:`Store.reading` and :meth:`Store.writing`."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._tables = tables()

    def size(self) -> int:
        """One more than the greatest number of an entry; 0 where there is none."""
        import sqlalchemy as sa

        greatest = self._one(sa.func.coalesce(sa.func.max(self._tables.entries.c.number), -1))
        if type(greatest) is not int:
            raise Tampered("an entry's number is not a whole number", where="log")
        return greatest + 1

    def counts(self) -> dict[str, int]:
        """Number of rows by table, which says if one is too many. Reads all of them."""
        import sqlalchemy as sa

        tables = self._tables.metadata.tables
        return {name: self._select(sa.func.count(), of=tables[name])[0][0] for name in TABLES}

    def leaf(self, number: int) -> bytes:
        """The bytes of one entry.

        Raises:
            Tampered: They are not there, or not bytes.
        """
        entries = self._tables.entries
        found = self._one(entries.c.leaf, entries.c.number == number)
        return _bytes(found, f"log entry {number}")

    def leaves(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of entries ``[start, end)`` in order. Raises ``Tampered`` where one is not there."""
        entries = self._tables.entries
        rows = self._paged(entries.c.number, entries.c.leaf, start, end)
        for number in range(start, end):
            yield _bytes(_numbered(rows, number, f"log entry {number}"), f"log entry {number}")

    def node(self, level: int, number: int) -> bytes:
        """The hash of one complete subtree. Raises ``Tampered`` where it is not there."""
        nodes = self._tables.nodes
        found = self._one(nodes.c.hash, (nodes.c.level == level) & (nodes.c.number == number))
        return _bytes(found, _place(level, number))

    def nodes(self, level: int, start: int, end: int) -> Iterator[bytes]:
        """The hashes of complete subtrees ``[start, end)`` of one level in order."""
        nodes = self._tables.nodes
        rows = self._paged(nodes.c.number, nodes.c.hash, start, end, nodes.c.level == level)
        for number in range(start, end):
            yield _bytes(_numbered(rows, number, _place(level, number)), _place(level, number))

    def notes(self) -> list[tuple[int, str]]:
        """Every checkpoint with the size it is filed under, oldest first."""
        table = self._tables.checkpoints
        rows = self._select(table.c.size, table.c.note, order_by=table.c.size)
        return [(size, _text(note, f"checkpoint of size {size}")) for size, note in rows]

    def newest_note(self) -> tuple[int, str] | None:
        """The checkpoint of the greatest size, or None."""
        table = self._tables.checkpoints
        rows = self._select(table.c.size, table.c.note, order_by=table.c.size.desc(), limit=1)
        return (rows[0][0], _text(rows[0][1], f"checkpoint of size {rows[0][0]}")) if rows else None

    def add(self, number: int, leaf: bytes, nodes: list[tuple[int, int, bytes]]) -> None:
        """Add one entry and the subtrees it completes."""
        tables = self._tables
        self._connection.execute(tables.entries.insert(), {"number": number, "leaf": leaf})
        self._connection.execute(
            tables.nodes.insert(), [{"level": level, "number": at, "hash": value} for level, at, value in nodes]
        )

    def add_note(self, size: int, note: str) -> None:
        """Add a checkpoint."""
        self._connection.execute(self._tables.checkpoints.insert(), {"size": size, "note": note})

    def _one(self, column: Any, condition: Any = None) -> Any:
        rows = self._select(column, where=condition)
        return rows[0][0] if rows else None

    def _paged(self, number: Any, value: Any, start: int, end: int, condition: Any = True) -> Iterator[tuple[int, Any]]:
        import sqlalchemy as sa

        while start < end:
            stop = min(start + _PAGE, end)
            within = sa.and_(condition, number >= start, number < stop)
            yield from self._select(number, value, where=within, order_by=number)
            start = stop

    def _select(
        self, *columns: Any, where: Any = None, order_by: Any = None, limit: int | None = None, of: Any = None
    ) -> list[tuple[Any, ...]]:
        import sqlalchemy as sa

        query = sa.select(*columns)
        query = query.where(where) if where is not None else query
        query = query.order_by(order_by) if order_by is not None else query
        query = query.select_from(of) if of is not None else query
        query = query.limit(limit) if limit is not None else query
        try:
            return [tuple(row) for row in self._connection.execute(query)]
        except (TypeError, ValueError) as error:  # a column of another type than ours
            raise Tampered("a row of the log is not what this log writes", where="log") from error


def _place(level: int, number: int) -> str:
    return f"log entry {number}" if level == 0 else f"log tree, node {number} of level {level}"


def _numbered(rows: Iterator[tuple[int, Any]], number: int, where: str) -> Any:
    found = next(rows, None)
    if found is None or found[0] != number:
        raise Tampered("it is not in the log's store", where=where)
    return found[1]


def _bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, bytes):
        raise Tampered("it is not in the log's store" if value is None else "it is not bytes", where=where)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Tampered("it is not text", where=where)
    return value
