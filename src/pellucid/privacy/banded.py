"""Banded matrix factorisation: noise that cancels in the sum over steps, and why it costs what it costs. Pure numbers.

The mechanism (Choquette-Choo et al. 2023, arXiv 2306.08153): let row t of X be the clipped sum of step t divided by the
clip, C the strategy, a lower triangular Toeplitz matrix with ``bands`` diagonals and columns of norm at most 1, and Z
independent normal noise of standard deviation sigma. What is released is ``C⁻¹(CX + Z) = X + C⁻¹Z``. Row t needs the
last ``bands - 1`` rows of ``C⁻¹Z`` and no more. The coefficients are the first ones of ``(1 - x)^(-1/2)``, the square
root of the matrix of running sums (Kalinin & Lampert 2024, arXiv 2405.13763).

Sampling: before the first step every unit is put into one of ``bands`` groups, and step t draws a Poisson sample from
group ``t mod bands`` with probability ``p = min(1, rate · bands)``.

Theorem (2306.08153, section 4, for adding or removing one unit). The run's n steps are dominated by ``ceil(n / bands)``
adaptively composed Poisson-sampled Gaussians of rate p and noise multiplier sigma.

1. *The groups.* Each unit's group is drawn on its own, independent of the data and of who else is there. Then the
   others are grouped alike with or without the unit, and its own group has one distribution; a hockey-stick or Rényi
   divergence of mixtures with equal weights is at most the largest of the parts, so that it is enough to bound the run
   given all groups. Cutting a shuffled list into equal parts does not do: one person more moves others to other
   groups, and the bound would hold for replacing a record by nothing (zero-out) only. That the draw is uniform matters
   to the expected batch, ``p · units / bands``, and not to privacy.
2. *Columns.* A unit of group j takes part in steps j, j + bands, … only, at most ``ceil(n / bands)`` of them. Column t
   of C lives in rows t … t + bands - 1, so that the columns of these steps are on disjoint rows: k participations add
   a vector of norm at most sqrt(k), and no two share noise.
3. *Time.* In rows t … t + bands - 1 the outputs differ from those without the unit by ``B · c ⊗ g``, with c the column,
   g its clipped gradient over the clip, which is fixed once the outputs before t are, and B the coin of its sample.
   What the others add to these rows may depend on outputs in between, but is computed from them alone, given their own
   coins, and can be subtracted. What is left, ``B · c ⊗ g + Z`` with ``‖c‖·‖g‖ <= 1``, is a Poisson-sampled Gaussian
   given all that went before.

The first k rows are the same mechanism of k steps, so that a run stopped there costs ``ceil(k / bands)`` of them.
A run that goes on after a stop with groups drawn anew is another event: two events never merge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from pellucid.errors import BadPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["banded_coefficients", "correlate", "prefix_error"]


def banded_coefficients(bands: int, steps: int) -> tuple[float, ...]:
    """The diagonals of the strategy, from the main one down: ``bands`` numbers, falling and above 0.

    Those of the square root ``(1 - x)^(-1/2) = 1 + x/2 + 3x²/8 + …``, divided by their norm: the sum of their squares
    is at most 1 in exact arithmetic, and less by rounding only.

    Args:
        bands: At least 1; 1 is independent noise.
        steps: Of the whole run, at least ``bands``.

    Raises:
        BadPlan: Out of range.
    """
    if not 1 <= bands <= steps:
        raise BadPlan(f"bands must be from 1 to the {steps} steps of the run; it is {bands}", where="bands")
    root = list(itertools.accumulate(range(1, bands), lambda before, k: before * (2 * k - 1) / (2 * k), initial=1.0))
    norm = math.sqrt(math.fsum(value * value for value in root))
    while True:
        found = tuple(value / norm for value in root)
        if sum(Fraction(value) ** 2 for value in found) <= 1:
            return found
        norm = math.nextafter(norm, math.inf)


def correlate(z: NDArray[np.float64], coefficients: Sequence[float]) -> NDArray[np.float64]:
    """``C⁻¹z`` by the recurrence ``w[t] = (z[t] - Σ c[k]·w[t-k]) / c[0]``.

    Args:
        z: One row a step, of any shape.
        coefficients: As :func:`banded_coefficients` gives them.

    Returns:
        As ``z``: correlated noise, of which row t depends on the rows of ``z`` up to t.
    """
    first, *rest = coefficients
    found = z.copy()
    for step in range(len(found)):
        for back, coefficient in enumerate(rest[:step], start=1):
            found[step] -= coefficient * found[step - back]
        found[step] /= first
    return found


def prefix_error(coefficients: Sequence[float], steps: int) -> float:
    """Root mean square, over the steps, of the noise in the running sum, for noise multiplier 1 and clip 1.

    The running sum is where plain SGD stands after that step. The error is ``‖AC⁻¹‖_F / sqrt(steps)`` with A the lower
    triangle of ones; ``sqrt((steps + 1) / 2)`` for independent noise. A plan's is this times its noise multiplier,
    which at equal epsilon grows with the bands: more of them are better only up to a point.
    """
    first, *rest = coefficients
    inverse: list[float] = []
    for step in range(steps):
        past = math.fsum(c * value for c, value in zip(rest, reversed(inverse), strict=False))
        inverse.append(((step == 0) - past) / first)
    sums = itertools.accumulate(inverse)
    return math.sqrt(math.fsum((steps - step) * value * value for step, value in enumerate(sums)) / steps)
