"""Every way to lose the guarantee without noticing, noticed."""

from __future__ import annotations

import copy
import io
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opacus import GradSampleModule
from tests.train.naive import LOSS, Loss, plan, quiet
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from pellucid.errors import BadData, Misuse, UnsupportedModel
from pellucid.train import private, problems
from pellucid.train.doctor import diagnose
from pellucid.train.guards import check_loss
from pellucid.train.probe import generated
from pellucid.train.rows import check_rows

PLAN = plan()
X = torch.rand(64, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0.5).long()


class Around(nn.Module):
    """A linear model with something done to its hidden rows."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.change = change
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.change(self.first(x)))


class Remembers(nn.Module):
    """Keeps a running mean, in a buffer or as a plain attribute."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.head = nn.Linear(6, 2)
        if how == "attribute":
            self.mean = torch.zeros(6)
        elif how != "new attribute":
            self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "in place":
            self.mean.mul_(0.9).add_(x.detach().mean(0))
        else:
            self.mean = x.detach().mean(0)
        return self.head(x)


class ConstantBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)
        self.register_buffer("scale", torch.full((6,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x * self.scale)


class Functional(nn.Module):
    """Uses a layer's weight behind its back."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.linear(self.first(x), self.first.weight))


def start(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, x: torch.Tensor = X):  # type: ignore[no-untyped-def]
    return private(model, optimizer or torch.optim.SGD(model.parameters(), lr=0.1), PLAN, x, Y)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(6),
        nn.BatchNorm1d(6, affine=False),
        nn.BatchNorm1d(6, track_running_stats=False),
        frozen(nn.BatchNorm1d(6)),
        nn.BatchNorm1d(6).eval(),
        nn.SyncBatchNorm(6),
        nn.LazyBatchNorm1d(),
    ],
    ids=["plain", "affine=False", "no running stats", "frozen", "eval", "sync", "lazy"],
)
def test_batch_norm_in_any_form_is_refused_and_named(norm: nn.Module) -> None:
    found = problems(nn.Sequential(nn.Linear(6, 6), norm, nn.Linear(6, 2)), (6,))
    assert isinstance(found[0], UnsupportedModel)
    assert str(found[0].where).startswith("1 (")
    assert "GroupNorm" in str(found[0].fix)


def test_instance_norm_with_running_statistics_is_refused() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten())
    with pytest.raises(UnsupportedModel, match="track_running_stats=False"):
        start(model)


@pytest.mark.parametrize("how", ["in place", "assigned", "attribute", "new attribute"])
def test_state_that_learns_in_a_forward_pass_is_refused_and_left_as_it_was(how: str) -> None:
    model = Remembers(how)
    before = getattr(model, "mean", None)
    value = None if before is None else before.clone()
    with pytest.raises(UnsupportedModel) as caught:
        start(model)
    assert caught.value.where == "mean"
    assert getattr(model, "mean", None) is before
    assert value is None or torch.equal(model.mean, value)


def test_a_constant_buffer_beside_a_parameter_is_no_obstacle() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(6))
            self.register_buffer("scale", torch.rand(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight * self.scale

    model = nn.Sequential(nn.Linear(6, 6), Mixed())
    assert problems(model, (6,)) == []
    start(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h - h.mean(0),
        lambda h: h / h.shape[0],
        lambda h: h / h.abs().max(),
        lambda h: h.flip(0),
        lambda h: h.cumsum(0),
        lambda h: torch.softmax(h @ h.T, 1) @ h,
        lambda h: h.sort(0).values,
        lambda h: nn.functional.batch_norm(h, None, None, training=True),
    ],
    ids=["centred", "batch size", "maximum", "flip", "cumsum", "attention", "sort", "functional batch norm"],
)
def test_a_model_that_couples_examples_is_refused(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with pytest.raises(UnsupportedModel, match="depends on the other rows"):
        start(Around(change))


@pytest.mark.parametrize(
    "model",
    [
        mlp(),
        nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 2)),
        nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)),
        nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 2)),
        Around(lambda h: nn.functional.dropout(h, 0.5)),
        ConstantBuffer(),
    ],
    ids=["mlp", "dropout", "group norm", "layer norm", "functional dropout", "constant buffer"],
)
def test_a_sound_model_is_not_refused(model: nn.Module) -> None:
    assert problems(copy.deepcopy(model), (6,)) == []
    start(copy.deepcopy(model))


def test_a_weight_used_behind_its_layer_is_refused_and_named() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        start(Functional())
    assert caught.value.where == "first.weight"


class Sequence(nn.Module):
    """Padding, tied weights, four dimensions, an activation in place; positions that all rows share, if asked for."""

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4, padding_idx=0)
        self.places = nn.Embedding(5, 4) if shared else None
        self.inner = nn.Linear(4, 4)
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.table(x)
        if self.places is not None:
            h = h + self.places(torch.arange(5))
        h = nn.functional.relu(self.inner(h.unsqueeze(1)), inplace=True).squeeze(1)
        return self.out(h.mean(1))


class Circle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        self.head = nn.Linear(4, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.convolution(x.float().reshape(-1, 1, 1, 5)).relu().mean((2, 3)))


@pytest.mark.parametrize("make", [Sequence, Circle])
def test_one_person_contributes_at_most_the_clip(make: type[nn.Module]) -> None:
    """Opacus 1.6.0 in ghost mode lets one person contribute 1.39 (circular) to 3.67 (functional) times the clip."""
    clip = 0.01
    how = plan(units=8, batch=4, epochs=4.0, clip=clip)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped, stepper, batches = private(model, optimizer, how, WORDS[:1], Y[:1], noise=quiet())
    most = 0.0
    for x, y in batches:
        stepper.zero_grad()
        LOSS(wrapped(x), y).backward()
        stepper.step()
        squares = sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None)
        most = max(most, math.sqrt(squares) * how.normaliser)
    assert 0.99 * clip < most <= clip


def test_what_all_rows_share_is_refused_and_expanding_it_named() -> None:
    found = diagnose(Sequence(shared=True), (5,), torch.int64).problems
    assert len(found) == 1
    assert str(found[0].where).endswith("Embedding)") or found[0].where == "Embedding"
    assert "expand" in str(found[0].fix)


def test_after_a_refusal_the_model_is_as_it_was() -> None:
    model = Functional()
    weights = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    with pytest.raises(UnsupportedModel):
        start(model.eval())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not model.training
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks for part in model.modules())
    for parameter in model.parameters():
        assert parameter.grad is None
        assert not vars(parameter)


def test_probes_never_see_a_private_row() -> None:
    seen: list[torch.Tensor] = []

    def spy(h: torch.Tensor) -> torch.Tensor:
        return h

    model = Around(spy)
    handle = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    start(model)
    handle.remove()
    assert seen
    rows = {tuple(row.tolist()) for batch in seen for row in batch}
    assert not rows & {tuple(row.tolist()) for row in X}


def test_generated_rows_are_in_the_range_of_the_encoding() -> None:
    floats = generated((50,), torch.float32)
    assert floats.shape == (4, 50)
    assert -1 <= floats.min() < 0 < floats.max() <= 1
    assert set(generated((50,), torch.int64).flatten().tolist()) == {0, 1}


def test_token_models_are_probed_with_integers() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(x).mean(1))

    start(Tokens(), x=torch.randint(0, 9, (64, 6)))


def test_gradients_of_mixed_up_rows_are_refused() -> None:
    """Their mean is right, so only the comparison row by row can find it."""

    class Rolled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            return gradient.roll(1, 0)

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2, bias=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Rolled.apply(self.head(x))

    with pytest.raises(UnsupportedModel, match="not what the gradient says"):
        start(Wrong())


def test_a_model_that_fails_or_gives_no_rows_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="failed"):
        start(nn.Linear(5, 2))
    with pytest.raises(UnsupportedModel, match="one row for each"):
        start(Around(lambda h: h.sum(0)))
    with pytest.raises(UnsupportedModel, match="no shape yet"):
        start(nn.Sequential(nn.LazyLinear(2)))
    assert "no parameter is trainable" in str(problems(frozen(mlp()), (6,))[0])


@pytest.mark.parametrize("bag", [nn.Embedding, nn.EmbeddingBag])
def test_a_table_that_rewrites_its_rows_is_refused(bag: type[nn.Embedding] | type[nn.EmbeddingBag]) -> None:
    model = nn.Sequential(bag(9, 4, max_norm=0.5))
    assert [error.where for error in problems(model, (3,), torch.int64)] == [f"0 ({bag.__name__})"]


@pytest.mark.parametrize("how", ["no_grad", "data"])
def test_a_forward_pass_that_writes_to_a_weight_is_refused_and_undone(how: str) -> None:
    class Writes(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                (self.weight.data if how == "data" else self.weight).add_(x.mean())
            return super().forward(x)

    model = nn.Sequential(Writes(6, 2))
    before = model[0].weight.detach().clone()
    with pytest.raises(UnsupportedModel, match="writes to this parameter") as caught:
        start(model)
    assert caught.value.where == "0.weight"
    assert torch.equal(model[0].weight, before)


def test_the_place_where_rows_touch_is_named() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        start(Around(lambda h: h - h.mean(0)))
    assert caught.value.where == "the model (Around), before head"
    found = problems(nn.Sequential(nn.LSTM(3, 2), Last()), (7, 3))
    assert [(error.where, "batch_first=True" in str(error.fix)) for error in found] == [("0 (LSTM)", True)]


class Last(nn.Module):
    def forward(self, found: tuple[torch.Tensor, object]) -> torch.Tensor:
        return found[0][:, -1]


def _wrapped(how: str) -> nn.Module:
    if how == "scripted":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.trace(mlp(), torch.zeros(1, 6))
    if how == "compiled":
        return torch.compile(mlp(), backend="eager")
    if how == "compiled in place":
        model = mlp()
        model.compile(backend="eager")
        return model
    if how == "opacus":
        return GradSampleModule(mlp())
    return nn.DataParallel(mlp())


@pytest.mark.parametrize("how", ["scripted", "compiled", "compiled in place", "opacus", "parallel"])
def test_a_module_that_cannot_be_taken_apart_is_refused_and_the_remedy_named(how: str) -> None:
    found = problems(_wrapped(how), (6,))
    assert found
    assert all(isinstance(error, UnsupportedModel) and error.fix for error in found)
    assert str(found[0].fix).startswith("give the ")


# -- the loss ------------------------------------------------------------------------------------------------------


def mean_of_squares(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (out[:, 0] - y).square().mean()


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        mean_of_squares,
        lambda out, y: nn.functional.binary_cross_entropy(out[:, 1].sigmoid(), y.float()),
    ],
    ids=["cross entropy", "smoothed", "own", "probabilities"],
)
def test_a_loss_that_averages_is_admitted_as_mean_and_refused_as_sum(loss: Loss) -> None:
    check_loss(mlp(), loss, X, Y, "mean")
    with pytest.raises(Misuse, match="does not sum") as caught:
        check_loss(mlp(), loss, X, Y, "sum")
    assert caught.value.fix == 'say reduction="mean"'


@pytest.mark.parametrize(
    ("model", "rows", "said"),
    [
        (nn.Sequential(nn.Linear(3, 2)), torch.zeros(9, 6), ["6 numbers", "takes 3", "run.encoding.width"]),
        (nn.Sequential(nn.Linear(6, 2)), torch.zeros(9, 6, dtype=torch.float64), ["float64", "x.to(torch.float32)"]),
    ],
    ids=["width", "type"],
)
def test_rows_that_the_first_layer_does_not_take_are_told_from_a_model_of_fixed_size(
    model: nn.Module, rows: torch.Tensor, said: list[str]
) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        private(model, torch.optim.SGD(model.parameters(), lr=0.1), PLAN, rows, torch.zeros(9, dtype=torch.int64))
    for words in said:
        assert words in str(caught.value.fix)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(reduction="sum"), lambda out, y: (out[:, 0] - y).abs().sum()])
def test_a_loss_that_sums_is_admitted_as_sum_and_refused_as_mean(loss: Loss) -> None:
    check_loss(mlp(), loss, X, Y, "sum")
    with pytest.raises(Misuse, match="does not average") as caught:
        check_loss(mlp(), loss, X, Y, "mean")
    assert "let it average" in str(caught.value.fix)
    assert 'reduction="sum"' in str(caught.value.fix)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: (out @ out.T).square().mean(),
        lambda out, y: (out - out.mean(0)).square().mean(),
        lambda out, y: LOSS(0.7 * out + 0.3 * out.flip(0), y),
        lambda out, y: LOSS(out, y) / out.detach().std(),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0])),  # divided by the weights of the batch's own classes
    ],
    ids=["contrastive", "centred", "mixed", "scaled by the batch", "weighted mean"],
)
def test_a_loss_that_couples_rows_is_refused(loss: Loss, reduction: str) -> None:
    with pytest.raises(Misuse, match="depends on the other rows"):
        check_loss(mlp(), loss, X, Y, reduction)


def test_a_loss_that_gives_no_number_or_fails_is_refused() -> None:
    for loss in (lambda out, y: out, lambda out, y: None, lambda out, y: (out - y.unsqueeze(1) @ out).sum()):
        with pytest.raises(Misuse, match="failed on made-up rows"):
            check_loss(mlp(), loss, X, Y, "mean")


def test_the_loss_is_held_against_its_reduction_before_the_start() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(Misuse, match="does not average"):
        private(model, optimizer, PLAN, X, Y, loss=nn.CrossEntropyLoss(reduction="sum"))
    private(model, optimizer, PLAN, X, Y, loss=LOSS)
    with pytest.raises(Misuse, match="mean"):
        private(mlp(), optimizer, PLAN, X, Y, reduction="average")


# -- data ----------------------------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """Takes words and numbers, by name or by position."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4), nn.Linear(10, 2)

    def forward(self, words: torch.Tensor, more: dict[str, torch.Tensor] | torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.table(words).mean(1), more["x"] if isinstance(more, dict) else more], 1))


WORDS = torch.randint(0, 9, (64, 5), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "x",
    [{"words": WORDS, "more": X}, (WORDS, X), {"words": WORDS, "more": {"x": X}}],
    ids=["dictionary", "tuple", "nested"],
)
def test_dictionaries_tuples_and_nested_batches_are_learnt_from(x: Any) -> None:
    model = Tokens()
    wrapped, stepper, batches = private(model, torch.optim.SGD(model.parameters(), lr=0.1), PLAN, x, Y)
    for rows, y in batches:
        stepper.zero_grad()
        out = wrapped(**rows) if isinstance(rows, dict) else wrapped(*rows)
        LOSS(out, y).backward()
        stepper.step()
    assert batches.steps_taken == PLAN.steps


def test_a_batch_that_expects_more_people_than_there_are_is_a_plan_of_its_own() -> None:
    """The plan knows public numbers only: data of fewer people than its batch is sampled all the same."""
    model = mlp()
    wrapped, stepper, batches = private(model, torch.optim.SGD(model.parameters(), lr=0.1), PLAN, X[:3], Y[:3])
    for x, y in batches:
        learn(wrapped, (x, y))
        stepper.step()
    assert batches.steps_taken == PLAN.steps


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True), "Poisson sampling replaces"),
        (DataLoader(TensorDataset(X, Y), sampler=WeightedRandomSampler([1.0] * 64, 64)), "Poisson sampling replaces"),
        (TensorDataset(X, Y), "Poisson sampling replaces"),
    ],
    ids=["loader", "sampler", "data set"],
)
def test_a_loader_a_sampler_or_a_data_set_is_refused_and_what_replaces_it_said(x: Any, says: str) -> None:
    with pytest.raises(Misuse) as caught:
        check_rows(x, Y, mlp())
    assert caught.value.where == "x"
    assert says in str(caught.value.fix)


def test_ragged_sequences_are_refused_and_padding_named() -> None:
    ragged = [torch.zeros(3), torch.zeros(5)]
    for x in (ragged, tuple(ragged), torch.nested.nested_tensor(ragged, layout=torch.jagged)):
        with pytest.raises(BadData, match="unequal length") as caught:
            check_rows(x, Y[:2], mlp())
        assert "pad_sequence" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (X.numpy(), "must be tensors, and this is ndarray"),
        (iter([X]), "must be tensors"),
        ({}, "no tensor"),
        (torch.tensor(1.0), "no rows"),
        (X.to_sparse(), "sparse"),
        (X[:0], "at least one"),
        (X[:5], "same number of rows"),
        ([torch.zeros(6)] * 64, "same number of rows"),
    ],
    ids=["array", "iterator", "nothing", "number", "sparse", "empty", "fewer", "list of rows"],
)
def test_what_is_no_tensor_of_rows_is_refused_and_no_count_is_shown(x: Any, says: str) -> None:
    with pytest.raises(BadData, match=says) as caught:
        check_rows(x, Y, mlp())
    assert "64" not in str(caught.value)


def test_several_devices_are_refused_and_named() -> None:
    with pytest.raises(Misuse, match="cpu, meta"):
        check_rows(X, Y.to("meta"), mlp())
    with pytest.raises(Misuse, match="several devices"):
        start(mlp().to("meta"))


# -- optimizers ----------------------------------------------------------------------------------------------------


def test_a_trainable_parameter_in_no_optimizer_is_refused_and_named() -> None:
    model = mlp()
    with pytest.raises(Misuse) as caught:
        start(model, torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert caught.value.where == "0.weight"


def test_an_optimizer_of_another_model_is_refused() -> None:
    model, other = mlp(), mlp()
    both = [*model.parameters(), *other.parameters()]
    with pytest.raises(Misuse, match="not of this model"):
        start(model, torch.optim.SGD(both, lr=0.1))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.LBFGS(p),
        lambda p: torch.optim.SparseAdam(p),
        lambda p: type("Foreign", (torch.optim.SGD,), {})(p, lr=0.1),
    ],
    ids=["closure", "sparse", "foreign"],
)
def test_an_optimizer_that_may_look_beyond_gradients_is_refused(
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
) -> None:
    model = mlp()
    with pytest.raises(Misuse, match="more than the noisy gradient"):
        start(model, optimizer(list(model.parameters())))


def test_an_optimizer_that_has_stepped_is_refused() -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    LOSS(model(X), Y).backward()
    optimizer.step()
    with pytest.raises(Misuse, match="stepped before"):
        start(model, optimizer)


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_learning_rate_that_is_not_finite_is_refused_at_the_start_and_later(rate: float) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = rate
    with pytest.raises(Misuse, match="lr must be finite"):
        start(model, optimizer)
    optimizer.param_groups[0]["lr"] = 0.1
    wrapped, stepper, batches = start(model, optimizer)
    x, y = next(batches)
    LOSS(wrapped(x), y).backward()
    stepper.param_groups[0]["lr"] = rate
    with pytest.raises(Misuse, match="lr must be finite"):
        stepper.step()
    assert batches.steps_taken == 0


def test_private_twice_is_refused() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped, stepper, _ = start(model, optimizer)
    for again, by in ((model, optimizer), (wrapped, optimizer), (model, torch.optim.SGD(model.parameters(), lr=0.1))):
        with pytest.raises(Misuse, match="private already"):
            start(again, by)
    with pytest.raises(Misuse):
        start(mlp(), stepper)


# -- between steps -------------------------------------------------------------------------------------------------


def learn(wrapped: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    LOSS(wrapped(batch[0]), batch[1]).backward()


def test_a_step_without_a_batch_is_refused() -> None:
    _, stepper, _ = start(mlp())
    with pytest.raises(Misuse, match="without a batch"):
        stepper.step()


def test_two_steps_on_one_batch_are_refused() -> None:
    wrapped, stepper, batches = start(mlp())
    learn(wrapped, next(batches))
    stepper.step()
    with pytest.raises(Misuse, match="without a batch"):
        stepper.step()
    assert batches.steps_taken == 1


def test_the_next_batch_without_a_step_is_refused() -> None:
    _, _, batches = start(mlp())
    next(batches)
    with pytest.raises(Misuse, match="before a step"):
        next(batches)


def test_a_step_without_a_backward_pass_is_refused() -> None:
    wrapped, stepper, batches = start(mlp())
    x, _ = next(batches)
    with pytest.raises(Misuse, match="no gradient"):
        stepper.step()
    wrapped.eval()
    wrapped(x).sum().backward()
    with pytest.raises(Misuse, match="training mode"):
        stepper.step()


def test_two_backward_passes_are_refused() -> None:
    wrapped, stepper, batches = start(mlp())
    batch = next(batches)
    learn(wrapped, batch)
    learn(wrapped, batch)
    with pytest.raises(Misuse, match="more than one backward"):
        stepper.step()


def test_other_rows_than_those_of_the_batch_are_refused() -> None:
    wrapped, stepper, batches = start(mlp())
    x, y = next(batches)
    with pytest.raises(Misuse, match="not those that batches gave"):
        learn(wrapped, (X, Y))
    learn(wrapped, (x, y))  # nothing of the refused pass is left
    stepper.step()
    assert batches.steps_taken == 1


def test_a_closure_a_hook_and_a_skipped_step_are_refused() -> None:
    wrapped, stepper, batches = start(mlp())
    learn(wrapped, next(batches))
    with pytest.raises(Misuse, match="closure"):
        stepper.step(lambda: 0.0)
    with pytest.raises(Misuse, match="hooks"):
        stepper.attach_step_hook(lambda _: None)
    with pytest.raises(Misuse, match="skipped"):
        stepper.signal_skip_step()


@pytest.mark.parametrize(
    "way", ["original", "second", "data", "edit", "thaw", "buffer", "frozen data", "buffer data", "new buffer"]
)
def test_parameters_changed_outside_are_noticed(way: str) -> None:
    model = nn.Sequential(ConstantBuffer())
    model[0].head.bias.requires_grad_(False)  # type: ignore[union-attr]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped, stepper, batches = start(model, optimizer)
    batch = next(batches)
    learn(wrapped, batch)
    stepper.step()
    learn(wrapped, batch)
    weight, bias, scale = model[0].head.weight, model[0].head.bias, model[0].scale
    with torch.no_grad():
        if way == "original":
            optimizer.step()
        elif way == "second":
            torch.optim.SGD(model.parameters(), lr=0.1).step()
        elif way == "data":
            weight.data.add_(1e-3)
        elif way == "edit":
            bias.add_(1e-3)
        elif way == "thaw":
            weight.requires_grad_(False)
        elif way == "frozen data":
            bias.data.add_(1e-3)
        elif way == "buffer data":
            scale.data[0] = math.nan
        elif way == "new buffer":
            model[0].scale = scale.clone()
        else:
            scale.mul_(2)
    with pytest.raises(Misuse, match="changed outside") as caught:
        next(batches)
    assert "_module" not in str(caught.value)
    with pytest.raises(Misuse, match="changed outside"):
        batches.close()


def test_a_change_after_the_last_step_is_noticed_by_the_loop_and_by_close() -> None:
    model = mlp()
    wrapped, stepper, batches = start(model)
    with pytest.raises(Misuse, match=r"0\.weight"):  # noqa: PT012 - the loop itself must notice
        for x, y in batches:
            learn(wrapped, (x, y))
            stepper.step()
            if batches.steps_taken == batches.steps:
                model[0].weight.data.mul_(2)
    with pytest.raises(Misuse, match="changed outside"):
        batches.close()


@pytest.mark.parametrize("layer", ["", "0"])
def test_a_forward_that_was_replaced_or_taken_away_is_noticed(layer: str) -> None:
    model = mlp()
    wrapped, stepper, batches = start(model)
    batch = next(batches)
    learn(wrapped, batch)
    part = model.get_submodule(layer)
    patch = part.forward
    part.forward = lambda x: patch(x)  # such as a library that wraps layers does
    with pytest.raises(Misuse, match="was replaced since"):
        stepper.step()
    del part.forward
    with pytest.raises(Misuse, match="was replaced since"):
        stepper.step()
    assert batches.steps_taken == 0
    part.forward = patch
    stepper.step()
    assert batches.steps_taken == 1


def test_a_gradient_that_reaches_a_parameter_past_the_engine_is_refused() -> None:
    """Such as a penalty on the weights in the loss."""
    model = mlp()
    wrapped, stepper, batches = start(model)
    x, y = next(batches)
    (LOSS(wrapped(x), y) + model[0].weight.square().sum()).backward()
    with pytest.raises(Misuse, match="was not clipped") as caught:
        stepper.step()
    assert caught.value.where == "0.weight"
    assert batches.steps_taken == 0


def test_a_private_model_and_its_optimizer_cannot_be_pickled_or_given_a_state() -> None:
    model = mlp()
    wrapped, stepper, _ = start(model)
    for thing in (wrapped, model, stepper):
        with pytest.raises(Misuse, match="pickled"):
            pickle.dumps(thing)
        with pytest.raises(Misuse, match="pickled"):
            torch.save(thing, io.BytesIO())
    with pytest.raises(Misuse, match="from outside"):
        stepper.load_state_dict(stepper.state_dict())
    with pytest.raises(Misuse, match="fixed"):
        stepper.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    assert list(wrapped.state_dict()) == list(mlp().state_dict())


def test_a_negative_learning_rate_is_refused() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = -0.1
    with pytest.raises(Misuse, match="not negative"):
        start(model, optimizer)


def test_close_ends_the_run() -> None:
    wrapped, stepper, batches = start(mlp())
    learn(wrapped, next(batches))
    stepper.step()
    batches.close()
    assert list(batches) == []
    with pytest.raises(Misuse, match="over after 1 of 4"):
        stepper.step()
