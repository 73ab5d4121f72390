"""Gaussian noise on a grid, whose support says nothing about what it was added to.

A float that is added to a float leaves gaps that depend on both, and an attacker who reads the gaps reads the noise
(Mironov 2012, CCS; Haney et al. 2022, arXiv 2207.13793). So the sum s is rounded to whole multiples of a power of two
g first, m = round(s / g), the noise is a whole number k, and what leaves is g · (m + k). A rounded Gaussian needs no
analysis of its own: round(m + Z) is post-processing of the Gaussian mechanism m + Z, because m is whole.

What remains is that a float64 Z is not exactly normal. It is within a few ulp of an exact normal that is drawn with it
(:func:`box_muller`), and k = round(Z) + V with V uniform over 2**32 neighbours on the grid, exactly, straight from
the keystream. V is post-processing once more and costs accuracy only, 0.017 % of the standard deviation at most; but
with it every probability is a mean over a window of width w, 2**-5 σ < w ≤ 2**-4 σ, and errors of Z count at the
window's rim alone. docs/adr/0014-noise.md has the bound: chi-square at most 2**-80 for a pair of normals, hence total
variation at most 2**-26 over 2**30 normals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadPlan

__all__ = ["add_on_grid", "box_muller", "grid", "widening"]

FINE: Final = 36  # the grid is between 2**-37 and 2**-36 of the standard deviation
TAIL: Final = 2.0**47  # a radius word of less magnitude, one in 2**16, is drawn to 64 more bits
EXPONENT: Final = 900  # beyond 2**±900 the grid or the sum would leave float64

Floats = npt.NDArray[np.float64]


def grid(std: float) -> float:
    """The power of two g with ``2**36 g <= std < 2**37 g``, in the unit of ``std``.

    Raises:
        BadPlan: ``std`` is not a number between 2**-900 and 2**900.
    """
    if not 2.0**-EXPONENT <= std <= 2.0**EXPONENT:
        raise BadPlan(
            "the standard deviation of noise must be positive and finite",
            where="noise",
            fix="choose a clip and a noise multiplier above 0",
        )
    return math.ldexp(1.0, math.frexp(std)[1] - 1 - FINE)


def widening(std: float, count: int) -> float:
    """What rounding ``count`` coordinates to the grid adds to the L2 sensitivity, in the unit of ``std``: g · √count.

    Two sums each move by at most g / 2 a coordinate, so their difference moves by at most g (Casacuberta et al. 2022,
    arXiv 2207.10635, on sensitivity lost to rounding). Clip to C less this, and the accountant's C holds. At most
    ``1.5e-11 * std * sqrt(count)``: 4e-9 of the standard deviation for 59 000 parameters, 1.5e-7 for 10**8.
    """
    # 1 + 2**-40 covers the rounding of square root and product
    return grid(std) * math.sqrt(count) * (1.0 + 2.0**-40)


def box_muller(
    radius: npt.NDArray[np.int64],
    angle: npt.NDArray[np.int64],
    more: Callable[[int], npt.NDArray[np.uint64]],
    out: Floats,
    scratch: Floats,
) -> None:
    """Two standard normals from each pair of uniform 64-bit words (Box and Muller 1958): sines, then cosines.

    With t = tan(θ/2) the sine is 2t / (1 + t²) and the cosine 2 / (1 + t²) - 1: one tangent is cheaper than both. Each
    normal is within ``2**-49 * (r + 1/8r)`` of Box and Muller's formula for these words, r being the pair's radius, and
    within ``2**-48 * (r + 1/8r)`` of the formula for real uniforms of which these words are the leading bits. No normal
    is above 13.4; 2**-128 of the mass would be.

    Args:
        radius: Words for the radius, shape ``(n,)``.
        angle: Words for the angle, shape ``(n,)``.
        more: Further words, as many as it is asked for: they continue small radius words, whose leading zeros would
            leave a coarse tail.
        out: Written to, shape ``(2n,)``.
        scratch: Overwritten, at least ``n`` long. Buffers are the caller's, since fresh pages cost as much as a sine.
    """
    n = len(radius)
    r, q, t = out[:n], out[n:], scratch[:n]
    np.copyto(r, radius)  # signed, with the sign dropped: NumPy converts unsigned words by a branch that costs 1.5 ns
    np.abs(r, out=r)
    if n and r.min() < TAIL:
        small = np.flatnonzero(r < TAIL)
        r[small] += (more(len(small)).astype(np.float64) + 0.5) * 2.0**-64
    r *= 2.0**-63
    np.log(r, out=r)
    r *= -2.0
    np.sqrt(r, out=r)
    np.copyto(t, angle)
    t *= math.pi * 2.0**-64
    np.tan(t, out=t)
    np.multiply(t, t, out=q)
    q += 1.0
    np.divide(2.0, q, out=q)
    t *= q
    q -= 1.0
    q *= r
    r *= t


def add_on_grid(
    sums: npt.NDArray[np.float32] | Floats, std: float, normals: Floats, dither: npt.NDArray[np.int32], scratch: Floats
) -> None:
    """In place, ``sums`` become ``g * (round(sums / g) + round(normals * std / g) + dither)``.

    Division by g is exact, a power of two. m and k are whole float64 numbers, k below 2**42, so their one rounded sum
    is a function of the exact m + k, however large m is; so is its conversion to the type of ``sums``. A sum that is
    not finite stays so. ``normals`` and as much of ``scratch`` are overwritten.
    """
    g = grid(std)
    whole = scratch[: len(sums)]
    normals *= std / g
    np.rint(normals, out=normals)
    np.copyto(whole, dither)
    normals += whole  # exact, before m is added: only one rounding may see the sum
    np.copyto(whole, sums)
    whole *= 1.0 / g
    np.rint(whole, out=whole)
    whole += normals
    whole *= g
    np.copyto(sums, whole, casting="same_kind")
