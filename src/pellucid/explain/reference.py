"""What a person is compared with where nothing else is said: the declared reference of each column, as a row.

An attribution says how an answer differs from that of its baseline, so that the ranking of columns is a ranking of
distances from it. The middle of a declared range is a poor one where nearly everybody has the same value: of a capital
gain declared up to 99 999 on a log scale it is 315, and nine in ten people have 0. So a schema may declare a
``reference``; it is public knowledge like bounds, and costs no privacy.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final

import torch
from torch import Tensor

from pellucid.schema import Code, Encoding

__all__ = ["MIDPOINT", "code_of", "reference_row", "reference_words"]

MIDPOINT: Final = "encoded midpoint: zeros"


def code_of(code: Code, value: float | str | bool) -> Tensor:
    """The slots (width,) float32 of a declared ``value``, such as a reference or a fill: as encoding writes them."""
    found = torch.zeros(code.width, dtype=torch.float32)
    if code.how == "onehot":
        found[code.categories.index(str(value))] = 1.0
    elif code.how == "bins":
        found[bisect_right(code.edges, float(value))] = 1.0
    elif code.how == "boolean":
        found[0] = float(value)
    else:
        above, span = float(value) - code.low, code.high - code.low
        share = above / span if code.how == "linear" else math.log1p(above) / math.log1p(span)
        found[0] = 2.0 * share - 1.0
    return found


def reference_row(encoding: Encoding) -> Tensor:
    """The row (width,) that explanations start from: declared references, and zeros where none is declared.

    Zeros are the middle of a number's range on its declared scale, and no category at all.
    """
    parts = [
        torch.zeros(code.width, dtype=torch.float32) if code.reference is None else code_of(code, code.reference)
        for code in encoding.codes
    ]
    return torch.cat(parts)


def reference_words(encoding: Encoding) -> str:
    """What :func:`reference_row` is, in words."""
    named = [f"{code.column} = {_plain(code.reference)}" for code in encoding.codes if code.reference is not None]
    if not named:
        return MIDPOINT
    rest = "" if len(named) == len(encoding.codes) else f"; of other columns the {MIDPOINT}"
    return f"declared reference: {', '.join(named)}{rest}"


def _plain(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:g}"
