"""Do the methods at hand rank the columns alike? If not, no ranking of them should be read, and that is said."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pellucid.explain.explanation import Explanation
from pellucid.explain.intervals import Floats
from pellucid.explain.ranking import midranks, spearman
from pellucid.explain.validity import rowwise

__all__ = ["DISAGREE", "Rankings", "compare_rankings", "top_overlap"]

LEAST: Final = 0.7  # Spearman of two rankings: below it less than half of the variance of places is shared
SHARED: Final = 2  # of the three leading columns
PLACES: Final = 3  # apart, and a column is disputed
DISAGREE: Final = "they disagree here: do not read the ranking"
AGREE: Final = "they agree: the leading columns may be read"


@dataclass(frozen=True, slots=True)
class Rankings:
    """Places of the columns by two methods or more.

    Attributes:
        places: By method, the place of each column: 1 is the first, ties share the mean.
        spearman: The lowest rank correlation of two methods; None where one ranks nothing.
        top3: The smallest share of three leading columns that two methods name; None as above.
        disputed: Columns whose places by two methods are three or more apart.
    """

    places: Mapping[str, Mapping[str, float]]
    spearman: float | None
    top3: float | None
    disputed: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Whether every two methods correlate by 0.7 or more and share two of the three leading columns."""
        if self.spearman is None or self.top3 is None:
            return False
        return self.spearman >= LEAST and round(3 * self.top3) >= SHARED

    def values(self) -> dict[str, Any]:
        """Whether the ranking may be read; if not, whose places are disputed."""
        found: dict[str, Any] = {"verdict": AGREE if self.agree else DISAGREE}
        for name in ("spearman", "top3"):
            if (value := getattr(self, name)) is not None:
                found[name] = round(value, 6)
        if not self.agree:
            found["disputed"] = list(self.disputed)
        return found

    def how(self) -> Mapping[str, Any]:
        """How the verdict was made."""
        return {
            "methods": list(self.places),
            "rule": f"every two rankings correlate by {LEAST} or more (Spearman), and share {SHARED} of the 3 leading "
            "columns",
            "disputed": f"places {PLACES} or more apart; 1 is the first",
        }


def compare_rankings(explanation: Explanation) -> Rankings | None:
    """Compare the rankings by attribution, permutation importance and Shapley values, as far as they are there.

    Returns:
        None with a single method, or fewer than three columns.
    """
    columns = explanation.attribution.columns
    sizes = {"attribution": np.array(list(explanation.attribution.magnitude().values()))}
    for name, measured in (("permutation", explanation.importance), ("shapley", explanation.shapley)):
        if measured is not None:
            sizes[name] = np.array([measured.columns[column].value for column in columns])
    if len(sizes) < 2 or len(columns) < 3:
        return None
    places = {name: midranks(-size) for name, size in sizes.items()}
    pairs = list(itertools.combinations(sizes.values(), 2))
    spread = np.ptp(np.stack(list(places.values())), axis=0)
    return Rankings(
        places={name: dict(zip(columns, place.tolist(), strict=True)) for name, place in places.items()},
        spearman=_least([spearman(left, right) for left, right in pairs]),
        top3=_least([top_overlap(left, right) for left, right in pairs]),
        disputed=tuple(column for column, apart in zip(columns, spread, strict=True) if apart >= PLACES),
    )


def top_overlap(left: Floats, right: Floats, count: int = 3) -> float | None:
    """Share of the ``count`` largest entries of ``left`` that are among those of ``right`` (all, if fewer).

    Columns that tie for the last places share them, below 0 is not important, and where one of the two tells no column
    from another there is nothing to agree on: None.
    """
    found = rowwise.top(np.maximum(left, 0.0)[None], np.maximum(right, 0.0)[None], min(count, left.size))
    return float(found[0]) if found.size else None


def _least(found: list[float | None]) -> float | None:
    known = [value for value in found if value is not None]
    return min(known) if len(known) == len(found) else None
