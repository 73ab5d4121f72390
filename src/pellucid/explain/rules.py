"""A shallow decision tree as rules in words, whose thresholds stand on a declared grid and are nobody's values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.evidence import round_down
from pellucid.explain.intervals import Floats, coarse, grid_of, step
from pellucid.schema import Code, Encoding

__all__ = ["GRID", "Condition", "Rule", "declared", "grow", "rounded", "score"]

GRID: Final = 64
"""Steps into which the encoded range [-1, 1] of a number is cut: thresholds are edges of it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison.

    Attributes:
        slot: Of an encoded row.
        edge: Encoded.
        below: The slot is below ``edge``; else at least that.
        words: In declared units.
    """

    slot: int
    edge: float
    below: bool
    words: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One leaf: what has to hold, and the log-odds that are then said.

    Attributes:
        conditions: All hold; none for the only leaf of a tree.
        value: Mean log-odds of the model over the rows of the leaf, to two decimals; of people no finer than a mean
            over so many is published.
        share: Of the rows that the tree was fitted to, to two decimals; of people no finer than a rate over so many.
    """

    conditions: tuple[Condition, ...] = field(repr=False)
    value: float
    share: float

    @property
    def words(self) -> str:
        """The conditions, as a reader would say them."""
        return " and ".join(condition.words for condition in self.conditions) or "everybody"

    def values(self) -> Mapping[str, Any]:
        """The rule as JSON."""
        return {"if": self.words, "log_odds": self.value, "share": self.share}

    def holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """(N,) whether the rule holds for rows ``x`` (N, width)."""
        found = np.ones(len(x), dtype=np.bool_)
        for condition in self.conditions:
            found &= (x[:, condition.slot] < condition.edge) == condition.below
        return found


def rounded(x: Floats, encoding: Encoding) -> Floats:
    """Rows ``x`` (N, width) with every number moved down to the nearest edge of the grid."""
    found = np.array(x, dtype=np.float64)
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        if code.how in ("linear", "log"):
            found[:, place.start] = np.floor((found[:, place.start] + 1) * (GRID / 2)) / (GRID / 2) - 1
    return found


def grow(x: Floats, scores: Floats, encoding: Encoding, *, depth: int, leaf: int, public: bool) -> tuple[Rule, ...]:
    """The rules of a regression tree (CART, least squares) for ``scores``.

    Args:
        x: (N, width) encoded rows.
        scores: (N,) log-odds of the model.
        encoding: Of the rows.
        depth: At most.
        leaf: Rows in a leaf, at least.
        public: The rows stand for nobody.
    """
    from sklearn.tree import DecisionTreeRegressor

    on_grid = rounded(x, encoding)
    fitted = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=leaf, random_state=0).fit(on_grid, scores)
    tree, leaves = fitted.tree_, fitted.apply(on_grid)
    parts = 0.01 if public else max(0.01, step(round_down(len(x))))
    slots = [
        (code, number)
        for code, place in zip(encoding.codes, encoding.slices().values(), strict=True)
        for number in range(place.stop - place.start)
    ]
    rules: list[Rule] = []

    def walk(node: int, above: tuple[Condition, ...]) -> None:
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left < 0:
            grid = 0.0 if public else grid_of(scores[leaves == node])
            value = round(coarse(float(tree.value[node][0][0]), max(0.01, grid)), 6)
            share = round(coarse(float(tree.n_node_samples[node]) / len(x), parts), 2)
            rules.append(Rule(_tidy(above), value, share))
            return
        slot = int(tree.feature[node])
        code, number = slots[slot]
        numeric = code.how in ("linear", "log") and number == 0
        # both neighbours of a threshold are edges of the grid, and so is the first one above it
        edge = math.ceil((float(tree.threshold[node]) + 1) * (GRID / 2)) / (GRID / 2) - 1 if numeric else 0.5
        for child, below in ((left, True), (right, False)):
            walk(child, (*above, Condition(slot, edge, below, _words(code, number, edge, below))))

    walk(0, ())
    return tuple(rules)


def score(rules: tuple[Rule, ...], x: Floats) -> Floats:
    """(N,) the log-odds that the rules say for rows ``x`` (N, width); exactly one rule holds for each."""
    found = np.zeros(len(x))
    for rule in rules:
        found[rule.holds(x)] = rule.value
    return found


def declared(code: Code, encoded: float) -> float:
    """The value in declared units of a linear or log slot that is ``encoded``, in [-1, 1]."""
    share, span = (encoded + 1) / 2, code.high - code.low
    return code.low + (math.expm1(share * math.log1p(span)) if code.how == "log" else share * span)


def _words(code: Code, number: int, edge: float, below: bool) -> str:
    label, name = code.labels[number], code.column
    if code.missing and number == len(code.labels) - 1:
        return f"{name} is {'there' if below else 'missing'}"
    if code.how in ("linear", "log"):
        return f"{name} {'<' if below else '>='} {declared(code, edge):.4g}"
    if code.how == "boolean":
        return f"{name} is {'false' if below else 'true'}"
    if code.how == "bins":
        return f"{name} {'not in' if below else 'in'} {label.removeprefix(f'{name} in ')}"
    return f"{name} is {'not ' if below else ''}{label.removeprefix(f'{name}=')}"


def _tidy(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Without those that a later, tighter one implies."""
    last = {(condition.slot, condition.below): condition for condition in conditions}
    return tuple(last.values())
