"""Gaussian noise that nobody can predict, and the doors to noise that somebody can, which are for tests.

:class:`SecureNoise` turns keystream bits into normals by Box and Muller's transform in float64. Each normal is the
sum of four, halved, as Holohan and Braghin (2021, arXiv 2107.10138, section 5.1, n = 2) advise against attacks that
read the noise off the gaps between floating-point numbers (Mironov 2012). This makes such attacks expensive; it is no
proof that they are excluded, because the noise is still a float that is added to a float.
"""

from __future__ import annotations

import math
import warnings
from typing import Final, Protocol

import torch

from pellucid.train.keystream import Keystream

__all__ = ["Noise", "SecureNoise", "UnsafeSeededNoise", "UnsafeZeroNoise"]

BLOCK: Final = 16_384  # normals at a time: the temporaries (1 MiB) stay in the cache
SUMMED: Final = 4  # normals summed into one


class Noise(Protocol):
    """Standard normals on demand."""

    def normals(self, count: int) -> torch.Tensor:
        """``count`` independent standard normals, float64, of shape ``(count,)``."""


class SecureNoise:
    """Standard normals from a cryptographically secure keystream; 30 to 70 ns each on one core."""

    def __init__(self) -> None:
        self._bits = Keystream()

    def normals(self, count: int) -> torch.Tensor:
        """``count`` independent standard normals, float64, of shape ``(count,)``; at most 17.1 in size."""
        out = torch.empty(count, dtype=torch.float64)
        for start in range(0, count, BLOCK):
            block = out[start : start + BLOCK]
            block.copy_(self._block(len(block)))
        return out

    def _block(self, count: int) -> torch.Tensor:
        half = (count + 1) // 2
        radius, angle = _uniforms(self._bits.words(2 * SUMMED * half)).view(2, SUMMED, half)
        radius.neg_().log1p_().mul_(-2.0).sqrt_()
        angle.mul_(2.0 * math.pi)
        # cosines and sines of one draw go to different normals, so that every normal sums four draws of its own
        cosines = angle.cos().mul_(radius).sum(0)
        sines = angle.sin_().mul_(radius).sum(0)
        return torch.cat([cosines, sines])[:count].div_(math.sqrt(SUMMED))


def _uniforms(words: torch.Tensor) -> torch.Tensor:
    """Float64 multiples of 2**-53 in [0, 1) from 64-bit words; the lowest 11 bits are dropped."""
    return words.bitwise_right_shift(11).bitwise_and_((1 << 53) - 1).double().mul_(2.0**-53)


class UnsafeSeededNoise:
    """Normals that a seed fixes: whoever has the seed has the model without privacy. For tests only; it warns."""

    def __init__(self, seed: int) -> None:
        warnings.warn("UnsafeSeededNoise: a seed fixes the noise, so there is no privacy", stacklevel=2)
        self._generator = torch.Generator().manual_seed(seed)

    def normals(self, count: int) -> torch.Tensor:
        """``count`` normals that the seed fixes, float64, of shape ``(count,)``."""
        return torch.randn(count, dtype=torch.float64, generator=self._generator)


class UnsafeZeroNoise:
    """No noise at all, so that clipping can be held against brute force. For tests only; it warns."""

    def __init__(self) -> None:
        warnings.warn("UnsafeZeroNoise: without noise there is no privacy", stacklevel=2)

    def normals(self, count: int) -> torch.Tensor:
        """``count`` zeros, float64, of shape ``(count,)``."""
        return torch.zeros(count, dtype=torch.float64)
