"""What two publications together say about the few people who came or went between them.

Numbers of people are published rounded down to ten, so an attacker who subtracts one publication from another learns
how many came or went to within nine. Where the two rounded numbers are equal, nobody need have come or gone. Where they
differ by twenty or more, more than ten people did. In between, a single person can make the difference, and whoever
knows who came learns their group; such a group is held back, and its complement with it
(:func:`pellucid.disclosure.suppressed_groups`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from pellucid.disclosure.suppression import MINIMUM_CELL

__all__ = ["apart", "held_back"]

Group = TypeVar("Group", bound=Hashable)


def apart(now: int, before: int, minimum_cell: int = MINIMUM_CELL) -> bool:
    """Whether two numbers rounded down to ``minimum_cell`` differ by more people than a few, whatever they are.

    Args:
        now: Exact or rounded.
        before: As it was published; 0 if it was suppressed.
        minimum_cell: The rounding, and the least number of people that is more than a few.
    """
    return abs(now - now % minimum_cell - before) >= 2 * minimum_cell


def held_back(
    sizes: Mapping[Group, int], before: Sequence[Mapping[Group, int]], minimum_cell: int = MINIMUM_CELL
) -> frozenset[Group]:
    """The groups that may not be published, because an earlier publication would give a few people away.

    Args:
        sizes: Group → people, exact, in the population that is to be published.
        before: For each earlier publication about another population: group → the rounded number that was published.
            What was suppressed then, or was nobody, is not there, and counts as 0.
        minimum_cell: The rounding, and the least number of people that is more than a few.
    """
    return frozenset(
        name
        for name, size in sizes.items()
        for published in before
        if size - size % minimum_cell != published.get(name, 0)
        and not apart(size, published.get(name, 0), minimum_cell)
    )
