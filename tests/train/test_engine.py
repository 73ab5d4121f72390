"""The engine against brute force: one example at a time, clipped by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from opacus.layers import DPLSTM, DPMultiheadAttention
from tests.train.naive import LOSS, Make, alone, brute, length, mlp, people, plan, quiet
from torch import nn

from pellucid.errors import BadData, Misuse
from pellucid.train import PrivateModel, private, standard
from pellucid.train.clipping import Clipping, squared_norms
from pellucid.train.contributions import Direct, Room
from pellucid.train.noise import UnsafeSeededNoise


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = DPLSTM(2, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = DPMultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(x + self.attention(x, x, x)[0]).mean(1))


class BareParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(5))
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x * self.scale)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.layer(x).tanh()))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 3)
        self.idle = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


MODELS = [
    (mlp, (5,)),
    (Convolution, (1, 4, 4)),
    (Recurrent, (6, 2)),
    (Attention, (3, 4)),
    (BareParameter, (5,)),
    (Tied, (5,)),
    (Unused, (5,)),
]


@pytest.mark.parametrize(("make", "shape"), MODELS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("clip", [0.05, 0.5, 100.0])
def test_clipped_sum_equals_brute_force(make: Make, shape: tuple[int, ...], clip: float) -> None:
    x, y = people(*shape)
    module = make()
    twin = copy.deepcopy(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    p = plan(clip=clip, steps=2)
    model, stepper, batches = private(module, optimizer, p, x, y, noise=quiet())
    for xb, yb in batches:
        twin.load_state_dict(standard(model).state_dict())
        expected = brute(twin.train(), xb, yb, p)
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-5 * clip / p.normaliser)
        if clip == 0.05:
            assert min(map(length, alone(twin, xb, yb))) > clip  # so that the test clips everybody


def test_a_clipped_example_never_exceeds_the_clip() -> None:
    x, y = people(5)
    module = nn.Linear(5, 3)
    p = plan(batch=1, steps=64, clip=0.01)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), p, x, y, noise=quiet())
    seen = 0
    for xb, yb in batches:
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
        norm = math.sqrt(sum(float(q.grad.double().square().sum()) for q in module.parameters() if q.grad is not None))
        assert norm <= 0.01 * len(xb)
        seen += norm > 0.0099
    assert seen > 0


@pytest.mark.parametrize(("noise", "clip", "batch"), [(1.0, 1.0, 16), (3.0, 0.1, 32)])
def test_noise_has_standard_deviation_sigma_times_clip_over_normaliser(noise: float, clip: float, batch: int) -> None:
    x, y = people(300)
    module = nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 3))
    still = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    p = plan(batch=batch, steps=1, noise_multiplier=noise, clip=clip)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), p, x, y)
    for xb, yb in batches:
        twin = copy.deepcopy(standard(model))
        expected = brute(twin.train(), xb, yb, p)
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
    moved = still - nn.utils.parameters_to_vector(module.parameters()).detach()
    noise_only = moved - torch.cat([value.flatten() for value in expected.values()])
    std = noise * clip / batch
    n = len(noise_only)
    assert abs(float(noise_only.mean())) < 5 * std / math.sqrt(n)
    assert abs(float(noise_only.std()) / std - 1) < 5 / math.sqrt(2 * n) + 1e-4
    assert batches.unsafe == ()


def test_an_unused_parameter_gets_noise_too() -> None:
    """Whether the loss used a parameter may depend on the data, so its absence must not show."""
    x, y = people(5)
    module = Unused()
    before = module.idle.weight.detach().clone()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(steps=1), x, y)
    for xb, yb in batches:
        LOSS(model(xb), yb).backward()
        stepper.step()
    assert bool((module.idle.weight != before).all())


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.MultiMarginLoss()])
def test_an_empty_sample_is_a_step_of_pure_noise(loss: nn.Module) -> None:
    x, y = people(5, rows=2)  # the plan thinks of 64 people; there are two, so most samples are empty
    module = mlp()
    p = plan(batch=1, steps=40)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.5), p, x, y, noise=quiet())
    empty = 0
    for xb, yb in batches:
        before = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
        stepper.zero_grad()
        value = loss(model(xb), yb)
        assert value.isfinite()
        value.backward()
        stepper.step()
        if not any(torch.equal(xb[0], row) for row in x):
            empty += 1
            assert torch.equal(nn.utils.parameters_to_vector(module.parameters()), before)
    assert empty > 20
    assert batches.steps_taken == 40


def test_an_empty_sample_with_noise_moves_the_weights() -> None:
    x, y = people(5, rows=1)
    module = mlp()
    p = plan(batch=1, steps=3)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.5), p, x, y)
    before = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    for xb, yb in batches:
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
    after = nn.utils.parameters_to_vector(module.parameters())
    assert after.isfinite().all()
    assert bool((after != before).all())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_example_whose_gradient_is_not_finite_counts_as_zero(value: float) -> None:
    x, y = people(5)
    x[7] = value
    module = mlp()
    p = plan(batch=63, steps=2)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), p, x, y, noise=quiet())
    for xb, yb in batches:
        keep = (xb.abs() < 10).all(1)
        twin = copy.deepcopy(standard(model)).train()
        expected = brute(twin, xb[keep], yb[keep], p)
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
        for name, q in module.named_parameters():
            assert q.grad is not None
            torch.testing.assert_close(q.grad, expected[name], rtol=1e-4, atol=1e-6)


def clipped(sample: torch.Tensor, kind: str = "flat") -> torch.Tensor:
    parameter = nn.Parameter(torch.zeros(sample.shape[1:]))
    total = torch.zeros(sample.shape[1:], dtype=torch.float64)
    Clipping(kind, 1.0, [0]).sums([parameter], {parameter: Direct(sample)}, [total], Room(1 << 20))
    return total


def test_an_enormous_gradient_is_clipped_or_counts_as_zero() -> None:
    for size, kept in ((1e15, True), (1e25, False), (3e35, False)):
        sample = torch.full((2, 3), size)
        sample[1] = 0.1
        share = 1 / math.sqrt(3) if kept else 0.0
        torch.testing.assert_close(
            clipped(sample), torch.full((3,), share + 0.1, dtype=torch.float64), rtol=1e-5, atol=1e-6
        )
        assert float(clipped(sample[:1]).norm()) <= 1.0


@pytest.mark.parametrize("size", [1, 127, 128, 129, 5000, 1_000_003])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_squared_norms_equal_the_twin_in_float64_within_half_the_margin(size: int, kind: torch.dtype) -> None:
    sample = torch.rand((3, size)).to(kind)
    torch.testing.assert_close(squared_norms(sample), sample.double().square().sum(1), rtol=5e-6, atol=0)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_norm_of_a_clipped_example_is_at_most_the_clip_in_any_precision(kind: torch.dtype) -> None:
    assert 1 - 1e-5 < float(clipped(torch.rand((1, 100_000)).to(kind)).norm()) <= 1.0


def test_the_loop_ends_after_exactly_the_plan_and_counts_its_steps() -> None:
    x, y = people(5)
    module = mlp()
    heard: list[int] = []
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=0.1), plan(steps=6), x, y, on_step=heard.append
    )
    assert len(batches) == batches.steps == 6
    assert sum(1 for _ in loop(model, stepper, batches)) == 6
    assert heard == [1, 2, 3, 4, 5, 6]
    assert batches.steps_taken == 6
    assert list(batches) == []
    with pytest.raises(Misuse, match="over after 6 of 6"):
        stepper.step()


def loop(model, stepper, batches):  # type: ignore[no-untyped-def]
    for xb, yb in batches:
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
        yield xb, yb


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_steps_like_the_users_optimizer_on_the_noisy_gradient(kind: type[torch.optim.Optimizer]) -> None:
    x, y = people(5)
    module, twin = mlp(), mlp()
    twin.load_state_dict(module.state_dict())
    other = kind(twin.parameters(), lr=0.05)  # type: ignore[call-arg]
    with pytest.warns(UserWarning, match="no privacy"):
        noise = UnsafeSeededNoise(1)
    model, stepper, batches = private(module, kind(module.parameters(), lr=0.05), plan(steps=6), x, y, noise=noise)  # type: ignore[call-arg]
    assert batches.unsafe == ("UnsafeSeededNoise",)
    for _ in loop(model, stepper, batches):
        for theirs, ours in zip(twin.parameters(), module.parameters(), strict=True):
            assert ours.grad is not None
            theirs.grad = ours.grad.clone()
        other.step()
    torch.testing.assert_close(
        nn.utils.parameters_to_vector(twin.parameters()), nn.utils.parameters_to_vector(module.parameters())
    )


def test_a_learning_rate_schedule_works() -> None:
    x, y = people(5)
    module = mlp()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.8), plan(steps=6), x, y)
    schedule = torch.optim.lr_scheduler.StepLR(stepper, 2, 0.5)
    for _ in loop(model, stepper, batches):
        schedule.step()
    assert stepper.param_groups[0]["lr"] == pytest.approx(0.1)
    assert batches.steps_taken == 6


def test_frozen_parameters_stay() -> None:
    x, y = people(5)
    module = mlp()
    module[0].requires_grad_(False)  # type: ignore[index]
    frozen = module[0].weight.detach().clone()  # type: ignore[index]
    head = module[2].weight.detach().clone()  # type: ignore[index]
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), plan(steps=6), x, y)
    list(loop(model, stepper, batches))
    assert torch.equal(module[0].weight, frozen)  # type: ignore[index]
    assert not torch.equal(module[2].weight, head)  # type: ignore[index]


def test_standard_is_a_plain_copy_without_hooks_and_the_original_goes_on() -> None:
    x, y = people(5)
    module = mlp()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), plan(steps=6), x, y)
    rounds = loop(model, stepper, batches)
    next(rounds)
    plain = standard(model)
    assert not isinstance(plain, PrivateModel)
    assert list(plain.state_dict()) == list(mlp().state_dict())
    assert not plain.training
    torch.testing.assert_close(plain(x), module(x))
    before = plain[0].weight.detach().clone()  # type: ignore[index]
    LOSS(plain.train()(x), y).backward()
    for part in plain.modules():
        assert "forward" not in vars(part)
    assert sum(1 for _ in rounds) == 5
    assert torch.equal(plain[0].weight, before)  # type: ignore[index]
    assert not torch.equal(module[0].weight, before)  # type: ignore[index]
    # a plain module may become private again, under a plan of its own
    private(plain, torch.optim.SGD(plain.parameters(), lr=0.1), plan(steps=6), x, y)


def test_another_forward_pass_without_gradient_is_free() -> None:
    x, y = people(5)
    module = mlp()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), plan(steps=6), x, y)
    for _ in loop(model, stepper, batches):
        with torch.no_grad():
            model(x)
    assert batches.steps_taken == 6


def test_evidence_fields_and_repr_show_no_private_count() -> None:
    x, y = people(5, rows=57)
    module = mlp()
    _, _, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), plan(steps=6), x, y)
    assert repr(batches) == "Batches(steps=6, steps_taken=0)"


def test_inputs_and_targets_must_match() -> None:
    x, y = people(5)
    module = mlp()
    for a, b in ((x, y[:-1]), (x[:0], y[:0])):
        with pytest.raises(BadData, match="same number of rows"):
            private(module, torch.optim.SGD(module.parameters(), lr=0.1), plan(steps=6), a, b)
