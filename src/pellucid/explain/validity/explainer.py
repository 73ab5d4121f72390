"""How any explainer is asked, whoever wrote it: a copy of the model goes in, one finite number a field comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import Floats
from pellucid.explain.model import device_of, untouched

__all__ = [
    "DRAWS_ANEW",
    "REPEATS",
    "Explainer",
    "ask",
    "check_attributions",
    "check_input",
    "chosen",
    "repeats",
    "said",
    "twice",
]

Explainer = Callable[[nn.Module, Tensor], Floats]
"""A frozen model in eval mode and rows (N, …) to attributions (N, fields), rows independent of each other."""

REPEATS: Final = "gives the same attributions when asked again"
DRAWS_ANEW: Final = "draws anew at each call: what is measured holds its own noise too"
PROBED: Final = 8  # rows on which an explainer must give the same twice


def ask(explain: Explainer, model: nn.Module, x: Tensor) -> Floats:
    """Attributions (N, fields) by ``explain``, with every generator left where it stood.

    Args:
        explain: The explainer.
        model: A :func:`pellucid.explain.model.frozen` model.
        x: (N, …).

    Raises:
        BadData: It does not return one finite number a row and field.
    """
    with untouched():
        found = np.asarray(explain(model, x.to(device_of(model))), dtype=np.float64)
    check_attributions(found, len(x))
    return found


def twice(explain: Explainer, model: nn.Module, x: Tensor) -> tuple[Floats, Floats]:
    """Attributions of ``x`` and the same again, in one go of the generators: one that draws from them differs."""
    rows = x.to(device_of(model))
    with untouched():
        first, second = (np.asarray(explain(model, rows), dtype=np.float64) for _ in range(2))
    check_attributions(first, len(x))
    check_attributions(second, len(x))
    return first, second


def repeats(explain: Explainer, model: nn.Module, x: Tensor) -> bool:
    """Whether ``explain`` gives the same attributions of a few rows when it is asked again."""
    return bool(np.allclose(*twice(explain, model, x[:PROBED]), rtol=1e-6, atol=1e-9))


def said(deterministic: bool) -> str:
    """What ``how`` says of an explainer."""
    return REPEATS if deterministic else DRAWS_ANEW


def check_attributions(found: Any, rows: int, where: str = "explainer") -> None:
    """Check that ``found`` is (rows, fields) of finite numbers, with at least one field.

    Raises:
        BadData: It is not; no value is shown.
    """
    shape = getattr(found, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != rows or shape[1] == 0:
        wrong = "have other rows" if shape is not None and len(shape) == 2 else "are no table of two dimensions"
        raise BadData(
            f"attributions must be one number a row and field, and {wrong}",
            where=where,
            fix="flatten images and sum over the slots of a field",
        )
    if not np.isfinite(found).all():
        raise BadData("attributions hold NaN or infinity", where=where)


def check_input(x: Tensor) -> None:
    """Check rows of numbers (float32) or of token ids (whole numbers).

    Raises:
        BadData: Wrong type or shape, no row, or NaN.
    """
    if getattr(x, "dtype", None) not in (torch.int64, torch.int32):
        check_rows(x)
    elif x.ndim < 2 or x.numel() == 0:
        raise BadData("token ids must have at least one row and one token", where="x")


def chosen(total: int, rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of ``total`` rows are looked at: all, or ``rows`` of them drawn with the public ``seed``, in order."""
    if rows < 1:
        raise BadData("at least one row is needed", where="rows")
    if total <= rows:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
