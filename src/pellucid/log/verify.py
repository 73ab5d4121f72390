"""Verify a whole log: recompute everything that can be recomputed, believe only what the log's key signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pellucid.errors import Tampered
from pellucid.keys import VerifyKey
from pellucid.log.entries import Entry, parse
from pellucid.log.note import Checkpoint, open_checkpoint
from pellucid.log.store import Log, Snapshot
from pellucid.log.tree import Frontier, leaf_hash

__all__ = ["Verified", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """A log that verified.

    Attributes:
        size: Number of entries, at least 1.
        root: 32-byte root over them, signed by the newest checkpoint.
        entries: Every entry, parsed; its signature fits, and whether its signer may say so is for the caller.
    """

    size: int
    root: bytes
    entries: tuple[Entry, ...] = field(repr=False)


def verify(log: Log, key: VerifyKey, origin: str) -> Verified:
    """Return what is in the log if every byte of it is what was logged and signed.

    Every leaf hash, every node and the root at every checkpoint's size are computed again from the entries' bytes.
    Every stored checkpoint must be signed by ``key`` for ``origin`` and have the root of that beginning of the log,
    so that each is consistent with the next; the newest must cover every entry. Every entry must parse. One snapshot
    is read and nothing is written.

    Not found: a log cut back to an earlier checkpoint together with everything after it. Only a checkpoint kept
    elsewhere shows that.

    Args:
        log: The log.
        key: The log's key, from entry 0 of a log one trusts or from elsewhere.
        origin: The log's name.

    Raises:
        Tampered: Something is not so; ``where`` names the entry, node or checkpoint. Also for a log without any
            checkpoint: nothing in it is signed.
    """
    with log.reading() as snapshot:
        size = snapshot.size
        signed = _checkpoints(snapshot, key, origin)
        entries = tuple(_entries(snapshot, size, signed))
        if max(signed) != size:
            raise Tampered(f"the newest checkpoint covers {max(signed)} of {size} entries", where="log")
        _exact(snapshot, size)
        return Verified(size, signed[size], entries)


def _checkpoints(snapshot: Snapshot, key: VerifyKey, origin: str) -> dict[int, bytes]:
    """The signed root at every size that has a checkpoint."""
    signed = {}
    for size, note in snapshot.rows.notes():
        where = f"checkpoint of size {size}"
        checkpoint = open_checkpoint(note, key, where=where)
        if checkpoint != Checkpoint(origin, checkpoint.size, checkpoint.root):
            raise Tampered(f"it belongs to another log than {origin}", where=where)
        if checkpoint.size != size or size < 1:
            raise Tampered("it is not filed under its own size", where=where)
        signed[size] = checkpoint.root
    if not signed:
        raise Tampered("the log has no checkpoint: nothing in it is signed", where="log")
    return signed


def _entries(snapshot: Snapshot, size: int, signed: dict[int, bytes]) -> Iterator[Entry]:
    frontier = Frontier()
    stored = [snapshot.rows.nodes(level, 0, size >> level) for level in range(size.bit_length())]
    for index, leaf in enumerate(snapshot.entries(0, size)):
        for level, number, value in frontier.push(leaf_hash(leaf)):
            if next(stored[level]) != value:
                what = f"the stored hash of node {number} of level {level} does not fit the entries"
                raise Tampered(what, where=_at(index))
        if index + 1 in signed and frontier.root() != signed[index + 1]:
            raise Tampered("entries up to here do not have the root that its checkpoint signed", where=_at(index))
        yield parse(index, leaf)


def _at(index: int) -> str:
    return f"log entry {index}"


def _exact(snapshot: Snapshot, size: int) -> None:
    """No table has a row that nothing refers to."""
    counts = snapshot.rows.counts()
    if counts["entries"] != size or counts["nodes"] != sum(size >> k for k in range(size.bit_length())):
        raise Tampered("the store has rows that belong to no entry", where="log")
