"""Which fields matter over all people? The size of many noisy numbers, without counting their noise as size.

The mean |value| over rows grows with every error in a value. Its square less the square of its standard error has the
square of the true value as expectation, whatever the noise; the mean over rows of that is unbiased, and its root is the
strength of a field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import BadData
from pellucid.evidence import Coverage, Estimate, Evidence, Subject, Tier, round_down
from pellucid.explain.intervals import MEANS, MINIMUM_CELL, Floats, Mean, Z, grid_of
from pellucid.explain.shapley import ShapleyValues

__all__ = ["Strength", "measure_strength", "root_mean_square"]


@dataclass(frozen=True, slots=True)
class Strength:
    """The importance of each field: the root mean square of its Shapley values over rows.

    Attributes:
        columns: By field, with a 95 % interval over rows and walks; the background rows are taken as given.
        standard_error: By field, of ``columns``; in the units of the score.
        source: What the values are and how they were made.
    """

    columns: Mapping[str, Estimate]
    standard_error: Mapping[str, float] = field(repr=False)
    source: ShapleyValues

    @property
    def relative_error(self) -> float:
        """The largest standard error, relative to the largest importance; 0 where nothing matters."""
        top = max(estimate.value for estimate in self.columns.values())
        return max(self.standard_error.values()) / top if top else 0.0

    def values(self) -> dict[str, Any]:
        """The values of ``explanation`` evidence, version 1."""
        return {
            "method": "shapley",
            "importance": {name: estimate.values() for name, estimate in self.columns.items()},
            "importance_method": "Shapley values, root mean square over rows",
            "completeness_gap": self.source.values()["completeness_gap"],
        }

    def how(self) -> Mapping[str, Any]:
        """How the importances were made."""
        return {
            "importance": "root of the mean over rows of value² − standard error²: noise is not counted as size",
            "interval": "normal on the squared scale, over rows and walks; the background rows are taken as given",
            "rounding": MEANS,
            "values": dict(self.source.how()),
        }

    def error(self) -> Mapping[str, Any]:
        """How wrong the values may be; importances carry their own intervals."""
        return {name: value for name, value in self.source.values().items() if name != "method"}

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: uncovered as soon as a row or a background row is a person's."""
        covered = self.source.covered
        coverage: Coverage = "post-processing" if covered else "uncovered"
        tier: Tier = "public" if covered else "auditor"
        return Evidence("explanation", subject, self.values(), self.how(), coverage, self.error(), tier)


def measure_strength(values: ShapleyValues) -> Strength:
    """How strongly each field moves the answers: not biased by the noise of the values, however few their walks.

    Raises:
        BadData: Fewer than two rows, or fewer than ten private ones.
    """
    least = 2 if values.public else MINIMUM_CELL
    if len(values.rows) < least:
        raise BadData(f"an importance over fewer than {least} rows is not published", where="values")
    noise = 0.0 if values.standard_error is None else values.standard_error**2
    squares = values.rows**2 - noise
    columns, errors = {}, {}
    for name, column in zip(values.fields.names, squares.T, strict=True):
        found, errors[name] = root_mean_square(column)
        grid = 0.0 if values.covered else grid_of(np.sqrt(np.maximum(column, 0.0)))
        columns[name] = Mean(found.value, found.low, found.high, found.n, grid)
    return Strength(columns, errors, values)


def root_mean_square(squares: Floats) -> tuple[Estimate, float]:
    """The root of the mean of unbiased estimates (N,) of squares, N >= 2, and its standard error.

    The interval is normal for the mean square and then taken to the root, which also holds near 0, where a root is not
    normal. There the standard error, by the delta method elsewhere, is the root of that of the mean square.
    """
    centre = float(squares.mean())
    error = float(squares.std(ddof=1)) / math.sqrt(len(squares))
    value, people = math.sqrt(max(0.0, centre)), round_down(len(squares))
    low, high = (math.sqrt(max(0.0, centre + side * Z * error)) for side in (-1, 1))
    if error == 0.0:
        return Estimate(value, value, value, people), 0.0
    return Estimate(value, low, high, people), error / (2 * value) if value**2 > error else math.sqrt(error)
