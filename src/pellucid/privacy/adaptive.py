"""Adaptive clipping: one step's noise multiplier, shared by the clipped sum and the count that moves the clip.

Every step releases the clipped sum of gradients and the number of units that were within the clip, from which the next
clip follows (Andrew et al. 2021, arXiv 1905.03871). Each sampled unit adds to the pair ``(sum / C, count)`` a vector of
norm at most 1 and a centred bit, ``+1/2`` if it was within the clip and ``-1/2`` if it was not: centring halves the
sensitivity of the count, to 1/2, since a unit that is not there adds 0. With noise ``sigma_g`` and ``sigma_b`` the
pair, each part divided by its noise, is one Gaussian mechanism of sensitivity ``sqrt(sigma_g^-2 + (2·sigma_b)^-2)``. So
it costs what the noise multiplier ``sigma`` costs if ``sigma^-2 = sigma_g^-2 + (2·sigma_b)^-2`` (their theorem 1). The
clip itself is a function of what was released before, and adaptive composition covers it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final

from pellucid.errors import BadPlan

__all__ = ["adaptive_split"]

_COUNT_SHARE: Final = Fraction(1, 20)  # of the batch: the noise on the count that the paper recommends (section 3)


@lru_cache(maxsize=64)
def adaptive_split(noise_multiplier: float, batch: int) -> tuple[float, float]:
    """Noise of the clipped sum, in multiples of the clip, and of the count of centred bits, in units.

    Args:
        noise_multiplier: What the accountant is told; above 0.
        batch: Expected units in a step's sample, at least 1.

    Returns:
        ``sigma_gradient``, above ``noise_multiplier``: enough in exact arithmetic, and more than the least by rounding
        only; and ``sigma_count``, a twentieth of the batch.

    Raises:
        BadPlan: The count alone costs what the noise multiplier stands for: it is ``batch / 10`` or more.
    """
    sigma_count = float(batch * _COUNT_SHARE)
    total, whole = Fraction(2 * sigma_count), Fraction(noise_multiplier)
    if whole >= total:
        raise BadPlan(
            f"adaptive clipping counts with noise {sigma_count:g}, a twentieth of the batch, and that alone costs all"
            f" that a noise multiplier of {noise_multiplier:g} stands for",
            where="batch",
            fix=f"a batch of {math.ceil(20 * whole)} or more (the sum then has 15 % more noise), or another clipping",
        )
    needed = 1 / (1 / whole**2 - 1 / total**2)  # its square, exactly
    found = noise_multiplier / math.sqrt((1 - whole / total) * (1 + whole / total))
    while Fraction(found) ** 2 < needed:  # a few roundings at most
        found = math.nextafter(found, math.inf)
    return found, sigma_count
