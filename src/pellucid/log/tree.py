"""The Merkle tree of RFC 6962 section 2.1 and RFC 9162 section 2.1, pure: hashes in, hashes and proofs out.

Two views of the same tree meet here. A proof is made either from all leaf hashes, or from a :data:`Node`, a function
that knows the hash of every complete subtree: what the store keeps, so that a proof reads O(log n) rows. A
:class:`Frontier` is the right edge of a tree (its complete subtrees, largest first) and appends in O(log n) without
reading anything.

Verifiers are the algorithms of RFC 9162 section 2.1.3.2 and 2.1.4.2 and know nothing of how a proof was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pellucid.errors import Misuse, Tampered

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "Frontier",
    "Node",
    "complete_nodes",
    "consistency_from",
    "consistency_proof",
    "inclusion_from",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root",
    "subtree",
    "verify_consistency",
    "verify_inclusion",
]

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""``node(level, number)``: the hash over leaves ``[number << level, (number + 1) << level)``, all of them there."""


def leaf_hash(data: bytes) -> bytes:
    """The 32-byte hash of a leaf, ``SHA-256(0x00 || data)`` (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of an inner node, ``SHA-256(0x01 || left || right)`` (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


# -- the right edge ---------------------------------------------------------------------------------------------------


class Frontier:
    """A tree of ``size`` leaves, known by its complete subtrees only: one for each bit set in ``size``.

    Known elsewhere as a compact range. It gives the root, and takes the next leaf, in O(log n).
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, node: Node | None = None) -> None:
        """The empty tree, or the first ``size`` leaves of the tree that ``node`` knows."""
        if size and node is None:
            raise Misuse("a frontier above size 0 needs the tree's nodes")
        self.size = size
        self._peaks = [node(level, number) for level, number in _peaks(size)] if node else []

    def push(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf by its hash.

        Args:
            leaf: 32-byte leaf hash.

        Returns:
            ``(level, number, hash)`` of every subtree this leaf completes, the leaf itself first.
        """
        level, number, top = 0, self.size, leaf
        made = [(level, number, top)]
        while number & 1:
            level, number, top = level + 1, number >> 1, node_hash(self._peaks.pop(), top)
            made.append((level, number, top))
        self._peaks.append(top)
        self.size += 1
        return made

    def root(self) -> bytes:
        """The 32-byte root; SHA-256 of nothing for the empty tree."""
        if not self._peaks:
            return EMPTY_ROOT
        top = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            top = node_hash(peak, top)
        return top


def _peaks(size: int) -> Iterable[tuple[int, int]]:
    """Where the complete subtrees of a tree of ``size`` leaves stand, largest first."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield level, start >> level
            start += 1 << level


# -- proofs from nodes ------------------------------------------------------------------------------------------------


def subtree(node: Node, begin: int, end: int) -> bytes:
    """The hash over leaves ``[begin, end)``, where the RFC's recursion cuts the tree there (``begin < end``)."""
    count = end - begin
    if count & (count - 1) == 0:
        return node(count.bit_length() - 1, begin // count)
    cut = begin + _split(count)
    return node_hash(subtree(node, begin, cut), subtree(node, cut, end))


def inclusion_from(node: Node, index: int, size: int) -> list[bytes]:
    """The inclusion proof of leaf ``index`` in the first ``size`` leaves (RFC 6962 section 2.1.1), leaf side first.

    Raises:
        Misuse: Not ``0 <= index < size``.
    """
    if not 0 <= index < size:
        raise Misuse(f"there is no leaf {index} in a tree of {size}")
    path = []
    begin, end = 0, size
    while end - begin > 1:
        cut = begin + _split(end - begin)
        if index < cut:
            path.append(subtree(node, cut, end))
            end = cut
        else:
            path.append(subtree(node, begin, cut))
            begin = cut
    return path[::-1]


def consistency_from(node: Node, old: int, new: int) -> list[bytes]:
    """The proof that the first ``old`` leaves are the beginning of the first ``new`` (RFC 6962 section 2.1.2).

    Raises:
        Misuse: Not ``1 <= old <= new``: from the empty tree nothing can be proved.
    """
    if not 1 <= old <= new:
        raise Misuse(f"there is no consistency proof from {old} to {new} leaves")
    path = []
    begin, end, known = 0, new, True  # known: the verifier has this subtree's hash already, it is the old root
    while end != old:
        cut = begin + _split(end - begin)
        if old <= cut:
            path.append(subtree(node, cut, end))
            end = cut
        else:
            path.append(subtree(node, begin, cut))
            begin, known = cut, False
    if not known:
        path.append(subtree(node, begin, end))
    return path[::-1]


def _split(count: int) -> int:
    """The largest power of two below ``count`` (at least 2)."""
    return 1 << (count - 1).bit_length() - 1


# -- proofs from all leaf hashes --------------------------------------------------------------------------------------


def complete_nodes(leaf_hashes: Sequence[bytes]) -> Node:
    """Every complete subtree over ``leaf_hashes``, hashed once: O(n) time and memory."""
    levels = [list(leaf_hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return lambda level, number: levels[level][number]


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The 32-byte root over leaf hashes in order; SHA-256 of nothing where there is none (RFC 6962 section 2.1)."""
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier.push(leaf)
    return frontier.root()


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of leaf ``index`` (RFC 6962 section 2.1.1): at most ceil(log2 n) hashes, leaf side first.

    Raises:
        Misuse: Not ``0 <= index < len(leaf_hashes)``.
    """
    return inclusion_from(complete_nodes(leaf_hashes), index, len(leaf_hashes))


def consistency_proof(leaf_hashes: Sequence[bytes], old: int) -> list[bytes]:
    """The proof that the first ``old`` leaves are the beginning of all (RFC 6962 section 2.1.2).

    Raises:
        Misuse: Not ``1 <= old <= len(leaf_hashes)``.
    """
    return consistency_from(complete_nodes(leaf_hashes), old, len(leaf_hashes))


# -- verifiers --------------------------------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes, *, where: str) -> None:
    """Return if ``proof`` shows that ``leaf`` is leaf ``index`` of the tree of ``size`` with ``root``.

    RFC 9162 section 2.1.3.2; the proof must have exactly the length that ``index`` and ``size`` imply.

    Args:
        leaf: 32-byte leaf hash.
        index: Place of the leaf, from 0.
        size: Number of leaves.
        proof: 32-byte hashes, leaf side first.
        root: 32-byte root of the tree.
        where: What is verified, for the error.

    Raises:
        Tampered: It does not, or a number or length makes no sense.
    """
    _whole(index, size, where=where)
    _hashes([leaf, root, *proof], where=where)
    if not 0 <= index < size:
        raise Tampered(f"leaf {index} cannot be in a tree of {size}", where=where)
    place, last, top = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Tampered("the inclusion proof is too long", where=where)
        if place & 1 or place == last:
            top = node_hash(sibling, top)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            top = node_hash(top, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise Tampered("the inclusion proof is too short", where=where)
    if top != root:
        raise Tampered("the inclusion proof does not lead to the root", where=where)


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes], *, where: str
) -> None:
    """Return if ``proof`` shows that the tree of ``old`` leaves is the beginning of the tree of ``new``.

    RFC 9162 section 2.1.4.2. An empty old tree proves nothing and is refused, whatever the proof.

    Args:
        old: Number of leaves of the older tree, at least 1.
        new: Number of leaves of the newer tree, at least ``old``.
        old_root: 32-byte root of the older tree.
        new_root: 32-byte root of the newer tree.
        proof: 32-byte hashes; none where the sizes are equal.
        where: What is verified, for the error.

    Raises:
        Tampered: It does not, or a number or length makes no sense.
    """
    _whole(old, new, where=where)
    _hashes([old_root, new_root, *proof], where=where)
    if not 1 <= old <= new:
        raise Tampered(f"no proof can lead from {old} to {new} leaves", where=where)
    if old == new:
        if proof or old_root != new_root:
            raise Tampered("two trees of one size are not the same", where=where)
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)  # the old tree is one complete subtree, so its root is not repeated in the proof
    if not path:
        raise Tampered("the consistency proof is too short", where=where)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Tampered("the consistency proof is too long", where=where)
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise Tampered("the consistency proof is too short", where=where)
    if before != old_root or after != new_root:
        raise Tampered("the consistency proof does not lead to both roots", where=where)


def _whole(*numbers: int, where: str) -> None:
    # these may come straight out of a bundle's JSON
    if any(type(number) is not int for number in numbers):
        raise Tampered("a tree's size and a leaf's index are whole numbers", where=where)


def _hashes(hashes: Iterable[bytes], *, where: str) -> None:
    if any(type(one) is not bytes or len(one) != HASH_SIZE for one in hashes):
        raise Tampered(f"every hash has {HASH_SIZE} bytes", where=where)
