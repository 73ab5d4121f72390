"""An additive model of tables: every column adds a number that its table gives for its value, and that is the score.

Nothing in it has to be attributed: what a column adds to a score can be read off its table. Between the middles of two
bins a table runs straight, where a classical EBM jumps: so the model has a gradient, and whatever is asked of another
model can be asked of it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.errors import BadFile
from pellucid.schema import Code, Encoding

__all__ = ["Additive", "Table", "added"]


@dataclass(frozen=True, slots=True)
class Table:
    """Where a column's cells stand, and what they mean.

    Attributes:
        code: How the column is encoded.
        slots: Its place in an encoded row.
        cells: Its place among the cells of the model.
        labels: One a cell, in declared units: an interval, a category, or that the value is missing.
        ordered: How many cells from the first on have an order; categories and a missing value have none.
    """

    code: Code
    slots: slice
    cells: slice
    labels: tuple[str, ...]
    ordered: int

    def __len__(self) -> int:
        return len(self.labels)


class Additive(nn.Module):
    """Two-class logits ``(0, score)`` with ``score = intercept + Σ`` of what the columns add.

    The range [-1, 1] of a linear or log slot is cut into ``bins`` cells of equal width. In the middle of a cell the
    column adds the cell's value, between two middles it adds what lies on the straight line between theirs, and before
    the first and behind the last middle the value of that cell. An indicator adds its cell's value times itself. So
    structure follows from the encoding, which follows from the schema: nothing about anybody is in it.

    Args:
        encoding: Of the rows.
        bins: Cells of a number, at least 2.

    Raises:
        BadFile: The target does not have two classes.
    """

    def __init__(self, encoding: Encoding, bins: int) -> None:
        super().__init__()
        if len(encoding.classes) != 2:
            raise BadFile(
                "an additive model answers for two classes",
                where="recipe: model.kind",
                fix="choose a category of two values or a boolean as target",
            )
        self.bins = bins
        tables, place = [], 0
        for code, slots in zip(encoding.codes, encoding.slices().values(), strict=True):
            labels, ordered = _labels(code, bins)
            tables.append(Table(code, slots, slice(place, place + len(labels)), labels, ordered))
            place += len(labels)
        self.tables = tuple(tables)
        self.values = nn.Parameter(torch.zeros(place))
        self.intercept = nn.Parameter(torch.zeros(1))

    def extra_repr(self) -> str:
        """What it is made of, for the training statement."""
        return f"{len(self.tables)} columns, {len(self.values)} cells"

    def places(self, x: Tensor) -> Tensor:
        """The cell of each column of ``x`` (N, width), encoded rows: (N, columns) int64, counted within the column."""
        return torch.stack([_cell(table, x[:, table.slots], self.bins) for table in self.tables], dim=1)

    def contributions(self, x: Tensor) -> Tensor:
        """What each column adds to the score of each row of ``x`` (N, width): (N, columns)."""
        parts = [added(table, x[:, table.slots], self.values[table.cells], self.bins) for table in self.tables]
        return torch.stack(parts, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2) of ``x`` (N, width)."""
        score = self.contributions(x).sum(dim=1) + self.intercept
        return torch.stack([torch.zeros_like(score), score], dim=1)


def added(table: Table, slots: Tensor, values: Tensor, bins: int) -> Tensor:
    """What one column adds to each row: (N,).

    Args:
        table: The column's.
        slots: (N, slots) of the column.
        values: (cells,) of the column.
        bins: Of the model.
    """
    code = table.code
    if code.how in ("onehot", "bins"):
        return slots @ values
    first = slots[:, 0]
    if code.how == "boolean":
        found = values[0] + first * (values[1] - values[0])
    else:
        place = ((first + 1.0) * (bins / 2.0) - 0.5).clamp(0.0, bins - 1.0)
        before = place.detach().floor().clamp(max=bins - 2.0)
        low = before.long()
        found = values[low] + (place - before) * (values[low + 1] - values[low])
    if code.missing:
        gone = slots[:, -1]
        found = found + gone * (values[-1] - found)
    return found


def _cell(table: Table, slots: Tensor, bins: int) -> Tensor:
    """The cell (N,) in which a person counts: exactly one, so that the sensitivity is 1."""
    code = table.code
    if code.how in ("onehot", "bins"):
        return slots.argmax(dim=1)
    if code.how == "boolean":
        cell = (slots[:, 0] > 0.5).long()
    else:
        cell = ((slots[:, 0] + 1.0) * (bins / 2.0)).floor().clamp(0, bins - 1).long()
    return torch.where(slots[:, -1] > 0.5, len(table) - 1, cell) if code.missing else cell


def _labels(code: Code, bins: int) -> tuple[tuple[str, ...], int]:
    """The labels of a column's cells, and how many of them are in an order."""
    if code.how == "onehot":
        return code.labels, 0
    if code.how == "bins":
        return code.labels, len(code.labels) - code.missing
    gone = code.labels[1:]  # that of the missing value, if it has a slot
    if code.how == "boolean":
        return (f"{code.column}=false", f"{code.column}=true", *gone), 2
    edges = [_declared(code, place / bins) for place in range(bins + 1)]
    ranges = [f"{code.column} in [{a:.6g}, {b:.6g})" for a, b in itertools.pairwise(edges)]
    ranges[-1] = ranges[-1][:-1] + "]"
    return (*ranges, *gone), bins


def _declared(code: Code, share: float) -> float:
    """The value in declared units at ``share`` of the encoded range, in [0, 1]."""
    span = code.high - code.low
    return code.low + (math.expm1(share * math.log1p(span)) if code.how == "log" else share * span)
