"""Does the model need what the explanation names? Deletion and insertion curves against a random order.

Petsiuk et al. 2018 (BMVC, section 3.2), Samek et al. 2017 (IEEE TNNLS 28): set the fields to the baseline in the order
of their attributions and watch the score fall; bring them back in that order and watch it rise. How fast it falls says
little by itself, for it falls in any order: what counts is the area between the curve and that of a random order on
the same row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.evidence import Estimate, round_down
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import MINIMUM_CELL, Floats, coarse, grid_of, mean, versions
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady
from pellucid.explain.validity.curves import Curves, backwards
from pellucid.explain.validity.explainer import check_attributions, check_input, chosen

__all__ = ["Faithfulness", "measure_faithfulness"]

SMALLEST: Final = 1e-12  # a smaller p says no more


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Areas between curves, in the unit of the score (log-odds); above 0 is better than a random order.

    Attributes:
        deletion: Random curve less the curve when the most positive fields go first, mean over rows. Absent with one
            field or one row.
        insertion: The curve when the most positive fields come first, less the random curve.
        deletion_p: One-sided sign test: the chance of so many rows with an area above 0 if the order told nothing.
        insertion_p: The same for insertion.
        scale: Mean over rows of |score − score of the baseline|: what an area may be compared with.
        removed: Shares of fields removed at the points of ``deleted``, ``inserted`` (brought back) and ``random``.
        deleted: Mean score by share removed; empty for fewer than ten people.
        inserted: Mean score by share brought back; empty for fewer than ten people.
        random: Mean score by share removed in a random order; empty for fewer than ten people.
        controls: Random orders a row.
        rows: On how many rows, rounded down to ten unless they are public.
        seed: Public.
        public: The rows stand for nobody.
        grid: The scale and the curves are published at multiples of it; 0 rounds nothing.
    """

    deletion: Estimate | None
    insertion: Estimate | None
    deletion_p: float | None
    insertion_p: float | None
    scale: float
    removed: tuple[float, ...]
    deleted: tuple[float, ...]
    inserted: tuple[float, ...]
    random: tuple[float, ...]
    controls: int
    rows: int
    seed: int
    public: bool
    grid: float = 0.0

    def values(self) -> dict[str, Any]:
        """The values of this test; what is absent has no key."""
        found: dict[str, Any] = {"scale": round(coarse(self.scale, self.grid), 6)}
        for name, estimate in (("deletion", self.deletion), ("insertion", self.insertion)):
            if estimate is not None:
                found[name] = estimate.values()
        chances = {"deletion_p": self.deletion_p, "insertion_p": self.insertion_p}
        found.update({name: chance for name, chance in chances.items() if chance is not None})
        if self.deleted:
            curves = {"deletion": self.deleted, "insertion": self.inserted, "random": self.random}
            found["curves"] = {"removed": [round(share, 6) for share in self.removed]} | {
                name: [round(coarse(each, self.grid), 6) for each in curve] for name, curve in curves.items()
            }
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "method": "deletion and insertion curves (Petsiuk et al. 2018; Samek et al. 2017), most positive first",
            "area": "trapezoid over the share of fields, paired with random orders of the same row; in log-odds",
            "interval": "normal, over rows",
            "p": "one-sided sign test of each row against one random order, rounded up to one digit",
            "ties": "fields of equal attribution in random order",
            "points": len(self.removed),
            "controls": self.controls,
            "rows": self.rows,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }


def measure_faithfulness(
    model: nn.Module,
    x: Tensor,
    attributions: Floats,
    *,
    baseline: Tensor,
    fields: Fields | None = None,
    target: int | None = None,
    steps: int = 16,
    controls: int = 8,
    rows: int = 256,
    seed: int = 0,
    public: bool = False,
) -> Faithfulness:
    """Remove and restore the fields of each row in the order of ``attributions``, and in random orders.

    For a linear model no order has a larger area than that of its exact attributions. Attributions that tell nothing
    about the row, constant ones too, have areas that are 0 but for chance.

    Args:
        model: The model that was explained. It is not touched.
        x: (N, …) float32, or int64 token ids.
        attributions: (N, fields) signed attributions to the score.
        baseline: (…) of one row: what a field is set to when it is removed.
        fields: The slots of a flattened row that belong to each field; by default every slot is one.
        target: The class whose logit was explained; for two classes, by default, the log-odds of class 1.
        steps: Points on a curve at most, without the first.
        controls: Random orders a row.
        rows: Rows to look at, at most; of more, a sample drawn with ``seed``.
        seed: Public.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type or shape, NaN, or a class the model has not.
        UnsupportedModel: The model is random in eval mode, mixes rows, returns no logits, or has more than two classes
            and no target was named.
    """
    check_input(x)
    check_attributions(attributions, len(x), "attributions")
    width = x[0].numel()
    fields = Fields.single(width) if fields is None else fields
    if fields.width != width or len(fields) != attributions.shape[1]:
        raise BadData(
            f"{attributions.shape[1]} attributions a row do not fit {len(fields)} fields of {fields.width} slots "
            f"and rows of {width}",
            where="attributions",
            fix="hand over the fields that were attributed",
        )
    if baseline.shape != x.shape[1:] or baseline.dtype != x.dtype:
        raise BadData("the baseline must be one row, of the type of x", where="baseline")
    if steps < 1 or controls < 1:
        raise BadData("at least one step and one random order are needed", where="measure_faithfulness")
    kept = chosen(len(x), rows, seed)
    part, weights = x[torch.from_numpy(kept)], attributions[kept]
    twin = frozen(model)
    steady(twin, part)
    rng = np.random.default_rng(seed)
    count = weights.shape[1]
    removed = np.unique(np.linspace(0, count, min(steps, count) + 1).round().astype(np.int64))
    curves = Curves(twin, part, baseline, fields, target, removed)
    # A field's place in the order: 0 goes first.
    first = np.argsort(np.lexsort((rng.random(weights.shape), -weights), axis=1), axis=1)
    deleted, restored = curves.of(first), curves.of(count - 1 - first)
    orders = [np.argsort(rng.random(weights.shape), axis=1) for _ in range(controls)]
    others = np.stack([curves.of(order) for order in orders])  # (controls, N, points)
    control = others.mean(axis=0)
    # Restoring in one order passes through what removing in the reversed one does, backwards: the areas are equal.
    whole = deleted[:, 0] - deleted[:, -1]
    down, up = curves.area(control - deleted), curves.area(restored - control)
    paired = curves.area(others[0] - deleted), curves.area(restored - others[0])
    shown = public or len(part) >= MINIMUM_CELL
    measured = count > 1 and len(part) > 1
    return Faithfulness(
        deletion=mean(down) if measured else None,
        insertion=mean(up) if measured else None,
        deletion_p=_sign_test(paired[0]) if measured else None,
        insertion_p=_sign_test(paired[1]) if measured else None,
        scale=float(np.abs(whole).mean()),
        removed=tuple((removed / count).tolist()),
        deleted=tuple(deleted.mean(axis=0).tolist()) if shown else (),
        inserted=tuple(backwards(restored.mean(axis=0), removed).tolist()) if shown else (),
        random=tuple(control.mean(axis=0).tolist()) if shown else (),
        controls=controls,
        rows=len(part) if public else round_down(len(part)),
        seed=seed,
        public=public,
        grid=0.0 if public else max(grid_of(whole), *map(grid_of, (deleted[:, 0], deleted[:, -1]))),
    )


def _sign_test(areas: Floats) -> float | None:
    """One-sided sign test of ``areas`` (N,), rounded up to one digit; None where all are 0.

    Against one random order of the same row the sign is a fair coin if the attributions tell nothing, so p is exact.
    """
    from scipy.special import bdtrc

    wins, total = int((areas > 0).sum()), int((areas != 0).sum())
    if total == 0:
        return None
    chance = max(SMALLEST, float(bdtrc(wins - 1, total, 0.5)) if wins else 1.0)
    grid = 10.0 ** math.floor(math.log10(chance))
    return min(1.0, float(f"{math.ceil(chance / grid - 1e-9) * grid:.0e}"))
