"""Integrated gradients: closed forms, completeness, a naive twin, and the refusal of what does not add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain import Explanation, attribute, public_rows
from pellucid.explain.model import frozen


class Of(nn.Module):
    """A function of two numbers as a model."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x[:, 0], x[:, 1])


relu = torch.relu


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (lambda a, b: 2 * a - 3 * b + 1, (2, 1), (4, -3)),
        (lambda a, b: a * b, (2, 3), (3, 3)),
        (lambda a, b: torch.maximum(a, b), (2, 1), (2, 0)),  # Shapley values would be 1.5 and 0.5
        # implementation invariance: Sundararajan, Taly and Yan 2017, figure 7
        (lambda a, b: relu(relu(a) - 1 - relu(b)), (3, 1), (1.5, -0.5)),
        (lambda a, b: relu(relu(a - 1) - relu(b)), (3, 1), (1.5, -0.5)),
    ],
)
def test_closed_forms(plane, function, x, expected) -> None:
    found = attribute(Of(function), torch.tensor([x], dtype=torch.float32), plane)
    assert found.rows[0] == pytest.approx(expected, abs=1e-5)
    assert found.completeness_gap < 1e-5


def test_a_linear_model_is_weight_times_distance_from_any_baseline(plane) -> None:
    x, start = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, -1.0])
    found = attribute(Of(lambda a, b: 2 * a - 3 * b + 1), x, plane, baseline=start)
    assert found.rows == pytest.approx((torch.tensor([2.0, -3.0]) * (x - start)).numpy(), abs=1e-5)
    assert found.baseline == "given by the caller"


def test_a_one_hot_is_one_feature(linear, sample, people) -> None:
    x, _ = sample
    found = attribute(linear, x, people)
    assert found.columns == ("age", "job", "noise", "member")
    assert found.rows[:, 1] == pytest.approx((x[:, 1] * 1.5 - x[:, 3]).numpy(), abs=1e-5)
    assert found.magnitude()["noise"] == 0
    assert found.baseline == "encoded midpoint: zeros"


def test_integrated_gradients_equal_a_plain_riemann_sum(mlp, sample, people) -> None:
    x = sample[0][:30]
    model = frozen(mlp)
    total = torch.zeros_like(x)
    for k in range(400):
        point = (x * (k + 0.5) / 400).requires_grad_()
        out = model(point)
        total += torch.autograd.grad((out[:, 1] - out[:, 0]).sum(), point)[0] / 400
    slots = (total * x).numpy()
    naive = np.stack([slots[:, s].sum(axis=1) for s in people.slices().values()], axis=1)
    assert attribute(mlp, x, people, tolerance=1e-4).rows == pytest.approx(naive, abs=1e-4)


def test_the_completeness_gap_is_the_mean_miss_over_the_mean_change(sample, people) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 1))
    x = sample[0]
    found = attribute(model, x, people, steps=2, tolerance=10.0)
    change = (model(x) - model(torch.zeros(1, 7)))[:, 0].detach().numpy()
    miss = np.abs(found.rows.sum(axis=1) - change)
    assert found.completeness_gap == pytest.approx(miss.mean() / np.abs(change).mean(), rel=1e-4)
    assert found.completeness_gap_max == pytest.approx(miss.max() / np.abs(change).mean(), rel=1e-4)
    assert found.completeness_gap > 0


def test_steps_are_doubled_until_the_gap_is_within_the_tolerance(sample, people) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 1))
    rough = attribute(model, sample[0][:100], people, steps=1, tolerance=0.2)
    fine = attribute(model, sample[0][:100], people, steps=1, tolerance=0.004)
    assert rough.completeness_gap <= 0.2
    assert fine.completeness_gap <= 0.004
    assert fine.steps > rough.steps
    assert fine.steps & (fine.steps - 1) == 0


def test_attributions_that_do_not_add_up_are_refused_with_their_gap(plane) -> None:
    # a jump has no gradient: no number of steps finds it
    model = Of(lambda a, b: (a > 0.5).float() - 0.5 + 0 * b)
    with pytest.raises(UnsupportedModel, match=r"miss the model's answers by 1 .* 64 steps"):
        attribute(model, torch.ones(5, 2), plane, limit=64)


def test_a_model_without_a_gradient_is_refused(plane) -> None:
    with pytest.raises(UnsupportedModel, match="no gradient"):
        attribute(Of(lambda a, b: (a + b).detach()), torch.ones(5, 2), plane)


def test_a_constant_model_is_explained_exactly_by_zeros(plane) -> None:
    found = attribute(Of(lambda a, b: 0 * a + 0 * b + 3), torch.ones(12, 2), plane)
    assert found.rows.tolist() == [[0, 0]] * 12
    assert found.completeness_gap == 0


def test_more_than_two_classes_are_refused(sample, people) -> None:
    with pytest.raises(UnsupportedModel, match="5 classes"):
        attribute(nn.Linear(7, 5), sample[0], people)


def test_more_rows_than_asked_for_are_a_recorded_sample(linear, sample, people) -> None:
    a, b = (attribute(linear, sample[0], people, rows=55, seed=4) for _ in range(2))
    assert (a.rows == b.rows).all()
    assert len(a.rows) == 55
    assert (a.how()["n"], a.how()["seed"]) == (50, 4)
    assert (attribute(linear, sample[0], people, rows=55, seed=5).rows != a.rows).any()


def test_the_number_of_rows_in_a_chunk_changes_nothing(mlp, sample, people, monkeypatch) -> None:
    whole = attribute(mlp, sample[0][:60], people)
    monkeypatch.setattr("pellucid.explain.attribution.path.POINTS", 100)
    assert attribute(mlp, sample[0][:60], people).rows == pytest.approx(whole.rows, abs=1e-5)


def test_magnitude_and_standard_error_are_of_absolute_values(linear, sample, people) -> None:
    found = attribute(linear, sample[0], people)
    assert found.magnitude()["age"] == pytest.approx(np.abs(found.rows[:, 0]).mean())
    assert found.standard_error()["age"] == pytest.approx(np.abs(found.rows[:, 0]).std(ddof=1) / np.sqrt(600))
    assert attribute(linear, sample[0][:1], people).standard_error() == {}


def test_a_constant_feature_is_no_obstacle(mlp, sample, people) -> None:
    x = sample[0].clone()
    x[:, 4] = 0.25
    assert np.isfinite(attribute(mlp, x, people).rows).all()


def test_repr_shows_no_person(linear, people) -> None:
    found = attribute(linear, torch.full((10, 7), 0.123456), people)
    assert "0.37" not in repr(found)
    assert "rows" not in repr(found)
    assert "array" not in repr(found)


def test_attributions_of_public_rows_are_post_processing_for_anyone(linear, people, subject) -> None:
    found = Explanation(attribute(linear, public_rows(people, 333), people, public=True)).evidence(subject)
    assert (found.coverage, found.tier) == ("post-processing", "public")
    assert found.values["importance"] == {}
    assert "importance_method" not in found.values
    assert found.how["attribution"]["n"] == 333


@pytest.mark.parametrize(
    "bad",
    [
        {"baseline": torch.zeros(3)},
        {"baseline": torch.full((7,), torch.nan)},
        {"tolerance": 0.0},
        {"steps": 0},
        {"steps": 600},
        {"rows": 0},
    ],
)
def test_bad_settings_are_refused(linear, sample, people, bad) -> None:
    with pytest.raises(BadData):
        attribute(linear, sample[0], people, **bad)


def test_rows_of_another_width_are_refused(linear, people) -> None:
    with pytest.raises(BadData, match="7 slots of the encoding, and has 6"):
        attribute(linear, torch.zeros(5, 6), people)
