"""Whose rows are whose, where people have several: drawn together, side by side in a batch."""

from __future__ import annotations

from typing import Final

import torch

from pellucid.errors import BadData

__all__ = ["MADE_UP", "Persons"]

MADE_UP: Final = torch.ones(1, dtype=torch.int64)  # rows of the one person that stands in for an empty sample


class Persons:
    """The rows of each person.

    Args:
        owners: ``(N,)``, integers: rows with the same number are one person's. Private.
        most: What nobody has more rows than.

    Raises:
        BadData: Somebody has more rows. Never says who or how many.
    """

    def __init__(self, owners: torch.Tensor, most: int) -> None:
        if owners.dim() != 1 or owners.dtype != torch.int64:
            raise BadData("whose rows are whose must be one int64 number a row", where="people")
        _, number, counts = torch.unique(owners, return_inverse=True, return_counts=True)
        if int(counts.max()) > most:
            raise BadData(
                f"somebody has more than {most} row{'s' * (most > 1)}, and the plan protects so many",
                where="people",
                fix="bound the rows of a person where the data is sealed: rows_per_unit in its schema",
            )
        self._rows = torch.argsort(number, stable=True)
        self._counts = counts
        self._starts = counts.cumsum(0) - counts

    def __len__(self) -> int:
        """How many people there are. Private."""
        return len(self._counts)

    def __repr__(self) -> str:
        return "Persons()"

    def rows_of(self, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of the people ``drawn``, one person after the other, and how many each has.

        Args:
            drawn: ``(size,)``, int64, numbers of people below ``len(self)``.
        """
        counts = self._counts[drawn]
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        place = torch.arange(len(first)) - first
        return self._rows[self._starts[drawn].repeat_interleave(counts) + place], counts
