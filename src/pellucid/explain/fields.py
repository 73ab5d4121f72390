"""What an explanation speaks of: a column, a pixel, a token, and the slots of the input that belong to it.

A column of categories is encoded in several slots, and is still one thing to a reader. Explaining the slots one by one
would split it, and would ask the model about rows in which a person has two jobs or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import BadData
from pellucid.explain.intervals import Floats
from pellucid.schema import Encoding, Schema

__all__ = ["Fields", "as_fields"]


@dataclass(frozen=True, slots=True)
class Fields:
    """Named groups of slots that together are every slot of a flat row, each once.

    Attributes:
        names: One a field, no two the same.
        slots: By field, the places in a flat row that belong to it; at least one.

    Raises:
        BadData: A name twice, a field without slots, or a slot that is missing or in two fields.
    """

    names: tuple[str, ...]
    slots: tuple[tuple[int, ...], ...]
    width: int = field(init=False)

    def __post_init__(self) -> None:
        taken = sorted(place for group in self.slots for place in group)
        whole = taken == list(range(len(taken))) and all(self.slots) and len(self.slots) == len(self.names)
        if not whole or not self.names or len(set(self.names)) < len(self.names):
            raise BadData(
                "fields must have a name each, and every slot of a row must be in one of them", where="fields"
            )
        object.__setattr__(self, "width", len(taken))

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, encoding: Encoding) -> Fields:
        """The columns of a table, each with all slots of its code."""
        places = encoding.slices().values()
        return cls(encoding.features, tuple(tuple(range(place.start, place.stop)) for place in places))

    @classmethod
    def single(cls, names: int | Sequence[str]) -> Fields:
        """One slot a field; a number stands for ``x0``, ``x1`` and so on."""
        given = tuple(f"x{place}" for place in range(names)) if isinstance(names, int) else tuple(names)
        return cls(given, tuple((place,) for place in range(len(given))))

    def total(self, slots: Floats) -> Floats:
        """Values by slot (N, width) summed by field (N, fields)."""
        return np.stack([slots[:, list(group)].sum(axis=1) for group in self.slots], axis=1)

    def membership(self) -> Floats:
        """(fields, width) 1 where a slot belongs to a field, else 0: a mask by field times this is one by slot."""
        found = np.zeros((len(self), self.width))
        for number, group in enumerate(self.slots):
            found[number, list(group)] = 1.0
        return found


def as_fields(given: Any) -> Fields:
    """``given``, or the fields of an encoding.

    Raises:
        BadData: It is neither.
    """
    if isinstance(given, Fields):
        return given
    if isinstance(given, Encoding):
        return Fields.of(given)
    fix = "Fields.single(x.shape[1]) makes every number a field, patches((channels, height, width), size) an image's"
    raise BadData(
        f"what the slots of a row mean is said by an Encoding or by Fields, and this is a {type(given).__name__}",
        where="fields",
        fix="Encoding.of(schema) makes an encoding" if isinstance(given, Schema) else fix,
    )
