"""Probes of a model on generated rows: what no list of forbidden layers can find.

The probes never see a private row, and leave the model, its mode and the global random state as they were.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from pellucid.errors import UnsupportedModel

__all__ = [
    "blends",
    "call",
    "changed_state",
    "close",
    "coupled_rows",
    "forward",
    "generated",
    "generated_tree",
    "in_training_mode",
]


ROWS: Final = 4
SEED: Final = 20_311_231  # public; only makes two forward passes draw the same dropout mask


def generated(shape: tuple[int, ...], dtype: torch.dtype, rows: int = ROWS, stream: int = 0) -> torch.Tensor:
    """Rows that no person stands behind, as a tensor of shape ``(rows, *shape)``.

    Floats are uniform in [-1, 1], the range of the encoding; integers are 0 or 1, which every vocabulary has.
    """
    generator = torch.Generator().manual_seed(SEED + stream)
    if dtype.is_floating_point:
        return (torch.rand((rows, *shape), generator=generator, dtype=torch.float64) * 2 - 1).to(dtype)
    return torch.randint(0, 2, (rows, *shape), generator=generator).to(dtype)


def generated_tree(like: Any, rows: int = ROWS, stream: int = 0) -> Any:
    """:func:`generated` rows in the structure of ``like``, of which only shapes, past the first dimension, are read."""
    count = itertools.count(stream)
    return tree_map(lambda leaf: generated(tuple(leaf.shape[1:]), leaf.dtype, rows, next(count)).to(leaf.device), like)


@contextlib.contextmanager
def in_training_mode(model: nn.Module) -> Iterator[None]:
    """The model in training mode inside; afterwards modes, buffers and the global random state as before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[]):
        try:
            model.train()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def changed_state(model: nn.Module, x: Any) -> str | None:
    """The name of a buffer, or of a tensor kept in an attribute, that a training forward pass on ``x`` changes.

    Such a tensor learns from the data outside of the clipped, noisy gradient. None if there is none.
    """
    with in_training_mode(model), torch.no_grad():
        before = {name: (tensor, tensor.detach().clone()) for name, tensor in _tensors(model)}
        try:
            forward(model, x)
            return next((name for name, tensor in _tensors(model) if _differs(tensor, before.get(name))), None)
        finally:
            _restore(model, before)


def coupled_rows(model: nn.Module, x: Any) -> bool:
    """Whether the output for one row of ``x`` depends on another row, in training mode.

    Every row is held fixed in turn while all the others are replaced, once by rows of like size, once by much larger
    ones, and once taken away. Dropout draws the same mask each time.
    """
    with in_training_mode(model), torch.no_grad():
        whole = forward(model, x)
        for row in range(ROWS):
            for stream, scale in ((10, 1), (20, -7)):
                other = tree_map(lambda old, new: _instead(old, new, row, scale), x, generated_tree(x, ROWS, stream))  # noqa: B023 - called at once
                if not _same_row(forward(model, other), whole, row, row):
                    return True
        # with fewer rows dropout draws another mask, so that only models without chance can be asked this
        steady = all(close(a, b) for a, b in zip(forward(model, x, SEED + 1), whole, strict=True))
        return steady and not _same_row(forward(model, tree_map(lambda leaf: leaf[:1], x)), whole, 0, 0)


def blends(change: Callable[[torch.Tensor], Any], x: Any) -> str | None:
    """What is wrong with a change of rows: None if it gives a row for each row, made from that row and chance alone."""
    for leaf in tree_leaves(x):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            rows = generated(tuple(leaf.shape[1:]), leaf.dtype, ROWS, 40)
            whole = change(rows.clone())
            if not isinstance(whole, torch.Tensor) or len(whole) != ROWS:
                return "it does not give one row for each row"
            for row in range(ROWS):
                for stream, scale in ((41, 1), (42, -7)):
                    other = _instead(rows, generated(tuple(leaf.shape[1:]), leaf.dtype, ROWS, stream), row, scale)
                    torch.manual_seed(SEED)
                    if not close(change(other)[row], whole[row]):
                        return "what it makes of one row depends on the others"
    return None


def _instead(old: torch.Tensor, new: torch.Tensor, row: int, scale: int) -> torch.Tensor:
    """Rows like ``new``, but for ``row``, which is that of ``old``."""
    other = new * scale if old.dtype.is_floating_point else 1 - new if old.dtype != torch.bool else ~new
    other[row] = old[row]
    return other


def _same_row(one: list[torch.Tensor], other: list[torch.Tensor], here: int, there: int) -> bool:
    return len(one) == len(other) and all(close(a[here], b[there]) for a, b in zip(one, other, strict=True))


def forward(model: nn.Module, x: Any, seed: int = SEED) -> list[torch.Tensor]:
    """The float tensors that one forward pass with a fixed random state gives.

    Raises:
        UnsupportedModel: It fails, or gives something else than tensors with one row for each row of ``x``.
    """
    torch.manual_seed(seed)
    name = type(model).__name__
    leaves = tree_leaves(x)
    rows = len(leaves[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = call(model, x)
    except UnsupportedModel:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(leaf.shape[1:])) for leaf in leaves)
        raise UnsupportedModel(
            f"a forward pass on {rows} generated rows of shape {shapes} failed: {type(error).__name__}: {error}",
            where=name,
            fix=_remedy(model, leaves),
        ) from error
    found = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    if not found or any(leaf.dim() < 1 or len(leaf) != rows for leaf in found):
        raise UnsupportedModel(
            "the model must give tensors of floats with one row for each input row",
            where=name,
            fix="return logits of shape (rows, classes)",
        )
    return found


def _remedy(model: nn.Module, leaves: list[torch.Tensor]) -> str:
    """What to do about a forward pass that failed: rows that the first layer does not take are told from others."""
    first = next((part for part in model.modules() if next(part.parameters(recurse=False), None) is not None), None)
    if isinstance(first, nn.Linear) and len(leaves) == 1:
        (x,) = leaves
        if x.dim() == 2 and x.shape[1] != first.in_features:
            return (
                f"a row has {x.shape[1]} numbers, and the first layer takes {first.in_features}: build it for "
                f"{x.shape[1]}, which is run.encoding.width in a run"
            )
        if x.dtype != first.weight.dtype:
            kinds = [str(kind).removeprefix("torch.") for kind in (x.dtype, first.weight.dtype)]
            return f"rows are {kinds[0]} and weights {kinds[1]}: give x.to(torch.{kinds[1]})"
    return "make the model accept any number of encoded rows, also one"


def call(model: nn.Module, x: Any) -> Any:
    """The model on rows: a dictionary goes in by name, a tuple by position, a tensor as it is."""
    if isinstance(x, dict):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    found = list(model.named_buffers())
    for prefix, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                found.append((f"{prefix}.{key}" if prefix else key, value))
    return found


def _restore(model: nn.Module, before: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Put back tensors that the forward pass replaced by others; :func:`in_training_mode` restores their values."""
    for name, tensor in _tensors(model):
        prefix, _, key = name.rpartition(".")
        module = model.get_submodule(prefix)
        if name not in before:
            delattr(module, key)
        elif before[name][0] is not tensor:
            setattr(module, key, before[name][0])
        if name in before:
            before[name][0].copy_(before[name][1])


def _differs(tensor: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor] | None) -> bool:
    if before is None or before[0] is not tensor or tensor.shape != before[1].shape:
        return True
    return not torch.equal(tensor.nan_to_num(), before[1].nan_to_num())


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same up to the rounding of another order of summation."""
    # kernels may sum in another order when the shape changes, so the last bits are not held against the model
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True))
