"""Split tags: a random number for every unit, drawn once at sealing.

A unit is in the test part if its tag is below the test share. Whether one person is in test therefore depends on no
other person, and stays as it is when people are added or erased.

Where people have several rows, the tag is also all that a training sees of who they are: rows with one tag are one
person's. It is drawn, and not made of the identifier, so that nobody can try names against it, and two sealings of one
person have nothing in common.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadPlan
from pellucid.vault.arrow import pa, pc
from pellucid.vault.groups import TAG

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TAG", "draw_tags", "in_test"]


def draw_tags(units: pa.ChunkedArray | int) -> pa.Array:
    """One uniform ``uint64`` a row from the operating system's generator; rows of one unit share theirs.

    No two people share one: two that met by chance (of a million, once in 3e7 sealings) would be taken for one.

    Args:
        units: The column that names a person, without nulls; or the number of rows where each is another person.
    """
    import numpy as np

    if isinstance(units, int):
        return pa.array(np.frombuffer(os.urandom(8 * units), dtype=np.uint64))
    codes: Any = pc.dictionary_encode(units).combine_chunks()
    while True:
        drawn = np.frombuffer(os.urandom(8 * len(codes.dictionary)), dtype=np.uint64)
        if len(np.unique(drawn)) == len(drawn):
            return pa.array(drawn).take(codes.indices)


def in_test(tags: npt.NDArray[np.uint64], share: float) -> npt.NDArray[np.bool_]:
    """Whether each tag is in the test part: ``tag < floor(share * 2**64)``, exactly.

    A larger share contains the test part of every smaller one.

    Args:
        tags: Shape (n,), ``uint64``.
        share: The test share, in [0, 1].

    Raises:
        BadPlan: ``share`` is outside [0, 1] or not a number.
    """
    import numpy as np

    if not 0 <= share <= 1:  # false for NaN too
        raise BadPlan("the test share must be between 0 and 1", where="test")
    if share == 1:  # 2**64 itself is no uint64
        return np.ones(len(tags), dtype=np.bool_)
    # Multiplying by a power of two is exact, so int() is the floor of the true product.
    return np.asarray(tags, dtype=np.uint64) < np.uint64(int(math.ldexp(share, 64)))
