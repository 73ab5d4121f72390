"""What would the model lose without a column? Permutation importance with paired intervals."""

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
from pellucid.explain.answers import CHUNK, outputs, pick
from pellucid.explain.fields import Fields, as_fields
from pellucid.explain.inputs import check_numbers_or_tokens, check_seed
from pellucid.explain.intervals import Floats, Mean, Z, step, versions
from pellucid.explain.model import frozen
from pellucid.explain.predictions import predict
from pellucid.explain.ranking import AUC_ROUNDING, placements
from pellucid.schema import Encoding

__all__ = ["METHOD", "Importance", "permute_columns"]

METHOD: Final = "permutation, drop in AUC"


@dataclass(frozen=True, slots=True)
class Importance:
    """The drop in AUC when a column's values are dealt to other people, by column.

    ``target`` is the class that is told from the rest, of more than two; else None.
    """

    columns: Mapping[str, Estimate]
    permutations: int
    seed: int
    target: int | None = None

    def values(self) -> dict[str, Any]:
        """The importances as they stand in ``explanation`` evidence."""
        return {
            "importance": {name: estimate.values() for name, estimate in self.columns.items()},
            "importance_method": METHOD,
        }

    def how(self) -> Mapping[str, Any]:
        """How the importances were made."""
        return {
            "method": METHOD,
            "data": "held-out split",
            "permutations": self.permutations,
            "seed": self.seed,
            "column": "all slots of a column are permuted together",
            **({} if self.target is None else {"auc": f"of class {self.target} against the rest, by its probability"}),
            "interval": "normal, with the paired DeLong variance over people plus the variance over permutations",
            "rounding": AUC_ROUNDING,
            "libraries": versions("numpy", "torch"),
        }


def permute_columns(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    encoding: Encoding | Fields,
    *,
    target: int | None = None,
    permutations: int = 5,
    seed: int = 0,
    chunk: int = CHUNK,
) -> Importance:
    """Permutation importance of every column: AUC less the mean AUC over permutations of its slots.

    A column that the model ignores, or that is constant, has exactly 0 with the interval [0, 0]. A column that
    another one repeats may seem unimportant, since the model can read the other.

    Args:
        model: Returns logits. It is not touched.
        x: (N, …) float32, or token ids (N, T) int64.
        y: (N,) int64 in 0..classes-1, at least ten of each.
        encoding: Says which slots of a (flattened) row belong to which column, patch or token.
        target: Of more than two classes, the one that is told from the rest; of two it makes no difference.
        permutations: How often each column is permuted, at least two.
        seed: Public: it permutes evaluation rows and draws no noise. Recorded in :meth:`Importance.how`.
        chunk: Rows a forward pass.

    Raises:
        BadData: Wrong type or shape, NaN, fewer than ten people of a class, no such class.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has more than two classes and none is named.
    """
    fields = as_fields(encoding)
    check_numbers_or_tokens(x, encoding if isinstance(encoding, Encoding) else None)
    if x[0].numel() != fields.width:
        raise BadData(f"a row has {x[0].numel()} slots, and the fields speak of {fields.width}", where="x")
    check_seed(seed)
    if permutations < 2:
        raise BadData("at least two permutations are needed to say how much they vary", where="permutations")
    base = predict(model, x, y, chunk=chunk)
    pick(torch.from_numpy(base.logits[:1]), target)
    base.require("permutation importance", two_classes=False)
    wanted = target if base.classes > 2 and target is not None else 1
    positive = base.labels == wanted
    whole = placements(_odds(base.logits, wanted), positive)
    twin = frozen(model)
    moved = x.clone(memory_format=torch.contiguous_format)
    rows, slots_of = x.flatten(1), moved.view(len(x), -1)  # the second is where the rows that are asked are changed
    grid = step(round_down(min(whole.positives.size, whole.negatives.size)))  # as the AUC itself: one person's part
    found = {}
    for place, (column, group) in enumerate(zip(fields.names, fields.slots, strict=True)):
        slots = list(group)
        rng = np.random.default_rng([seed, place])
        drops = np.empty(permutations)
        above, below = np.zeros_like(whole.positives), np.zeros_like(whole.negatives)
        for number in range(permutations):
            order = torch.from_numpy(rng.permutation(len(x)))
            slots_of[:, slots] = rows[order][:, slots]
            part = placements(_odds(outputs(twin, moved, chunk=chunk).numpy(), wanted), positive)
            drops[number] = whole.auc - part.auc
            above += (whole.positives - part.positives) / permutations
            below += (whole.negatives - part.negatives) / permutations
        slots_of[:, slots] = rows[:, slots]
        people = float(above.var(ddof=1) / above.size + below.var(ddof=1) / below.size)
        half = Z * math.sqrt(people + float(drops.var(ddof=1)) / permutations)
        value = float(drops.mean())
        found[column] = Mean(value, value - half, value + half, round_down(len(x)), grid)
    return Importance(found, permutations, seed, wanted if base.classes > 2 else None)


def _odds(logits: Floats, wanted: int) -> Floats:
    """(N,) log-odds of a class against all others, from those of class 1 (N,) or the logits of all classes (N, C)."""
    if logits.ndim == 1:
        return logits
    others = np.delete(logits, wanted, axis=1)
    top = others.max(axis=1)
    found: Floats = logits[:, wanted] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
    return found
