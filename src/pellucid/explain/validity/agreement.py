"""Do two methods say the same of the same rows? Rank, sign and top fields (Krishna et al. 2022, arXiv 2202.01602)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.errors import BadData
from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import Floats, mean, versions
from pellucid.explain.validity import rowwise
from pellucid.explain.validity.explainer import check_attributions

__all__ = ["Agreement", "compare_attributions"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two attributions agree, as means over rows; absent where fewer than two rows have a value.

    Attributes:
        spearman: Rank correlation over fields of the signed attributions; needs three fields.
        kendall: Kendall's tau-b over fields of the signed attributions; needs three fields.
        sign: Share of fields on whose sign both agree, among those that neither calls 0.
        top: Share of the ``count`` largest |attributions| that both name.
        top_by_chance: What ``top`` would be for two random orders.
        count: How many fields ``top`` looks at.
        methods: What was compared, in words.
        rows: On how many rows, rounded down to ten unless they are public.
        public: The rows stand for nobody.
    """

    spearman: Estimate | None
    kendall: Estimate | None
    sign: Estimate | None
    top: Estimate | None
    top_by_chance: float
    count: int
    methods: tuple[str, str]
    rows: int
    public: bool

    def values(self) -> dict[str, Any]:
        """The values of this comparison; what is absent has no key."""
        found: dict[str, Any] = {}
        for name in ("spearman", "kendall", "sign", "top"):
            if (estimate := getattr(self, name)) is not None:
                found[name] = estimate.values()
        if self.top is not None:
            found["top_by_chance"] = round(self.top_by_chance, 6)
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "methods": list(self.methods),
            "rank": "Spearman and Kendall's tau-b over fields, signed, mean over rows",
            "sign": "among the fields that neither calls 0",
            "top": f"overlap of the {self.count} largest by size; ties for the last place share it",
            "interval": "normal, over rows",
            "rows": self.rows,
            "libraries": versions("numpy"),
        }


def compare_attributions(
    left: Floats,
    right: Floats,
    *,
    top: int = 3,
    methods: tuple[str, str] = ("first", "second"),
    public: bool = False,
) -> Agreement:
    """Compare two attributions of the same rows, row by row.

    Args:
        left: (N, fields) of one method.
        right: (N, fields) of another.
        top: How many of the largest fields to compare; all, if there are fewer.
        methods: Their names, for the record.
        public: The rows were made without the data.

    Raises:
        BadData: Shapes differ, a number is not finite, or ``top`` is below one.
    """
    check_attributions(left, len(left), "left")
    check_attributions(right, len(right), "right")
    if left.shape != right.shape:
        raise BadData(
            f"attributions of the same rows and fields are needed: of {left.shape[1]} and {right.shape[1]} fields",
            where="x",
        )
    if top < 1:
        raise BadData("at least one field is needed", where="top")
    fields = left.shape[1]
    count = min(top, fields)
    return Agreement(
        spearman=_mean(rowwise.spearman(left, right), -1.0),
        kendall=_mean(rowwise.kendall(left, right), -1.0),
        sign=_mean(rowwise.sign(left, right), 0.0),
        top=_mean(rowwise.top(left, right, count), 0.0),
        top_by_chance=count / fields,
        count=count,
        methods=methods,
        rows=len(left) if public else round_down(len(left)),
        public=public,
    )


def _mean(values: Floats, low: float) -> Estimate | None:
    return mean(values, low=low, high=1.0) if values.size > 1 else None
