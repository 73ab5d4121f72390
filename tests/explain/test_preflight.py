"""The table that says whether DeepLift has an exact rule is held against what DeepLift then does."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.attribution import preflight
from pellucid.explain.attribution.preflight import table as table_of
from pellucid.explain.model import frozen


class Functional(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.first, self.second, self.function = nn.Linear(6, 6), nn.Linear(6, 1), function

    def forward(self, x):
        return self.second(self.function(self.first(x)))


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second, self.third = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.third(self.act(self.second(self.act(self.first(x)))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1)

    def forward(self, x):
        return self.last(torch.cat([(x + self.act(self.first(x))) / 2, x[:, :0]], dim=1))


class Gated(Residual):
    def forward(self, x):
        return self.last(x * self.act(self.first(x)))


class Divided(Residual):
    def forward(self, x):
        return self.last(x[:, :1] / (3 + self.act(self.first(x))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.cell(x.unflatten(1, (3, 2)))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.MultiheadAttention(2, 1, batch_first=True), nn.Linear(6, 1)

    def forward(self, x):
        x = x.unflatten(1, (3, 2))
        return self.head(self.mix(x, x, x)[0].flatten(1))


def chain(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), *middle, nn.Linear(6, 1))


EXACT = {
    "relu": chain(nn.ReLU()),
    "elu, softplus": chain(nn.ELU(), nn.Linear(6, 6), nn.Softplus()),
    "leaky, sigmoid, tanh": chain(nn.LeakyReLU(), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 6), nn.Tanh()),
    "dropout, batch norm": chain(nn.Dropout(0.5), nn.BatchNorm1d(6), nn.ReLU()),
    "convolution, mean": nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 3, 3), nn.ReLU(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(6, 1)
    ),
    "residual": Residual(),
    "functional linear": Functional(lambda x: 2 * x.reshape(-1, 2, 3).flatten(1) - 1),
}
NONE = {
    "GELU": chain(nn.GELU()),
    "SiLU": chain(nn.SiLU()),
    "LayerNorm": chain(nn.LayerNorm(6)),
    "RMSNorm": chain(nn.RMSNorm(6)),
    "GroupNorm": chain(nn.GroupNorm(2, 6)),
    "Softmax": chain(nn.Softmax(dim=1)),
    "in place": chain(nn.ReLU(inplace=True)),
    "called 2 times": Reused(),
    "Relu": Functional(torch.relu),
    "Pow": Functional(lambda x: x**2),
    "Mul": Gated(),
    "Div": Divided(),
    "LSTM": Recurrent(),
    "MultiheadAttention": Attentive(),
}


def gap(model: nn.Module, x: torch.Tensor, start: torch.Tensor) -> float:
    """The completeness gap of Captum's DeepLift, asked without a look at the table."""
    from captum.attr import DeepLift

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = DeepLift(model).attribute(x, baselines=start, target=0).sum(dim=1)
    change = (model(x) - model(start))[:, 0].detach()
    return float((found.detach() - change).abs().mean() / change.abs().mean())


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", EXACT)
def test_where_every_module_has_a_rule_deep_lift_adds_up(name, x) -> None:
    twin = frozen(EXACT[name])
    found = preflight(twin, x)
    assert found.obstacle is None
    assert found.method == "deep_lift"
    assert gap(twin, x, torch.full((1, 6), 0.3)) < 1e-4


@pytest.mark.parametrize("name", NONE)
def test_what_has_no_rule_is_named_and_sent_to_integrated_gradients(name, x) -> None:
    found = preflight(frozen(NONE[name]), x)
    assert found.obstacle is not None
    assert name in found.obstacle.why
    assert found.method == "integrated_gradients"


@pytest.mark.parametrize("name", ["GELU", "SiLU", "LayerNorm", "GroupNorm", "Relu", "Pow", "Mul"])
def test_deep_lift_would_have_missed_there_without_a_word(name, x) -> None:
    assert gap(frozen(NONE[name]), x, torch.full((1, 6), 0.3)) > 0.01


def test_the_table_lists_what_a_pass_reaches_in_its_order(x) -> None:
    model = chain(nn.ReLU())
    model.unused = nn.GELU()
    model.forward = lambda x: model[2](model[1](model[0](x)))
    table = table_of(model.eval().requires_grad_(requires_grad=False), x).modules
    assert [(part.name, part.kind, part.exact) for part in table] == [
        ("0", "Linear", True),
        ("1", "ReLU", True),
        ("2", "Linear", True),
    ]


def test_pooling_by_maximum_has_a_rule_from_zero_and_without_overlap_only(x) -> None:
    def pool(stride: int) -> nn.Module:
        return frozen(
            nn.Sequential(
                nn.Unflatten(1, (1, 6)),
                nn.Conv1d(1, 3, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool1d(2, stride),
                nn.Flatten(),
                nn.Linear(3 * (3 if stride == 2 else 5), 1),
            )
        )

    apart, over = pool(2), pool(1)
    assert preflight(apart, x, zero_baseline=True).obstacle is None
    assert gap(apart, x, torch.zeros(1, 6)) < 1e-4
    for model, zero in ((apart, False), (over, True)):
        found = preflight(model, x, zero_baseline=zero).obstacle
        assert found is not None
        assert found.name == "3"
        assert "zero baseline" in found.why


def test_no_hook_stays(x) -> None:
    twin = frozen(EXACT["relu"])
    table_of(twin, x)
    with pytest.raises(UnsupportedModel, match="does not take rows"):
        table_of(twin, x[:, :3])
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in twin.modules())


def test_the_model_that_is_looked_at_is_left_as_it_is(x) -> None:
    model = chain(nn.BatchNorm1d(6), nn.ReLU()).train()
    before, rows = {name: part.clone() for name, part in model.state_dict().items()}, x.clone()
    found = explain.preflight(model, x)
    assert found.method == "deep_lift"  # of a model whose weights take gradients too
    for wrong in (x.long(), x.double(), x[0, 0], x.numpy(), None, x.to_sparse(), "x"):
        with pytest.raises(BadData):
            explain.preflight(model, wrong)
    with pytest.raises(UnsupportedModel):
        explain.preflight(model, x[:, :3])
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
    assert torch.equal(x, rows)
    assert model.training
    assert all(part.requires_grad and part.grad is None for part in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
