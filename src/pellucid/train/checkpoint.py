"""Checkpoints: all that a training needs to go on, as tensors and signed JSON, and never a pickle.

A step makes two files, ``step-N.safetensors`` and ``step-N.json``. The second is a DSSE envelope that names the digest
of the first, and is written last: a checkpoint is there when its JSON is. What is kept has seen noisy gradients only
(weights, the optimizer's state, an adaptive clip), so the plan's epsilon covers it. No noise and no key is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import nn

from pellucid.errors import Misuse, Tampered
from pellucid.evidence import canonical, digest, parse_canonical
from pellucid.keys import SigningKey, VerifyKey, open_envelope, seal_envelope
from pellucid.train.trees import give, take
from pellucid.train.weights import write_whole

__all__ = [
    "FORMAT",
    "State",
    "capture",
    "clip_of",
    "kept",
    "newest",
    "read",
    "restore_model",
    "restore_optimizer",
    "steps",
    "write",
]

FORMAT: Final = "pellucid/checkpoint@1"
PAYLOAD: Final = "application/vnd.pellucid.checkpoint+json"
COPIES: Final = 2  # checkpoints that are held
_NAME: Final = re.compile(r"step-(0|[1-9][0-9]*)\.json")
_REBUILD: Final = "build model and optimizer as in the run that was interrupted"


@dataclass(frozen=True, slots=True)
class State:
    """A training between two steps.

    Attributes:
        tensors: By name: ``model.*`` weights and buffers, ``optimizer.*`` and ``kept.*`` what these hold.
        values: The rest as JSON: ``optimizer`` (its kind, groups and state), ``clip``, ``kept``.
    """

    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    values: Mapping[str, Any]


def capture(
    module: nn.Module, optimizer: torch.optim.Optimizer, *, clip: float | None = None, keep: Mapping[str, Any] = {}
) -> State:
    """The present state, without a copy: write it before the next step.

    Args:
        module: The user's module.
        optimizer: The user's.
        clip: Where adaptive clipping has got to; None where the clip is the plan's.
        keep: By name, whatever else has a ``state_dict()`` of tensors and plain values.

    Raises:
        Misuse: There is a value that is neither tensor, number, text, list, tuple nor dictionary.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, value in module.state_dict().items():
        take(value, f"model.{name}", tensors)
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    numbers = {id(p): number for number, p in enumerate(_parameters(optimizer))}
    state = {numbers[id(p)]: value for p, value in optimizer.state.items()}
    values = {
        "optimizer": {
            "kind": type(optimizer).__name__,
            "sizes": [len(group["params"]) for group in optimizer.param_groups],
            "groups": take(groups, "optimizer.groups", tensors),
            "state": take(state, "optimizer.state", tensors),
        },
        "clip": take(clip, "clip", tensors),
        "kept": {name: take(thing.state_dict(), f"kept.{name}", tensors) for name, thing in keep.items()},
    }
    return State(tensors, values)


def restore_model(state: State, module: nn.Module) -> None:
    """Put the weights and buffers of ``state`` into ``module``.

    Raises:
        Misuse: The module's names, shapes or types are others. Nothing is changed then.
    """
    held = {n.removeprefix("model."): tensor for n, tensor in state.tensors.items() if n.startswith("model.")}
    expected = module.state_dict()
    for name in sorted(held.keys() | expected.keys()):
        here, there = held.get(name), expected.get(name)
        if here is None or there is None or here.shape != there.shape or here.dtype != there.dtype:
            raise Misuse("missing, left over, or of another shape or type than checkpointed", where=name, fix=_REBUILD)
    module.load_state_dict(held)


def restore_optimizer(state: State, optimizer: torch.optim.Optimizer, *, groups_only: bool = False) -> None:
    """Put the optimizer's numbers and, unless ``groups_only``, its state back, in the types in which they were.

    Raises:
        Misuse: It is of another kind, or over other parameters. Nothing is changed then.
    """
    saved = state.values["optimizer"]
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    if (type(optimizer).__name__, sizes) != (saved["kind"], saved["sizes"]):
        raise Misuse(
            f"the checkpoint is of {saved['kind']} over {sum(saved['sizes'])} parameters",
            where=type(optimizer).__name__,
            fix=_REBUILD,
        )
    for group, values in zip(optimizer.param_groups, give(saved["groups"], state.tensors), strict=True):
        group.update(values)
    if groups_only:
        return
    parameters = _parameters(optimizer)
    optimizer.state.clear()
    for number, values in give(saved["state"], state.tensors).items():
        p = parameters[number]
        # not load_state_dict: it would round the averages of an optimizer that keeps them in float32 for half types
        optimizer.state[p] = {
            key: value.to(p.device) if isinstance(value, torch.Tensor) and value.dim() else value
            for key, value in values.items()
        }


def kept(state: State, name: str) -> Any:
    """The ``state_dict`` of what was kept as ``name``.

    Raises:
        Misuse: Nothing was kept under this name.
    """
    if name not in state.values["kept"]:
        raise Misuse("the checkpoint holds nothing of this name", where=name, fix=_REBUILD)
    return give(state.values["kept"][name], state.tensors)


def clip_of(state: State) -> float | None:
    """Where adaptive clipping had got to."""
    found: float | None = give(state.values["clip"], state.tensors)
    return found


# -- on disk ----------------------------------------------------------------------------------------------------------


def write(folder: Path, step: int, state: State, about: Mapping[str, Any], signer: SigningKey) -> None:
    """Write the checkpoint of ``step``, and hold the newest two.

    Args:
        folder: Of one run; is there.
        step: Steps taken.
        state: Of the training.
        about: What it belongs to, as JSON.
        signer: Of whoever reserved the run.
    """
    data = write_tensors(_apart(state.tensors))
    write_whole(folder / f"step-{step}.safetensors", data)
    payload = {"format": FORMAT, "step": step, "tensors": digest(data), "state": state.values, "about": dict(about)}
    write_whole(folder / f"step-{step}.json", canonical(seal_envelope(PAYLOAD, canonical(payload), signer)))
    held = {f"step-{number}.{kind}" for number in steps(folder)[-COPIES:] for kind in ("json", "safetensors")}
    for path in folder.glob("*step-*"):
        if path.name not in held:  # older ones, and what a write that was cut short has left
            path.unlink(missing_ok=True)


def steps(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, rising."""
    names = [_NAME.fullmatch(path.name) for path in folder.glob("step-*.json")]
    return sorted(int(name[1]) for name in names if name)


def newest(folder: Path, signer: VerifyKey) -> tuple[int, dict[str, Any], State]:
    """The newest checkpoint, if ``signer`` signed it: its step, what it belongs to, and the state.

    Raises:
        Misuse: There is none.
        Tampered: As :func:`read`. No older one is taken in its place: that is for a person to decide.
    """
    found = steps(folder)
    if not found:
        raise Misuse("there is no checkpoint", where=str(folder))
    return (found[-1], *read(folder, found[-1], signer))


def read(folder: Path, step: int, signer: VerifyKey) -> tuple[dict[str, Any], State]:
    """The checkpoint of ``step``: what it belongs to, and the state. The bytes that were digested are those loaded.

    Raises:
        Tampered: It is not by ``signer``, not of this step, or a byte of it is not what was signed.
    """
    path = folder / f"step-{step}.json"
    fix = "restore both files of this step, or remove both to go on from the one before"
    try:
        envelope = parse_canonical(path.read_bytes(), where=str(path))
        data = path.with_suffix(".safetensors").read_bytes()
    except OSError as error:
        raise Tampered("a file of this checkpoint is not there, or cannot be read", where=str(path), fix=fix) from error
    raw, key = open_envelope(envelope, PAYLOAD, where=str(path))
    if key != signer:
        raise Tampered(f"signed by {key.name}, who did not reserve this run", where=str(path), fix=fix)
    payload = parse_canonical(raw, where=str(path))
    if not isinstance(payload, dict) or payload.keys() != {"format", "step", "tensors", "state", "about"}:
        raise Tampered("not a checkpoint", where=str(path), fix=fix)
    if payload["format"] != FORMAT or payload["step"] != step:
        raise Tampered("of another step, or of a format that is not known", where=str(path), fix=fix)
    if payload["tensors"] != digest(data):
        raise Tampered("the tensors are not the ones that were signed", where=str(path), fix=fix)
    try:
        # copies: what is loaded shares memory with the file's bytes
        tensors = {name: tensor.clone() for name, tensor in read_tensors(data).items()}
    except SafetensorError as error:
        raise Tampered("not a safetensors file", where=str(path), fix=fix) from error
    return payload["about"], State(tensors, payload["state"])


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the format wants them: on the CPU, contiguous, and none in the memory of another."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if place in seen else plain
        seen.add(place)
    return found


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
