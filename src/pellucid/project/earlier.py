"""What was published before about other data of the same people, so that nobody learns by subtraction who came.

Other data is another version, what stewards said was made of it (``lineage``), or another share of the same data held
out: the people held out at one share are among those at every larger one.

The record of it is the log: what evidence about models of other versions says. The rule is
:mod:`pellucid.disclosure.differencing`'s. The number of all held-out people stays, rounded to ten; a change over a
multiple of ten shows there (docs/threat-model.md).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pellucid.disclosure import apart, held_back
from pellucid.evidence import Evidence
from pellucid.privacy.folding import related
from pellucid.project.model import models, trained_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.project.model import Trained

__all__ = ["class_counts", "counts", "earlier", "still", "without_shares", "without_slices"]

_WITHHELD: Final = (
    "withheld: an earlier report about other people of this data set would give a few away by subtraction"
)
_SHARES: Final = ("base_rate", "majority_accuracy", "split", "classes")
"""Values of an evaluation, calibration or label errors that depend on the people alone, or tell what does."""


def earlier(trained: Trained) -> tuple[Evidence, ...]:
    """The evidence about models measured on other people of the same data: by version, by lineage, or by share."""
    sealed = trained.sealed
    kin = related(trained.project.counted(), sealed.name)
    found: list[Evidence] = []
    for about in models(trained.project).values():
        training = next(item for item in about if item.kind == "training")
        named, digest = trained_on(training)
        same = digest == sealed.manifest_sha256 and training.values.get("test") == trained.test
        if named.partition("@")[0] in kin and not same:
            found += about
    return tuple(found)


def counts(before: Sequence[Evidence]) -> dict[str, list[dict[str, int]]]:
    """Column (or two joined by ×) → for each earlier fairness statement: group → the number that was published."""
    found: dict[str, list[dict[str, int]]] = {}
    for name, groups in _published(before):
        found.setdefault(name, []).append({group["group"]: int(group["n"]) for group in groups})
    return found


def class_counts(before: Sequence[Evidence]) -> dict[str, list[dict[tuple[str, int], int]]]:
    """Column (or two joined by ×) → for each earlier fairness statement: group and class → the number published."""
    found: dict[str, list[dict[tuple[str, int], int]]] = {}
    for name, groups in _published(before):
        of_class = {
            (group["group"], number): int(group[rate]["n"])
            for group in groups
            for rate, number in (("true_positive_rate", 1), ("false_positive_rate", 0))
            if rate in group
        }
        found.setdefault(name, []).append(of_class)
    return found


def _published(before: Sequence[Evidence]) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Column and its groups, of every fairness statement."""
    for item in before:
        if item.kind == "fairness":
            for name, column in {**item.values["columns"], **item.values.get("intersections", {})}.items():
                yield name, column["groups"]


def still(groups: Mapping[str, NDArray[Any]], before: Sequence[Evidence]) -> dict[str, NDArray[Any]]:
    """The columns of which no group is held back: the others are not broken down in other statements either."""
    published = counts(before)
    return {
        name: rows for name, rows in groups.items() if not held_back(Counter(rows.tolist()), published.get(name, ()))
    }


def without_shares(item: Evidence, n: int, before: Sequence[Evidence]) -> Evidence:
    """Evidence without what tells the shares of the classes, if nearly as many people were evaluated before.

    Args:
        item: Evaluation, calibration or likely label errors.
        n: The number of people of this evaluation, as it is published.
        before: What was published of other people of the same data.
    """
    known = [int(each.values["accuracy"]["n"]) for each in before if each.kind == "evaluation"]
    hidden = [name for name in _SHARES if name in item.values]
    if all(apart(n, each) for each in known) or not hidden:
        return item
    values = {name: value for name, value in item.values.items() if name not in hidden}
    return dataclasses.replace(item, values=values, how={**item.how, **dict.fromkeys(hidden, _WITHHELD)})


def without_slices(slices: Evidence, before: Sequence[Evidence]) -> Evidence:
    """Slices without those of which an earlier statement named nearly as many people, and not the same number."""
    known = [
        {card["where"]: int(card["n"]) for card in item.values.get("slices", ()) if "where" in card}
        for item in before
        if item.kind == "slices"
    ]
    kept = [
        card
        for card in slices.values.get("slices", ())
        if not any(
            card.get("where") in names and held_back({card["where"]: int(card["n"])}, [names]) for names in known
        )
    ]
    if len(kept) == len(slices.values.get("slices", ())):
        return slices
    how = {**slices.how, "differencing": _WITHHELD}
    return dataclasses.replace(slices, values={**slices.values, "slices": kept}, how=how)
