"""Weight standardisation, and its per-unit gradients against autograd, one unit at a time."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.naive import brute, plan, quiet
from torch import nn

from pellucid.train import private
from pellucid.train.contributions.base import Direct, Room
from pellucid.train.rules import RULES
from pellucid.train.standardisation import Standardised, WSConv2d, standardised, wsconv2d


def made(**arguments: object) -> WSConv2d:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return WSConv2d(**arguments).double()  # type: ignore[arg-type]


def random(*shape: int, stream: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(stream), dtype=torch.float64)


def through(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The gradient of a raw weight by autograd, for one unit's gradient of the standardised one."""
    raw = weight.detach().clone().requires_grad_()
    centred = raw - raw.mean((1, 2, 3), keepdim=True)
    unit = centred / (centred.square().sum((1, 2, 3), keepdim=True) + 1e-6).sqrt()
    return torch.autograd.grad(unit, raw, gradient)[0]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.floats(-3, 3), st.floats(1e-3, 30))
def test_every_filter_has_mean_zero_and_norm_one(
    out: int, channels: int, side: int, offset: float, scale: float
) -> None:
    if channels * side == 1:
        return  # a single number less its mean is zero
    layer = made(in_channels=channels, out_channels=out, kernel_size=side, bias=False)
    with torch.no_grad():
        layer.weight.copy_(random(*layer.weight.shape) * scale + offset)
    # the response to each indicator image is one entry of the filter
    pixels = torch.eye(channels * side * side, dtype=torch.float64).view(-1, channels, side, side)
    filters = layer(pixels)[:, :, 0, 0].T
    torch.testing.assert_close(filters.mean(1), torch.zeros(out, dtype=torch.float64), rtol=0, atol=1e-9)
    raw = layer.weight.flatten(1)
    spread = (raw - raw.mean(1, keepdim=True)).square().sum(1)
    torch.testing.assert_close(filters.square().sum(1), spread / (spread + 1e-6))


def test_a_constant_filter_gives_zero_and_a_finite_gradient() -> None:
    layer = made(in_channels=2, out_channels=3, kernel_size=3)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.bias.zero_()
    out = layer(random(2, 2, 5, 5))
    assert not out.any()
    out.sum().backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.isfinite().all())


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_contribution_is_autograds_unit_by_unit(units: int, out: int, channels: int, side: int, keep: bool) -> None:
    weight, gradients = random(out, channels, side, side), random(units, out, channels, side, side, stream=1)
    expected = torch.stack([through(weight, g) for g in gradients])
    room = Room(1 << 20 if keep else 0)
    contribution = Standardised(Direct(gradients), weight)
    torch.testing.assert_close(contribution.per_unit(), expected, rtol=1e-9, atol=1e-9)
    squares = contribution.squared_norms(room)
    assert squares.dtype == torch.float64
    assert room.left < 1 << 20
    torch.testing.assert_close(squares, expected.flatten(1).square().sum(1), rtol=1e-9, atol=1e-9)
    factors = torch.rand(units, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    total = (factors[:, None, None, None, None] * expected).sum(0)
    torch.testing.assert_close(contribution.weighted_sum(factors), total, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("keep", [False, True])
def test_a_selection_leaves_the_other_units_out(keep: bool) -> None:
    weight, gradients = random(2, 3, 3, 3), random(4, 2, 3, 3, 3, stream=1)
    gradients[1] = torch.nan
    contribution = Standardised(Direct(gradients), weight)
    squares = contribution.squared_norms(Room(1 << 20 if keep else 0))
    assert squares.isfinite().tolist() == [True, False, True, True]
    chosen = contribution.select(torch.tensor([3, 0]))
    assert chosen.units == 2
    expected = through(weight, gradients[3]) + 0.5 * through(weight, gradients[0])
    torch.testing.assert_close(chosen.weighted_sum(torch.tensor([1.0, 0.5], dtype=torch.float64)), expected)


def test_norms_do_not_depend_on_whether_gradients_are_kept() -> None:
    weight, gradients = random(8, 64, 3, 3).float(), random(300, 8, 64, 3, 3, stream=1).float()
    lost = Standardised(Direct(gradients), weight).squared_norms(Room(0))
    kept = Standardised(Direct(gradients), weight).squared_norms(Room(1 << 30))
    torch.testing.assert_close(lost, kept, rtol=1e-6, atol=0)


@settings(max_examples=30)
@given(
    units=st.integers(1, 4),
    views=st.integers(1, 2),
    groups=st.integers(1, 2),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_rule_is_autograd_one_unit_at_a_time(
    units: int, views: int, groups: int, stride: int, padding: int, dilation: int, bias: bool
) -> None:
    layer = made(
        in_channels=2 * groups,
        out_channels=3 * groups,
        kernel_size=2,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    x = random(units * views, 2 * groups, 5, 4)
    output = layer(x)
    gradient = random(*output.shape, stream=4)
    pieces = dict(wsconv2d(layer, (x,), gradient, units))
    assert {id(p) for p in pieces} == {id(p) for p in layer.parameters()}
    for unit in range(units):
        layer.zero_grad()
        rows = slice(unit * views, (unit + 1) * views)
        layer(x[rows]).backward(gradient[rows])
        for parameter, contribution in pieces.items():
            assert parameter.grad is not None
            torch.testing.assert_close(contribution.per_unit()[unit], parameter.grad, rtol=1e-9, atol=1e-9)


def test_the_engine_knows_the_rule() -> None:
    assert RULES[WSConv2d] is wsconv2d


def test_rule_leaves_frozen_weights_out() -> None:
    layer = made(in_channels=2, out_channels=3, kernel_size=2)
    layer.weight.requires_grad_(False)
    x = random(2, 2, 4, 4)
    assert [p is layer.bias for p, _ in wsconv2d(layer, (x,), torch.ones_like(layer(x)), 2)] == [True]


def test_standardised_changes_plain_convolutions_and_nothing_else() -> None:
    class Special(nn.Conv2d):
        pass

    shared = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), shared, shared, Special(4, 2, 1))
    before = copy.deepcopy(model.state_dict())
    changed = standardised(model)
    assert [type(part) for part in model] == [nn.Conv2d, nn.GroupNorm, nn.Conv2d, nn.Conv2d, Special]
    assert isinstance(changed, nn.Sequential)
    assert [type(part) for part in changed] == [WSConv2d, nn.GroupNorm, WSConv2d, WSConv2d, Special]
    assert changed[2] is changed[3]
    assert changed[2].padding_mode == "reflect"
    assert changed.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in changed.state_dict().items())
    assert type(standardised(nn.Conv2d(1, 1, 2))) is WSConv2d
    x = torch.rand(2, 1, 6, 6)
    assert not torch.allclose(model(x), changed(x))


def test_a_private_step_clips_the_gradient_of_the_raw_weight() -> None:
    how = plan(units=32, batch=31, clip=0.01)
    module = standardised(nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(36, 3)))
    twin = copy.deepcopy(module)
    x, y = torch.rand(32, 1, 5, 5), torch.randint(0, 3, (32,))
    model, optimizer, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, noise=quiet())
    rows, targets = next(batches)
    nn.functional.cross_entropy(model(rows), targets).backward()
    optimizer.step()
    batches.close()
    expected = brute(twin, rows, targets, how)
    for (name, before), after in zip(twin.named_parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(before - after, expected[name], rtol=1e-3, atol=1e-7)


def test_scale_of_the_raw_weight_does_not_matter() -> None:
    layer, x = made(in_channels=2, out_channels=3, kernel_size=3), random(2, 2, 5, 5)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(100.0)
    torch.testing.assert_close(layer(x), before, rtol=1e-4, atol=1e-5)
