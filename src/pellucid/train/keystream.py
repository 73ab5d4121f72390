"""The source of all randomness that privacy rests on: an AES-256-CTR keystream.

A seed would fix the noise, and whoever learns it takes the noise away again; so the key comes from the operating
system, is never shown, stored or returned, and dies with the object.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["SLACK", "Keystream"]

AHEAD: Final = 1 << 16  # bytes made at a time, so that a small request costs a copy and no call of the cipher
SLACK: Final = 15
"""Bytes that a buffer needs beyond what is written: the cipher wants room for all but one byte of a further block."""
ZEROS: Final = bytes(AHEAD)
Word = TypeVar("Word", bound=np.integer)


class Keystream:
    """Uniform random bits from AES-256 in counter mode (NIST SP 800-38A), keyed by ``os.urandom``.

    Bytes are made ahead, handed out once, in order, and overwritten with zeros where they stood. Threads may share a
    keystream. A process that was forked draws a new key and drops what was made ahead, so that parent and child never
    share noise. The counter has 128 bits; nobody reaches its end.

    Attributes:
        lock: Held while bytes are taken; reentrant, so that a user may keep state of its own under it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._owner = -1
        self._ahead = np.zeros(AHEAD + SLACK, dtype=np.uint8)
        self._at = AHEAD  # bytes before it are gone
        _living.add(self)

    def __repr__(self) -> str:
        return "Keystream(AES-256-CTR)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a keystream cannot be copied or stored: two copies would give the same noise")

    def words(self, count: int) -> torch.Tensor:
        """``count`` fresh 64-bit words as an int64 tensor of shape ``(count,)``; every bit is uniform."""
        return torch.from_numpy(self.draw(count, np.int64))

    def halfwords(self, count: int) -> torch.Tensor:
        """``count`` fresh 16-bit words as an int16 tensor of shape ``(count,)``; every bit is uniform."""
        return torch.from_numpy(self.draw(count, np.int16))

    def draw(self, count: int, kind: type[Word]) -> npt.NDArray[Word]:
        """``count`` fresh integers of a NumPy integer type, shape ``(count,)``; every bit is uniform."""
        size = count * np.dtype(kind).itemsize
        if size > AHEAD // 2:
            fresh = np.empty(size + SLACK, dtype=np.uint8)
            self.pour(fresh)
            return fresh[:size].view(kind)
        with self.lock:
            self._mine()
            if self._at + size > AHEAD:
                self.pour(self._ahead)
                self._at = 0
            taken = self._ahead[self._at : self._at + size]
            out = taken.copy()
            taken.fill(0)
            self._at += size
        return out.view(kind)

    def pour(self, into: npt.NDArray[np.uint8]) -> None:
        """Fresh bytes into all of a flat buffer but its last :data:`SLACK`, which hold nothing of use afterwards."""
        size = len(into) - SLACK
        room = into.data
        with self.lock:
            self._mine()
            for start in range(0, size, AHEAD):
                self._encrypt.update_into(memoryview(ZEROS)[: min(AHEAD, size - start)], room[start:])

    def _mine(self) -> None:
        """A key of this process's own, if it is not the one that drew the last."""
        if self._owner != os.getpid():
            self._encrypt = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(os.urandom(16))).encryptor()
            self._owner = os.getpid()
            self._at = AHEAD

    def _after_fork(self) -> None:
        self.lock = threading.RLock()  # the parent's may be held by a thread that the child does not have
        self._owner = -1


_living: weakref.WeakSet[Keystream] = weakref.WeakSet()


def _renew() -> None:
    for stream in list(_living):
        stream._after_fork()


if hasattr(os, "register_at_fork"):  # there is no fork elsewhere
    os.register_at_fork(after_in_child=_renew)
