"""What was published before about other data of the same people, so that nobody learns by subtraction who came.

Other data is another version, or what stewards said was made of it (``lineage``).

The record of it is the log: what evidence about models of other versions says. The rule is
:mod:`pellucid.disclosure.differencing`'s. The number of all held-out people stays, rounded to ten; a change over a
multiple of ten shows there (docs/threat-model.md).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pellucid.disclosure import apart, held_back
from pellucid.evidence import Evidence
from pellucid.privacy.folding import related
from pellucid.project.model import models, trained_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.project.model import Trained

__all__ = ["counts", "earlier", "still", "without_shares", "without_slices"]

_WITHHELD: Final = (
    "withheld: an earlier report about other people of this data set would give a few away by subtraction"
)
_SHARES: Final = ("base_rate", "majority_accuracy")
"""Values of an evaluation that depend on the people alone, and on no model."""


def earlier(trained: Trained) -> tuple[Evidence, ...]:
    """The evidence about models of other data of people that ``trained`` was trained on: by version or by lineage."""
    sealed = trained.sealed
    kin = related(trained.project.counted(), sealed.name)
    found: list[Evidence] = []
    for about in models(trained.project).values():
        named, digest = trained_on(next(item for item in about if item.kind == "training"))
        if named.partition("@")[0] in kin and digest != sealed.manifest_sha256:
            found += about
    return tuple(found)


def counts(before: Sequence[Evidence]) -> dict[str, list[dict[str, int]]]:
    """Column (or two joined by ×) → for each earlier fairness statement: group → the number that was published."""
    found: dict[str, list[dict[str, int]]] = {}
    for item in before:
        if item.kind == "fairness":
            for name, column in {**item.values["columns"], **item.values.get("intersections", {})}.items():
                found.setdefault(name, []).append({group["group"]: int(group["n"]) for group in column["groups"]})
    return found


def still(groups: Mapping[str, NDArray[Any]], before: Sequence[Evidence]) -> dict[str, NDArray[Any]]:
    """The columns of which no group is held back: the others are not broken down in other statements either."""
    published = counts(before)
    return {
        name: rows for name, rows in groups.items() if not held_back(Counter(rows.tolist()), published.get(name, ()))
    }


def without_shares(evaluation: Evidence, before: Sequence[Evidence]) -> Evidence:
    """An evaluation without the shares of the classes, if nearly the same people were evaluated before."""
    n = int(evaluation.values["accuracy"]["n"])
    known = [int(item.values["accuracy"]["n"]) for item in before if item.kind == "evaluation"]
    if all(apart(n, each) for each in known):
        return evaluation
    values = {name: value for name, value in evaluation.values.items() if name not in _SHARES}
    how = {**evaluation.how, **dict.fromkeys(_SHARES, _WITHHELD)}
    return dataclasses.replace(evaluation, values=values, how=how)


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
