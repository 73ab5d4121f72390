"""Effect curves: closed forms, a pair on which partial dependence is wrong, intervals, and nobody's value shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadData, UnknownName, UnsupportedModel
from pellucid.evidence import canonical
from pellucid.explain.ale import local_effects
from pellucid.explain.effects import ice_curves, partial_dependence
from pellucid.explain.fields import Fields
from pellucid.explain.grids import grid

AB = Fields.single(("a", "b"))


class Formula(nn.Module):
    def __init__(self, formula) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(*x.T)


def pair(n: int = 4000, seed: int = 0, apart: float = 0.0) -> torch.Tensor:
    """a uniform in [-1, 1], b the same but for noise of size ``apart``."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, n)
    return torch.from_numpy(np.stack([a, a + apart * rng.normal(size=n)], axis=1).astype(np.float32))


def independent(n: int = 500, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (n, 2)).astype(np.float32))


def values(curve) -> np.ndarray:
    return np.array([estimate.value for estimate in curve])


def test_a_linear_model_has_its_slope_in_every_curve() -> None:
    x = independent()
    model = Formula(lambda a, b: 2 * a - 3 * b + 1)
    found = partial_dependence(model, x, AB, "b")
    at = np.array(found.points)[:, 0]
    assert values(found.change) == pytest.approx(-3 * (at - at[0]), abs=1e-5)
    assert values(found.curve) == pytest.approx(-3 * at + 1 + 2 * float(x[:, 0].mean()), abs=1e-5)
    for band in found.bands.values():  # parallel curves
        assert band == pytest.approx(values(found.change), abs=1e-5)
    assert max(estimate.high - estimate.low for estimate in found.change) < 1e-5
    effects = local_effects(model, x, AB, "b")
    at = np.array(effects.points)
    assert values(effects.curve) == pytest.approx(-3 * (at - float(x[:, 1].mean())), abs=1e-4)
    assert max(estimate.high - estimate.low for estimate in effects.curve) < 1e-4


def test_local_effects_of_a_correlated_pair_have_their_closed_form_where_partial_dependence_is_wrong() -> None:
    """f = ab and a = b: on the data f = z², and each field has z²/2 of it. Setting a alone averages it away."""
    x, model = pair(), Formula(lambda a, b: a * b)
    total = 0.0
    for name in ("a", "b"):
        effects = local_effects(model, x, AB, name, bins=40)
        at = np.array(effects.points)
        assert values(effects.curve) == pytest.approx(at**2 / 2 - float((x[:, 0] ** 2).mean()) / 2, abs=2e-3)
        total = total + values(effects.curve)
        assert np.ptp(values(partial_dependence(model, x, AB, name, bins=40).curve)) < 0.1
    assert total == pytest.approx(at**2 - float((x[:, 0] ** 2).mean()), abs=4e-3)


def test_local_effects_do_not_ask_about_people_who_cannot_be() -> None:
    x, model = pair(apart=0.02), Formula(lambda a, b: 100 * ((a - b).abs() - 0.5).relu())
    assert np.abs(values(local_effects(model, x, AB, "a", bins=40).curve)).max() < 1e-6
    assert np.ptp(values(partial_dependence(model, x, AB, "a", bins=40).curve)) > 10


def test_partial_dependence_and_ice_equal_a_plain_loop(mlp, sample, people) -> None:
    x, _ = sample
    fields = Fields.of(people)
    jobs = torch.eye(3)
    found = partial_dependence(mlp, x, fields, "job", points=jobs)
    curves = ice_curves(mlp, x, fields, "job", jobs)
    mlp.eval()
    for number, job in enumerate(jobs):
        moved = torch.cat([x[:, :1], job.expand(len(x), 3), x[:, 4:]], dim=1)
        with torch.no_grad():
            logits = mlp(moved)
        odds = (logits[:, 1] - logits[:, 0]).double().numpy()
        np.testing.assert_allclose(curves[:, number], odds, atol=1e-6)
        assert found.curve[number].value == pytest.approx(odds.mean(), abs=1e-6)
        half = 1.959964 * odds.std(ddof=1) / math.sqrt(600)
        assert found.curve[number].high - found.curve[number].value == pytest.approx(half, rel=1e-6)
    assert found.points == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def test_a_boolean_has_two_points_and_a_constant_field_one() -> None:
    x = independent()
    x[:, 0] = (x[:, 0] > 0).float()
    model = Formula(lambda a, b: a * (1 + b) + b)
    found, effects = partial_dependence(model, x, AB, "a"), local_effects(model, x, AB, "a")
    assert found.points == ((0.0,), (1.0,))
    assert effects.points == (0.0, 1.0)
    step = 1 + float(x[:, 1].mean())
    assert found.change[1].value == pytest.approx(step, abs=1e-5)
    assert effects.curve[1].value - effects.curve[0].value == pytest.approx(step, abs=1e-5)
    share = float(x[:, 0].mean())
    assert effects.curve[0].value * (1 - share) + effects.curve[1].value * share == pytest.approx(0, abs=1e-6)
    x[:, 0] = 0.5
    assert partial_dependence(model, x, AB, "a").change[0].values()["value"] == 0
    (only,) = local_effects(model, x, AB, "a").curve
    assert (only.low, only.value, only.high) == (0, 0, 0)


def test_intervals_hold_over_people() -> None:
    model = Formula(lambda a, b: a * a + 2 * a * b)
    truth = local_effects(model, independent(200_000, 9), AB, "a", bins=5)
    inside, found = [], []
    for seed in range(100):
        effects = local_effects(model, independent(400, seed), AB, "a", bins=5)
        expected = np.interp(effects.points, truth.points, values(truth.curve))
        found.append(values(effects.curve))
        inside += [e.low - 0.02 <= v <= e.high + 0.02 for e, v in zip(effects.curve, expected, strict=True)]
    assert np.mean(inside) > 0.9
    width = np.mean([e.high - e.low for e in effects.curve]) / (2 * 1.959964)
    assert width == pytest.approx(np.std(found, axis=0, ddof=1).mean(), rel=0.35)
    steps = [
        partial_dependence(model, independent(400, seed), AB, "a", points=torch.eye(2)[:, :1]) for seed in range(100)
    ]
    half = np.mean([(e.high - e.low) / (2 * 1.959964) for e in (one.change[1] for one in steps)])
    assert half == pytest.approx(np.std([one.change[1].value for one in steps], ddof=1), rel=0.25)


@given(st.integers(10, 300), st.integers(2, 40), st.integers(0, 1000), st.sampled_from([0, 1, 3]))
def test_every_point_is_held_by_ten_people_or_is_the_rounded_mean_of_ten(n, bins, seed, digits) -> None:
    x = np.random.default_rng(seed).normal(size=(n, 1)).round(digits).astype(np.float32)
    found = grid(torch.from_numpy(x), (0,), bins, 10.0)
    held = np.bincount(found.member, minlength=len(found.means))
    assert held.min() >= 10
    assert len(found.points) <= len(found.means) <= bins
    assert (np.diff(found.points) > 0).all()
    for number, point in enumerate(found.means):
        mine = x[found.member == number, 0].astype(float)
        assert point == pytest.approx(mine.mean(), abs=1e-9)
        if found.edges is None:
            assert point in found.points
        else:
            low = -np.inf if number == 0 else found.edges[number]
            assert ((mine > low) & (mine <= found.edges[number + 1] + 1e-5)).all()
            assert np.abs(found.points - point).min() <= 0.5 + 1e-9
    if found.edges is not None:  # no finer than one person in the smallest bin moves its mean
        for places in (found.points, found.edges):
            units = places / (10 / max(10, held.min()))
            assert (np.diff(units) >= 1 - 1e-6).all()
    assert "means" not in repr(found)
    assert "member" not in repr(found)


def test_bands_rest_on_ten_people_and_curves_stay_inside() -> None:
    model = Formula(lambda a, b: a * b)
    few, some = independent(30), independent(60)
    assert set(partial_dependence(model, few, AB, "a", bins=3).bands) == {0.5}
    found = partial_dependence(model, some, AB, "a", bins=3)
    assert set(found.bands) == {0.25, 0.5, 0.75}
    points = torch.tensor(found.points, dtype=torch.float32)
    curves = ice_curves(model, some, AB, "a", points)
    changes = np.sort(curves - curves[:, :1], axis=0)
    assert found.bands[0.25] == pytest.approx(changes[10:20].mean(axis=0), abs=1e-9)
    told = {round(value, 6) for band in found.values()["bands"].values() for value in band[1:]}
    assert not told & set(np.round(changes, 6).ravel().tolist())
    assert len(str(found.values())) < 3000
    canonical([found.values(), dict(found.how())])
    effects = local_effects(model, some, AB, "a", bins=3)
    canonical([effects.values(), dict(effects.how())])
    assert effects.values()["accumulated_local_effects"][0]["n"] == 60


def test_bad_input_is_refused() -> None:
    x, model = independent(40), Formula(lambda a, b: a * b)
    gone = x.clone()
    gone[0, 0] = math.nan
    for ask in (partial_dependence, local_effects):
        with pytest.raises(UnknownName, match="no field"):
            ask(model, x, AB, "c")
        with pytest.raises(BadData, match="NaN"):
            ask(model, gone, AB, "a")
        with pytest.raises(BadData, match="fewer than 10"):
            ask(model, x[:9], AB, "a")
        with pytest.raises(BadData, match="slots"):
            ask(model, x[:, :1], AB, "a")
        with pytest.raises(BadData, match="two bins"):
            ask(model, x, AB, "a", bins=1)
        with pytest.raises(BadData, match="no order"):
            ask(model, x, Fields(("both",), ((0, 1),)), "both")
        with pytest.raises(UnsupportedModel, match="second time"):
            ask(Formula(lambda a, b: a + torch.rand(())), x, AB, "a")
        with pytest.raises(UnsupportedModel, match="3 classes"):
            ask(nn.Linear(2, 3), x, AB, "a")
        ask(nn.Linear(2, 3), x, AB, "a", target=2)
    for points in (torch.ones(2, 2), torch.ones(0, 1), torch.full((1, 1), math.inf), torch.ones(1, 1).double()):
        with pytest.raises(BadData, match="point"):
            partial_dependence(model, x, AB, "a", points=points)


def test_points_of_another_width_or_kind_are_refused() -> None:
    torch.manual_seed(0)
    model, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)), torch.rand(20, 3)
    for points in (torch.rand(4, 2), torch.rand(4), [[0.5]], torch.rand(4, 1).double(), torch.full((1, 1), torch.nan)):
        with pytest.raises(BadData) as error:
            ice_curves(model, x, Fields.single(3), Fields.single(3).names[0], points)
        assert error.value.where == "points"
