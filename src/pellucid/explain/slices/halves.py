"""Two halves of the people: one to search, one to confirm. All rows of a person are in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadData
from pellucid.explain.intervals import MINIMUM_CELL, Floats
from pellucid.explain.slices.cells import Places
from pellucid.explain.slices.columns import Bools, Codes, Column
from pellucid.explain.slices.distinct import mask
from pellucid.explain.slices.search import Conjunction
from pellucid.explain.slices.significance import Sample, welch

__all__ = ["Half", "check_people", "halves"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Half:
    """One half. Private: it has no ``repr``.

    Attributes:
        losses: (n,) of its rows.
        codes: By column, (n,).
        units: (n,) who each row is about; None where every row is another person.
        people: How many people it holds.
    """

    losses: Floats
    codes: list[Codes]
    units: Places | None
    people: int

    def sample(self, rows: Bools) -> Sample:
        """The mean loss of ``rows`` (n,), at least one, with what a test needs."""
        return Sample.of(self.losses[rows], None if self.units is None else self.units[rows])

    def size(self, rows: Bools) -> int:
        """How many people ``rows`` are about."""
        return int(rows.sum()) if self.units is None else np.unique(self.units[rows]).size

    def admits(self, where: Conjunction, minimum: int) -> bool:
        """Whether slice, rest, and what is left of each shorter conjunction are of enough people to be published."""
        inside = mask(self.codes, where)
        return self.size(inside) >= minimum and all(
            self.size(outside) >= MINIMUM_CELL for outside in self._outside(where, inside)
        )

    def p_value(self, where: Conjunction, minimum: int) -> float:
        """The largest p-value of the comparisons that ``search`` makes; 1 where too few people are left for one."""
        if not self.admits(where, minimum):
            return 1.0
        inside = mask(self.codes, where)
        mine = self.sample(inside)
        return max(welch(mine, self.sample(outside))[1].item() for outside in self._outside(where, inside))

    def _outside(self, where: Conjunction, inside: Bools) -> list[Bools]:
        shorter = [where[:place] + where[place + 1 :] for place in range(len(where))] if len(where) > 1 else []
        return [~inside, *(mask(self.codes, part) & ~inside for part in shorter)]


def halves(losses: Floats, columns: Sequence[Column], units: Places | None, seed: int) -> tuple[Half, Half]:
    """A random half of the people, and the other; they differ by one person at most.

    Args:
        losses: (N,).
        columns: Of the same rows.
        units: (N,) who each row is about, 0 to the number of people less one; None where every row is another person.
        seed: Public.
    """
    rng = np.random.default_rng(seed)
    count = losses.size if units is None else int(units.max()) + 1
    first = np.zeros(count, dtype=np.bool_)
    first[rng.permutation(count)[: count // 2]] = True
    rows = first if units is None else first[units]

    def part(rows: Places) -> Half:
        mine = None if units is None else units[rows]
        people = rows.size if mine is None else np.unique(mine).size
        return Half(losses[rows], [column.codes[rows] for column in columns], mine, people)

    return part(np.flatnonzero(rows)), part(np.flatnonzero(~rows))


def check_people(people: npt.NDArray[Any], rows: int) -> Places:
    """Numbers from 0 for the people that ``people`` (rows,) names.

    Raises:
        BadData: It is not one text or whole number a row; none is shown.
    """
    found = np.asarray(people)
    if found.shape != (rows,) or found.dtype.kind not in "iuUO":
        raise BadData("people must be one name or whole number a row", where="people")
    if found.dtype.kind == "O":
        if not all(isinstance(value, str) for value in found):
            raise BadData("a row is about nobody, or about something that is not a name", where="people")
        found = found.astype(np.str_)
    _, units = np.unique(found, return_inverse=True)
    return units.astype(np.int64)
