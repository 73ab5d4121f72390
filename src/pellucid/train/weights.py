"""Weights on disk: safetensors, written whole or not at all, and loaded only if they are what was signed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import nn

from pellucid.errors import BadData, Tampered

__all__ = ["architecture", "load", "save", "write_whole"]


def save(module: nn.Module, path: Path) -> str:
    """Write the weights and buffers of ``module`` to ``path``, replacing what is there at once.

    The bytes depend on the weights only. Weights that share memory are written once for each name.

    Returns:
        SHA-256 of the file in lower-case hexadecimal.

    Raises:
        BadData: A weight is not finite.
    """
    tensors = {}
    for name, tensor in module.state_dict().items():
        if tensor.dtype.is_floating_point and not tensor.isfinite().all():
            raise BadData("a weight is not finite", where=name, fix="train with a smaller learning rate")
        tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    data = write_tensors(tensors)
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of what is at ``path``: durable when this returns, and whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same; the os name says that it is atomic
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too, survives a power cut
    finally:
        os.close(folder)


def load(path: Path, module: nn.Module, *, sha256: str) -> nn.Module:
    """Put the weights in ``path`` into ``module``.

    The digest is taken of the very bytes that are loaded.

    Returns:
        ``module``.

    Raises:
        Tampered: There is no such file, it is not the one with this SHA-256, or its names, shapes or types are not
            those of the module.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Tampered("the weights are not there, or cannot be read", where=str(path)) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Tampered(
            "the weights are not the ones in the evidence", where=str(path), fix="restore the file, or train again"
        )
    try:
        tensors = read_tensors(data)
    except SafetensorError as error:
        raise Tampered("not a safetensors file", where=str(path)) from error
    expected = module.state_dict()
    for name in sorted(tensors.keys() | expected.keys()):
        here, there = tensors.get(name), expected.get(name)
        if here is None or there is None or here.shape != there.shape or here.dtype != there.dtype:
            raise Tampered(
                f'the weights do not fit the module: "{name}" is missing, left over, or of another shape or type',
                where=str(path),
                fix="rebuild the module from the recipe or factory in the evidence",
            )
    module.load_state_dict(tensors)
    return module


def architecture(module: nn.Module) -> tuple[str, int]:
    """What ``module`` is made of, for people, and how many parameters it has.

    Returns:
        The layers in order, such as ``Linear(58, 64) → ReLU → Linear(64, 2)``, and the number of parameters, each
        counted once even if it is shared or frozen.
    """
    layers = [_layer(part) for part in module.modules() if not list(part.children())]
    return " → ".join(layers), sum(parameter.numel() for parameter in module.parameters())


def _layer(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.Linear):
        return f"{name}({module.in_features}, {module.out_features})"
    extra = module.extra_repr()
    return f"{name}({extra})" if extra else name
