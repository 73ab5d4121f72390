"""Which group is each person in, by one column or by two at a time?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import held_back, suppressed_cells
from pellucid.errors import BadData

__all__ = ["CROSS", "Names", "crossed", "group_names"]

CROSS: Final = " × "
Names = npt.NDArray[np.str_]


def group_names(values: npt.NDArray[Any], rows: int, column: str) -> Names:
    """The groups of ``column`` as an array of texts (rows,).

    Raises:
        BadData: They are not one text a row; no name is shown.
    """
    array = np.asarray(values)
    if array.shape != (rows,):
        raise BadData("groups must be one name a row, of as many rows as there are answers", where=column)
    if array.dtype.kind != "U":
        if not all(isinstance(value, str) for value in array):
            raise BadData("a row has no group, or its group is not a text", where=column, fix="name missing values")
        array = array.astype(np.str_)
    if not all(map(_written, set(array.tolist()))):
        raise BadData(
            "the name of a group holds half a character, which cannot be written",
            where=column,
            fix="read the names as UTF-8",
        )
    return array


def _written(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def crossed(
    one: Names, two: Names, minimum_cell: int, before: Sequence[Mapping[str, int]], *, where: str
) -> tuple[Names, tuple[str, ...]]:
    """The group of each row in a pair of columns, and the groups that must not be published.

    Args:
        one: By row, the group by one column.
        two: By the other.
        minimum_cell: The least number of people that may be published.
        before: Of each earlier publication, people by group.
        where: What an error names.

    Raises:
        BadData: Two pairs have the same name.
    """
    pairs = list(zip(one.tolist(), two.tolist(), strict=True))
    sizes = Counter(pairs)
    if len({CROSS.join(pair) for pair in sizes}) < len(sizes):
        raise BadData(f'names with "{CROSS}" in them cannot be told apart in pairs', where=where)
    held = held_back({CROSS.join(pair): size for pair, size in sizes.items()}, before, minimum_cell)
    also = [pair for pair in sizes if CROSS.join(pair) in held]
    hidden = tuple(sorted(CROSS.join(pair) for pair in suppressed_cells(sizes, minimum_cell, also)))
    return np.array([CROSS.join(pair) for pair in pairs], dtype=np.str_), hidden
