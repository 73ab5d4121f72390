"""What a private step of a model costs, and what is lost on the way: measured on generated rows."""

from __future__ import annotations

import warnings
from typing import Any, Final

from pellucid.train.calls import layer_name
from pellucid.train.doctor.diagnosis import Note
from pellucid.train.memory import chunk_rows, row_bytes
from pellucid.train.recorder import Recorder
from pellucid.train.selfcheck import silent_parameters

__all__ = ["costs"]

_PLENTY: Final = 1 << 40  # rows: more than any batch


def costs(recorder: Recorder, x: Any) -> list[Note]:
    """Size, mode, memory, slow layers and idle parameters of the model of ``recorder``, for rows like ``x``.

    Raises:
        UnsupportedModel: A forward or backward pass fails.
    """
    module = recorder.module
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    trainable = sum(size for size, learns in sizes if learns)
    notes = [Note("size", f"{trainable:,} of {sum(size for size, _ in sizes):,} parameters learn")]
    slow = recorder.without_rule()
    names = {part: name for name, part in module.named_modules()}
    mode = "one forward and one backward pass; no gradient of a weight is formed before it is clipped"
    notes.append(Note("mode", mode))
    for part in slow:
        what = "no rule for this layer: it runs once more, example by example"
        fix = "build it from layers of torch.nn, or register a grad sampler with Opacus"
        notes.append(Note("slow", what, layer_name(names[part], part), fix))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row = row_bytes(recorder, x)
        fit = chunk_rows(recorder, x, None, _PLENTY)
        silent = silent_parameters(recorder, x)
    held = (
        f"a row takes about {_bytes(row)} in a step; about {_rounded(fit or 1):,} rows fit into half of the free memory"
    )
    notes.append(
        Note("memory", f"{held}, and larger batches go through in chunks, at the price of a second forward pass")
    )
    for name in silent:
        what = "a loss on generated rows gives this parameter no gradient: it would learn noise only"
        notes.append(Note("idle", what, name, "use it, or freeze it with requires_grad_(False)"))
    return notes


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _rounded(count: int) -> int:
    """Down, to two figures."""
    size: int = 10 ** max(0, len(str(count)) - 2)
    return count // size * size
