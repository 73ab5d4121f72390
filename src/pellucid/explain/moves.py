"""What may one column of a person's row become, and how far is that from what it is?"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from torch import Tensor

from pellucid.errors import BadData
from pellucid.explain.intervals import Floats
from pellucid.schema import Code

__all__ = ["Movable"]

GRID: Final = 21


class Movable:
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
