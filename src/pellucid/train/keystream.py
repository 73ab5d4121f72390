"""The source of all randomness that privacy rests on: an AES-256-CTR keystream.

A seed would fix the noise, and whoever learns it takes the noise away again; so the key comes from the operating
system, is never shown, stored or returned, and dies with the object.
"""

from __future__ import annotations

import os
from typing import Final

import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["Keystream"]

SLACK: Final = 15  # update_into wants room for all but one byte of a further block


class Keystream:
    """Uniform random bits from AES-256 in counter mode (NIST SP 800-38A), keyed by ``os.urandom``.

    A process that was forked draws a new key, so that parent and child never share noise. The counter has 128 bits;
    nobody reaches its end.
    """

    def __init__(self) -> None:
        self._owner = -1
        self._zeros = b""

    def __repr__(self) -> str:
        return "Keystream(AES-256-CTR)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a keystream cannot be copied or stored: two copies would give the same noise")

    def words(self, count: int) -> torch.Tensor:
        """``count`` fresh 64-bit words as an int64 tensor of shape ``(count,)``; every bit is uniform."""
        return self._fill(8 * count, torch.int64, count)

    def halfwords(self, count: int) -> torch.Tensor:
        """``count`` fresh 16-bit words as an int16 tensor of shape ``(count,)``; every bit is uniform."""
        return self._fill(2 * count, torch.int16, count)

    def _fill(self, size: int, dtype: torch.dtype, count: int) -> torch.Tensor:
        if count == 0:
            return torch.empty(0, dtype=dtype)
        if self._owner != os.getpid():
            self._encrypt = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(os.urandom(16))).encryptor()
            self._owner = os.getpid()
        if len(self._zeros) < size:
            self._zeros = bytes(size)
        buffer = bytearray(size + SLACK)
        self._encrypt.update_into(memoryview(self._zeros)[:size], buffer)
        return torch.frombuffer(buffer, dtype=dtype, count=count)
