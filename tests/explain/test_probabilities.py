"""Probabilities are told by what comes out, however they are made, and scores are never taken for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid import explain
from pellucid.errors import UnsupportedModel
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady


class Ending(nn.Module):
    """A linear model, and what is done to its logits."""

    def __init__(self, last: Callable[[Tensor], Tensor], classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.last = nn.Linear(4, classes), last

    def forward(self, x):
        return self.last(self.net(x))


def _odds(z: Tensor) -> Tensor:
    return z[:, 1] - z[:, 0]


def _pair(p: Tensor) -> Tensor:
    return torch.stack([1 - p, p], dim=1)


ENDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: z.softmax(1),
    "softmax times 1": lambda z: z.softmax(1) * 1.0,
    "one column of a softmax": lambda z: z.softmax(1)[:, [1]],
    "a pair": lambda z: _pair(_odds(z).sigmoid()),
    "sigmoid, clamped": lambda z: _odds(z).sigmoid().clamp(1e-6, 1 - 1e-6),
    "expit": lambda z: torch.special.expit(_odds(z)),
    "exp of log_softmax": lambda z: z.log_softmax(1).exp(),
    "exp over their sum": lambda z: z.exp() / z.exp().sum(1, keepdim=True),
    "rounded": lambda z: z.softmax(1).round(decimals=2),
    "by hand": lambda z: 1 / (1 + torch.exp(-_odds(z))),
    "by tanh": lambda z: (torch.tanh(_odds(z) / 2) + 1) / 2,
    "half precision": lambda z: z.softmax(1).bfloat16().float(),
}
X = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("rows", [1, 100])
def test_probabilities_are_refused_however_they_are_made(ending, rows) -> None:
    with pytest.raises(UnsupportedModel, match="returns probabilities"):
        explain.predict(Ending(ENDINGS[ending]), X[:rows], Y[:rows])


@pytest.mark.parametrize("last", [lambda z: z.softmax(1) * 1.0, lambda z: z.exp() / z.exp().sum(1, keepdim=True)])
def test_probabilities_of_many_classes_are_refused(last) -> None:
    with pytest.raises(UnsupportedModel, match="returns probabilities"):
        explain.predict(Ending(last, classes=5), X, Y)


class Words(nn.Module):
    def __init__(self, last: nn.Module, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embedding, self.head, self.last = nn.Embedding(50, 8), nn.Linear(8, outputs), last
        nn.init.constant_(self.head.bias, 0.5)
        nn.init.normal_(self.head.weight, std=1e-3)

    def forward(self, x):
        return self.last(self.head(self.embedding(x).mean(dim=1))) * 1.0


TOKENS = torch.randint(0, 50, (100, 6), generator=torch.Generator().manual_seed(0))


def test_of_token_ids_probabilities_are_refused_and_small_scores_taken() -> None:
    for last, outputs in ((nn.Sigmoid(), 1), (nn.Softmax(dim=1), 2), (nn.Softmax(dim=1), 3)):
        with pytest.raises(UnsupportedModel, match="returns probabilities"):
            explain.predict(Words(last, outputs), TOKENS, TOKENS[:, 0] % 2)
    found = explain.predict(Words(nn.Identity()), TOKENS, TOKENS[:, 0] % 2).logits
    assert ((found > 0) & (found < 1)).all()


ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.GELU)


def test_scores_that_happen_to_lie_between_0_and_1_are_taken_for_scores() -> None:
    inside = 0
    for seed in range(400):
        torch.manual_seed(seed)
        outputs, rows, act = (1, 1, 2, 3)[seed % 4], (1, 2, 5, 40)[seed // 4 % 4], ACTIVATIONS[seed // 16 % 4]
        head = nn.Linear(8, outputs)
        with torch.no_grad():
            head.weight.mul_(0.3)
            head.bias.fill_(0.5 if outputs == 1 else 1 / outputs)
        body = (
            nn.Sequential(nn.Linear(5, 8)),
            nn.Sequential(nn.Linear(5, 8), act()),
            nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 8), act(), nn.Linear(8, 8), nn.Tanh()),
        )[seed % 3]
        model, x = frozen(nn.Sequential(body, head)), torch.randn(rows, 5)
        steady(model, x)
        found = model(x)
        inside += bool(((found >= 0) & (found <= 1)).all())
    assert inside > 200


def test_a_model_that_learned_nothing_or_has_no_weights_is_scored() -> None:
    blank = nn.Linear(4, 1)
    nn.init.zeros_(blank.weight)
    nn.init.zeros_(blank.bias)
    prior = nn.Linear(4, 2)
    nn.init.zeros_(prior.weight)
    with torch.no_grad():
        prior.bias.copy_(torch.tensor([0.3, 0.7]))
    for model in (blank, prior, nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))):
        assert len(explain.predict(model, X, Y)) == 100

    class Sum(nn.Module):
        def forward(self, x):
            return x.sum(dim=1)

    assert len(explain.predict(Sum(), X.abs() / 40, Y)) == 100


def test_looking_for_probabilities_leaves_model_and_generators_as_they_are() -> None:
    model = Ending(lambda z: z * 1e-3 + 0.5)
    before, state, drawn = model.net.weight.clone(), torch.get_rng_state(), np.random.get_state()[1].tolist()
    explain.predict(model, X, Y)
    assert torch.equal(model.net.weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == drawn


@pytest.mark.parametrize(
    "last", [lambda z: z.to_sparse(), lambda z: z[:, :0], lambda z: torch.nested.as_nested_tensor(z)]
)
def test_an_output_of_another_layout_or_none_at_all_is_refused(last) -> None:
    with pytest.raises(UnsupportedModel, match="the model returns"):
        explain.predict(Ending(last), X, Y)
