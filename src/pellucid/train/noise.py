"""Gaussian noise that nobody can predict, and the doors to noise that somebody can, which are for tests.

:class:`SecureNoise` turns keystream bits into noise on a grid by the construction of
:mod:`~pellucid.train.gaussian`, in blocks that stay in the cache. Why this one: docs/adr/0014-noise.md.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from pellucid.errors import Misuse
from pellucid.train.gaussian import add_on_grid, box_muller, grid
from pellucid.train.keystream import SLACK, Keystream

__all__ = ["Noise", "SecureNoise", "UnsafeSeededNoise", "UnsafeZeroNoise"]

BLOCK: Final = 16_384  # normals made at a time, an even number: they and the temporaries (640 KiB) stay in the cache
WORDS: Final = 12 * BLOCK  # bytes: 8 for radius or angle and 4 for dither, each normal
Floats = npt.NDArray[np.float64]
Dither = npt.NDArray[np.int32]


class Noise(Protocol):
    """Standard normals on demand, and their addition to a sum."""

    def normals(self, count: int) -> torch.Tensor:
        """``count`` independent standard normals, float64, of shape ``(count,)``."""

    def add(self, sums: torch.Tensor, std: float) -> None:
        """In place, ``sums`` (flat, contiguous, float32 or float64) gain Gaussian noise of deviation ``std``."""


class SecureNoise:
    """Noise from a cryptographically secure keystream.

    A block is made ahead and handed out piece by piece; what was handed out is overwritten. Threads may share it, and a
    process that was forked makes its own.
    """

    def __init__(self) -> None:
        self._bits = Keystream()
        self._owner = -1
        self._at = BLOCK  # what stands before it is gone
        self._normals, self._scratch = np.zeros(BLOCK), np.zeros(BLOCK)
        self._raw = np.zeros(WORDS + SLACK, dtype=np.uint8)
        self._radius, self._angle = (self._raw[i * 4 * BLOCK : (i + 1) * 4 * BLOCK] for i in range(2))
        self._dither = self._raw[8 * BLOCK : WORDS].view(np.int32)

    def __repr__(self) -> str:
        return "SecureNoise(AES-256-CTR)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("noise cannot be copied or stored: two copies would give the same noise")

    def normals(self, count: int) -> torch.Tensor:
        """``count`` independent standard normals, float64, of shape ``(count,)``; at most 13.4 in size.

        They are not on a grid: noise that protects somebody is added by :meth:`add`.
        """
        out = np.empty(count)

        def copy(start: int, normals: Floats, _: Dither) -> None:
            out[start : start + len(normals)] = normals

        self._spend(count, copy)
        return torch.from_numpy(out)

    def add(self, sums: torch.Tensor, std: float) -> None:
        """In place, ``sums`` become multiples of ``grid(std)`` that gained Gaussian noise on that grid.

        Their values are those of :func:`~pellucid.train.gaussian.add_on_grid`; the sensitivity grows by
        :func:`~pellucid.train.gaussian.widening`. The noise's standard deviation is never below ``std`` by more than
        one part in 2**48, and at most 0.017 % above it.

        Raises:
            Misuse: ``sums`` is not a flat contiguous float32 or float64 tensor on the CPU.
            BadPlan: ``std`` is not positive and finite.
        """
        flat = _flat(sums)
        grid(std)  # refused before noise is taken

        def add(start: int, normals: Floats, dither: Dither) -> None:
            add_on_grid(flat[start : start + len(normals)], std, normals, dither, self._scratch)

        self._spend(len(flat), add)

    def _spend(self, count: int, use: Callable[[int, Floats, Dither], None]) -> None:
        """Hand ``count`` normals and their dither to ``use(start, normals, dither)``, piece by piece, and wipe them."""
        start = 0
        with self._bits.lock:
            if self._owner != os.getpid():
                self._owner, self._at = os.getpid(), BLOCK
            while start < count:
                if self._at == BLOCK:
                    self._refill()
                piece = slice(self._at, min(self._at + count - start, BLOCK))
                normals, dither = self._normals[piece], self._dither[piece]
                self._at = piece.stop  # before the use: an error in it must not hand them out again
                try:
                    use(start, normals, dither)
                finally:
                    normals.fill(0.0)
                    dither.fill(0)
                start += len(normals)

    def _refill(self) -> None:
        self._bits.pour(self._raw)
        radius, angle = self._radius.view(np.int64), self._angle.view(np.int64)
        box_muller(radius, angle, lambda count: self._bits.draw(count, np.uint64), self._normals, self._scratch)
        self._raw[: 8 * BLOCK].fill(0)
        self._at = 0


def _flat(sums: torch.Tensor) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    fits = sums.dim() == 1 and sums.is_contiguous() and sums.dtype in (torch.float32, torch.float64)
    if not fits or sums.device.type != "cpu":
        raise Misuse(
            "noise is added to a flat contiguous float32 or float64 tensor on the CPU",
            where="noise",
            fix="sum the clipped gradients into one such tensor",
        )
    flat: npt.NDArray[np.float32] | npt.NDArray[np.float64] = sums.detach().numpy()
    return flat


class UnsafeSeededNoise:
    """Normals that a seed fixes: whoever has the seed has the model without privacy. For tests only; it warns."""

    def __init__(self, seed: int) -> None:
        warnings.warn("UnsafeSeededNoise: a seed fixes the noise, so there is no privacy", stacklevel=2)
        self._generator = torch.Generator().manual_seed(seed)

    def normals(self, count: int) -> torch.Tensor:
        """``count`` normals that the seed fixes, float64, of shape ``(count,)``."""
        return torch.randn(count, dtype=torch.float64, generator=self._generator)

    def add(self, sums: torch.Tensor, std: float) -> None:
        """In place, ``sums`` gain ``std`` times the next :meth:`normals`, as floats are added."""
        sums.copy_(sums.double().add_(self.normals(len(sums)), alpha=std))


class UnsafeZeroNoise:
    """No noise at all, so that clipping can be held against brute force. For tests only; it warns."""

    def __init__(self) -> None:
        warnings.warn("UnsafeZeroNoise: without noise there is no privacy", stacklevel=2)

    def normals(self, count: int) -> torch.Tensor:
        """``count`` zeros, float64, of shape ``(count,)``."""
        return torch.zeros(count, dtype=torch.float64)

    def add(self, sums: torch.Tensor, std: float) -> None:
        """Nothing: ``sums`` keep every bit."""
