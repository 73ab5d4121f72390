"""Rows as a question takes them: of the right type and shape, finite, on a device that has values, without a graph."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.errors import BadData, Misuse
from pellucid.schema import Encoding

__all__ = [
    "by_column",
    "check_encoding",
    "check_numbers_or_tokens",
    "check_rows",
    "check_seed",
    "check_tokens",
    "is_tokens",
]


def check_rows(x: Tensor, encoding: Encoding | None = None) -> None:
    """Check that ``x`` is finite float32 (N, width) with N >= 1, of the width of ``encoding`` if that is given.

    Raises:
        BadData: It is not; no value is shown.
        Misuse: ``encoding`` is something else.
    """
    if encoding is not None:
        check_encoding(encoding)
    if is_tokens(x):
        raise BadData(
            "these are token ids, and this question moves or mixes numbers: of tokens that would make other words",
            where="x",
            fix="ask attribute (at the embedding) or permute_columns; predict and losses take token ids, and so does "
            "whatever is asked of predictions: calibration, groups, labels, uncertainty",
        )
    if getattr(x, "dtype", None) != torch.float32:  # also what is no tensor at all
        raise BadData("x must be a float32 tensor", where="x")
    _plain(x)
    if x.ndim < 2 or len(x) == 0:
        raise BadData(
            f"x must have at least one row and two dimensions, and has {'no row' if x.ndim > 1 else f'{x.ndim}'}",
            where="x",
        )
    if encoding is not None and (x.ndim != 2 or x.shape[1] != encoding.width):
        slots = " × ".join(map(str, x.shape[1:]))
        raise BadData(
            f"a row must have the {encoding.width} slots of the encoding, and has {slots}",
            where="x",
            fix="encode the rows with the encoding that is handed in",
        )
    if not bool(torch.isfinite(x).all()):
        raise BadData("x holds NaN or infinity", where="x", fix="declare how missing values are encoded in the schema")


def check_tokens(x: Tensor, words: int | None = None) -> None:
    """Check that ``x`` is whole numbers (N, T) with N, T >= 1, in 0..words-1 where the size of the vocabulary is known.

    Raises:
        BadData: It is not; no token is shown.
    """
    if getattr(x, "dtype", None) not in (torch.int64, torch.int32) or x.ndim != 2 or x.numel() == 0:
        raise BadData("token ids must be an int64 tensor (N, T) with at least one row and one token", where="x")
    _plain(x)
    if words is not None and not 0 <= int(x.min()) <= int(x.max()) < words:
        raise BadData(
            f"a token id is outside 0..{words - 1}, the words the model knows",
            where="x",
            fix="tokenise with the vocabulary the model was trained with",
        )


def check_numbers_or_tokens(x: Tensor, encoding: Encoding | None = None) -> None:
    """:func:`check_tokens` of whole numbers, else :func:`check_rows`."""
    if is_tokens(x):
        check_tokens(x)
    else:
        check_rows(x, encoding)


def check_encoding(given: Any) -> None:
    """Check that ``given`` is an encoding, where a question needs to know what a slot may hold.

    Raises:
        Misuse: It is not.
    """
    if not isinstance(given, Encoding):
        raise Misuse(
            "this question needs an Encoding, which says of each slot whether it is a number, a category or a missing "
            f"value and what it may be; this is a {type(given).__name__}",
            where="encoding",
            fix="Encoding.of(Schema.parse(TOML)) makes one without any data: docs/explaining.md",
        )


def check_seed(given: Any) -> None:
    """Check that ``given`` is a whole number from 0, as a generator starts from.

    Raises:
        BadData: It is not.
    """
    if isinstance(given, bool) or not isinstance(given, numbers.Integral) or int(given) < 0:
        raise BadData("a seed is a whole number from 0", where="seed", fix="seed=0 will do: it is public")


def by_column(given: Any, where: str) -> dict[str, npt.NDArray[Any]]:
    """Columns by name, of a mapping or a data frame.

    Raises:
        BadData: It is neither.
    """
    if not isinstance(given, Mapping) and not (hasattr(given, "columns") and hasattr(given, "items")):
        raise BadData(
            f"columns are handed over by name, and this is a {type(given).__name__}",
            where=where,
            fix='a mapping such as {"gender": values}, or a data frame',
        )
    return {str(name): np.asarray(values) for name, values in given.items()}


def is_tokens(x: Tensor) -> bool:
    """Whether ``x`` is a tensor of whole numbers as embeddings take them."""
    return getattr(x, "dtype", None) in (torch.int64, torch.int32)


def _plain(x: Tensor) -> None:
    if x.layout != torch.strided or x.is_nested:
        raise BadData(
            "x is sparse or nested, and a row is numbers side by side", where="x", fix="hand over x.to_dense()"
        )
    if x.is_meta:
        raise BadData("x is on the meta device, which holds shapes and no values", where="x")
    if x.requires_grad:
        raise BadData("x records gradients, which a question must not add to", where="x", fix="hand over x.detach()")
