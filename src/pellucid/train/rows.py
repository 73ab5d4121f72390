"""The rows a run learns from: tensors, one row a unit, and nothing that draws them by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, Sampler

from pellucid.errors import BadData, Misuse

__all__ = ["check_rows"]

_PAD = (
    "pad them to one length, torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), and give the lengths or a mask "
    "as a second input"
)


def check_rows(x: Any, y: Any, model: nn.Module) -> None:
    """Hold inputs and targets to what can be sampled row by row.

    Args:
        x: Inputs, ``(N, …)``, or such tensors in dictionaries, tuples or lists.
        y: Targets, the same.
        model: What they will be given to.

    Raises:
        Misuse: They are a loader, a data set or a sampler, or lie on another device than the model.
        BadData: They are no tensors, of unequal length, sparse, or have not the same number of rows, at least one.
            Never shows a value or how many rows there are.
    """
    for name, value in (("x", x), ("y", y)):
        leaves = tree_leaves(value)
        if not leaves:
            raise BadData("there is no tensor", where=name)
        for leaf in leaves:
            _check_leaf(name, leaf)
        if isinstance(value, list | tuple) and len({leaf.shape[0] for leaf in leaves}) > 1:
            raise BadData("sequences of unequal length are no rows of one tensor", where=name, fix=_PAD)
    sizes = {leaf.shape[0] for leaf in [*tree_leaves(x), *tree_leaves(y)]}
    if len(sizes) != 1 or 0 in sizes:
        hint = "a list of one tensor a row is stacked with torch.stack" if isinstance(x, list) else None
        raise BadData("inputs and targets must have the same number of rows, at least one", where="x and y", fix=hint)
    places = {str(tensor.device) for tensor in [*tree_leaves(x), *tree_leaves(y), *model.parameters()]}
    if len(places) != 1:
        raise Misuse(
            f"data and model are on several devices: {', '.join(sorted(places))}",
            where="x, y and model",
            fix="move the model before the optimizer is made, and the data to the same device",
        )


def _check_leaf(name: str, leaf: Any) -> None:
    kind = type(leaf).__name__
    if isinstance(leaf, DataLoader | Dataset | Sampler):
        raise Misuse(
            f"a {kind} would draw, shuffle or weight people in its own way, which no accounting of Poisson samples "
            "covers",
            where=name,
            fix="give the tensors: Poisson sampling replaces loader, shuffling, sampler and workers. Changes of a row "
            "go into the module, or into augment",
        )
    if not isinstance(leaf, torch.Tensor):
        fix = "torch.as_tensor makes one of an array" if hasattr(leaf, "__array__") else "read it into tensors first"
        raise BadData(f"inputs and targets must be tensors, and this is {kind}", where=name, fix=fix)
    if leaf.is_nested:
        raise BadData("sequences of unequal length are no rows of one tensor", where=name, fix=_PAD)
    if leaf.layout != torch.strided:
        raise BadData("a sparse tensor cannot be sampled by row", where=name, fix="give tensor.to_dense()")
    if not leaf.dim():
        raise BadData("a single number has no rows", where=name)
