"""How many rows go through the model at a time, so that a step stays within a limit of memory.

What a row takes is measured on generated rows, never on private ones, so that the size of a chunk says nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd.graph import saved_tensors_hooks

from pellucid.errors import Misuse
from pellucid.train.probe import call, generated_tree, in_training_mode

if TYPE_CHECKING:
    from pellucid.train.recorder import Recorder

__all__ = ["chunk_rows", "out_of_memory", "row_bytes"]

_FEW: Final = 2  # rows; the difference to more rows leaves out what does not grow with them
_MORE: Final = 6
_WORDS: Final = ("can't allocate memory", "out of memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on any device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error).lower() for w in _WORDS)


def row_bytes(recorder: Recorder, like: Any) -> int:
    """Bytes that one row takes in a step: what the graph keeps, and gradients of the same size.

    Args:
        recorder: Of the model.
        like: The shape and type of rows: a tensor, or tensors in dictionaries, lists and tuples; only that is read.
    """
    few, more = (_kept(recorder, generated_tree(like, rows)) for rows in (_FEW, _MORE))
    return max(1, 2 * (more - few) // (_MORE - _FEW))


def _kept(recorder: Recorder, rows: Any) -> int:
    """Bytes of all storages that a graph on ``rows`` keeps, each once; those of weights are in both counts."""
    storages: dict[int, int] = {}
    held: list[torch.Tensor] = []  # so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "meta":
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
            held.append(tensor)
        return tensor

    module = recorder.module
    with in_training_mode(module), torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        call(module, rows)
    return sum(storages.values())


def chunk_rows(recorder: Recorder, like: Any, limit: int | str | None, expected: int) -> int | None:
    """The most rows at a time; None for all that come.

    Args:
        recorder: Of the model.
        like: As in :func:`row_bytes`.
        limit: Bytes that a step may take; ``"low"`` for about half of what the expected batch takes; None for
            half of the memory that is free now.
        expected: Rows of the expected batch.

    Raises:
        Misuse: The limit is none of those.
    """
    if limit == "low":
        chunk = -(-expected * 11 // 20)  # two chunks for nearly every sample
    elif limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0):
        chunk = (_free() // 2 if limit is None else limit) // row_bytes(recorder, like)
        if limit is None and chunk >= 2 * expected:
            return None  # a Poisson sample is never twice as large as expected, for batches worth chunking
    else:
        raise Misuse('memory must be a number of bytes, or "low"', where="memory")
    return max(1, chunk // recorder.views) * recorder.views


def _free() -> int:
    """Bytes that can be had without taking them from another process: Linux counts what caches would give back."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
