"""The rows of a sealed data set in memory, who is held out, and whose rows are whose.

Where people have several rows, what is measured is measured on one row of each, so that every number is about people
and every interval may take them for independent: rows of one person are alike, and an interval that counted them one by
one would be too short. Which row that is follows from the person's split tag, which was drawn by chance at sealing: it
is the same in every question, and has nothing to do with what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadPlan
from pellucid.privacy import AnyPlan, BoostPlan
from pellucid.project import data
from pellucid.project.project import Project

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pellucid.schema import Encoding, Schema

__all__ = ["ALL_ROWS", "ONE_ROW", "Loaded", "one_row_each", "require_unit", "unit_rows"]

ONE_ROW: Final = "one row of each, drawn by chance at sealing; every count and interval is of people"
ALL_ROWS: Final = "the mean loss over all rows of a person"


def unit_rows(schema: Schema) -> int | None:
    """The most rows of a person; None where that is not bounded."""
    return 1 if schema.unit == "row" else schema.rows_per_unit


def require_unit(plan: AnyPlan, sealed: data.Sealed) -> None:
    """Refuses a plan that protects less than a person.

    Raises:
        BadPlan: The rows of a person are not bounded, or the plan is for another number of them.
    """
    schema, bound = sealed.schema, unit_rows(sealed.schema)
    if bound is None:
        raise BadPlan(
            f'people may have any number of rows here (unit "{schema.unit}"), and no plan protects so many',
            where=sealed.label,
            fix="declare rows_per_unit under [dataset], the most rows of one person, and seal again",
        )
    planned = 1 if isinstance(plan, BoostPlan) else plan.unit_rows
    if planned == bound:
        return
    several = f'up to {bound} rows (unit "{schema.unit}")' if bound > 1 else "one row each"
    protects = f"people with up to {planned} rows" if planned > 1 else "one row"
    if isinstance(plan, BoostPlan):
        fix = "train by gradients, with unit_rows in the plan, or seal with rows_per_unit = 1: boosting takes one row"
    else:
        fix = f"calibrate the plan with unit_rows={bound}" if bound > 1 else "leave unit_rows out of the plan"
    raise BadPlan(f"people have {several} here, and this plan protects {protects}", where="plan", fix=fix)


@dataclass(frozen=True)
class Loaded:
    """Rows that were decrypted for one model.

    Attributes:
        x: Inputs, (N, width).
        y: Targets, (N,).
        test: Which are held out, (N,).
        tags: Of each row's person, (N,); None where every row is another person.
    """

    x: torch.Tensor
    y: torch.Tensor
    test: NDArray[np.bool_]
    tags: NDArray[np.uint64] | None = None

    @classmethod
    def read(cls, project: Project, sealed: data.Sealed, encoding: Encoding, *, purpose: str, test: float) -> Loaded:
        """Decrypt what a model takes; which columns, is decided and recorded one group at a time.

        Args:
            project: Where.
            sealed: The data set.
            encoding: Of the model.
            purpose: What for.
            test: Share of people held out.

        Raises:
            Denied: As :func:`pellucid.project.data.read`.
        """
        from pellucid import train
        from pellucid.vault import in_test

        names = [*encoding.features, encoding.target]
        table = data.read(project, sealed.label, names, purpose=purpose, tags=True)
        tags = table.column(data.TAG).to_numpy()
        x, y = train.encode_features(table, encoding), train.encode_target(table, encoding)
        return cls(x, y, in_test(tags, test), None if unit_rows(sealed.schema) == 1 else tags)

    def __repr__(self) -> str:
        return "Loaded()"

    @cached_property
    def one(self) -> NDArray[np.int64] | None:
        """One row of each person, in the order of the data; None where that is every row."""
        if self.tags is None:
            return None
        return one_row_each(self.tags)

    def measured(self) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
        """Inputs, targets and who is held out, of one row of each person."""
        if self.one is None:
            return self.x, self.y, self.test
        return self.x[self.one], self.y[self.one], self.test[self.one]

    def held_out(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of one row of each person held out: a person adds to a count of them once."""
        import torch

        x, y, test = self.measured()
        rows = torch.from_numpy(test)
        return x[rows], y[rows]

    def of_held_out(self, values: NDArray[Any]) -> NDArray[Any]:
        """Of values in the order of the data, those of the rows that are held out and measured."""
        _, _, test = self.measured()
        return values[test] if self.one is None else values[self.one][test]

    def training(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Inputs and targets of all rows of the people who are trained on, and a number of each row's person."""
        import torch

        rows = torch.from_numpy(~self.test)
        people = None if self.tags is None else torch.tensor(self.tags.view("int64"))[rows]
        return self.x[rows], self.y[rows], people

    def by_person(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The mean over each person's rows, and who of them is held out."""
        if self.tags is None:
            return values, self.test
        import numpy as np

        _, first, number, counts = np.unique(self.tags, return_index=True, return_inverse=True, return_counts=True)
        return np.bincount(number, weights=values) / counts, self.test[first]


def one_row_each(tags: NDArray[np.uint64]) -> NDArray[np.int64]:
    """One row of each person, in the order of the data.

    Args:
        tags: Of each row's person, (N,).
    """
    import numpy as np

    people, counts = np.unique(tags, return_counts=True)
    order = np.argsort(tags, kind="stable")
    starts = counts.cumsum() - counts
    # the tag's low bits are uniform, whichever part of the split it is in
    return np.sort(order[starts + (people % counts.astype(np.uint64)).astype(np.int64)])
