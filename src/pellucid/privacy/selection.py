"""What it costs to run a mechanism a random number of times and release the best run alone. Pure numbers.

Papernot & Steinke 2022 (arXiv 2110.03620). The number of runs is drawn before the first: by a truncated negative
binomial distribution (Theorem 2; logarithmic for shape 0, geometric for 1) or a Poisson distribution (Theorem 6). No
run but the best one, and not their number, may ever show; the score by which it is the best is part of the mechanism.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["selection_curve", "stopping_rate"]


def selection_curve(curve: Sequence[float], orders: Sequence[float], mean: float, shape: float) -> list[float]:
    """Rényi divergence at each order of the selection.

    Args:
        curve: Rényi divergence of one run at each order, of all pairs of neighbours in both directions; may be inf.
        orders: Above 1, rising.
        mean: Of the number of runs, at least 1.
        shape: Of its distribution, 0 or more; inf is Poisson.
    """
    if shape == math.inf:
        found = [r + mean * _delta(curve, orders, math.log1p(1 / (a - 1))) for a, r in zip(orders, curve, strict=True)]
    else:
        log_gamma = math.log(stopping_rate(mean, shape))
        pairs = zip(orders, curve, strict=True)
        once = (1 + shape) * min((1 - 1 / a) * r - log_gamma / a for a, r in pairs)
        found = [r + once for r in curve]
    found = [r + math.log(mean) / (a - 1) for a, r in zip(orders, found, strict=True)]
    for i in reversed(range(len(found) - 1)):  # a divergence grows with its order
        found[i] = min(found[i], found[i + 1])
    return found


def stopping_rate(mean: float, shape: float) -> float:
    """Gamma of the truncated negative binomial distribution with this mean, rounded down: less of it costs more.

    Its mean falls in gamma, from infinity to 1 (their Definition 1).
    """

    def above(gamma: float) -> bool:
        if shape == 0:
            found = (1 - gamma) / (gamma * -math.log(gamma))
        else:
            found = shape * (1 - gamma) / (gamma * -math.expm1(shape * math.log(gamma)))
        return found >= mean

    low, high = math.log(1e-300), 0.0
    while high - low > 1e-12 * max(1.0, -low):
        middle = (low + high) / 2
        low, high = (middle, high) if above(math.exp(middle)) else (low, middle)
    return math.exp(low)


def _delta(curve: Sequence[float], orders: Sequence[float], epsilon: float) -> float:
    """Delta at ``epsilon`` of one run (Canonne, Kamath & Steinke 2020, arXiv 2004.00010, Proposition 12)."""
    logarithms = (
        (a - 1) * (r - epsilon) + a * math.log1p(-1 / a) - math.log(a - 1) for a, r in zip(orders, curve, strict=True)
    )
    return math.exp(min(0.0, *logarithms))
