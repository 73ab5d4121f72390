"""What one person can change in a step, measured: with and without that person, noise off, everybody drawn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.train import naive
from tests.train.naive import Make, quiet
from torch import nn
from torch.nn import functional

from pellucid.errors import Misuse, UnsupportedModel
from pellucid.train import private
from pellucid.train.clipping import Clipping, margin_for
from pellucid.train.contributions import Direct, Outer, Room
from pellucid.train.gaussian import grid
from pellucid.train.noise import SecureNoise
from pellucid.train.release import Release
from pellucid.train.workers import workers

CLIP = 1.0
plan = functools.partial(naive.plan, units=1000, batch=8, epochs=3.0, clip=CLIP)


class Everybody:
    def __init__(self, rows: int) -> None:
        self.rows = rows

    def draw(self, step: int) -> torch.Tensor:
        return torch.arange(self.rows)


def released(
    make: Make, x: torch.Tensor, y: torch.Tensor, loss: Any, around: Any = None, **options: Any
) -> torch.Tensor:
    torch.manual_seed(0)
    module = make()
    how = options.pop("plan", plan())
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, noise=quiet(), **options
    )
    batches._drawing = Everybody(len(x))
    xb, yb = next(batches)
    before = nn.utils.parameters_to_vector(module.parameters()).detach().double()
    loss(around(model, xb) if around else model(xb), yb).backward()
    stepper.step()
    after = nn.utils.parameters_to_vector(module.parameters()).detach().double()
    return (before - after) * how.normaliser


def sensitivity(make: Make, x: torch.Tensor, y: torch.Tensor, loss: Any, person: int = 0, **options: Any) -> float:
    """Of the sum of a step to the presence of one person, in clips."""
    rest = torch.cat([torch.arange(person), torch.arange(person + 1, len(x))])
    whole = released(make, x, y, loss, **options)
    return float((whole - released(make, x[rest], y[rest], loss, **options)).norm()) / CLIP


class Siamese(nn.Module):
    """Two pictures of a person go through one layer in one batch, the wrong way round for the engine."""

    def __init__(self, chance: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.chance = chance
        self.body, self.head = nn.Linear(4, 4), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.chance(self.body(torch.cat([x[:, 0], x[:, 1]]))).chunk(2)
        return self.head(torch.cat([one, two], 1))


@pytest.mark.parametrize(
    "chance",
    [
        lambda h: functional.dropout(h, 0.5),
        lambda h: h + torch.randn_like(h),
        nn.Dropout(0.5),
        lambda h: h,
    ],
    ids=["functional dropout", "noise", "dropout", "none"],
)
def test_rows_stacked_the_wrong_way_round_are_refused_whatever_chance_does(chance: Any) -> None:
    module = Siamese(chance)
    x = torch.rand(16, 2, 4)
    with pytest.raises(UnsupportedModel, match="not what the gradient says"):
        private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, torch.zeros(16, dtype=torch.int64))


class Gathers(nn.Module):
    """A layer sees only the positions that are not padding."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = x[..., 0] > -5
        out = torch.zeros_like(x).masked_scatter(mask[..., None].expand_as(x), self.layer(x[mask]))
        return self.head(out.mean(1))


def test_positions_picked_out_by_what_is_in_them_are_refused() -> None:
    x = torch.rand(16, 6, 4)
    x[3, 2:] = -9.0
    x[5, 4:] = -9.0
    with pytest.raises(UnsupportedModel, match="depends on what is in them"):
        released(Gathers, x, torch.zeros(16, dtype=torch.int64), functional.cross_entropy)


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: functional.cross_entropy(out.flatten(0, 1), y.flatten()),
        lambda out, y: functional.cross_entropy(out.transpose(1, 2), y),
    ],
    ids=["flat", "by class"],
)
def test_a_mean_over_the_entries_that_count_couples_rows_and_is_refused(loss: Any) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x)

    x, y = torch.rand(16, 6, 4), torch.randint(0, 5, (16, 6))
    module = Words()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    with pytest.raises(Misuse, match="depends on the other rows"):
        private(module, optimizer, plan(), x, y, loss=loss)

    def by_row(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(out.transpose(1, 2), y, reduction="none")
        return (each.sum(1) / (y != -100).sum(1).clamp(min=1)).mean()

    private(module, optimizer, plan(), x, y, loss=by_row)


def test_weights_of_any_class_in_a_mean_couple_rows_and_are_refused() -> None:
    x, y = torch.rand(16, 4), torch.randint(0, 3, (16,))
    for weight, admitted in (([1.0, 1.0, 50.0], False), ([1.0, 1.0, 1.0], True)):
        module = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        loss = nn.CrossEntropyLoss(weight=torch.tensor(weight))
        if admitted:
            private(module, optimizer, plan(), x, y, loss=loss)
        else:
            with pytest.raises(Misuse, match="depends on the other rows"):
                private(module, optimizer, plan(), x, y, loss=loss)


def test_half_precision_does_not_couple_rows_through_their_number() -> None:
    rows = 900
    x, y = torch.full((rows, 8), 0.37), torch.zeros(rows, dtype=torch.int64)

    def autocast(model: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out: torch.Tensor = model(rows)
        return out

    found = sensitivity(lambda: nn.Linear(8, 3), x, y, functional.cross_entropy, around=autocast)
    assert found <= 1.001


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x).mean(1))


@pytest.mark.parametrize("size", [1e3, 1e5, 1e7, 1e9])
@pytest.mark.parametrize("memory", [None, "low"])
def test_terms_of_one_person_that_cancel_do_not_slip_past_the_clip(size: float, memory: str | None) -> None:
    x = torch.rand(16, 2, 4, generator=torch.Generator().manual_seed(1))
    x[3, 0] = size * torch.tensor([0.3, -0.7, 0.5, 0.9])
    x[3, 1] = -x[3, 0]
    y = torch.randint(0, 2, (16,), generator=torch.Generator().manual_seed(2))
    assert sensitivity(Means, x, y, functional.cross_entropy, person=3, memory=memory) <= 1.002


@pytest.mark.parametrize("memory", [None, "low"])
def test_one_person_of_any_size_changes_the_sum_by_at_most_the_clip(memory: str | None) -> None:
    for size in (1e-6, 1.0, 1e6, 1e30, float("nan")):
        x = torch.rand(16, 5, generator=torch.Generator().manual_seed(1))
        x[0] *= size
        y = torch.randint(0, 2, (16,), generator=torch.Generator().manual_seed(2))
        make: Make = lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))  # noqa: E731 - short
        assert sensitivity(make, x, y, functional.cross_entropy, memory=memory) <= 1.00001


def test_memory_that_runs_out_in_the_middle_of_a_sum_counts_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(16, 5, generator=torch.Generator().manual_seed(1))
    y = torch.randint(0, 2, (16,), generator=torch.Generator().manual_seed(2))
    make: Make = lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))  # noqa: E731 - short
    how = plan(batch=4)
    expected = released(make, x, y, functional.cross_entropy, plan=how)
    plain = Outer.weighted_sum
    calls = 0

    def fails_once(self: Outer, factors: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += len(factors) == 3  # the chunks, not the self-check
        if calls == 2:
            calls += 1
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(self, factors)

    monkeypatch.setattr(Outer, "weighted_sum", fails_once)
    found = released(make, x, y, functional.cross_entropy, plan=how, memory="low")
    assert calls > 2
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_an_adaptive_count_that_was_never_released_is_not_carried_over() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    clipping = Clipping("adaptive", 1.0, [0])
    for _ in range(2):  # the second time as after an interrupted step
        out = [torch.zeros(3)]
        clipping.sums([parameter], {parameter: Direct(torch.zeros(10, 3))}, out, Room(0), fresh=True)
        assert clipping.within == 5.0


def test_a_number_that_changes_from_batch_to_batch_is_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return self.head(x) * scale

    x, y = torch.rand(1000, 4), torch.randint(0, 2, (1000,))
    module = Scaled()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    for scale in (2.0, 2.0):
        xb, yb = next(batches)
        functional.cross_entropy(model(xb, scale=scale), yb).backward()
        stepper.step()
    xb, _ = next(batches)
    with pytest.raises(Misuse, match="one person's"):
        model(xb, xb.mean().item())


@pytest.mark.parametrize("batch", [512, 4096, 16_384, 65_536])
def test_one_person_moves_the_rounded_sum_of_a_large_batch_by_at_most_the_clip(batch: int) -> None:
    """Gradients that all point one way: float32 rounds a sum that is as large as can be."""
    torch.manual_seed(0)
    direction = torch.rand(64) + 0.5
    rows = 3 * direction[None] * (1 + torch.rand(batch + 1, 1))
    weight = nn.Parameter(torch.zeros(64))

    def summed(rows: torch.Tensor) -> torch.Tensor:
        out = [torch.zeros(64)]
        clipping = Clipping("flat", CLIP, [0], margin_for(batch, torch.float32))
        clipping.sums([weight], {weight: Direct(rows)}, out, Room(1 << 20), fresh=True)
        return out[0].double()

    for k in range(4):
        whole = rows[: batch + 1 - k]
        assert float((summed(whole) - summed(whole[:-1])).norm()) <= CLIP


def test_more_people_than_float32_can_sum_are_refused() -> None:
    with pytest.raises(Misuse, match="summed in float32"):
        margin_for((1 << 20) + 1, torch.float32)
    assert margin_for((1 << 20) + 1, torch.float64) == margin_for(1, torch.float32)


@pytest.mark.parametrize("others", [[float("nan")], [1e30], [float("inf")]])
@pytest.mark.parametrize("count", [1, 40])
def test_one_person_moves_the_adaptive_count_by_a_half_whoever_the_others_are(others: list[float], count: int) -> None:
    weight = nn.Parameter(torch.zeros(3))

    def within(rows: list[list[float]]) -> float:
        clipping = Clipping("adaptive", CLIP, [0])
        given = {weight: Direct(torch.tensor(rows))}
        clipping.sums([weight], given, [torch.zeros(3)], Room(1 << 20), fresh=True)
        return clipping.within

    crowd = [others * 3] * count
    assert abs(within([*crowd, [0.1, 0.1, 0.1]]) - within(crowd)) == 0.5


def test_banded_noise_leaves_no_digit_that_tells_what_it_was_added_to() -> None:
    """Every number released is a multiple of the grid, with a person who adds 1/64 to each and without."""
    how = naive.plan(units=100_000, batch=1000, epochs=1.0, clip=CLIP, mechanism="banded", bands=4)
    std = how.gradient_noise_multiplier * CLIP
    release = Release(how, SecureNoise(), workers())
    for value in (0.0, 1 / 64):
        for _ in range(5):  # the noise of later steps is made of that of earlier ones
            sums = torch.full((2048,), value)
            release._add(sums, std)
            steps = sums.double() / grid(std)
            assert torch.equal(steps, steps.round())
