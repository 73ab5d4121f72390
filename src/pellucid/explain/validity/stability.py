"""Would another run rank the fields the same way? Rank intervals over seeds or checkpoints, and a plain verdict.

At a small epsilon one ranking is one draw of the noise. A field is placed only where the intervals of its rank over
several runs part from those of all others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pellucid.errors import BadData
from pellucid.explain import ranking
from pellucid.explain.intervals import Floats, versions
from pellucid.explain.validity import rowwise

__all__ = ["DO_NOT_INTERPRET", "INTERPRET", "RankInterval", "Stability", "compare_runs"]

INTERPRET: Final = "interpret"
DO_NOT_INTERPRET: Final = "do not interpret"
CONFIDENCE: Final = 0.95
RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class RankInterval:
    """Where a field stands: 1 is the most important.

    Attributes:
        value: Mean rank over runs.
        low: Lower end of the interval of its median rank.
        high: Upper end.
        stable: The interval overlaps with that of no other field.
    """

    value: float
    low: float
    high: float
    stable: bool

    def values(self) -> dict[str, float]:
        """The record of one field."""
        return {"value": round(self.value, 6), "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Stability:
    """How stable a ranking of fields is over runs of the same training.

    Attributes:
        ranks: By field, the most important first.
        level: Confidence of the rank intervals; below 0.95 with fewer than six runs, which is then the widest there is.
        kendall_w: Kendall's coefficient of concordance, corrected for ties: 1 is the same order in every run, 0 none.
            Absent with one field, or where no run tells fields apart.
        spearman_mean: Mean rank correlation of two runs; absent with fewer than three fields.
        spearman_low: The lowest rank correlation of two runs.
        top: How many leading fields the verdict is about.
        runs: How many runs.
        varied: What differs between runs, in words.
        public: No person was looked at: importances of private weights on public rows.
    """

    ranks: Mapping[str, RankInterval]
    level: float
    kendall_w: float | None
    spearman_mean: float | None
    spearman_low: float | None
    top: int
    runs: int
    varied: str
    public: bool

    @property
    def stable(self) -> tuple[str, ...]:
        """The fields whose place is settled, the most important first."""
        return tuple(name for name, rank in self.ranks.items() if rank.stable)

    @property
    def interpret(self) -> bool | None:
        """Whether every one of the ``top`` leading fields is stable; None with one field, which has no rank."""
        if len(self.ranks) < 2:
            return None
        return all(rank.stable for rank in itertools.islice(self.ranks.values(), self.top))

    def values(self) -> dict[str, Any]:
        """The values of this test; what is absent has no key."""
        found: dict[str, Any] = {
            "ranks": {name: rank.values() for name, rank in self.ranks.items()},
            "stable": list(self.stable),
            "level": round(self.level, 6),
            "runs": self.runs,
        }
        for name in ("kendall_w", "spearman_mean", "spearman_low"):
            if (value := getattr(self, name)) is not None:
                found[name] = round(value, 6)
        if self.interpret is not None:
            found["interpret"] = self.interpret
            found["verdict"] = INTERPRET if self.interpret else DO_NOT_INTERPRET
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "runs": self.varied,
            "rank": "1 is the most important, ties share the mean; value: mean over runs",
            "interval": "order statistics: distribution-free interval of the median rank, at the level that is given",
            "stable": "the interval of a field overlaps with that of no other",
            "verdict": f'"{INTERPRET}" if each of the {self.top} leading fields is stable',
            "concordance": "Kendall's W, corrected for ties; Spearman of each pair of runs",
            "libraries": versions("numpy"),
        }


def compare_runs(
    importances: Floats,
    names: Sequence[str],
    *,
    top: int = 3,
    varied: str = "training runs with other seeds",
    public: bool = False,
) -> Stability:
    """Rank the fields in each run and see where the ranks part.

    Args:
        importances: (runs, fields), larger is more important; three runs or more. Every run is a model of its own, and
            has its own place in the data set's budget.
        names: One a field, no two the same.
        top: How many leading fields must be stable; all, if there are fewer.
        varied: What differs between runs, for the record.
        public: The importances are post-processing: private weights, rows made without the data.

    Raises:
        BadData: Fewer than three runs, shapes that do not match, a number that is not finite, or ``top`` below one.
    """
    table = np.asarray(importances, dtype=np.float64)
    if table.ndim != 2 or len(table) < RUNS or table.shape[1] == 0:
        raise BadData(
            f"a ranking can be compared over {RUNS} runs or more, of the same fields: {table.shape}",
            where="importances",
            fix="train again with other seeds; each run is paid from the budget",
        )
    if not np.isfinite(table).all():
        raise BadData("importances hold NaN or infinity", where="importances")
    if len(set(names)) != table.shape[1] or len(names) != table.shape[1]:
        raise BadData("every field needs a name of its own", where="names")
    if top < 1:
        raise BadData("at least one field is needed", where="top")
    ranks = rowwise.midranks(-table)
    trim, level = _order_statistic(len(ranks))
    ordered = np.sort(ranks, axis=0)
    low, high = ordered[trim], ordered[-1 - trim]
    overlaps = ((low[:, None] <= high) & (low <= high[:, None])).sum(axis=1) - 1  # itself
    mean = ranks.mean(axis=0)
    pairs = [ranking.spearman(a, b) for a, b in itertools.combinations(table, 2)]
    there = [value for value in pairs if value is not None]
    return Stability(
        ranks={
            names[place]: RankInterval(
                float(mean[place]), float(low[place]), float(high[place]), stable=bool(overlaps[place] == 0)
            )
            for place in np.argsort(mean, kind="stable").tolist()
        },
        level=level,
        kendall_w=_concordance(ranks),
        spearman_mean=float(np.mean(there)) if there else None,
        spearman_low=min(there) if there else None,
        top=min(top, table.shape[1]),
        runs=len(table),
        varied=varied,
        public=public,
    )


def _order_statistic(runs: int) -> tuple[int, float]:
    """How many runs to leave out at either end, and the confidence of the interval of the median that is left.

    The median lies outside the order statistics k+1 and R−k with a chance of 2 P(Bin(R, 1/2) <= k) at most
    (David and Nagaraja 2003, section 7.1).
    """
    from scipy.special import bdtr

    trims = [trim for trim in range((runs + 1) // 2) if 1 - 2 * float(bdtr(trim, runs, 0.5)) >= CONFIDENCE]
    trim = max(trims, default=0)
    return trim, 1 - 2 * float(bdtr(trim, runs, 0.5))


def _concordance(ranks: Floats) -> float | None:
    """Kendall's W of ranks (runs, fields), corrected for ties (Siegel and Castellan 1988, section 9.6)."""
    # The sum of squared deviations of a run's ranks is (F³ − F − Σ(t³ − t)) / 12: ties are in it already.
    each = ((ranks - ranks.mean(axis=1, keepdims=True)) ** 2).sum()
    if each == 0:
        return None
    total = ranks.sum(axis=0)
    return float(((total - total.mean()) ** 2).sum() / (len(ranks) * each))
