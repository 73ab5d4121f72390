"""Rows that stand for nobody: drawn from the declared schema, so that what is said of them costs no privacy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import BadData
from pellucid.schema import Encoding

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["public_rows"]


def public_rows(encoding: Encoding, n: int = 2000, *, seed: int = 0) -> Tensor:
    """Encoded rows drawn uniformly from the declared ranges and categories, every column by itself.

    Nothing about the data is used, so an attribution of these rows is post-processing of the weights. They are not
    people: columns are independent, and rare values are as frequent as common ones.

    Args:
        encoding: What the schema declares.
        n: How many rows, at least one.
        seed: Public.

    Returns:
        (n, width) float32; a linear or log slot in [-1, 1], a boolean or indicator slot in {0, 1}.

    Raises:
        BadData: ``n`` is below one, or the seed is below 0.
        Misuse: Not an encoding.
    """
    import torch

    from pellucid.explain.inputs import check_encoding, check_seed

    check_encoding(encoding)
    check_seed(seed)
    if n < 1:
        raise BadData("at least one row is needed", where="n")
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, encoding.width), dtype=np.float32)
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        first = place.start
        if code.how in ("linear", "log", "boolean"):
            value = rng.uniform(-1.0, 1.0, n) if code.how != "boolean" else rng.integers(0, 2, n)
            # a missing value is encoded as 0 in its own slot and 1 in the indicator that follows
            gone = rng.integers(0, 2, n) == 0 if code.missing else np.zeros(n, dtype=bool)
            rows[:, first] = np.where(gone, 0.0, value)
            if code.missing:
                rows[gone, first + 1] = 1.0
        else:
            rows[np.arange(n), first + rng.integers(0, code.width, n)] = 1.0
    return torch.from_numpy(rows)
