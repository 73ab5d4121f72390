"""Weights come back exactly, or not at all."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from pellucid.errors import BadData, Tampered
from pellucid.train import architecture, load, save


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.register_buffer("scale", torch.arange(3))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))


@pytest.mark.parametrize("make", [mlp, Tied])
def test_load_gives_back_what_save_wrote(tmp_path: Path, make: type[nn.Module]) -> None:
    module, other = make(), make()
    path = tmp_path / "weights.safetensors"
    digest = save(module, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load(path, other, sha256=digest) is other
    for name, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_the_bytes_depend_on_the_weights_only(tmp_path: Path) -> None:
    module = mlp()
    digests = {save(module.train(i % 2 == 0), tmp_path / f"{i}") for i in range(4)}
    assert len(digests) == 1


def test_every_changed_byte_shows(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    digest = save(mlp(), path)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(Tampered, match="not the ones in the evidence"):
            load(path, mlp(), sha256=digest)
    path.write_bytes(data[:-1])
    with pytest.raises(Tampered):
        load(path, mlp(), sha256=digest)
    path.unlink()
    with pytest.raises(Tampered, match="not there"):
        load(path, mlp(), sha256=digest)


def test_weights_of_another_module_and_other_files_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    digest = save(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), path)
    module = mlp()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(Tampered, match=r'"2\.bias"'):
        load(path, module, sha256=digest)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    with pytest.raises(Tampered, match="do not fit"):
        load(path, nn.Linear(4, 5), sha256=digest)
    with pytest.raises(Tampered, match="do not fit"):
        load(path, nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double(), sha256=digest)
    path.write_bytes(b"\x80\x04not safetensors")  # looks like a pickle, and is never opened as one
    with pytest.raises(Tampered, match="not a safetensors file"):
        load(path, module, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    module = mlp()
    digest = save(module, path)

    def crash(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        save(mlp(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    load(path, mlp(), sha256=digest)


def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    module = mlp()
    with torch.no_grad():
        module[2].bias[0] = math.nan  # type: ignore[index,operator,union-attr]
    with pytest.raises(BadData) as caught:
        save(module, tmp_path / "w")
    assert caught.value.where == "2.bias"
    assert list(tmp_path.iterdir()) == []


def test_architecture_counts_a_shared_parameter_once() -> None:
    assert architecture(Tied()) == ("Linear(3, 3) → Linear(3, 3)", 9 + 3 + 3)
    text, _ = architecture(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.1)))
    assert text.startswith("Conv2d(1, 4, kernel_size=(3, 3)")
