"""Nested values as JSON that says their types, with the tensors in them apart: a ``state_dict`` on its way to disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pellucid.errors import Misuse

__all__ = ["give", "take"]


def take(tree: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """``tree`` as JSON that says the types.

    Args:
        tree: Tensors, None, bool, text, int, float (NaN and infinities too), lists, tuples and dictionaries of these.
        name: Of the tensors in it, with the keys on the way to each.
        tensors: Where they are put, not copied.

    Raises:
        Misuse: There is something else in it.
    """
    if isinstance(tree, torch.Tensor):
        while name in tensors:
            name += "'"
        tensors[name] = tree
        return {"tensor": name}
    if tree is None or type(tree) in (bool, str):
        return tree
    if isinstance(tree, float):
        return {"float": repr(float(tree))}  # the shortest text that reads back as the same float; inf and nan too
    if type(tree) is int:
        return {"int": str(tree)}
    if isinstance(tree, Mapping):
        return {"table": [[take(k, name, tensors), take(v, f"{name}.{k}", tensors)] for k, v in tree.items()]}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [take(v, f"{name}.{i}", tensors) for i, v in enumerate(tree)]}
    raise Misuse(
        f"a {type(tree).__name__} cannot be put into a checkpoint",
        where=name,
        fix="train with checkpoint_every=0, or keep tensors and plain values only",
    )


def give(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """What :func:`take` was given."""
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "tensor":
        return tensors[value].clone()
    if kind == "table":
        return {give(k, tensors): give(v, tensors) for k, v in value}
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](give(v, tensors) for v in value)
    return {"float": float, "int": int}[kind](value)
