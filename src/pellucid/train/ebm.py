"""Private boosting of an additive model: a DP-EBM (Nori et al. 2021, arXiv 2106.09680), by our own noise and accounts.

Noise is added to sums that are exact: residuals are rounded to multiples of 2**-24, so that up to 2**29 of them add up
in float64 without rounding and in any order. Why this is not ``interpret.privacy``: docs/adr/0017-dp-ebm.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch

from pellucid.errors import BadData, Misuse
from pellucid.train.additive import Additive, Table, added
from pellucid.train.gaussian import widening
from pellucid.train.noise import Noise, SecureNoise

if TYPE_CHECKING:
    from pellucid.privacy import BoostPlan

__all__ = ["Boosting"]

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

FINE: Final = 2.0**24  # residuals are multiples of its inverse
MOST: Final = 2**29  # people whose residuals add up exactly


class Boosting:
    """Trains ``model`` in place, by a plan.

    Args:
        model: Additive, all zeros.
        plan: Of as many columns as the model has.
        x: (N, width) float32: everybody who is trained on.
        y: (N,) int64, 0 or 1.
        learning_rate: What is added to a leaf, in mean residuals. Above 0.
        leaves: Into which a column is cut in a step, at most. At least 2.
        noise: Where noise comes from; only tests give one.
        on_step: Called after each step with the number of steps taken.

    Raises:
        Misuse: The plan is for another number of columns.
        BadData: Rows and targets do not match, are not of the types above, or are too many to be added up exactly.
    """

    def __init__(
        self,
        model: Additive,
        plan: BoostPlan,
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        learning_rate: float,
        leaves: int,
        noise: Noise | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> None:
        if plan.columns != len(model.tables):
            raise Misuse(
                f"the plan is for {plan.columns} columns and the model has {len(model.tables)}",
                where="plan.columns",
                fix="calibrate the plan for the columns that are learned from",
            )
        if x.ndim != 2 or len(x) != len(y) or len(x) > MOST or y.dtype != torch.int64:
            raise BadData("training takes (N, width) rows and as many int64 targets, at most 2**29", where="x")
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) <= 1:
            raise BadData("a target is neither 0 nor 1", where="y")
        self.steps_taken = 0
        self._model = model
        self._plan = plan
        self._rate = learning_rate
        self._leaves = leaves
        self._noise = noise or SecureNoise()
        self._on_step = on_step
        self._halted = False
        self._random = np.random.default_rng()  # where leaves are cut: it hides nobody
        self._y = y.numpy().astype(np.float64)
        self._x = [x[:, table.slots] for table in model.tables]
        self._cells: list[Whole] = list(np.ascontiguousarray(model.places(x).numpy().T))
        self._scores = np.zeros(len(y))
        self._values = [np.zeros(len(table)) for table in model.tables]
        self._weights: list[Floats] = []
        self._groups: list[list[Whole]] = []

    def __repr__(self) -> str:
        return f"Boosting(step {self.steps_taken} of {self._plan.steps})"

    def halt(self, _why: str) -> None:
        """No further step: :meth:`run` ends after this one."""
        self._halted = True

    def run(self) -> None:
        """Take all steps of the plan, or those up to :meth:`halt`.

        Raises:
            Misuse: Called twice.
        """
        if self.steps_taken:
            raise Misuse("a plan is taken once", where="boosting", fix="plan, and reserve, another one")
        plan = self._plan
        least = max(plan.train_units / (2 * self._model.bins), 4 * plan.count_noise)
        for column, table in enumerate(self._model.tables):
            counts = np.bincount(self._cells[column], minlength=len(table)).astype(np.float64)
            noisy = self._release(counts, plan.count_noise)
            groups = _grouped(noisy, table, least)
            self._groups.append(groups)
            self._weights.append(np.array([max(float(noisy[group].sum()), least) for group in groups]))
            self._after()
            if self._halted:
                return
        for _ in range(plan.rounds):
            for column in range(plan.columns):
                self._boost(column)
                self._after()
                if self._halted:
                    return

    def close(self) -> None:
        """Move the mean of each table into the intercept, by the noisy counts: scores stay what they are."""
        means = []
        for values, groups, weights in zip(self._values, self._groups, self._weights, strict=False):
            means.append(float(np.average([values[_middle(group)] for group in groups], weights=weights)))
            values[:] = values - means[-1]
        with torch.no_grad():
            self._model.values.copy_(torch.from_numpy(np.concatenate(self._values)))
            self._model.intercept.add_(sum(means))

    def _boost(self, column: int) -> None:
        """One step: cut, add up residuals by leaf, add noise, move the table."""
        groups, weights = self._groups[column], self._weights[column]
        leaf_of = np.zeros(len(groups), dtype=np.int64)
        for number, members in enumerate(_cut(self._order(column), self._leaves, self._random)):
            leaf_of[members] = number
        table = self._model.tables[column]
        residuals = np.rint((self._y - _probability(self._scores)) * FINE) / FINE
        by_cell = np.bincount(self._cells[column], weights=residuals, minlength=len(table))
        by_group = [float(by_cell[group].sum()) for group in groups]
        sums = np.bincount(leaf_of, weights=by_group).astype(np.float64)
        moved = self._rate * self._release(sums, self._plan.noise_multiplier) / np.bincount(leaf_of, weights=weights)
        change = _spread(moved[leaf_of], groups, table)
        self._values[column] += change
        slots = self._x[column].double()
        self._scores += added(table, slots, torch.from_numpy(change), self._model.bins).numpy()

    def _release(self, sums: Floats, noise_multiplier: float) -> Floats:
        """``sums``, of which one person moves one coordinate by at most 1, with noise on a grid."""
        self.steps_taken += 1  # before: what was begun is spent
        # rounding to the grid widens the sensitivity by a little more than nothing, and so the noise
        wide = 1.0 + widening(2.0 * noise_multiplier, sums.size)
        found = torch.from_numpy(sums)
        self._noise.add(found, noise_multiplier * wide)
        return sums

    def _order(self, column: int) -> Whole:
        """The groups of a column in the order in which they are cut: categories in any, a missing value at an end."""
        groups, table = self._groups[column], self._model.tables[column]
        ordered = [place for place, group in enumerate(groups) if group[0] < table.ordered]
        others = [place for place, group in enumerate(groups) if group[0] >= table.ordered]
        others = [others[place] for place in self._random.permutation(len(others))]
        parts: Sequence[list[int]] = (ordered, others) if self._random.integers(2) else (others, ordered)
        return np.array([*parts[0], *parts[1]], dtype=np.int64)

    def _after(self) -> None:
        if self._on_step is not None:
            self._on_step(self.steps_taken)


def _grouped(noisy: Floats, table: Table, least: float) -> list[Whole]:
    """Cells that share one value: neighbours, and categories that are rare, until a group's noisy count is ``least``.

    Args:
        noisy: Noisy counts by cell; may be below 0.
        table: Says which cells have neighbours.
        least: Public.
    """
    found: list[list[int]] = []
    run: list[int] = []
    for cell in range(table.ordered):
        run.append(cell)
        if float(noisy[run].sum()) >= least:
            found.append(run)
            run = []
    if run and found:
        found[-1] += run
    elif run:
        found.append(run)
    loose = range(table.ordered, len(table))
    rare = [cell for cell in loose if noisy[cell] < least]
    found += [[cell] for cell in loose if noisy[cell] >= least]
    if rare:
        found.append(rare)
    return [np.array(group, dtype=np.int64) for group in found]


def _middle(group: Whole) -> int:
    return int(group[len(group) // 2])


def _spread(by_group: Floats, groups: list[Whole], table: Table) -> Floats:
    """Values by cell: a group's at its middle cell, on straight lines between those; of categories, the group's own."""
    found = np.zeros(len(table))
    middles = [_middle(group) for group in groups if group[0] < table.ordered]
    if middles:  # groups of ordered cells come first
        found[: table.ordered] = np.interp(np.arange(table.ordered), middles, by_group[: len(middles)])
    for value, group in zip(by_group[len(middles) :], groups[len(middles) :], strict=True):
        found[group] = value
    return found


def _cut(order: Whole, leaves: int, random: np.random.Generator) -> list[Whole]:
    """``order`` in at most ``leaves`` pieces, cut at random."""
    most = min(leaves, len(order)) - 1
    cuts = np.sort(random.choice(len(order) - 1, most, replace=False)) + 1 if most else np.array([], dtype=np.int64)
    return np.split(order, cuts)


def _probability(scores: Floats) -> Floats:
    """Of class 1, in [0, 1]."""
    return np.exp(-np.logaddexp(0.0, -scores))
