"""Is one mean above another, and how many such findings are to be believed at once?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from pellucid.explain.intervals import Floats

__all__ = ["Sample", "adjust", "welch"]

STILL: Final = 1e9  # a t above it is a spread of rounding errors
ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sample:
    """Means, each with what a test needs of it. Arrays of one shape.

    Attributes:
        n: How many independent units.
        mean: Their mean.
        variance: ``n`` times the squared standard error of the mean: the usual variance where a unit is one row.
    """

    n: Floats
    mean: Floats
    variance: Floats

    @classmethod
    def of(cls, losses: Floats, people: npt.NDArray[np.int64] | None = None) -> Sample:
        """One mean over ``losses`` (n,), n >= 1, as arrays of shape (1,).

        Args:
            losses: By row.
            people: (n,) who each row is about. Rows of one person are not independent: the variance is then that of a
                ratio of sums by person (cluster-robust; Liang and Zeger 1986, Biometrika 73), and ``n`` counts people.
        """
        mean = float(losses.mean())
        spread = losses - mean
        if people is not None:
            _, place = np.unique(people, return_inverse=True)
            spread = np.bincount(place, weights=spread) * (place.max() + 1) / losses.size
        n = spread.size
        return cls(np.array([float(n)]), np.array([mean]), np.array([float(spread @ spread) / max(n - 1, 1)]))


def welch(inside: Sample, outside: Sample, *, level: float = 0.5) -> tuple[Floats, Floats]:
    """Welch's t of ``inside`` above ``outside`` and its one-sided p-value (Welch 1947, Biometrika 34).

    The variance inside is never taken below the variance outside. A few people can agree by chance, all wrong or all
    right, and a spread of nothing would then prove anything. Losses are skewed to the right, so that a slice with a
    higher mean nearly always has the higher variance too, and this is Welch's test as it stands.

    Args:
        inside: The means that may be above.
        outside: What they are held against, in the same shape.
        level: At most 0.5. A p-value above it is given as 1, which saves most of the work when millions are asked for.

    Returns:
        t and p, in the shape of the samples. Below two units p is 1, and t is 0. Where losses vary neither inside nor
        outside, the variance about the common mean stands in (t is then sqrt(n + m - 1)); without a difference p is 1.
    """
    n, m = inside.n, outside.n
    gap = inside.mean - outside.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.maximum(inside.variance, outside.variance) / n
        b = outside.variance / m
        t = gap / np.sqrt(a + b)
    still = np.abs(t) > STILL
    t = np.where(still, np.copysign(np.sqrt(n + m - 1), gap), t)
    t = np.where(np.isnan(t) | (n < 2) | (m < 2), 0.0, t)
    # the normal tail is the lightest of all t tails: below its quantile, every p-value is above the level
    tail = np.flatnonzero((t > 0) & (t >= special.ndtri(1.0 - level)))
    # a difference in the last digits of a mean is one of rounding, and equal losses have no other spread either
    sizes = np.maximum(np.abs(inside.mean[tail]), np.abs(outside.mean[tail]))
    tail = tail[gap[tail] > ROUNDING * sizes]
    part = a[tail] / np.where(still[tail], 1.0, a[tail] + b[tail])
    freedom = 1.0 / (part**2 / (n[tail] - 1) + (1.0 - part) ** 2 / (m[tail] - 1))
    p = np.ones_like(t)
    p[tail] = special.stdtr(np.where(still[tail], n[tail] + m[tail] - 2, freedom), -t[tail])
    return t, np.where(p > level, 1.0, p)


def adjust(p: Floats, tests: int) -> Floats:
    """Benjamini and Hochberg's adjusted p-values: to keep those at or below q keeps the false discovery rate at q.

    Args:
        p: (k,) the k smallest p-values of ``tests``. Those left out must be above every level q that is asked for, for
            then they change nothing at or below it.
        tests: How many tests were made, at least k.

    Source: Benjamini and Hochberg 1995, JRSS B 57(1).
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * tests / np.arange(1, p.size + 1)
    adjusted = np.empty_like(scaled)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
