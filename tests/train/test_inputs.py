"""The rows that are clipped are those of one person each: what the model is shown is what was drawn."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from opacus.schedulers import ExponentialGradClip, ExponentialNoise
from tests.train.naive import LOSS, plan
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.checkpoint import checkpoint

from pellucid.errors import Misuse, UnsupportedModel
from pellucid.train import Batches, PrivateModel, PrivateOptimizer, private, standard

PLAN = plan(batch=32, epochs=2.0)
X = torch.rand(64, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0.5).long()
Run = tuple[PrivateModel, PrivateOptimizer, Batches]


def start(module: nn.Module | None = None, rows: int = 64) -> Run:
    module = module or nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    return private(module, torch.optim.SGD(module.parameters(), lr=0.1), PLAN, X[:rows], Y[:rows])


def mixup_in_place(x: torch.Tensor) -> torch.Tensor:
    x.copy_(0.5 * x + 0.5 * x.roll(1, 0))
    return x


def behind_the_version_counter(x: torch.Tensor) -> torch.Tensor:
    x.numpy()[:] = x.numpy()[::-1].copy()
    return x


CHANGES = [
    lambda x: 0.7 * x + 0.3 * x.roll(1, 0),
    lambda x: x[torch.zeros(len(x), dtype=torch.long)],
    lambda x: x.flip(0),
    lambda x: x * 2,
    lambda x: torch.cat([x, x]),
    lambda x: x[1:],
    lambda x: x.unsqueeze(0),
    lambda x: X[: len(x)],
    mixup_in_place,
    behind_the_version_counter,
]
NAMES = [
    "mixup",
    "resampled",
    "permuted",
    "scaled",
    "doubled",
    "fewer",
    "reshaped",
    "other people",
    "in place",
    "numpy",
]


@pytest.mark.parametrize("through", ["model", "module"])
@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_rows_that_are_not_one_persons_each_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], through: str
) -> None:
    model, stepper, batches = start()
    x, _ = next(batches)
    with pytest.raises(Misuse, match="one person's, without mixup or resampling"):
        (model if through == "model" else model._module)(change(x))
    with pytest.raises(Misuse, match="no gradient"):
        stepper.step()
    assert batches.steps_taken == 0


@pytest.mark.parametrize(
    "same",
    [lambda x: x, lambda x: x.clone(), lambda x: x.double().float(), lambda x: x.contiguous().cpu()],
    ids=["itself", "clone", "cast", "moved"],
)
def test_the_same_values_are_admitted(same: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model, stepper, batches = start()
    for x, y in batches:
        LOSS(model(same(x)), y).backward()
        stepper.step()
        stepper.zero_grad()
    assert batches.steps_taken == PLAN.steps


def test_a_cast_of_the_rows_is_admitted() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.float())

    model, stepper, batches = start(Casts())
    for x, y in batches:
        LOSS(model(x.bfloat16()), y).backward()
        stepper.step()
    assert batches.steps_taken == PLAN.steps


def test_a_module_that_changes_its_input_in_place_is_admitted() -> None:
    model, stepper, batches = start(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2)))
    for x, y in batches:
        LOSS(model(x), y).backward()
        stepper.step()
    assert batches.steps_taken == PLAN.steps


def test_the_stand_in_for_an_empty_sample_is_admitted() -> None:
    how = plan(batch=1, epochs=0.25)
    module = nn.Linear(6, 2)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), how, X[:1], Y[:1])
    empty = 0
    for x, y in batches:
        empty += not torch.equal(x, X[:1])
        LOSS(model(x), y).backward()
        stepper.step()
    assert empty > 8
    assert batches.steps_taken == 16


def test_a_second_tensor_beside_the_rows_is_refused_and_a_plain_option_is_not() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor, other: torch.Tensor | None = None, scale: float = 1.0) -> torch.Tensor:
            return self.head(x if other is None else x + other) * scale

    model, _, batches = start(Two())
    x, _ = next(batches)
    for give in (lambda: model(x, x.roll(1, 0)), lambda: model(x, other=x + 1), lambda: model(x, other=x[:1])):
        with pytest.raises(Misuse, match="one person's"):
            give()
    assert model(x, other=x).requires_grad  # the same rows once more
    assert model(x=x).requires_grad
    model, _, batches = start(Two())
    assert model(next(batches)[0], scale=2.0).requires_grad


def test_a_layer_called_on_its_own_is_refused() -> None:
    model, _, batches = start()
    x, _ = next(batches)
    with pytest.raises(Misuse, match="called on its own"):
        model._module[0](x)
    assert model(x).requires_grad
    with pytest.raises(Misuse, match="called on its own"):
        model._module[0](x)


def test_reentrant_activation_checkpointing_is_refused_at_the_start() -> None:
    class Saves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)
            self.second = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.second, self.first(x), use_reentrant=True)

    with pytest.raises(UnsupportedModel, match="use_reentrant=False"):
        start(Saves())


def test_a_backward_pass_through_an_earlier_batch_is_refused() -> None:
    model, stepper, batches = start()
    x, y = next(batches)
    old, again = LOSS(model(x), y), LOSS(model(x), y)
    old.backward(retain_graph=True)
    with pytest.raises(Misuse, match="more than one backward pass through"):
        old.backward()
    stepper.step()
    x, y = next(batches)
    model(x)
    with pytest.raises(Misuse, match="another batch"):
        again.backward()


def test_passes_that_record_nothing_may_see_any_rows() -> None:
    model, stepper, batches = start()
    for x, y in batches:
        LOSS(model(x), y).backward()
        with torch.no_grad():
            model(X)
        model.eval()
        model(X)
        model.train()
        stepper.step()
        LOSS(model(X), Y)  # between a step and the next batch nothing is kept
    assert batches.steps_taken == PLAN.steps
    standard(model).train()(X).sum().backward()


def test_a_copy_during_a_batch_holds_no_rows_and_no_hooks() -> None:
    model, _, batches = start()
    next(batches)
    plain = standard(model)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in plain.modules())
    plain.train()(X).sum().backward()


# -- the plan, hooks and threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["noise_multiplier", "max_grad_norm", "expected_batch_size"])
@pytest.mark.parametrize("value", [0.5, 0.0, float("nan")])
def test_a_number_of_the_plan_that_was_changed_is_refused_before_noise(name: str, value: float) -> None:
    model, stepper, batches = start()
    x, y = next(batches)
    LOSS(model(x), y).backward()
    before = copy.deepcopy(model._module.state_dict())
    planned = getattr(stepper, name)
    setattr(stepper, name, value)
    with pytest.raises(Misuse, match="changed since the plan") as caught:
        stepper.step()
    assert caught.value.where == f"optimizer.{name}"
    assert batches.steps_taken == 0
    assert all(torch.equal(before[key], now) for key, now in model._module.state_dict().items())
    setattr(stepper, name, planned)
    stepper.step()
    assert batches.steps_taken == 1


@pytest.mark.parametrize("schedule", [ExponentialNoise, ExponentialGradClip])
def test_a_schedule_of_noise_or_clip_is_refused(schedule: type[ExponentialNoise] | type[ExponentialGradClip]) -> None:
    model, stepper, batches = start()
    turn = schedule(stepper, gamma=0.5)
    x, y = next(batches)
    LOSS(model(x), y).backward()
    turn.step()
    with pytest.raises(Misuse, match="changed since the plan"):
        stepper.step()


@pytest.mark.parametrize("name", ["steps", "steps_taken", "unsafe", "noise"])
def test_what_a_run_counts_is_read_only(name: str) -> None:
    _, _, batches = start()
    with pytest.raises(AttributeError):
        setattr(batches, name, 0)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("whose", ["own", "every"])
def test_hooks_around_a_step_are_refused_at_the_start_and_later(when: str, whose: str) -> None:
    module = nn.Linear(6, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before, after = optimizer.register_step_pre_hook, optimizer.register_step_post_hook
    every = {"before": register_optimizer_step_pre_hook, "after": register_optimizer_step_post_hook}
    register = every[when] if whose == "every" else {"before": before, "after": after}[when]

    def hook(*_: object) -> None:
        raise AssertionError("must not run")

    handle = register(hook)
    try:
        with pytest.raises(Misuse, match="hooks around a step"):
            private(module, optimizer, PLAN, X, Y)
        handle.remove()
        model, stepper, batches = private(module, optimizer, PLAN, X, Y)
        x, y = next(batches)
        LOSS(model(x), y).backward()
        handle = register(hook)
        with pytest.raises(Misuse, match="hooks around a step"):
            stepper.step()
        assert batches.steps_taken == 0
    finally:
        handle.remove()
    for refuse in (stepper.register_step_pre_hook, stepper.register_step_post_hook):
        with pytest.raises(Misuse, match="hooks"):
            refuse(hook)


def test_threads_cannot_step_twice_on_one_batch() -> None:
    """The noise source lets the second thread run into the first one's step."""
    inside, go = threading.Event(), threading.Event()

    class Slow:
        def normals(self, count: int) -> torch.Tensor:
            inside.set()
            assert go.wait(10)
            return torch.zeros(count, dtype=torch.float64)

        def add(self, sums: torch.Tensor, std: float) -> None:
            sums.add_(self.normals(len(sums)), alpha=std)

    module = nn.Linear(6, 2)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=0.1), PLAN, X, Y, noise=Slow())
    x, y = next(batches)
    LOSS(model(x), y).backward()
    said: list[str] = []

    def step() -> None:
        try:
            stepper.step()
            said.append("stepped")
        except Misuse as error:
            said.append(error.what)

    first, second = threading.Thread(target=step), threading.Thread(target=step)
    first.start()
    assert inside.wait(10)
    second.start()
    second.join(0.2)
    assert said == []  # the second waits for the first
    go.set()
    first.join(10)
    second.join(10)
    assert said == ["stepped", "a step without a batch of its own"]
    assert batches.steps_taken == 1
