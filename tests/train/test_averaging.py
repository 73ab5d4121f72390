"""Averages of weights: the formula, and that the live weights never notice."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadData, BadPlan, Misuse
from pellucid.privacy import Plan
from pellucid.train import private, standard
from pellucid.train.averaging import MovingAverage


def walk(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape, generator=generator).to(p.dtype))


@given(decay=st.floats(0, 0.9999), warm_up=st.booleans(), steps=st.integers(0, 12), dtype=st.sampled_from(["32", "64"]))
def test_average_is_the_recursion_written_out(decay: float, warm_up: bool, steps: int, dtype: str) -> None:
    module = nn.Linear(3, 2).to(getattr(torch, f"float{dtype}"))
    expected = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    average = MovingAverage(module, decay, warm_up=warm_up)
    for t in range(steps):
        walk(module, t)
        average.update()
        d = min(decay, (1 + t) / (10 + t)) if warm_up else decay
        for name, p in module.named_parameters():
            expected[name] = d * expected[name] + (1 - d) * p.detach().double()
    assert average.updates == steps
    found = average.weights()
    assert found.keys() == expected.keys()
    for name, p in module.named_parameters():
        assert found[name].dtype == p.dtype
        torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-5, atol=1e-5)


def test_no_warm_up_forgets_the_start_slowly_and_warm_up_quickly() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1000.0)
    slow, quick = MovingAverage(module, 0.999, warm_up=False), MovingAverage(module, 0.999)
    nn.init.zeros_(module.weight)
    for _ in range(50):
        slow.update()
        quick.update()
    assert float(slow.weights()["weight"]) > 900
    assert float(quick.weights()["weight"]) < 1


def test_small_steps_of_half_types_are_not_lost() -> None:
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(module.weight, 1.0)
    average = MovingAverage(module, 0.999, warm_up=False)
    nn.init.constant_(module.weight, 2.0)
    for _ in range(1000):  # in bfloat16 every one of these steps would round to nothing
        average.update()
    assert float(average.weights()["weight"]) == pytest.approx(2 - 0.999**1000, abs=0.01)


def test_the_live_module_is_only_read() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4))
    before = copy.deepcopy(module.state_dict())
    average = MovingAverage(module, 0.5)
    average.update()
    copied = average.copy()
    walk(copied, 1)
    for weight in average.weights().values():
        weight.zero_()
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(average.copy().state_dict()[name], before[name])


def test_a_copy_keeps_frozen_weights_buffers_and_ties() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.other = self.one
            self.register_buffer("constant", torch.tensor(3.0))

    module = Tied()
    module.one.bias.requires_grad_(False)
    average = MovingAverage(module, 0.0)
    walk(module, 0)
    average.update()
    copied = average.copy()
    assert isinstance(copied, Tied)
    assert copied.one is copied.other
    assert not copied.training
    assert torch.equal(copied.one.bias, module.one.bias)
    torch.testing.assert_close(copied.one.weight, module.one.weight)
    assert float(copied.constant) == 3.0


def test_refuses_to_write_into_the_live_module() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(Misuse, match="weight"):
        MovingAverage(module).copy(module)


def test_refuses_a_module_of_another_shape() -> None:
    average = MovingAverage(nn.Linear(2, 2))
    for other in (nn.Linear(2, 3), nn.ReLU()):
        with pytest.raises(BadData, match="weight"):
            average.copy(other)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan"), float("inf")])
def test_refuses_decay_out_of_range(decay: float) -> None:
    with pytest.raises(BadPlan, match="decay"):
        MovingAverage(nn.Linear(1, 1), decay)


def test_goes_on_from_its_state() -> None:
    module = nn.Linear(3, 2)
    one = MovingAverage(module, 0.9)
    for t in range(5):
        walk(module, t)
        one.update()
    other = MovingAverage(copy.deepcopy(module), 0.9)
    other.load_state_dict(one.state_dict())
    twin = MovingAverage(module, 0.9)
    twin.load_state_dict(one.state_dict())
    walk(module, 9)
    one.update()
    twin.update()
    assert twin.updates == one.updates == 6
    assert other.updates == 5
    for name, value in one.weights().items():
        assert torch.equal(value, twin.weights()[name])


def test_refuses_the_state_of_another_module_and_stays_as_it_was() -> None:
    average = MovingAverage(nn.Linear(3, 2), 0.9)
    average.update()
    before = average.state_dict()
    other = MovingAverage(nn.Linear(2, 2), 0.9).state_dict()
    without = {name: value for name, value in before.items() if name != "average.bias"}
    for state in (other, without, {**before, "average.more": torch.zeros(1)}):
        with pytest.raises(BadData, match="average"):
            average.load_state_dict(state)
    for name, value in average.state_dict().items():
        assert torch.equal(value, before[name])


def test_follows_a_private_run_as_its_on_step() -> None:
    plan = Plan(epsilon=1.0, delta=1e-6, units=64, test=0.0, batch=16, epochs=1.5, clip=1.0, noise_multiplier=1.0)
    module = nn.Linear(5, 3)
    average = MovingAverage(module, 0.5)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x, y = torch.rand(64, 5), torch.randint(0, 3, (64,))
    model, optimizer, batches = private(module, optimizer, plan, x, y, on_step=average.update)
    expected = module.weight.detach().clone()
    for t, (rows, targets) in enumerate(batches):
        nn.functional.cross_entropy(model(rows), targets).backward()
        optimizer.step()
        d = min(0.5, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * module.weight.detach()
    batches.close()
    assert average.updates == plan.steps
    released = average.copy(standard(model))
    torch.testing.assert_close(released.state_dict()["weight"], expected)
