"""Checkpoints: what goes in comes out, bit by bit, and nothing else comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import Misuse, Tampered, Unverified
from pellucid.evidence import canonical, parse_canonical
from pellucid.keys import SigningKey
from pellucid.train import checkpoint
from pellucid.train.adam import DPAdamBC
from pellucid.train.averaging import MovingAverage
from pellucid.train.checkpoint import capture, kept, newest, read, restore_model, restore_optimizer, steps, write
from pellucid.train.schedules import schedule
from pellucid.train.trees import give, take

KEY = SigningKey.generate("credit/ana")
ABOUT = {"run": "risk@1"}
Make = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "adam-bc": lambda p: DPAdamBC(p, lr=0.01, noise_variance=1e-6),
}


def build(dtype: torch.dtype = torch.float32) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.GroupNorm(2, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)


def learn(module: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """Steps on gradients that follow from the number of the step and the weights."""
    for step in range(first, last):
        for number, p in enumerate(module.parameters()):
            p.grad = (p.detach() * 0.1 + math.sin(step + number)).to(p.dtype)
        optimizer.step()


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def saved(folder: Path, *numbers: int, module: nn.Module | None = None) -> None:
    module = module or build()
    for number in numbers:
        with torch.no_grad():
            next(module.parameters()).fill_(number)
        write(folder, number, capture(module, OPTIMIZERS["adam"](module.parameters())), ABOUT, KEY)


# -- what goes in comes out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_it_had_never_stopped(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    module = build(dtype)
    optimizer = OPTIMIZERS[name](module.parameters())
    learn(module, optimizer, 0, 5)
    write(tmp_path, 5, capture(module, optimizer), ABOUT, KEY)
    learn(module, optimizer, 5, 11)

    again = build(dtype)
    other = OPTIMIZERS[name](again.parameters())
    step, about, state = newest(tmp_path, KEY.verifier)
    restore_model(state, again)
    restore_optimizer(state, other)
    learn(again, other, step, 11)
    assert (step, about) == (5, ABOUT)
    assert same(module, again)


def test_averages_in_float32_stay_so_beside_weights_of_a_half_type(tmp_path: Path) -> None:
    module = build(torch.bfloat16)
    optimizer = OPTIMIZERS["adam-bc"](module.parameters())
    learn(module, optimizer, 0, 3)
    write(tmp_path, 3, capture(module, optimizer), ABOUT, KEY)
    again = build(torch.bfloat16)
    other = OPTIMIZERS["adam-bc"](again.parameters())
    restore_optimizer(newest(tmp_path, KEY.verifier)[2], other)
    assert {values["exp_avg"].dtype for values in other.state.values()} == {torch.float32}


def test_schedules_averages_and_the_learning_rate_are_kept(tmp_path: Path) -> None:
    def parts() -> tuple[nn.Module, torch.optim.Optimizer, dict[str, Any]]:
        module = build()
        optimizer = OPTIMIZERS["momentum"](module.parameters())
        return module, optimizer, {"rate": schedule(optimizer, 20, "cosine"), "average": MovingAverage(module)}

    def go(first: int, last: int, module: nn.Module, optimizer: torch.optim.Optimizer, keep: dict[str, Any]) -> None:
        for step in range(first, last):
            learn(module, optimizer, step, step + 1)
            keep["rate"].step()
            keep["average"].update()

    module, optimizer, keep = parts()
    go(0, 5, module, optimizer, keep)
    write(tmp_path, 5, capture(module, optimizer, clip=0.25, keep=keep), ABOUT, KEY)
    go(5, 9, module, optimizer, keep)

    again, other, held = parts()
    state = newest(tmp_path, KEY.verifier)[2]
    restore_model(state, again)
    for name, thing in held.items():
        thing.load_state_dict(kept(state, name))
    restore_optimizer(state, other)
    assert checkpoint.clip_of(state) == 0.25
    go(5, 9, again, other, held)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert same(module, again)
    assert same(keep["average"].copy(), held["average"].copy())
    with pytest.raises(Misuse):
        kept(state, "nothing")


def test_tied_and_transposed_weights_come_back(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.dec = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
            self.dec.weight = self.emb.weight
            self.register_buffer("turned", torch.randn(3, 4).t())

    module = Tied()
    write(tmp_path, 0, capture(module, torch.optim.SGD(module.parameters(), lr=1.0)), ABOUT, KEY)
    again = Tied()
    restore_model(newest(tmp_path, KEY.verifier)[2], again)
    assert same(module, again)
    assert again.dec.weight is again.emb.weight


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
tensor = st.builds(
    lambda values, dtype: torch.tensor(values).to(dtype),
    st.lists(st.integers(-5, 5), max_size=4),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
)
trees = st.recursive(
    plain | tensor,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 99) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other) or (one != one and other != other)


@given(tree=trees)
def test_a_tree_comes_back_with_its_types(tree: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    data = canonical(take(tree, "x", tensors))
    assert alike(tree, give(parse_canonical(data, where="tree"), tensors))


@pytest.mark.parametrize("thing", [object(), {1}, b"x", lambda: 1, 1j], ids=lambda thing: type(thing).__name__)
def test_what_is_no_plain_value_is_refused_with_its_place(thing: Any) -> None:
    with pytest.raises(Misuse) as caught:
        take({"a": [1, thing]}, "kept.mine", {})
    assert caught.value.where == "kept.mine.a.1"


# -- and nothing else -------------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(["json", "safetensors"]))
def test_any_changed_byte_is_refused(data: Any, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"step-3.{kind}"
    if not path.exists():
        saved(tmp_path, 3)
    good = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
    try:
        with pytest.raises(Unverified):
            newest(tmp_path, KEY.verifier)
    finally:
        path.write_bytes(good)
    assert newest(tmp_path, KEY.verifier)[0] == 3


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize("size", [0, 10, -1])
def test_a_file_cut_short_or_gone_is_refused(kind: str, size: int, tmp_path: Path) -> None:
    saved(tmp_path, 3)
    path = tmp_path / f"step-3.{kind}"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(Unverified):
        newest(tmp_path, KEY.verifier)
    path.unlink()
    with pytest.raises((Tampered, Misuse)):
        newest(tmp_path, KEY.verifier)


def test_somebody_else_s_signature_is_refused(tmp_path: Path) -> None:
    module = build()
    stranger = SigningKey.generate(KEY.name)
    write(tmp_path, 1, capture(module, OPTIMIZERS["sgd"](module.parameters())), ABOUT, stranger)
    with pytest.raises(Tampered, match="did not reserve"):
        newest(tmp_path, KEY.verifier)


def test_a_checkpoint_is_of_the_step_that_it_names(tmp_path: Path) -> None:
    saved(tmp_path, 3, 4)
    for kind in ("json", "safetensors"):
        (tmp_path / f"step-3.{kind}").rename(tmp_path / f"step-9.{kind}")
    with pytest.raises(Tampered):
        newest(tmp_path, KEY.verifier)
    (tmp_path / "step-9.safetensors").replace(tmp_path / "step-4.safetensors")
    with pytest.raises(Tampered):
        read(tmp_path, 4, KEY.verifier)


def test_the_tensors_are_written_before_the_json_and_the_last_whole_checkpoint_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 3)
    whole = checkpoint.write_whole

    def dies(path: Path, data: bytes) -> None:
        if path.suffix == ".json":
            raise OSError("no space")
        whole(path, data)

    monkeypatch.setattr(checkpoint, "write_whole", dies)
    with pytest.raises(OSError, match="no space"):
        saved(tmp_path, 7)
    assert (tmp_path / "step-7.safetensors").exists()
    assert newest(tmp_path, KEY.verifier)[0] == 3
    monkeypatch.undo()
    saved(tmp_path, 8)
    assert not (tmp_path / "step-7.safetensors").exists()


def test_the_newest_two_are_held_and_are_json_and_safetensors(tmp_path: Path) -> None:
    (tmp_path / ".step-2.json.x1y2").write_bytes(b"cut short")
    saved(tmp_path, 2, 9, 10)
    assert steps(tmp_path) == [9, 10]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"step-{number}.{kind}" for number in (9, 10) for kind in ("json", "safetensors")}
    for step in (9, 10):
        _, state = read(tmp_path, step, KEY.verifier)
        assert float(state.tensors["model.0.weight"][0, 0]) == step
        assert json.loads((tmp_path / f"step-{step}.json").read_bytes())["payloadType"] == checkpoint.PAYLOAD


def test_another_model_or_optimizer_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    state = newest(tmp_path, KEY.verifier)[2]
    for other in (nn.Linear(5, 4), build(torch.float64), nn.Sequential(*build(), nn.Linear(2, 2))):
        before = {name: value.clone() for name, value in other.state_dict().items()}
        with pytest.raises(Misuse):
            restore_model(state, other)
        assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())
    module = build()
    for optimizer in (OPTIMIZERS["sgd"](module.parameters()), OPTIMIZERS["adam"](list(module.parameters())[:2])):
        rate = optimizer.param_groups[0]["lr"]
        with pytest.raises(Misuse):
            restore_optimizer(state, optimizer)
        assert (optimizer.param_groups[0]["lr"], dict(optimizer.state)) == (rate, {})
