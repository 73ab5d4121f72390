"""Permutation importance: exact zeros, a naive twin, scikit-learn as second oracle, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain import permute_columns


def test_a_column_that_the_model_ignores_has_exactly_zero(linear, sample, people) -> None:
    found = permute_columns(linear, *sample, people)
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 600}
    assert found.columns["noise"].values() == found.columns["member"].values() == nothing
    assert found.columns["age"].low > 0
    assert found.columns["job"].low > 0


def test_a_constant_column_has_exactly_zero(mlp, sample, people) -> None:
    x, y = sample[0].clone(), sample[1]
    x[:, 0] = 0.5
    found = permute_columns(mlp, x, y, people).columns["age"]
    assert found.values() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 600}


def test_importance_equals_a_plain_loop_over_rows(linear, sample, people) -> None:
    x, y = sample
    found = permute_columns(linear, x, y, people, permutations=3, seed=9)
    whole = roc_auc_score(y, linear(x).detach()[:, 0])
    for place, (name, slots) in enumerate(people.slices().items()):
        rng, drops = np.random.default_rng([9, place]), []
        for _ in range(3):
            order = rng.permutation(len(x))
            dealt = torch.stack([x[i].clone() for i in range(len(x))])
            for i, j in enumerate(order):
                dealt[i, slots] = x[j, slots]
            drops.append(whole - roc_auc_score(y, linear(dealt).detach()[:, 0]))
        assert found.columns[name].value == pytest.approx(np.mean(drops), abs=1e-6)


class Linear(ClassifierMixin, BaseEstimator):
    """The answers of a model, for scikit-learn."""

    def __init__(self, model=None) -> None:
        self.model = model
        self.classes_ = np.array([0, 1])

    def fit(self, x, y):
        return self

    def decision_function(self, x):
        with torch.no_grad():
            return self.model(torch.from_numpy(np.asarray(x, dtype=np.float32)))[:, 0].numpy()


def test_importance_of_a_single_slot_column_agrees_with_sklearn(linear, sample, people) -> None:
    x, y = sample
    theirs = permutation_importance(
        Linear(linear), x.numpy(), y.numpy(), scoring="roc_auc", n_repeats=20, random_state=0
    )
    ours = permute_columns(linear, x, y, people, permutations=20)
    error = 4 * np.sqrt(2) * theirs.importances_std[0] / np.sqrt(20)
    assert ours.columns["age"].value == pytest.approx(theirs.importances_mean[0], abs=error)


def test_the_interval_is_as_wide_as_a_bootstrap_of_people(linear, sample, people) -> None:
    x, y = sample
    found = permute_columns(linear, x, y, people, permutations=20).columns["age"]
    rng, drops = np.random.default_rng(1), []
    for _ in range(100):
        rows = torch.from_numpy(rng.integers(0, 600, 600))
        dealt = x[rows].clone()
        whole = roc_auc_score(y[rows], linear(dealt).detach()[:, 0])
        part = []
        for _ in range(6):
            dealt[:, 0] = dealt[torch.from_numpy(rng.permutation(600)), 0]
            part.append(whole - roc_auc_score(y[rows], linear(dealt).detach()[:, 0]))
        drops.append(np.mean(part))
    assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(np.std(drops), rel=0.35)


def test_a_seed_makes_it_repeatable_and_is_recorded(linear, sample, people) -> None:
    one, two, other = (permute_columns(linear, *sample, people, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one != other
    assert (one.how()["seed"], one.how()["permutations"]) == (1, 5)


def test_the_rows_that_are_handed_in_are_not_changed(linear, sample, people) -> None:
    before = sample[0].clone()
    permute_columns(linear, *sample, people)
    assert torch.equal(before, sample[0])


def test_bad_input_is_refused(linear, sample, people) -> None:
    x, y = sample
    with pytest.raises(BadData, match="one class"):
        permute_columns(linear, x, torch.zeros_like(y), people)
    with pytest.raises(BadData, match="two permutations"):
        permute_columns(linear, x, y, people, permutations=1)
    with pytest.raises(BadData, match="slots"):
        permute_columns(linear, x[:, :3], y, people)
    with pytest.raises(UnsupportedModel, match="3 classes"):
        permute_columns(torch.nn.Linear(7, 3), x, y, people)


def test_importance_of_one_of_three_classes_is_the_drop_in_its_auc_against_the_rest(sample, people) -> None:
    x, y = sample[0], sample[1].clone()
    y[::3] = 2
    torch.manual_seed(0)
    three = torch.nn.Linear(people.width, 3)
    found = permute_columns(three, x, y, people, permutations=2, seed=3, target=2)
    assert found.target == 2
    score = lambda rows: three(rows).softmax(dim=1)[:, 2].detach().double().numpy()  # noqa: E731
    whole = roc_auc_score(y == 2, score(x))
    for place, (name, slots) in enumerate(people.slices().items()):
        rng, drops = np.random.default_rng([3, place]), []
        for _ in range(2):
            moved = x.clone()
            moved[:, slots] = x[rng.permutation(len(x))][:, slots]
            drops.append(whole - roc_auc_score(y == 2, score(moved)))
        assert found.columns[name].value == pytest.approx(np.mean(drops), abs=1e-5)
    with pytest.raises(UnsupportedModel, match="3 classes"):
        permute_columns(three, x, y, people)
    with pytest.raises(BadData, match="no class 3"):
        permute_columns(three, x, y, people, target=3)
