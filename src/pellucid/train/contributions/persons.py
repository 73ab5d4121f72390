"""From rows to people: what all rows of a person add to a parameter together, each by an equal share.

A person's gradient is the mean over their rows, so that it is bounded as one and nobody speaks louder for having more
rows (Charles et al. 2024, arXiv 2407.07737, user-level sampling). People are sorted by how many rows they have, up to
the next power of two, and where one has fewer, a row of their own counts zero times: so every form keeps its way to the
norm, with one more dimension of positions, and less than half of the work is on rows that do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.train.contributions.base import Contribution, Direct, Room, scaled
from pellucid.train.contributions.combined import Stacked, Sum, Tied
from pellucid.train.contributions.convolution import Convolution
from pellucid.train.contributions.outer import Outer
from pellucid.train.contributions.rows import Rows

__all__ = ["Layout", "Split", "by_person", "layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """People who are padded to one number of rows.

    Attributes:
        people: Which of the batch, ``(P,)``.
        rows: Their rows, ``(P · width,)``, one person after the other.
        shares: What each counts, ``(P · width,)``, float64: one over the person's rows, or zero.
    """

    people: Tensor
    rows: Tensor
    shares: Tensor


def layout(counts: Tensor) -> list[Layout]:
    """How people with ``counts`` rows each, one after the other, are taken together: by powers of two."""
    starts = counts.cumsum(0) - counts
    most = int(counts.max())
    found, low, width = [], 0, 1
    while low < most:
        high = min(width, most)
        people = ((counts > low) & (counts <= high)).nonzero().squeeze(1)
        if len(people):
            own, place = counts[people][:, None], torch.arange(high)[None]
            rows = starts[people][:, None] + torch.minimum(place, own - 1)
            shares = torch.where(place < own, 1.0 / own.double(), 0.0)
            found.append(Layout(people, rows.reshape(-1), shares.reshape(-1)))
        low, width = high, 2 * width
    return found


def by_person(contribution: Contribution, layouts: Sequence[Layout]) -> Contribution:
    """One contribution a person of one a row.

    Args:
        contribution: Its units are the rows of the batch.
        layouts: Of all people of the batch.
    """
    parts = [(each.people, _gathered(contribution, each)) for each in layouts]
    if len(parts) == 1:
        return parts[0][1]
    return Split(parts)


def _gathered(rows: Contribution, how: Layout) -> Contribution:
    units = len(how.people)

    def people(values: Tensor, shares: bool = False) -> Tensor:
        """``(rows, T, …)`` as ``(units, width · T, …)``."""
        values = values.index_select(0, how.rows)
        values = scaled(values, how.shares) if shares else values
        return values.reshape(units, -1, *values.shape[2:])

    if isinstance(rows, Direct):
        return Direct(people(rows.gradient[:, None], True).sum(1))
    if isinstance(rows, Outer):
        a, g = rows.positions()
        return Outer(people(a), people(g, True), rows.shape)
    if isinstance(rows, Rows):
        return Rows(people(rows.index), people(rows.g, True), rows.count)
    if isinstance(rows, Convolution):
        views = len(rows.a) // rows.units
        a, g = (x.view(rows.units, views, *x.shape[1:]) for x in (rows.a, rows.g))
        a, g = people(a).flatten(0, 1), people(g, True).flatten(0, 1)
        return Convolution(a, g, rows.shape[0], units, rows.geometry)
    if isinstance(rows, Tied):
        return Tied(*(_gathered(part, how) for part in (rows.outer, rows.rows)))  # type: ignore[arg-type]  # types stay
    if isinstance(rows, Stacked | Sum):
        return type(rows)([_gathered(part, how) for part in rows.parts])
    raise TypeError(f"no way from rows to people for {type(rows).__name__}")


class Split(Contribution):
    """People in several parts, each of whom is in one."""

    def __init__(self, parts: Sequence[tuple[Tensor, Contribution]]) -> None:
        """``parts``: which people, and theirs, in that order; together they are 0 to U - 1."""
        self.parts = tuple(parts)
        self.units = sum(len(people) for people, _ in parts)
        self.shape = self.parts[0][1].shape

    def squared_norms(self, room: Room) -> Tensor:
        """Each part's."""
        return self._together(lambda part: part.squared_norms(room))

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """The sum of each part's."""
        sums = [part.weighted_sum(factors[people]) for people, part in self.parts]
        return torch.stack(sums).sum(0)

    def per_unit(self) -> Tensor:
        """Each part's."""
        return self._together(lambda part: part.per_unit())

    def select(self, units: Tensor) -> Contribution:
        """These people of every part."""
        found = []
        for people, part in self.parts:
            place = torch.full((self.units,), -1, dtype=torch.int64)
            place[people] = torch.arange(len(people))
            wanted = place[units]
            here = (wanted >= 0).nonzero().squeeze(1)
            if len(here):
                found.append((here, part.select(wanted[here])))
        return Split(found) if found else self.parts[0][1].select(units)

    def _together(self, ask: Callable[[Contribution], Tensor]) -> Tensor:
        answers = [ask(part) for _, part in self.parts]
        kind = torch.float64 if any(a.dtype == torch.float64 for a in answers) else answers[0].dtype
        whole = answers[0].new_empty(self.units, *answers[0].shape[1:], dtype=kind)
        for (people, _), answer in zip(self.parts, answers, strict=True):
            whole[people] = answer.to(kind)
        return whole
