"""Does the privacy statement speak of the people of the data set? A claim for a row is none for whoever has several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.errors import Unverified

__all__ = ["follows_unit"]


def follows_unit(
    values: Mapping[str, Any], training: Sequence[Mapping[str, Any]], datasets: Sequence[Mapping[str, Any]]
) -> None:
    """Hold unit, rows of a person and what was drawn against training and data set.

    What the training statement does not say has its default value: one row, drawn with its person.

    Raises:
        Unverified: They are others, or nothing bounds the rows of a person.
    """
    for declared in datasets:
        if values["unit"] != declared["unit"]:
            raise Unverified(f'the unit is "{values["unit"]}", and the data set declares "{declared["unit"]}"')
        most = 1 if declared["unit"] == "row" else declared.get("rows_per_unit")
        if not isinstance(most, int) or isinstance(most, bool):
            raise Unverified("nothing bounds the rows of a person, so that no claim about one can be made")
        for said in (values, *training):
            if said.get("unit_rows", 1) != most:
                raise Unverified(f"the claim is not about people with up to {most} rows, as the data set declares them")
    for run in training:
        if values.get("sampling", "user") != run.get("sampling", "user"):
            raise Unverified("the privacy statement says another sampling than the training")
