"""Explanations of an over-fitted model tell who was trained on; constant ones tell nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData
from pellucid.explain.validity import measure_leakage


def saliency(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    """The gradient of the probability of the predicted class."""
    rows = x.clone().requires_grad_(requires_grad=True)
    return torch.autograd.grad(model(rows).softmax(1).max(1).values.sum(), rows)[0].double().numpy()


@pytest.fixture(scope="module")
def purchases() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """200 binary features, ten classes, an MLP that knows its 1,000 members by heart, and 1,000 others."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 2000)
    x = torch.from_numpy((rng.integers(0, 2, (10, 200))[y] ^ (rng.random((2000, 200)) < 0.38)).astype(np.float32))
    labels = torch.from_numpy(y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(200, 128), nn.Tanh(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(300):
            chosen = torch.randint(0, 1000, (100,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[chosen]), labels[chosen]).backward()
            optimizer.step()
    assert float((model(x[:1000]).argmax(1) == labels[:1000]).float().mean()) == 1.0
    return model, x[:1000], x[1000:]


def test_an_over_fitted_model_leaks_its_members_through_the_variance_of_explanations(purchases) -> None:
    found = measure_leakage(saliency, *purchases)
    assert found.auc.low > 0.6
    assert found.leaks
    assert found.values()["leaks"] is True


def test_a_model_that_was_never_trained_leaks_nothing(purchases) -> None:
    _, members, others = purchases
    with torch.random.fork_rng():
        torch.manual_seed(1)
        fresh = nn.Sequential(nn.Linear(200, 128), nn.Tanh(), nn.Linear(128, 10))
    found = measure_leakage(saliency, fresh, members, others)
    assert found.auc.low < 0.5 < found.auc.high
    assert not found.leaks


def test_a_constant_explanation_leaks_exactly_nothing(purchases) -> None:
    found = measure_leakage(lambda _, x: np.tile([0.1, 0.7, 0.3], (len(x), 1)), *purchases)
    assert (found.auc.value, found.auc.low, found.auc.high) == (0.5, 0.5, 0.5)
    assert not found.leaks


def test_the_other_direction_leaks_as_much(purchases) -> None:
    model, members, others = purchases
    found, turned = measure_leakage(saliency, *purchases), measure_leakage(saliency, model, others, members)
    assert turned.auc.value == pytest.approx(1 - found.auc.value, abs=0.002)  # on a grid of 1/1000
    assert turned.auc.high < 0.5
    assert turned.leaks


def test_the_score_is_the_variance_over_fields() -> None:
    members, others = torch.zeros(20, 4), torch.tensor([0.0, 0, 0, 1]).repeat(20, 1)
    identity = lambda _, x: x.double().numpy()  # noqa: E731 - the shortest explainer
    found = measure_leakage(identity, nn.Linear(4, 1), members, others)
    assert found.auc.value == 1.0
    assert 0.5 < found.auc.low < 1.0  # perfect separation of 20 and 20 still has an interval


def test_no_exact_count_of_people_is_shown(purchases) -> None:
    model, members, others = purchases
    found = measure_leakage(saliency, model, members[:123], others[:457])
    assert (found.members, found.others) == (120, 450)
    assert found.values()["auc"]["n"] == 580
    assert not any(str(count) in repr((found, found.values(), found.how())) for count in (123, 457))


def test_rows_of_each_side_are_sampled_with_the_seed(purchases) -> None:
    ask = lambda seed: measure_leakage(saliency, *purchases, rows=200, seed=seed)  # noqa: E731 - the same call
    assert ask(0) == ask(0)
    assert ask(0).members == 200
    assert ask(0).auc != ask(1).auc


def test_bad_input_is_refused(purchases) -> None:
    model, members, others = purchases
    with pytest.raises(BadData, match="at least 10"):
        measure_leakage(saliency, model, members[:9], others)
    with pytest.raises(BadData, match="one field"):
        measure_leakage(lambda m, x: saliency(m, x)[:, :1], *purchases)
    with pytest.raises(BadData, match="NaN"):
        measure_leakage(saliency, model, members, torch.full_like(others, torch.nan))
