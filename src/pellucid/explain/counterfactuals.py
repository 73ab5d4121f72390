"""What would have had to be different for another decision? Asked of one person's row.

Only columns that are named as mutable change, within the declared ranges and categories, and a column of categories
changes as a whole. A missing value stays missing and none becomes missing: that is no advice to anybody. The answer is
about one person, so nothing of it is shown by ``repr``, and its evidence is for stewards.
"""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnknownName, nearest
from pellucid.evidence import Evidence, Subject
from pellucid.explain.answers import outputs
from pellucid.explain.inputs import check_encoding, check_rows, check_seed
from pellucid.explain.intervals import versions
from pellucid.explain.model import frozen
from pellucid.explain.moves import Movable
from pellucid.explain.nearer import Search
from pellucid.explain.steady import steady
from pellucid.schema import Encoding

__all__ = ["Change", "Counterfactual", "Status", "find_counterfactual"]

Status = Literal["found", "not found in budget", "already there"]

BUDGET: Final = 4000


@dataclass(frozen=True, slots=True)
class Change:
    """One changed column in declared units: a number, ``true`` or ``false``, a category, or the words of a bin."""

    column: str
    before: float | str
    after: float | str


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The nearest row that was found with another decision. ``repr`` shows the status and nothing of the person.

    Attributes:
        status: ``found``, ``not found in budget``, or ``already there`` (the wanted decision is the present one).
        decision: The present decision.
        target: The decision of ``row``; the wanted one where no row was found, or None if any other would have done.
        row: (width,) float32, encoded; None unless found.
        distance: Sum over changed columns of the change in declared ranges; a category or boolean counts 1, a bin its
            share of the way from the first to the last. None unless found.
        changes: What differs.
        mutable: The columns that were allowed to change.
        evaluated: How many rows the model was asked about.
        seed: Public.
    """

    status: Status
    decision: int = field(repr=False)
    target: int | None = field(repr=False)
    row: Tensor | None = field(repr=False, compare=False)
    distance: float | None = field(repr=False)
    changes: tuple[Change, ...] = field(repr=False)
    mutable: tuple[str, ...]
    evaluated: int = field(repr=False)
    seed: int

    def values(self) -> dict[str, Any]:
        """The values of ``counterfactual`` evidence, version 1; what was not found has no key."""
        found: dict[str, Any] = {"status": self.status, "decision": self.decision}
        if self.target is not None:
            found["target"] = self.target
        if self.distance is not None:
            found["distance"] = round(self.distance, 6)
            found["changes"] = [
                {"column": change.column, "before": change.before, "after": change.after} for change in self.changes
            ]
        return found

    def how(self) -> Mapping[str, Any]:
        """How the answer was found."""
        return {
            "method": "steepest single-column moves, then random moves of up to four columns, each drawn back towards "
            "the person by bisection; checked on the model",
            "distance": "L1 in declared ranges; a category or boolean counts 1",
            "nearest": "of the rows that were looked at",
            "mutable": list(self.mutable),
            "evaluated": self.evaluated,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }

    def evidence(self, subject: Subject, person: str) -> Evidence:
        """Evidence about ``subject`` and one person: for stewards.

        Args:
            subject: The model.
            person: A keyed identifier, as of :func:`pellucid.explain.labels.keyed`.
        """
        return Evidence(
            "counterfactual", subject, {"person": person, **self.values()}, self.how(), "uncovered", tier="steward"
        )


def find_counterfactual(
    model: nn.Module,
    row: Tensor,
    encoding: Encoding,
    *,
    mutable: str | Sequence[str],
    target: int | None = None,
    whole: Collection[str] = (),
    budget: int = BUDGET,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    seed: int = 0,
) -> Counterfactual:
    """The nearest change of ``mutable`` columns that was found to change the decision about ``row``.

    It always returns, at the latest when the budget or the time is spent, and what it returns as found was asked of
    the model once more. A row that was not found may still exist.

    Args:
        model: Returns logits. It is not touched.
        row: (width,) float32, encoded.
        encoding: Says what may be written in a row.
        mutable: Columns that may change, at least one; a single one by its name.
        target: The wanted class; by default any other than the present one.
        whole: Columns of whole numbers, which stay whole.
        budget: Most rows to ask the model about, at least one.
        seconds: Most time, by ``clock``, after which no further batch is asked.
        clock: Seconds that never go back.
        seed: Public: it draws candidates.

    Raises:
        BadData: The row is not one that the encoding writes, no column may change, an unknown class, or no budget.
        Misuse: ``encoding`` is none.
        UnknownName: ``mutable`` or ``whole`` names no feature column.
        UnsupportedModel: The model is random in eval mode, keeps state, or returns something else than logits.
    """
    check_encoding(encoding)
    if getattr(row, "ndim", None) != 1 or getattr(row, "dtype", None) != torch.float32:
        raise BadData("the row must be a float32 tensor (width,)", where="row", fix="one person's: x[0]")
    check_rows(row[None], encoding)
    check_seed(seed)
    mutable = (mutable,) if isinstance(mutable, str) else mutable
    for names, where in ((mutable, "mutable"), (whole, "whole")):
        for name in names:
            if name not in encoding.features:
                raise UnknownName(f'no feature column "{name}"{nearest(name, encoding.features)}', where=where)
    if not mutable:
        raise BadData("at least one column must be allowed to change", where="mutable")
    if budget < 1:
        raise BadData("the model must be asked at least once", where="budget")
    row = row.detach().cpu()
    columns = [
        Movable(code, place, row[place].numpy(), code.column in whole)
        for code, place in zip(encoding.codes, encoding.slices().values(), strict=True)
    ]
    twin = frozen(model)
    steady(twin, row[None])
    found = outputs(twin, row[None])
    classes = 2 if found.ndim == 1 else found.shape[1]
    decision = _decided(found)
    wanted: Any = target  # whatever a caller wrote
    if wanted is not None and not (isinstance(wanted, numbers.Integral) and 0 <= int(wanted) < classes):
        raise BadData(f"the classes are 0..{classes - 1}", where="target")

    def answer(status: Status, to: int | None, asked: int, near: Tensor = row) -> Counterfactual:
        changed = [column for column in columns if not torch.equal(near[column.place], row[column.place])]
        found = status == "found"
        return Counterfactual(
            status=status,
            decision=decision,
            target=to,
            row=near if found else None,
            distance=sum(float(c.distance(near[None, c.place].numpy())[0]) for c in changed) if found else None,
            changes=tuple(Change(c.name, c.words(row[c.place]), c.words(near[c.place])) for c in changed),
            mutable=tuple(mutable),
            evaluated=asked,
            seed=seed,
        )

    if target == decision:
        return answer("already there", target, 1)
    deadline = math.inf if seconds is None else clock() + seconds
    search = Search(twin, row, [c for c in columns if c.name in mutable], decision, target, budget, deadline, clock)
    search.run(np.random.default_rng(seed))
    if search.best is not None:
        reached = _decided(outputs(twin, search.best[None]))
        if reached == target or (target is None and reached != decision):
            return answer("found", reached, search.asked, search.best)
    return answer("not found in budget", target, search.asked)


def _decided(found: Tensor) -> int:
    """The decision on one row, as :attr:`pellucid.explain.predictions.Predictions.predicted` makes it."""
    return int(found[0] > 0) if found.ndim == 1 else int(found[0].argmax())
