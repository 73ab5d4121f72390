"""Do predicted probabilities mean what they say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import suppressed_groups
from pellucid.errors import BadData
from pellucid.evidence import Estimate, Evidence, Subject, round_down
from pellucid.explain.brier import BrierSplit, brier, brier_split
from pellucid.explain.groups import group_names
from pellucid.explain.inputs import by_column, check_seed
from pellucid.explain.intervals import MEANS, MINIMUM_CELL, ROUNDING, coarse, step, versions
from pellucid.explain.predictions import Predictions
from pellucid.explain.reliability import BINS, Bin, reliability

__all__ = [
    "Calibration",
    "ColumnCalibration",
    "GroupCalibration",
    "measure_calibration",
]

RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class GroupCalibration:
    """Calibration error and Brier score of one group."""

    group: str
    n: int
    ece: Estimate
    brier: Estimate

    def values(self) -> dict[str, Any]:
        """The record of one group."""
        return {"group": self.group, "n": self.n, "ece": self.ece.values(), "brier": self.brier.values()}


@dataclass(frozen=True, slots=True)
class ColumnCalibration:
    """One column: its published groups, and the names of those that are not."""

    groups: tuple[GroupCalibration, ...]
    suppressed: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """The record of one column."""
        return {"groups": [group.values() for group in self.groups], "suppressed": list(self.suppressed)}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, Brier score and the reliability diagram.

    Over more than two classes the calibration error is that of the most probable class, and the Brier score the sum
    over classes, in [0, 2]. ``split`` and ``columns`` are None where they were not asked for.
    """

    ece: Estimate
    brier: Estimate
    bins: tuple[Bin, ...]
    plugin: float
    resamples: int
    seed: int
    classes: int = 2
    split: BrierSplit | None = None
    columns: Mapping[str, ColumnCalibration] | None = None

    def values(self) -> dict[str, Any]:
        """The values of ``calibration`` evidence, version 1; what was not asked for has no key."""
        found = {"ece": self.ece.values(), "brier": self.brier.values(), "bins": [b.values() for b in self.bins]}
        if self.split is not None:
            found["split"] = self.split.values()
        if self.columns is not None:
            found["columns"] = {name: column.values() for name, column in self.columns.items()}
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        found = {
            "data": "held-out split",
            "bins": f"{BINS} of equal width over [0, 1], merged with a neighbour up to {MINIMUM_CELL} people",
            "ece": "plug-in less its bias under normal noise of the observed rates (Kumar, Liang and Ma 2019), from 0",
            "ece_plugin": coarse(self.plugin, step(self.ece.n)),
            "ece_interval": f"95 %, conservative; above: plug-in plus 1.96 standard errors over {self.resamples} "
            "bootstrap resamples, in bins of one outcome Wilson's far end; below: plug-in less the 97.5 % quantile of "
            "the bins' mean absolute noise",
            "seed": self.seed,
            "brier": "mean squared error of the probability, normal interval",
            "rates": ROUNDING,
            "means": MEANS,
            "libraries": versions("numpy"),
        }
        if self.classes > 2:
            found["classes"] = self.classes
            found["event"] = "the most probable class is the right one (top-label calibration, Guo et al. 2017)"
            found["brier"] = "squared error of the probabilities summed over classes, from 0 to 2, normal interval"
        if self.split is not None:
            found["split"] = (
                "Murphy 1973 with the terms within bins of Stephenson, Coelho and Jolliffe 2008, over the bins above; "
                "over more than two classes the sum of one against rest. Intervals: the debiased term (Ferro and "
                f"Fricker 2012) give or take 1.96 standard errors over {self.resamples} bootstrap resamples, and "
                "wide enough to hold the plug-in"
            )
        if self.columns is not None:
            found["suppression"] = (
                f"groups with fewer than {MINIMUM_CELL} people of some class, then the next smallest until the "
                f"suppressed ones are two and together {MINIMUM_CELL} people of it, so that no total gives one away"
            )
        return found

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("calibration", subject, self.values(), self.how(), "uncovered", tier="auditor")


def measure_calibration(
    predictions: Predictions,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    split: bool = False,
    groups: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Calibration:
    """Reliability bins, debiased expected calibration error and Brier score, with 95 % intervals.

    Args:
        predictions: Of a model of any number of classes.
        resamples: Bootstrap resamples of rows for the calibration error, at least two.
        seed: Public: it draws resamples of evaluation rows, no noise.
        split: Whether the Brier score is taken apart.
        groups: Column → (N,) text, the group of each row, for calibration by group.

    Raises:
        BadData: One class only, fewer than ten people of a class, fewer than two resamples, or a column of groups of
            the wrong length or with missing names.
    """
    predictions.require("calibration", two_classes=False)
    check_seed(seed)
    if resamples < 2:
        raise BadData("an interval needs at least two resamples", where="resamples")
    ece, bins, plugin = reliability(predictions, resamples, np.random.default_rng(seed))
    columns = None
    if groups is not None:
        columns = {
            name: _by_group(predictions, group_names(values, len(predictions), name), resamples, [seed, place])
            for place, (name, values) in enumerate(by_column(groups, "groups").items())
        }
    return Calibration(
        ece=ece,
        brier=brier(predictions),
        bins=bins,
        plugin=plugin,
        resamples=resamples,
        seed=seed,
        classes=predictions.classes,
        split=brier_split(predictions, resamples, np.random.default_rng([seed, 0, 1])) if split else None,
        columns=columns,
    )


def _by_group(
    predictions: Predictions, rows: npt.NDArray[np.str_], resamples: int, seed: list[int]
) -> ColumnCalibration:
    names, place = np.unique(rows, return_inverse=True)
    cells = np.zeros((len(names), predictions.classes), dtype=np.int64)
    np.add.at(cells, (place, predictions.labels), 1)
    # a group counts for as much as its rarest class does
    hidden = suppressed_groups(dict(zip(names.tolist(), cells.min(axis=1).tolist(), strict=True)))
    published = []
    for number, name in enumerate(names.tolist()):
        if name in hidden:
            continue
        part = Predictions(predictions.logits[place == number], predictions.labels[place == number])
        ece, _, _ = reliability(part, resamples, np.random.default_rng([*seed, number]))
        published.append(GroupCalibration(name, round_down(len(part)), ece, brier(part)))
    return ColumnCalibration(tuple(published), hidden)
