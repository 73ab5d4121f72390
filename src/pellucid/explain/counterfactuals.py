"""What would have had to be different for another decision? Asked of one person's row.

Only columns that are named as mutable change, within the declared ranges and categories, and a column of categories
changes as a whole. A missing value stays missing and none becomes missing: that is no advice to anybody. The answer is
about one person, so nothing of it is shown by ``repr``, and its evidence is for stewards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnknownName, nearest
from pellucid.evidence import Evidence, Subject
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import Floats, versions
from pellucid.explain.model import frozen, outputs
from pellucid.explain.steady import steady
from pellucid.schema import Code, Encoding

__all__ = ["Change", "Counterfactual", "Status", "find_counterfactual"]

Status = Literal["found", "not found in budget", "already there"]

BUDGET: Final = 4000
BATCH: Final = 256
GRID: Final = 21
HALVINGS: Final = 12
MOVED: Final = 4
BEYOND: Final = 1e-3  # how far past the border a row must be, as a share of the way to it: rounding cannot undo it


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
        UnknownName: ``mutable`` or ``whole`` names no feature column.
        UnsupportedModel: The model is random in eval mode, keeps state, or returns something else than logits.
    """
    check_rows(row[None], encoding)
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
        _Column(code, place, row[place].numpy(), code.column in whole)
        for code, place in zip(encoding.codes, encoding.slices().values(), strict=True)
    ]
    twin = frozen(model)
    steady(twin, row[None])
    found = outputs(twin, row[None])
    classes = 2 if found.ndim == 1 else found.shape[1]
    decision = _decided(found)
    if target is not None and not 0 <= target < classes:
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
    search = _Search(twin, row, [c for c in columns if c.name in mutable], decision, target, budget, deadline, clock)
    search.run(np.random.default_rng(seed))
    if search.best is not None:
        reached = _decided(outputs(twin, search.best[None]))
        if reached == target or (target is None and reached != decision):
            return answer("found", reached, search.asked, search.best)
    return answer("not found in budget", target, search.asked)


def _decided(found: Tensor) -> int:
    """The decision on one row, as :attr:`pellucid.explain.predictions.Predictions.predicted` makes it."""
    return int(found[0] > 0) if found.ndim == 1 else int(found[0].argmax())


class _Spent(Exception):
    """No budget or no time is left."""


class _Column:
    """What one column of a row may become, and how far that is."""

    def __init__(self, code: Code, place: slice, present: Floats, whole: bool) -> None:
        self.name, self.code, self.place, self.whole = code.column, code, place, whole
        self.present = present.astype(np.float64)
        self.number = code.how in ("linear", "log")
        self.last = code.width - code.missing  # slots that hold a value
        values, indicators = (
            (present[:1], present[1:]) if self.number or code.how == "boolean" else (present[:0], present)
        )
        lawful = np.isin(indicators, (0, 1)).all() and indicators.sum() == (1 if not values.size else indicators.sum())
        if not lawful or (np.abs(values) > 1).any() or (code.how == "boolean" and values[0] not in (0, 1)):
            raise BadData("this is not what the encoding writes for this column", where=code.column)
        self.absent = bool(code.missing and present[-1] == 1)

    def candidates(self) -> Floats:
        """(k, width) what may stand here instead; none for a missing value."""
        if self.absent:
            return np.empty((0, self.code.width))
        if self.number:
            values = np.unique(self.snap(np.linspace(-1, 1, GRID)))
            found = np.tile(self.present, (len(values), 1))
            found[:, 0] = values
        elif self.code.how == "boolean":
            found = self.present[None].copy()
            found[:, 0] = 1 - found[:, 0]
        else:
            found = np.eye(self.code.width)[: self.last]
        kept: Floats = found[(found.astype(np.float32) != self.present.astype(np.float32)).any(axis=1)]
        return kept

    def distance(self, other: Floats) -> Floats:
        """How far each row of ``other`` (n, width) is from the person's own value, in declared ranges: (n,)."""
        found: Floats
        if self.number:
            found = np.abs(other[:, 0] - self.present[0]) / 2
        elif self.code.how == "bins":
            found = np.abs(other.argmax(axis=1) - int(self.present.argmax())) / max(1, self.last - 1)
        else:
            found = (other != self.present).any(axis=1).astype(np.float64)
        return found

    def snap(self, values: Floats) -> Floats:
        """The nearest encoded values that the column admits."""
        if not self.whole:
            return np.clip(values, -1.0, 1.0)
        least, most, span = math.ceil(self.code.low), math.floor(self.code.high), self.code.high - self.code.low
        above = np.clip(np.round(self.declared(values)), least, most) - self.code.low
        share: Floats = above / span if self.code.how == "linear" else np.log1p(above) / math.log1p(span)
        return 2 * share - 1

    def declared(self, values: Floats) -> Floats:
        """Encoded numbers in declared units."""
        share, span = (values + 1) / 2, self.code.high - self.code.low
        found: Floats = self.code.low + (
            share * span if self.code.how == "linear" else np.expm1(share * math.log1p(span))
        )
        return found

    def words(self, slots: Tensor) -> float | str:
        """What the slots say, to a person."""
        if self.absent:
            return "missing"
        if self.number:
            value = float(self.declared(slots[:1].double().numpy())[0])
            return float(round(value)) if self.whole else float(f"{value:.6g}")
        if self.code.how == "boolean":
            return "true" if slots[0] == 1 else "false"
        number = int(slots.argmax())
        return self.code.categories[number] if self.code.how == "onehot" else self.code.labels[number]


class _Search:
    """Rows with another decision, nearer and nearer, until budget or time are spent."""

    def __init__(
        self,
        model: nn.Module,
        row: Tensor,
        columns: list[_Column],
        decision: int,
        target: int | None,
        budget: int,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self.model, self.row, self.columns = model, row, columns
        self.decision, self.target = decision, target
        self.budget, self.deadline, self.clock = budget, deadline, clock
        self.asked, self.border = 0, math.inf
        self.best: Tensor | None = None
        self.least = math.inf
        options = [(column.place, option) for column in columns for option in column.candidates()]
        self.chosen = torch.zeros((len(options), len(row)), dtype=torch.bool)
        self.option = torch.zeros((len(options), len(row)), dtype=torch.float32)
        for number, (place, option) in enumerate(options):
            self.chosen[number, place] = True
            self.option[number, place] = torch.from_numpy(option.astype(np.float32))

    def run(self, rng: np.random.Generator) -> None:
        try:
            self.border = BEYOND * abs(float(self.ask(self.row[None])[0]))
            if len(self.option):
                self.greedy()
                for _ in range(1 + self.budget // BATCH):
                    self.random(rng)
        except _Spent:
            return

    def ask(self, rows: Tensor) -> Floats:
        """By row, how far on the wanted side of the border it is; negative on the present side."""
        found = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH][: self.budget - self.asked]
            if not len(part) or self.clock() >= self.deadline:
                raise _Spent
            self.asked += len(part)
            logits = outputs(self.model, part)
            if logits.ndim == 1:
                margin = logits if self.decision == 0 else -logits
            else:
                wanted = torch.zeros(logits.shape[1], dtype=torch.bool)
                wanted[[c for c in range(logits.shape[1]) if c == self.target or self.target is None]] = True
                wanted[self.decision] = False
                margin = logits[:, wanted].amax(dim=1) - logits[:, ~wanted].amax(dim=1)
            self.keep(part, margin)
            found.append(margin.numpy())
        return np.concatenate(found)

    def keep(self, rows: Tensor, margin: Tensor) -> None:
        """Remember the nearest row of those that are over the border."""
        over = rows[margin > self.border]
        if len(over):
            far = self.distance(over)
            if far.min() < self.least:
                self.best, self.least = over[int(far.argmin())].clone(), float(far.min())

    def distance(self, rows: Tensor) -> Floats:
        return sum((c.distance(rows[:, c.place].numpy()) for c in self.columns), np.zeros(len(rows)))

    def greedy(self) -> None:
        """The steepest move of one column after the other, until the border is crossed or no move helps."""
        here, height = self.row, -math.inf
        for _ in self.columns:
            rows = torch.where(self.chosen, self.option, here)
            margin = self.ask(rows)
            if self.best is not None:
                self.tighten()
                return
            if margin.max() <= height:
                return
            here, height = rows[int(margin.argmax())], float(margin.max())

    def random(self, rng: np.random.Generator) -> None:
        """A batch of rows with a few columns changed at random, none of them further than the best."""
        rows = self.row.expand(BATCH, -1)
        several = rng.integers(1, 1 + MOVED, BATCH)
        for turn in range(MOVED):
            move = torch.from_numpy(rng.integers(0, len(self.option), BATCH))
            rows = torch.where(self.chosen[move] & torch.from_numpy(several > turn)[:, None], self.option[move], rows)
        if self.best is not None:
            self.draw(rows, rng.random(BATCH))
        far, before = self.distance(rows), self.least
        near = rows[torch.from_numpy((far > 0) & (far < before))]
        if len(near):
            self.ask(near)
        if self.least < before:
            self.tighten()

    def draw(self, rows: Tensor, share: Floats) -> None:
        """Move the changed numbers of ``rows`` to ``share`` (n,) of their way from the person's."""
        for column in (column for column in self.columns if column.number):
            start, there = column.present[0], rows[:, column.place.start].double().numpy()
            drawn = np.where(there == start, start, column.snap(start + share * (there - start)))
            rows[:, column.place.start] = torch.from_numpy(drawn.astype(np.float32))

    def tighten(self) -> None:
        """Draw the best row back towards the person, one column after the other, as far as it stays over the border."""
        for column in sorted(self.columns, key=lambda one: -self.left(one)):
            if self.left(column) == 0:
                continue
            back = self.nearest().clone()
            back[column.place] = self.row[column.place]
            if self.ask(back[None])[0] > self.border or not column.number:
                continue
            inside, outside = float(column.present[0]), float(self.nearest()[column.place.start])
            for _ in range(HALVINGS):
                middle = self.nearest().clone()
                value = float(column.snap(np.array([(inside + outside) / 2]))[0])
                if value in (inside, outside):
                    break
                middle[column.place.start] = value
                if self.ask(middle[None])[0] > self.border:
                    outside = value
                else:
                    inside = value

    def nearest(self) -> Tensor:
        return self.row if self.best is None else self.best

    def left(self, column: _Column) -> float:
        """How far the best row is from the person in one column."""
        return float(column.distance(self.nearest()[None, column.place].numpy())[0])
