"""Do the attributions of a row add up to what they explain? What they miss by, measured against the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pellucid.errors import UnsupportedModel
from pellucid.explain.intervals import Floats

__all__ = ["REMEDY", "Gap", "incomplete", "measure"]

REMEDY: Final = (
    "use a smoother activation, or raise the tolerance and say so; again(model, x, attribution) explains a model with "
    "other weights, such as a randomised one, exactly as the first was explained, whatever its gap"
)


@dataclass(frozen=True, slots=True)
class Gap:
    """What attributions miss by, in units of mean |f(x) − f(baseline)| over rows.

    Attributes:
        mean: The mean miss of a row.
        max: The largest miss of a row.
    """

    mean: float
    max: float


def measure(total: Floats, change: Floats) -> Gap:
    """The completeness gap of attributions that sum to ``total`` (N,) where ``change`` (N,) = f(x) − f(baseline)."""
    miss, size = np.abs(total - change), float(np.abs(change).mean())
    if size == 0.0:
        # A model that answers every row as the baseline is explained exactly by zeros, and by nothing else.
        exact = 0.0 if float(miss.max()) == 0.0 else np.inf
        return Gap(exact, exact)
    return Gap(float(miss.mean()) / size, float(miss.max()) / size)


def incomplete(gap: Gap, work: str, tolerance: float, *, fix: str = REMEDY) -> UnsupportedModel:
    """The refusal of attributions that do not add up after ``work``, such as ``64 steps``."""
    return UnsupportedModel(
        f"attributions miss the model's answers by {gap.mean:.2g} of their size with {work}, "
        f"above the tolerance of {tolerance:g}",
        where="attribution",
        fix=fix,
    )
