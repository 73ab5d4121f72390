"""Does the model treat groups of people alike?"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pellucid.disclosure import held_back, suppressed_groups
from pellucid.errors import BadData
from pellucid.evidence import Evidence, Subject
from pellucid.explain.disparities import LEAST_P, Disparities, disparities
from pellucid.explain.groups import CROSS, Names, crossed, group_names
from pellucid.explain.inputs import by_column
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, versions
from pellucid.explain.predictions import Predictions
from pellucid.explain.ranking import AUC_ROUNDING
from pellucid.explain.rates import ColumnFairness, column_fairness

__all__ = [
    "Fairness",
    "compare_groups",
]


@dataclass(frozen=True, slots=True)
class Fairness:
    """Rates by group for every special column.

    ``intersections`` (pairs of columns, ``"gender × age"``) and ``disparities`` are None where not asked for. Of more
    than two classes a group has its accuracy, and a gap is that of the class where it is largest.
    """

    columns: Mapping[str, ColumnFairness]
    minimum_cell: int
    intersections: Mapping[str, ColumnFairness] | None = None
    disparities: Disparities | None = None
    classes: int = 2

    def values(self) -> dict[str, Any]:
        """The values of ``fairness`` evidence, version 1; what was not asked for has no key."""
        found: dict[str, Any] = {
            "minimum_cell": self.minimum_cell,
            "columns": {name: column.values() for name, column in self.columns.items()},
        }
        if self.intersections is not None:
            found["intersections"] = {name: column.values() for name, column in self.intersections.items()}
        if self.disparities is not None:
            found["disparities"] = self.disparities.values()
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        two = self.classes == 2
        small = (
            "AUC, true and false positive rate of a group with fewer people of a class are absent and not in the "
            "differences"
            if two
            else "true and false positive rates of a group with fewer people of a class are not in the differences"
        )
        found: dict[str, Any] = {
            "data": "held-out split",
            **({"auc": f"DeLong 1988, {AUC_ROUNDING}"} if two else {}),
            "rates": ROUNDING,
            "differences": ("" if two else "each class against the rest, and the class where it is largest: ")
            + "largest minus smallest published rate; equalized odds: the larger of the gaps in true and "
            "false positive rate",
            "difference_intervals": "from the published rates: Newcombe 1998, method 10, at a level that holds for all "
            "pairs of groups together (Bonferroni)",
            "suppression": f"groups below {self.minimum_cell} people, then the next smallest until the suppressed "
            f"ones are two and together {self.minimum_cell} people, so that no total gives one away; groups that an "
            f"earlier report would give a few people of away by subtraction are suppressed like them; {small}",
            "libraries": versions("fairlearn", "numpy"),
        }
        if self.intersections is not None:
            found["intersections"] = (
                "every pair of columns; beside small cells further ones are suppressed, until by linear programming "
                f"the published totals leave each small cell uncertain by {self.minimum_cell} people or more"
            )
        if self.disparities is not None:
            found["disparities"] = (
                "each group against the other published groups of its column, of two groups the first only; Fisher's "
                "exact test of the published rates, each moved by its rounding towards the other, adjusted over all "
                "tests of this record (Benjamini and Hochberg 1995); differences with Newcombe's interval (1998, "
                f"method 10); p and q rounded up to two digits, from {LEAST_P:g}"
            )
            found["libraries"] = versions("fairlearn", "numpy", "scipy")
        return found

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("fairness", subject, self.values(), self.how(), "uncovered", tier="auditor")


def compare_groups(
    predictions: Predictions,
    groups: Mapping[str, npt.NDArray[Any]],
    *,
    minimum_cell: int = MINIMUM_CELL,
    intersections: bool = False,
    level: float | None = None,
    before: Mapping[str, Sequence[Mapping[str, int]]] | None = None,
    classes_before: Mapping[str, Sequence[Mapping[tuple[str, int], int]]] | None = None,
) -> Fairness:
    """Rates of every group of every column of ``groups``, and the gaps between them, with 95 % intervals.

    Args:
        predictions: Of a model; of more than two classes each is held against the rest, and the largest gap counts.
        groups: Column → (N,) text, the group of each row. At least one column.
        minimum_cell: Groups below this many people, and rates by truth of groups with fewer of a class, are
            suppressed; at least ten.
        intersections: Whether every pair of columns is compared too.
        level: The share of false discoveries to put up with, in (0, 1), if each group is to be tested against the
            others of its column; all tests of the call are adjusted together.
        before: Column (or two joined by ``×``) → for each publication about an earlier population: group → the number
            that was published. Groups that differ by a few people are suppressed (:mod:`pellucid.disclosure`).
        classes_before: The same by group and class: rates by truth of groups that differ by a few people of a class are
            absent.

    Raises:
        BadData: No column, a column of the wrong length, with missing names or named as a pair of others, a minimum
            cell below ten, or a level outside (0, 1).
    """
    predictions.require("fairness", two_classes=False)
    if minimum_cell < MINIMUM_CELL:
        raise BadData(f"cells below {MINIMUM_CELL} people are never published", where="minimum_cell")
    groups = by_column(groups, "groups")
    if not groups:
        raise BadData(
            "there is no column of groups to compare", where="groups", fix="declare a special column in the schema"
        )
    if level is not None and not 0 < level < 1:
        raise BadData("the level of false discoveries lies between 0 and 1", where="level")
    names = {name: group_names(values, len(predictions), name) for name, values in groups.items()}
    found, pairs, earlier, of_class = {}, {}, before or {}, classes_before or {}
    for name, rows in names.items():
        sizes = Counter(rows.tolist())
        hidden = suppressed_groups(sizes, minimum_cell, held_back(sizes, earlier.get(name, ()), minimum_cell))
        held = _held(predictions, rows, of_class.get(name, ()), minimum_cell)
        found[name] = column_fairness(predictions, rows, hidden, minimum_cell, held)
    for one, two in itertools.combinations(names, 2) if intersections else ():
        title = f"{one}{CROSS}{two}"
        if title in groups:
            raise BadData(
                f'a column is named "{title}", as the pair of two others',
                where=title,
                fix="give the column another name",
            )
        cross, hidden = crossed(names[one], names[two], minimum_cell, earlier.get(title, ()), where=title)
        held = _held(predictions, cross, of_class.get(title, ()), minimum_cell)
        pairs[title] = column_fairness(predictions, cross, hidden, minimum_cell, held)
    return Fairness(
        found,
        minimum_cell,
        intersections=pairs if intersections else None,
        disparities=None if level is None else disparities({**found, **pairs}, level),
        classes=predictions.classes,
    )


def _held(
    predictions: Predictions, rows: Names, before: Sequence[Mapping[tuple[str, int], int]], minimum_cell: int
) -> frozenset[str]:
    """Groups of which an earlier publication named nearly as many people of a class, and not as many."""
    sizes = Counter(zip(rows.tolist(), predictions.labels.tolist(), strict=True))
    return frozenset(
        group
        for published in before
        for group, _ in held_back({key: n for key, n in sizes.items() if key in published}, [published], minimum_cell)
    )
