"""Ways through the model: whole, in chunks, by name, several times, in half precision, with checkpointing."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.train import naive
from tests.train.naive import LOSS, alone, brute, clipped_mean, mlp, people, quiet
from torch import nn
from torch.utils.checkpoint import checkpoint

from pellucid.errors import BadData, Misuse, UnsupportedModel
from pellucid.privacy import Plan
from pellucid.train import private, standard
from pellucid.train.memory import out_of_memory, row_bytes
from pellucid.train.recorder import Recorder

N = 64
plan = functools.partial(naive.plan, batch=48, epochs=2.0, clip=0.3)


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
    )


def one_step(module: nn.Module, x: Any, y: torch.Tensor, how: Plan, **options: Any) -> tuple[dict[str, Any], Any, Any]:
    """The noiseless step of one batch, and the batch."""
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, noise=quiet(), **options
    )
    xb, yb = next(batches)
    out = model(**xb) if isinstance(xb, dict) else model(*xb) if isinstance(xb, tuple) else model(xb)
    LOSS(out, yb).backward()
    stepper.step()
    return {name: p.grad for name, p in module.named_parameters()}, xb, yb


# -- chunks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mlp, convolution])
@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
def test_a_batch_in_chunks_is_the_same_step(make: Callable[[], nn.Module], rows: int) -> None:
    x, y = people(5)
    module = make()
    twin = copy.deepcopy(module).train()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y, noise=quiet())
    stepper._recorder.chunk = rows
    for xb, yb in batches:
        twin.load_state_dict(model.state_dict())
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
        for name, expected in brute(twin, xb, yb, plan()).items():
            torch.testing.assert_close(module.get_parameter(name).grad, expected, rtol=1e-5, atol=1e-7)
    assert batches.steps_taken == plan().steps


def test_chunks_draw_the_same_masks_again_and_leave_chance_as_it_was() -> None:
    x, y = people(5)
    module = with_dropout()
    model, _, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y, noise=quiet())
    recorder = model._recorder
    recorder.chunk = 10
    xb, yb = next(batches)
    out = model(xb)
    seen: list[torch.Tensor] = []
    handle = module[1].register_forward_hook(lambda layer, args, output: seen.append(output.detach()))
    state = torch.get_rng_state()
    LOSS(out, yb).backward()
    handle.remove()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        torch.testing.assert_close(module[2](torch.cat(seen)), out.detach())


def test_memory_low_takes_half_of_the_batch_and_a_number_takes_what_fits() -> None:
    x, y = people(5)
    for memory, expected in (("low", 27), (1, 1), (None, None)):
        module = mlp()
        model, *_ = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y, memory=memory)
        assert model._recorder.chunk == expected
    module = mlp()
    each = row_bytes(Recorder(module), x)
    model, *_ = private(mlp_ := mlp(), torch.optim.SGD(mlp_.parameters(), lr=1.0), plan(), x, y, memory=10 * each)
    assert model._recorder.chunk == 10
    for wrong in (0, -1, "little", True, 2.5):
        with pytest.raises(Misuse, match="number of bytes"):
            private(mlp_ := mlp(), torch.optim.SGD(mlp_.parameters(), lr=1.0), plan(), x, y, memory=wrong)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_out_of_memory_goes_on_with_smaller_chunks_and_the_same_step(where: str) -> None:
    class Greedy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            if where == "forward" and len(x) > 20:
                raise torch.OutOfMemoryError("out of memory")
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            if where == "backward" and len(g) > 20:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
            return g

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(5, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(Greedy.apply(self.first(x)).tanh())

    x, y = people(5)
    module = Wide()
    twin = nn.Sequential(copy.deepcopy(module.first), nn.Tanh(), copy.deepcopy(module.head))
    found, xb, yb = one_step(module, x, y, plan())
    expected = list(brute(twin, xb, yb, plan()).values())
    for got, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)


def test_one_unit_that_does_not_fit_is_an_error() -> None:
    class Never(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)
            self.full = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.full:
                raise torch.OutOfMemoryError("out of memory")
            return self.head(x)

    x, y = people(5)
    module = Never()
    model, _, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    module.full = True
    with pytest.raises(torch.OutOfMemoryError):
        model(next(batches)[0])
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_two_passes_over_a_batch_in_chunks_are_refused() -> None:
    x, y = people(5)
    module = mlp()
    model, _, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    model._recorder.chunk = 10
    xb, yb = next(batches)
    with pytest.raises(Misuse, match="once only"):
        (LOSS(model(xb), yb) + LOSS(model(xb), yb)).backward()


# -- shapes of batches -----------------------------------------------------------------------------------------------


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, tokens: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(tokens).mean(1) + extra)


@pytest.mark.parametrize("form", [dict, tuple])
def test_inputs_may_be_dictionaries_and_tuples(form: type) -> None:
    extra, y = people(5)
    tokens = torch.randint(0, 4, (N, 6), generator=torch.Generator().manual_seed(1))
    x = {"tokens": tokens, "extra": extra} if form is dict else (tokens, extra)
    found, xb, yb = one_step(ByName(), x, y, plan())
    assert isinstance(xb, form)
    assert len(yb) == len(xb["extra"] if form is dict else xb[1])
    assert all(gradient is not None for gradient in found.values())


def test_an_empty_sample_has_the_structure_of_the_batch() -> None:
    extra, y = people(5)
    x = {"tokens": torch.ones((N, 6), dtype=torch.int64), "extra": extra}
    x, y = {name: leaf[:1] for name, leaf in x.items()}, y[:1]
    module = ByName()
    how = plan(batch=1, epochs=0.25)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, noise=quiet())
    for xb, yb in batches:
        LOSS(model(**xb), yb).backward()
        stepper.step()
    assert batches.steps_taken == how.steps


def test_outputs_may_be_dictionaries_and_tuples() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.other = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            h = self.body(x).tanh()
            return {"class": self.head(h), "more": self.other(h)}

    x, y = people(5)
    module = Two()
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=1.0), plan(clip=1e6), x, y, noise=quiet()
    )
    xb, yb = next(batches)
    twin = copy.deepcopy(standard(model)).train()
    out, plain = model(xb), twin(xb)
    (LOSS(out["class"], yb) + out["more"].square().mean()).backward()
    (LOSS(plain["class"], yb) + plain["more"].square().mean()).backward()
    stepper.step()
    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad * len(xb) / plan().normaliser, rtol=1e-4, atol=1e-7)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    x, y = people(5)
    optimizer = torch.optim.SGD((module := mlp()).parameters(), lr=1.0)
    for a, b in (({"x": x, "z": x[:3]}, y), ([], y), ("rows", y), (x, y[:3]), (torch.tensor(1.0), y)):
        with pytest.raises(BadData):
            private(module, optimizer, plan(), a, b)


def test_a_model_called_twice_in_one_loss_adds_both_up_for_each_person() -> None:
    x, y = people(5)
    module = mlp()
    twin = copy.deepcopy(module)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y, noise=quiet())
    xb, yb = next(batches)
    (LOSS(model(xb), yb) + model(xb).square().sum(1).mean()).backward()
    stepper.step()

    def both(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return LOSS(out, target) + out.square().sum()

    for name, expected in clipped_mean(alone(twin, xb, yb, loss=both), plan()).items():
        torch.testing.assert_close(module.get_parameter(name).grad, expected, rtol=1e-5, atol=1e-7)


def test_a_loss_that_sums_is_a_sum_if_it_is_said_to_be() -> None:
    x, y = people(5)
    module = mlp()
    twin = copy.deepcopy(module)
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y, noise=quiet(), reduction="sum"
    )
    xb, yb = next(batches)
    nn.CrossEntropyLoss(reduction="sum")(model(xb), yb).backward()
    stepper.step()
    for name, expected in brute(twin, xb, yb, plan()).items():
        torch.testing.assert_close(module.get_parameter(name).grad, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(Misuse, match="reduction"):
        private(mlp_ := mlp(), torch.optim.SGD(mlp_.parameters(), lr=1.0), plan(), x, y, reduction="max")


# -- precision and checkpointing -------------------------------------------------------------------------------------


def test_bfloat16_autocast_is_clipped_in_float32() -> None:
    x, y = people(5)
    module = mlp()
    how = plan(clip=0.01)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, noise=quiet())
    xb, yb = next(batches)
    twin = copy.deepcopy(standard(model)).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSS(model(xb), yb)
    loss.backward()
    stepper.step()
    whole = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    assert float(whole.norm()) <= how.clip * len(xb) / how.normaliser
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.cat([g.flatten() for g in brute(twin, xb, yb, how).values()])
    assert float((whole - expected).norm() / expected.norm()) < 0.02


def test_activation_checkpointing_gives_the_same_step() -> None:
    class Saves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8))
            self.head = nn.Linear(8, 3)
            self.saves = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = checkpoint(self.first, x, use_reentrant=False) if self.saves else self.first(x)
            return self.head(h.tanh())

    x, y = people(5)
    module = Saves()
    twin = copy.deepcopy(module)
    twin.saves = False
    found, xb, yb = one_step(module, x, y, plan())
    for name, expected in brute(twin, xb, yb, plan()).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-7)


def test_an_activation_in_place_after_a_layer_that_gives_a_view() -> None:
    x, y = people(4, 5)  # a linear layer with bias gives a view for inputs of three dimensions
    module = nn.Sequential(nn.Linear(5, 8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 3))
    twin = copy.deepcopy(module)
    found, xb, yb = one_step(module, x, y, plan())
    for name, expected in brute(twin, xb, yb, plan()).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-7)


class Sequences(nn.Module):
    def __init__(self, kind: type[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 6)
        self.body: nn.Module = (
            nn.TransformerEncoderLayer(6, 2, 8, dropout=dropout, batch_first=True)
            if kind is nn.TransformerEncoderLayer
            else kind(6, 6, batch_first=True)
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.body(self.table(x))
        return self.head((found[0] if isinstance(found, tuple) else found).mean(1))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.TransformerEncoderLayer])
@pytest.mark.parametrize("chunk", [None, 10])
def test_models_of_sequences_without_replacing_any_layer(kind: type[nn.Module], chunk: int | None) -> None:
    x = torch.randint(0, 4, (N, 7), generator=torch.Generator().manual_seed(1))
    _, y = people(5)
    module = Sequences(kind)
    twin = copy.deepcopy(module)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y, noise=quiet())
    model._recorder.chunk = chunk
    assert model._recorder.without_rule() == []
    xb, yb = next(batches)
    LOSS(model(xb), yb).backward()
    stepper.step()
    for name, expected in brute(twin, xb, yb, plan()).items():
        torch.testing.assert_close(module.get_parameter(name).grad, expected, rtol=1e-5, atol=1e-6)


def test_the_last_output_of_a_bidirectional_layer_is_admitted_though_a_weight_learns_nothing_from_it() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(5, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    x, y = people(7, 5)
    for _ in range(3):
        found, *_ = one_step(Last(), x, y, plan())
        assert not found["lstm.weight_hh_l0_reverse"].any()


def test_a_stock_transformer_layer_with_dropout_trains() -> None:
    x = torch.randint(0, 4, (N, 7), generator=torch.Generator().manual_seed(1))
    _, y = people(5)
    module = Sequences(nn.TransformerEncoderLayer, dropout=0.1)
    found, *_ = one_step(module, x, y, plan())
    assert all(gradient is not None for gradient in found.values())


def test_a_change_of_rows_that_blends_them_is_refused() -> None:
    x, y = people(5)
    for augment in (lambda rows: rows + rows.roll(1, 0), lambda rows: rows[1:], lambda rows: rows - rows.mean()):
        module = mlp()
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        with pytest.raises(Misuse, match="no change of single rows"):
            private(module, optimizer, plan(augmentations=2), x, y, augment=augment)


def test_float64_is_exact_to_1e_10() -> None:
    x, y = people(5)
    module = mlp().double()
    twin = copy.deepcopy(module)
    found, xb, yb = one_step(module, x.double(), y, plan())
    for name, expected in brute(twin, xb, yb, plan()).items():
        # the margin of clipping is 5e-6; the direction is exact
        a, b = found[name].flatten(), expected.flatten()
        assert float(1 - a @ b / a.norm() / b.norm()) < 1e-10


# -- ways of clipping ------------------------------------------------------------------------------------------------


def test_views_of_a_unit_are_averaged_before_clipping() -> None:
    x, y = people(5)
    module = mlp()
    twin = copy.deepcopy(module)
    how = plan(augmentations=3)

    def shifted(rows: torch.Tensor) -> torch.Tensor:
        return rows + 0.1 * torch.arange(len(rows))[:, None] % 0.3

    found, xb, yb = one_step(module, x, y, how, augment=shifted)
    assert len(xb) % 3 == 0
    assert len(yb) == len(xb)
    for name, expected in brute(twin, xb, yb, how).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-7)


def test_automatic_clipping_normalises() -> None:
    x, y = people(5)
    module = mlp()
    twin = copy.deepcopy(module)
    how = plan(clipping="automatic")
    found, xb, yb = one_step(module, x, y, how)
    for name, expected in brute(twin, xb, yb, how, lambda norm: how.clip / (norm + 0.01)).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-7)


def test_per_layer_clipping_bounds_every_layer_and_the_whole() -> None:
    x, y = people(5)
    module = mlp()
    twin = copy.deepcopy(module)
    how = plan(clipping="per_layer", clip=0.1)
    found, xb, yb = one_step(module, x, y, how)
    layers = [("0.weight", "0.bias"), ("2.weight", "2.bias")]
    total = {name: torch.zeros_like(p) for name, p in twin.named_parameters()}
    for gradients in alone(twin, xb, yb):
        for names in layers:
            norm = float(torch.cat([gradients[name].flatten() for name in names]).norm())
            for name in names:
                total[name] += gradients[name] * min(1.0, how.clip / 2**0.5 / max(norm, 1e-30)) / how.normaliser
    for name, expected in total.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("start", "direction"), [(1e-3, 1), (1e3, -1)])
def test_an_adaptive_clip_goes_towards_the_median_norm(start: float, direction: int) -> None:
    x, y = people(5)
    module = mlp()
    how = plan(clipping="adaptive", clip=start, noise_multiplier=2.0)
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1e-9), how, x, y)
    for xb, yb in batches:
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
    assert (stepper.clip - start) * direction > 0


# -- what cannot be taken away ---------------------------------------------------------------------------------------


def test_a_loss_past_the_models_output_is_refused() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(5, 8), nn.Linear(8, 3)
            self.kept: list[torch.Tensor] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.first(x)
            self.kept[:] = [h]
            return self.head(h)

    x, y = people(5)
    module = Keeps()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    xb, yb = next(batches)
    (LOSS(model(xb), yb) + module.kept[0].square().mean()).backward()
    with pytest.raises(Misuse, match="not clipped") as caught:
        stepper.step()
    assert caught.value.where == "first.weight"
    assert batches.steps_taken == 0


def test_a_penalty_on_the_weights_belongs_into_the_optimizer() -> None:
    x, y = people(5)
    module = mlp()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    xb, yb = next(batches)
    (LOSS(model(xb), yb) + module[0].weight.square().sum()).backward()  # type: ignore[index]
    with pytest.raises(Misuse, match="weight decay"):
        stepper.step()


def test_a_layer_whose_forward_was_replaced_is_noticed() -> None:
    x, y = people(5)
    module = mlp()
    model, stepper, batches = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    xb, yb = next(batches)
    LOSS(model(xb), yb).backward()
    module[2].forward = lambda h: h[:, :3]  # type: ignore[index, method-assign]
    with pytest.raises(Misuse, match="was replaced"):
        stepper.step()
    assert batches.steps_taken == 0


def test_a_deep_copy_is_a_plain_model_and_a_private_one_cannot_be_pickled() -> None:
    x, y = people(5)
    module = mlp()
    model, stepper, _ = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    for twin in (copy.deepcopy(model), copy.deepcopy(module)):
        with torch.no_grad():
            twin[0].weight.mul_(2)
        assert not torch.equal(twin(x), module(x))
        twin.train()(x).sum().backward()
        assert twin[0].weight.grad is not None
    for thing in (model, module, stepper):
        with pytest.raises(Misuse, match=r"cannot be (copied or )?pickled"):
            pickle.dumps(thing)
    assert list(model.state_dict()) == list(mlp().state_dict())
    with pytest.raises(Misuse, match="resume"):
        stepper.load_state_dict(stepper.state_dict())
    with pytest.raises(Misuse, match="fixed"):
        stepper.add_param_group({"params": []})


def test_to_standard_module_gives_the_users_module_back() -> None:
    x, y = people(5)
    module = mlp()
    model, *_ = private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    assert model.to_standard_module() is module
    assert not any("forward" in vars(part) for part in module.modules())
    LOSS(module(x), y).backward()
    assert module[0].weight.grad is not None  # type: ignore[index]


def test_lora_adapters_learn_and_the_frozen_base_stays() -> None:
    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(5, 8).requires_grad_(False)
            self.down, self.up = nn.Linear(5, 2, bias=False), nn.Linear(2, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + self.up(self.down(x))

    x, y = people(5)
    module = nn.Sequential(Adapted(), nn.Tanh(), nn.Linear(8, 3))
    before = copy.deepcopy(module.state_dict())
    trainable = [p for p in module.parameters() if p.requires_grad]
    model, stepper, batches = private(module, torch.optim.SGD(trainable, lr=1.0), plan(), x, y)
    for xb, yb in batches:
        stepper.zero_grad()
        LOSS(model(xb), yb).backward()
        stepper.step()
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"0.down.weight", "0.up.weight", "2.weight", "2.bias"}


def test_parametrised_weights_are_differentiated_through_their_parametrisation() -> None:
    x, y = people(5)
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 8)), nn.Tanh(), nn.Linear(8, 3))
    twin = copy.deepcopy(module)
    found, xb, yb = one_step(module, x, y, plan())
    for name, expected in brute(twin, xb, yb, plan()).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)


def test_a_layer_that_cannot_be_run_by_example_is_refused_and_named() -> None:
    class Chance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(x * self.scale, 0.5, self.training)

    x, y = people(5)
    module = nn.Sequential(Chance(), nn.Linear(5, 3))
    with pytest.raises(UnsupportedModel, match="by example") as caught:
        private(module, torch.optim.SGD(module.parameters(), lr=1.0), plan(), x, y)
    assert caught.value.where == "0 (Chance)"
