"""Which cells of a table of people may not be published, so that none of a few people can be computed from the rest.

Primary suppression takes the cells of fewer than ``k`` people. Whoever knows totals and the published cells can solve
for the others, so further cells are suppressed beside them (complementary suppression). How much is enough is decided
by what an attacker can compute: every suppressed cell is at least 0, every published total holds exactly, and within
that the attacker finds the least and the greatest value of a cell by linear programming. The distance of the two is at
least ``k`` for every small cell (Fischetti and Salazar 2001, Management Science 47; Willenborg and de Waal 2001,
Elements of Statistical Disclosure Control, chapter 6). Totals in a report are rounded: an attacker knows less than
this one, never more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["MINIMUM_CELL", "feasible", "protect", "suppressed_cells", "suppressed_groups"]

Cell = TypeVar("Cell", bound=Hashable)
MINIMUM_CELL: Final = 10
"""The least number of people that is published, for whatever reader."""
_SLACK: Final = 1e-6  # of the solver, in people
_USED: Final = 1e-7
_INFEASIBLE: Final = 2  # what scipy's linprog calls it
_UNBOUNDED: Final = 3


class _NoAnswer(Exception):  # of the solver; caught in this module
    """Nobody knows how uncertain a cell is."""


def suppressed_groups(
    sizes: Mapping[str, int], minimum_cell: int = MINIMUM_CELL, also: Collection[str] = ()
) -> tuple[str, ...]:
    """The groups that must not be published, in order of name.

    Complementary suppression goes on with the next smallest until the suppressed are at least two and together at least
    ``minimum_cell`` people: what is left over when the published groups are taken from a published total is then never
    one small group. A single group that would remain is suppressed too, for there is nothing to compare it with.

    Args:
        sizes: Group → people.
        minimum_cell: The least number of people that may be published.
        also: Groups that must not be published for another reason, whatever their size.
    """
    order = sorted(sizes, key=lambda name: (sizes[name], name))
    out = [name for name in order if sizes[name] < minimum_cell or name in also]
    rest = [name for name in order if name not in out]
    while out and rest and (len(out) < 2 or sum(sizes[name] for name in out) < minimum_cell):
        out.append(rest.pop(0))
    if out and len(rest) == 1:
        out.append(rest.pop())
    return tuple(sorted(out))


def suppressed_cells(
    sizes: Mapping[tuple[str, str], int], minimum_cell: int = MINIMUM_CELL, also: Collection[tuple[str, str]] = ()
) -> frozenset[tuple[str, str]]:
    """The cells of a table of two columns that must not be published.

    Known to everybody are the total and the totals of both columns that :func:`suppressed_groups` leaves.

    Args:
        sizes: (value of one column, value of the other) → people; combinations of nobody are left out.
        minimum_cell: The least number of people that may be published.
        also: Cells that must not be published for another reason, whatever their size.
    """
    totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for cell, size in sizes.items():
        for axis in (0, 1):
            totals[axis][cell[axis]] += size
    lines = [
        [cell for cell in sizes if cell[axis] == name]
        for axis in (0, 1)
        for name in sorted(totals[axis].keys() - set(suppressed_groups(totals[axis], minimum_cell)))
    ]
    hidden = protect(sizes, [*lines, list(sizes)], minimum_cell, also)
    return frozenset(sizes) if hidden and len(hidden) == len(sizes) - 1 else hidden


def protect(
    sizes: Mapping[Cell, int], lines: Sequence[Collection[Cell]], minimum_cell: int, also: Collection[Cell] = ()
) -> frozenset[Cell]:
    """The cells to suppress, so that every small one stays uncertain by ``minimum_cell`` people or more.

    Cells are suppressed where the least is lost: for each small cell that is exposed a linear programme looks for two
    ways to move people about that keep every known total and differ by ``minimum_cell`` in that cell (Kelly, Golden and
    Assad 1992, Networks 22); the cells that take part are suppressed. If the totals themselves say too much, every cell
    is suppressed: the table adds nothing then to what was known. So it is if the solver gives no answer.

    Args:
        sizes: Cell → people. A combination that is not there is known to be nobody.
        lines: Sets of cells whose total is known.
        minimum_cell: The least number of people that may be published, and the least uncertainty about fewer.
        also: Cells that are to be suppressed and protected for another reason, whatever their size.
    """
    small = sorted((c for c in sizes if sizes[c] < minimum_cell or c in also), key=lambda c: (sizes[c], repr(c)))
    try:
        return _protected(sizes, small, lines, minimum_cell)
    except _NoAnswer:
        return frozenset(sizes)


def _protected(
    sizes: Mapping[Cell, int], small: Sequence[Cell], lines: Sequence[Collection[Cell]], minimum_cell: int
) -> frozenset[Cell]:
    hidden = set(small)
    for cell in small:
        if _uncertain(sizes, hidden, lines, cell, minimum_cell):
            continue
        helpers = _helpers(sizes, hidden, lines, cell, minimum_cell)
        if helpers is None:
            return frozenset(sizes)
        # the programme may have moved half a person here and half there where one of both would do
        for helper in sorted(helpers - hidden, key=lambda c: (-sizes[c], repr(c))):
            if _uncertain(sizes, hidden | helpers - {helper}, lines, cell, minimum_cell):
                helpers.remove(helper)
        hidden |= helpers  # more unknowns: no cell that was protected before is less so now
    return frozenset(hidden)


def feasible(
    sizes: Mapping[Cell, int], hidden: Collection[Cell], lines: Sequence[Collection[Cell]], cell: Cell
) -> tuple[float, float]:
    """The least and the greatest number of people in ``cell`` that fit everything published.

    Args:
        sizes: Cell → people.
        hidden: The suppressed cells, ``cell`` among them; the others are published.
        lines: Sets of cells whose total is known.
        cell: Which one.

    Returns:
        Both; the greatest is inf where there is no end to it.
    """
    cells = sorted(hidden, key=repr)
    matrix = _matrix(cells, lines)
    known = matrix @ np.array([sizes[each] for each in cells], dtype=np.float64)
    aim = np.array([float(each == cell) for each in cells])
    least, greatest = (_solve(sign * aim, matrix, known, [(0, None)] * len(cells)) for sign in (1.0, -1.0))
    if least is None:  # nothing is below zero, and the table itself fits what is published
        raise _NoAnswer
    return float(aim @ least), float("inf") if greatest is None else float(aim @ greatest)


def _uncertain(
    sizes: Mapping[Cell, int], hidden: Collection[Cell], lines: Sequence[Collection[Cell]], cell: Cell, width: int
) -> bool:
    low, high = feasible(sizes, hidden, lines, cell)
    return high - low >= width - _SLACK


def _helpers(
    sizes: Mapping[Cell, int], hidden: Collection[Cell], lines: Sequence[Collection[Cell]], cell: Cell, width: int
) -> set[Cell] | None:
    """The cheapest cells that make ``cell`` uncertain by ``width``; None if no cells do."""
    cells = sorted(sizes, key=repr)
    count, matrix = len(cells), _matrix(cells, lines)
    # two tables x + up - down for an up-move and a down-move: variables are the four non-negative parts
    price = np.array([_USED if each in hidden else 1.0 + sizes[each] for each in cells])
    nothing = np.zeros_like(matrix)
    aim = np.array([float(each == cell) for each in cells])
    equal = np.vstack(
        [
            np.hstack([matrix, -matrix, nothing, nothing]),
            np.hstack([nothing, nothing, matrix, -matrix]),
            np.hstack([aim, -aim, -aim, aim])[None, :],
        ]
    )
    right = np.zeros(equal.shape[0])
    right[-1] = width
    room = [(0.0, float(sizes[each])) for each in cells]
    found = _solve(np.tile(price, 4), equal, right, [*[(0.0, None)] * count, *room] * 2, may_fail=True)
    if found is None:
        return None
    moved = found.reshape(4, count).max(axis=0)
    return {each for each, much in zip(cells, moved.tolist(), strict=True) if much > _USED}


def _matrix(cells: Sequence[Cell], lines: Sequence[Collection[Cell]]) -> npt.NDArray[np.float64]:
    """(lines, cells) 1 where a cell is in a line; lines without any of them are left out."""
    members = [set(line) for line in lines]
    rows = [[float(cell in line) for cell in cells] for line in members if any(cell in line for cell in cells)]
    return np.array(rows, dtype=np.float64).reshape(-1, len(cells))


def _solve(
    price: npt.NDArray[np.float64],
    matrix: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    room: Sequence[tuple[float, float | None]],
    *,
    may_fail: bool = False,
) -> npt.NDArray[np.float64] | None:
    """The cheapest point; None where there is no end to it, or with ``may_fail`` where there is none.

    Raises:
        _NoAnswer: The solver gave up, or found no point where there is one: that is never taken for uncertainty.
    """
    from scipy.optimize import linprog

    found: Any = linprog(price, A_eq=matrix if len(matrix) else None, b_eq=right if len(matrix) else None, bounds=room)
    if found.status == 0:
        return np.asarray(found.x, dtype=np.float64)
    if found.status == _UNBOUNDED or (found.status == _INFEASIBLE and may_fail):
        return None
    raise _NoAnswer
