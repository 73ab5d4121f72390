"""Embedding and EmbeddingBag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Rows
from pellucid.train.contributions.base import common_kind
from pellucid.train.rules.fold import fold, require_rows

if TYPE_CHECKING:
    from pellucid.train.rules import Pieces

__all__ = ["bag", "embedding", "refuse_table"]


def embedding(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """A row of the table for every index; the row at ``padding_idx`` has no gradient."""
    refuse_table(layer)
    table: Any = layer
    index = inputs[0]
    require_rows(len(index) if index.dim() else 1, units, layer)
    if table.weight.requires_grad:
        index, g = index.reshape(units, -1), fold(gradient, units, 1)
        yield table.weight, Rows(*_unpadded(table, index, g), table.num_embeddings)


def bag(layer: nn.Module, inputs: tuple[Tensor, ...], gradient: Tensor, units: int) -> Pieces:
    """Sums or means of rows of the table, weighted or not; indices in a matrix, or in a list with offsets.

    Args:
        layer: The layer.
        inputs: Indices; then offsets if the indices are a list; then the weights if there are any.
        gradient: ``(rows, d)``.
        units: Privacy units of the batch.
    """
    refuse_table(layer)
    table: Any = layer
    require_rows(len(gradient), units, layer)
    if not table.weight.requires_grad:
        return
    index, rest = inputs[0], inputs[1:]
    kind = common_kind(gradient, *rest[1 if index.dim() == 1 else 0 :])
    weights = torch.ones_like(index, dtype=kind)
    if index.dim() == 1:
        place = _places(index, rest[0], table.include_last_offset)
        if len(rest) > 1:
            weights = rest[1].to(kind)
        index, weights = (_spread(values, *place, rows=len(gradient)) for values in (index, weights))
    elif rest:
        weights = rest[0].to(kind)
    if table.padding_idx is not None:
        weights = weights.masked_fill(index == table.padding_idx, 0)
    if table.mode == "mean":
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    g = gradient.to(kind)[:, None] * weights[:, :, None]
    yield table.weight, Rows(*_unpadded(table, index.reshape(units, -1), fold(g, units, 1)), table.num_embeddings)


def refuse_table(layer: nn.Module) -> None:
    """Refuse an embedding that changes its weights in the forward pass, couples rows, or has no linear gradient.

    Raises:
        UnsupportedModel: ``max_norm``, ``scale_grad_by_freq``, ``sparse`` or the mode ``max`` is set.
    """
    table: Any = layer
    for name, set_, why in (
        ("max_norm", table.max_norm is not None, "changes weights in the forward pass, outside of any step"),
        ("scale_grad_by_freq", table.scale_grad_by_freq, "divides one person's gradient by what others have"),
        ("sparse", table.sparse, "needs a sparse gradient, which would show the rows that were used"),
        ("max", getattr(table, "mode", None) == "max", "is not a sum over rows of the table"),
    ):
        if set_:
            raise UnsupportedModel(
                f"{name} {why}", where=type(layer).__name__, fix=f"build the embedding without {name}"
            )


def _unpadded(table: Any, index: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Index and gradient with nothing for the padding row."""
    if table.padding_idx is None:
        return index, g
    return index, g.masked_fill((index == table.padding_idx)[..., None], 0)


def _places(index: Tensor, offsets: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """Bag of every index, and its place in the bag."""
    starts = (offsets[:-1] if last else offsets).long()
    at = torch.arange(len(index), device=index.device)
    bag_of = torch.searchsorted(starts, at, right=True) - 1
    return bag_of, at - starts[bag_of]


def _spread(values: Tensor, bag_of: Tensor, place: Tensor, *, rows: int) -> Tensor:
    """A list as ``(rows, longest)``, zero where a bag has ended."""
    longest = int(place.max()) + 1 if len(place) else 1
    spread = values.new_zeros(rows, longest)
    spread[bag_of, place] = values
    return spread
