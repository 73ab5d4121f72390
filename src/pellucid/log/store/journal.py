"""The transparency log: entries that can be added to and never changed, under signed checkpoints.

Who writes must extend what was signed: a writer first holds the tree against the newest checkpoint, and signs the next
one over that tree and its own entries, so that a store changed behind the log's back is never signed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pellucid.errors import Misuse, Tampered, UnknownName
from pellucid.keys import SigningKey, VerifyKey
from pellucid.log.note import Checkpoint, open_checkpoint, sign_checkpoint
from pellucid.log.store.database import Store
from pellucid.log.store.rows import Rows
from pellucid.log.tree import Frontier, consistency_from, inclusion_from, leaf_hash

__all__ = ["Log", "Snapshot", "Writer"]


class Snapshot:
    """The log at one moment: what others append meanwhile does not show."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.rows.size()

    def entry(self, index: int) -> bytes:
        """The bytes of entry ``index``.

        Raises:
            UnknownName: It is beyond the end.
        """
        self._within(index, self.size)
        return self.rows.leaf(index)

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes of entries ``[start, end)`` in order, as stored; ``end`` defaults to the size.

        Raises:
            UnknownName: ``end`` is beyond the end, or ``start`` beyond ``end``.
        """
        end = self._size(end)
        if not 0 <= start <= end:
            raise UnknownName(f"there are no entries from {start} to {end}", where="log")
        return self.rows.leaves(start, end)

    def held(self, key: VerifyKey, origin: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Like :meth:`entries`, and held against the newest checkpoint: for whoever decides on what is read.

        Entries come as they are read; after the last one the root is computed again from them, and iteration ends
        only if it is the one that ``key`` signed.

        Raises:
            UnknownName: ``end`` is beyond the end, or ``start`` beyond ``end``.
            Tampered: The newest checkpoint is not by ``key`` for ``origin`` or not over the stored tree; or, known
                only after the last entry, one of them is not what was logged.
        """
        frontier = Frontier(self.size, self.rows.node)
        _hold(frontier, self.rows, key, origin)
        return _held(self.rows, self.entries(start, end), start, frontier.size, frontier.root())

    def leaf_hashes(self, size: int | None = None) -> list[bytes]:
        """The 32-byte hashes of the first ``size`` entries."""
        return list(self.rows.nodes(0, 0, self._size(size)))

    def root(self, size: int | None = None) -> bytes:
        """The 32-byte root of the first ``size`` entries."""
        return Frontier(self._size(size), self.rows.node).root()

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that entry ``index`` is in the log of ``size`` entries (RFC 9162 section 2.1.3)."""
        size = self._size(size)
        self._within(index, size)
        return inclusion_from(self.rows.node, index, size)

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The proof that the log of ``old`` entries is the beginning of that of ``new`` (RFC 9162 section 2.1.4).

        Raises:
            UnknownName: ``new`` is beyond the end.
            Misuse: Not ``1 <= old <= new``.
        """
        return consistency_from(self.rows.node, old, self._size(new))

    def checkpoint(self) -> str | None:
        """The newest checkpoint as a signed note; None while nothing was written."""
        newest = self.rows.newest_note()
        return newest[1] if newest else None

    def checkpoints(self) -> list[str]:
        """Every checkpoint ever signed, oldest first."""
        return [note for _, note in self.rows.notes()]

    def _size(self, size: int | None) -> int:
        have = self.size
        if size is None:
            return have
        if not 0 <= size <= have:
            raise UnknownName(f"the log has {have} entries, not {size}", where="log")
        return size

    def _within(self, index: int, size: int) -> None:
        if not 0 <= index < size:
            raise UnknownName(f"there is no entry {index} among {size}", where="log")


class Writer(Snapshot):
    """The one that may append, inside :meth:`Log.writing`."""

    def __init__(self, rows: Rows, key: SigningKey, origin: str) -> None:
        super().__init__(rows)
        self._key, self._origin, self._open = key, origin, True
        self._frontier = Frontier(rows.size(), rows.node)
        self._signed = self._frontier.size
        _hold(self._frontier, rows, key.verifier, origin)

    @property
    def size(self) -> int:
        """Number of entries, those appended here included."""
        return self._frontier.size

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes of entries ``[start, end)`` in order, held against the signed root.

        A ledger that decides on what it reads here decides on what was logged: after the last entry the root is
        computed again from them, and iteration ends only if it is the one of the checkpoint this writer extends.

        Raises:
            UnknownName: ``end`` is beyond the end, or ``start`` beyond ``end``.
            Tampered: An entry is not what was logged (known only after the last one).
        """
        return _held(self.rows, super().entries(start, end), start, self.size, self._frontier.root())

    def append(self, leaf: bytes) -> int:
        """Append an entry's bytes and return its index. Durable, and seen by others, when the block ends.

        Raises:
            Misuse: The block has ended, or ``leaf`` is not bytes or empty.
        """
        if not self._open:
            raise Misuse("this writer has ended", where="log", fix="append inside `with log.writing(…)`")
        if type(leaf) is not bytes or not leaf:
            raise Misuse("an entry is bytes, at least one", where="log")
        index = self._frontier.size
        self.rows.add(index, leaf, self._frontier.push(leaf_hash(leaf)))
        return index

    def _end(self) -> None:
        self._open = False
        if self.size > self._signed:
            checkpoint = Checkpoint(self._origin, self.size, self._frontier.root())
            self.rows.add_note(self.size, sign_checkpoint(checkpoint, self._key))


_FIX = "run `pellucid log verify`; restore the log from a backup"


def _hold(frontier: Frontier, rows: Rows, key: VerifyKey, origin: str) -> None:
    """Return if the newest checkpoint is by ``key``, of ``origin``, and over the tree as it is stored."""
    newest = rows.newest_note()
    if newest is None:
        if frontier.size:
            raise Tampered("the log has entries and no checkpoint", where="log", fix=_FIX)
        return
    checkpoint = open_checkpoint(newest[1], key, where="newest checkpoint of the log")
    if checkpoint != Checkpoint(origin, frontier.size, frontier.root()):
        raise Tampered("the log is not what its newest checkpoint signed", where="log", fix=_FIX)


def _held(rows: Rows, leaves: Iterator[bytes], start: int, size: int, root: bytes) -> Iterator[bytes]:
    """``leaves`` from ``start`` on, as they come, and an error at their end if they do not lead to ``root``."""
    # what stands before and after comes from stored hashes: one changed to hide a changed entry would not fit the root
    frontier = Frontier(start, rows.node)
    for leaf in leaves:
        frontier.push(leaf_hash(leaf))
        yield leaf
    end = frontier.size
    for value in rows.nodes(0, end, size):
        frontier.push(value)
    if frontier.root() != root:
        raise Tampered(f"entries {start} to {end} are not what was logged", where="log", fix=_FIX)


class Log:
    """A transparency log at a URL. Holds no connection: every call is one transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"Log({self._store.where!r})"

    @classmethod
    def create(cls, url: str, *, wait: float = 30.0) -> Log:
        """An empty log, durable before this returns.

        Args:
            url: ``sqlite:////absolute/path.sqlite`` or ``postgresql+DRIVER://…``; missing folders are made.
            wait: Seconds to wait for another process that is writing.

        Raises:
            BadFile: There is a log already, another process having just made it included; or the URL is none of these.
            Misuse: The log cannot be made: the rights, the disk, or another process that held it for all of ``wait``.
            Tampered: There is a file that is no database.
            MissingExtra: The database's driver is not installed.
        """
        store = Store(url, wait=wait)
        store.create()
        return cls(store)

    @classmethod
    def open(cls, url: str, *, wait: float = 30.0) -> Log:
        """The log at ``url``.

        Raises:
            UnknownName: There is none.
            Tampered: What is there is not a log.
            BadFile: The URL is none of :meth:`create`.
            MissingExtra: The database's driver is not installed.
        """
        log = cls(Store(url, wait=wait))
        with log.reading() as snapshot:
            snapshot.root()
            snapshot.checkpoint()
        return log

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Several reads of one and the same state. Needs no right to write, see :mod:`pellucid.log.store.database`."""
        with self._store.reading() as rows:
            yield Snapshot(rows)

    @contextmanager
    def writing(self, key: SigningKey, origin: str) -> Iterator[Writer]:
        """Append inside one exclusive transaction.

        At the end of the block a new checkpoint is signed (if anything was appended) and all is committed at once,
        durably. On an exception, or if the process dies, nothing was written.

        Args:
            key: The log's signing key.
            origin: The log's name, first line of its checkpoints.

        Raises:
            Misuse: Another process is still writing after ``wait`` seconds, or the log cannot be written.
            Tampered: The log is not what its newest checkpoint signed, or that is not by ``key`` for ``origin``.
        """
        with self._store.writing() as rows:
            writer = Writer(rows, key, origin)
            try:
                yield writer
                writer._end()
            finally:
                writer._open = False

    @property
    def size(self) -> int:
        """Number of entries."""
        with self.reading() as snapshot:
            return snapshot.size

    def entry(self, index: int) -> bytes:
        """See :meth:`Snapshot.entry`."""
        with self.reading() as snapshot:
            return snapshot.entry(index)

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See :meth:`Snapshot.entries`. As stored; :meth:`held` also says if they are what was signed."""
        with self.reading() as snapshot:
            yield from snapshot.entries(start, end)

    def held(self, key: VerifyKey, origin: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See :meth:`Snapshot.held`."""
        with self.reading() as snapshot:
            yield from snapshot.held(key, origin, start, end)

    def leaf_hashes(self, size: int | None = None) -> list[bytes]:
        """See :meth:`Snapshot.leaf_hashes`."""
        with self.reading() as snapshot:
            return snapshot.leaf_hashes(size)

    def root(self, size: int | None = None) -> bytes:
        """See :meth:`Snapshot.root`."""
        with self.reading() as snapshot:
            return snapshot.root(size)

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """See :meth:`Snapshot.inclusion`."""
        with self.reading() as snapshot:
            return snapshot.inclusion(index, size)

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """See :meth:`Snapshot.consistency`."""
        with self.reading() as snapshot:
            return snapshot.consistency(old, new)

    def checkpoint(self) -> str | None:
        """See :meth:`Snapshot.checkpoint`."""
        with self.reading() as snapshot:
            return snapshot.checkpoint()

    def checkpoints(self) -> list[str]:
        """See :meth:`Snapshot.checkpoints`."""
        with self.reading() as snapshot:
            return snapshot.checkpoints()
