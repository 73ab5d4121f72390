"""A model may write into what it is given: the rows of who asks stay as they are, and no number is another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.errors import UnsupportedModel
from pellucid.explain.answers import outputs
from pellucid.explain.coalitions import Preactivations, mixer
from pellucid.explain.model import frozen


class Clamped(nn.Module):
    """Clamps numbers, or token ids, before anything else."""

    def __init__(self, rest: nn.Module, low: float, high: float, *, inplace: bool) -> None:
        super().__init__()
        self.rest, self.low, self.high, self.writes = rest, low, high, inplace

    def forward(self, x):
        x = x.clamp_(self.low, self.high) if self.writes else x.clamp(self.low, self.high)
        if self.writes:
            x *= 2
            x += 1
        else:
            x = x * 2 + 1
        return self.rest(x)


def _net(width: int) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, 2))


def _module(width: int, *, inplace: bool) -> nn.Module:
    return nn.Sequential(nn.Hardtanh(-0.3, 0.3, inplace=inplace), nn.LeakyReLU(0.5, inplace=inplace), *_net(width))


def _forward(width: int, *, inplace: bool) -> nn.Module:
    return Clamped(_net(width), -0.3, 0.3, inplace=inplace)


def _late(width: int, *, inplace: bool) -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(width, 16), nn.LeakyReLU(0.5, inplace=inplace), nn.Linear(16, 2))


Ask = Callable[..., Any]
QUESTIONS: dict[str, Ask] = {
    "predict": lambda m, x, y, e: explain.predict(m, x, y).logits,
    "losses": lambda m, x, y, e: explain.losses(m, x, y),
    "occlusion": lambda m, x, y, e: explain.attribute(m, x, e, method="occlusion").rows,
    "shapley sampling": lambda m, x, y, e: explain.attribute(m, x[:20], e, method="shapley_sampling", draws=16).rows,
    "kernel": lambda m, x, y, e: explain.attribute(m, x[:20], e, method="kernel_shap").rows,
    "gradient shap": lambda m, x, y, e: (
        explain.attribute(m, x[:20], e, method="gradient_shap", draws=8, tolerance=9.0).rows
    ),
    "permute": lambda m, x, y, e: explain.permute_columns(m, x, y, e).values(),
    "exact": lambda m, x, y, e: explain.exact_shapley(m, x[:20], _stand(x), e).rows,
    "estimate": lambda m, x, y, e: explain.estimate_shapley(m, x[:20], _stand(x), e).rows,
    "interactions": lambda m, x, y, e: explain.exact_interactions(m, x[:20], _stand(x), e).values(),
    "partial dependence": lambda m, x, y, e: explain.partial_dependence(m, x, e, "age").values(),
    "local effects": lambda m, x, y, e: explain.local_effects(m, x, e, "age").values(),
    "robustness": lambda m, x, y, e: explain.measure_robustness(m, x, y, e, steps=3).values(),
    "counterfactual": lambda m, x, y, e: explain.find_counterfactual(m, x[0], e, mutable=["age", "noise"]).values(),
    "surrogate": lambda m, x, y, e: explain.fit_surrogate(m, x, e).values(),
}


def _stand(x: torch.Tensor) -> explain.Background:
    return explain.Background(x[-20:], public=False, source="others")


@pytest.mark.parametrize("made", [_module, _forward, _late])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_model_that_works_in_place_is_answered_for_like_the_one_that_does_not(question, made, sample, people) -> None:
    x, y = sample
    before = x.clone()
    ask = QUESTIONS[question]
    found = ask(made(people.width, inplace=True), x, y, people)
    assert torch.equal(x, before)
    wanted = ask(made(people.width, inplace=False), x, y, people)
    if isinstance(wanted, np.ndarray):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    else:
        assert found == wanted


def test_modules_that_work_in_place_have_integrated_gradients_and_validity(sample, people) -> None:
    x = sample[0][:100]
    before = x.clone()
    found, wanted = (
        explain.check_validity(model, x, people, explain.attribute(model, x, people), models=2, thorough=True)
        for model in (_module(people.width, inplace=True), _module(people.width, inplace=False))
    )
    assert torch.equal(x, before)
    assert found.randomisation == pytest.approx(wanted.randomisation)


def test_where_a_gradient_does_not_allow_it_the_refusal_says_so(sample, people) -> None:
    with pytest.raises(UnsupportedModel, match="writes into what it is given"):
        explain.attribute(_forward(people.width, inplace=True), sample[0], people)


def test_token_ids_and_vectors_stay_as_they_are() -> None:
    class Words(nn.Module):
        def __init__(self, *, inplace: bool) -> None:
            super().__init__()
            torch.manual_seed(2)
            self.embedding, self.act, self.head = nn.Embedding(50, 8), nn.Hardtanh(-0.5, 0.5), nn.Linear(8, 2)
            self.inplace, self.act.inplace = inplace, inplace

        def forward(self, x):
            x = x.clamp_(0, 30) if self.inplace else x.clamp(0, 30)
            return self.head(self.act(self.embedding(x)).mean(dim=1))

    x = torch.randint(0, 50, (40, 6), generator=torch.Generator().manual_seed(0))
    before, places = x.clone(), explain.Fields.single(6)
    for method in ("layer_integrated_gradients", "token_occlusion"):
        found, wanted = (
            explain.attribute(Words(inplace=inplace), x, places, method=method, tolerance=0.05).rows
            for inplace in (True, False)
        )
        assert torch.equal(x, before)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


class Tight(nn.Module):
    """Runs out of memory for more than so many rows, after it has written into them."""

    def __init__(self, first: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.first, self.rest = first, rest

    def forward(self, x):
        x = self.first(x)
        if len(x) > 7:
            raise RuntimeError("can't allocate memory")
        return self.rest(x)


def test_what_is_asked_again_in_halves_is_what_was_asked() -> None:
    torch.manual_seed(0)
    rest, x = nn.Linear(4, 1), torch.randn(20, 4)
    leaky = frozen(Tight(nn.LeakyReLU(0.5, inplace=True), rest))
    assert torch.equal(outputs(leaky, x), rest(nn.functional.leaky_relu(x, 0.5))[:, 0].detach().double())


def test_weights_of_another_precision_see_the_rows_that_were_asked() -> None:
    torch.manual_seed(0)
    rest, x = nn.Linear(4, 1).double(), torch.randn(20, 4)
    twice = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), rest)
    wanted = rest(nn.functional.leaky_relu(x.double(), 0.5))[:, 0].detach()
    torch.testing.assert_close(outputs(frozen(twice), x), wanted)


@pytest.mark.parametrize(
    ("second", "given"),
    [
        (nn.ReLU(), True),
        (nn.ReLU(inplace=True), True),
        (nn.Tanh(), True),
        (nn.LeakyReLU(0.5, inplace=True), False),
        (nn.ELU(inplace=True), False),
    ],
)
def test_behind_the_first_layer_rows_are_given_away_only_to_what_may_be_asked_again(second, given) -> None:
    model = frozen(nn.Sequential(nn.Linear(4, 8), second, nn.Linear(8, 1)))
    x = torch.randn(20, 4)
    found = mixer(model, explain.Fields.single(4), None, x)
    assert isinstance(found, Preactivations)
    assert found._spare is given
    rows = torch.randn(20, 8)
    kept = rows.clone()
    first = found._scores(rows)
    assert torch.equal(rows, kept) or given
    assert torch.equal(found._scores(rows), first)


def test_a_hook_that_writes_is_given_a_copy() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model[1].register_forward_pre_hook(lambda _, given: (given[0].mul_(0.5),))
    found = mixer(frozen(copy.deepcopy(model)), explain.Fields.single(4), None, torch.randn(20, 4))
    assert isinstance(found, Preactivations)
    assert not found._spare
