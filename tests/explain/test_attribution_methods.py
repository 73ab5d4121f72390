"""The methods beside integrated gradients: closed forms, naive twins, and what each says of its own error."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadData, Misuse, UnsupportedModel
from pellucid.explain.attribution import again, attribute, patches
from pellucid.explain.attribution.draws import Batches
from pellucid.explain.fields import Fields

relu = torch.relu
TWO = Fields.single(["a", "b"])
SHAPLEY = [
    (lambda a, b: 2 * a - 3 * b + 1, (2, 1), (4, -3)),
    (lambda a, b: a * b, (2, 3), (3, 3)),
    (lambda a, b: torch.maximum(a, b), (2, 1), (1.5, 0.5)),  # integrated gradients would be 2 and 0
    (lambda a, b: relu(relu(a) - 1 - relu(b)), (3, 1), (1.5, -0.5)),
    (lambda a, b: relu(relu(a - 1) - relu(b)), (3, 1), (1.5, -0.5)),
]


class Of(nn.Module):
    """A function of two numbers as a model."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x[:, 0], x[:, 1])


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(20, 5, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(12, 2, 6, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def cnn() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


def brute(model: nn.Module, row: torch.Tensor, target: int, start: torch.Tensor | None = None) -> np.ndarray:
    """Shapley values of single slots by all orders."""
    found = np.zeros(len(row))
    orders = list(itertools.permutations(range(len(row))))
    for order in orders:
        point = (torch.zeros_like(row) if start is None else start).clone()
        before = model(point[None])[0, target].item()
        for place in order:
            point[place] = row[place]
            after = model(point[None])[0, target].item()
            found[place] += (after - before) / len(orders)
            before = after
    return found


@pytest.mark.parametrize(("function", "point", "expected"), SHAPLEY)
def test_shapley_values_of_closed_forms_over_all_orders(function, point, expected) -> None:
    found = attribute(Of(function), torch.tensor([point], dtype=torch.float32), TWO, method="shapley_sampling")
    assert found.rows[0] == pytest.approx(expected, abs=1e-5)
    assert (found.draws, found.sampling_error()) == (0, {})


@pytest.mark.parametrize(("function", "point", "expected"), SHAPLEY)
def test_kernel_shap_of_closed_forms_over_all_coalitions(function, point, expected) -> None:
    found = attribute(Of(function), torch.tensor([point], dtype=torch.float32), TWO, method="kernel_shap")
    assert found.rows[0] == pytest.approx(expected, abs=1e-5)
    assert found.sampling_error() == {}


def test_kernel_shap_takes_fields_as_wholes_and_the_mean_over_many_baselines(net, x) -> None:
    starts = torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    found = attribute(net, x[:2], Fields.single(5), method="kernel_shap", target=1, baseline=starts)
    for row, values in zip(x, found.rows, strict=False):
        naive = np.mean([brute(net, row, 1, start) for start in starts], axis=0)
        assert values == pytest.approx(naive, abs=1e-4)
    whole = attribute(net, x[:2], Fields(("all",), ((0, 1, 2, 3, 4),)), method="shapley_sampling", target=1)
    paired = attribute(net, x[:2], Fields(("p", "q"), ((0, 1, 2), (3, 4))), method="kernel_shap", target=1)
    assert paired.rows.sum(axis=1) == pytest.approx(whole.rows[:, 0], abs=1e-5)
    assert found.how()["libraries"].keys() == {"torch"}


@pytest.mark.slow
def test_all_coalitions_at_once_are_what_shap_finds_row_by_row(net, x) -> None:
    """Second oracle: the library's own regression over all coalitions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it imports plotting libraries with deprecations of their own
        from shap import KernelExplainer

    starts = torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    found = attribute(net, x[:3], Fields.single(5), method="kernel_shap", target=1, baseline=starts)

    def asked(rows):
        with torch.no_grad():
            return net(torch.tensor(rows, dtype=torch.float32))[:, 1].double().numpy()

    rows = x[:3].numpy()
    theirs = KernelExplainer(asked, starts.numpy()).shap_values(rows, nsamples=2**5, l1_reg=False, silent=True)
    assert found.rows == pytest.approx(theirs, abs=1e-5)


@pytest.mark.slow
def test_kernel_shap_says_how_sure_its_draws_are() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(14, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(2, 14)
    exact = attribute(net, x, Fields.single(14), method="kernel_shap", draws=2**14)
    rough = attribute(net, x, Fields.single(14), method="kernel_shap", draws=1600)
    assert exact.noise is None
    assert rough.noise is not None
    assert rough.how()["libraries"].keys() == {"shap", "torch"}
    assert np.square((rough.rows - exact.rows) / rough.noise).mean() < 4


def test_shapley_values_equal_brute_force_over_orders(net, x) -> None:
    found = attribute(net, x[:4], Fields.single(5), method="shapley_sampling", target=2, draws=120)
    for row, values in zip(x, found.rows, strict=False):
        assert values == pytest.approx(brute(net, row, 2), abs=1e-5)


def test_sampled_orders_say_how_sure_they_are_and_every_order_adds_up(net, x) -> None:
    exact = attribute(net, x, Fields.single(5), method="shapley_sampling", target=0, draws=120)
    rough = attribute(net, x, Fields.single(5), method="shapley_sampling", target=0, draws=64)
    assert rough.draws == 64
    assert rough.noise is not None
    assert rough.completeness_gap < 1e-5
    # squared errors in units of the claimed variance: 1 on average, a bit more for 8 batches (t with 7 degrees: 7/5)
    assert 0.3 < np.square((rough.rows - exact.rows) / rough.noise).mean() < 4
    assert rough.values()["sampling_error"].keys() == {f"x{place}" for place in range(5)}
    assert rough.how()["seed_policy"].startswith("public")


@pytest.mark.parametrize("method", ["shapley_sampling", "gradient_shap"])
def test_draws_follow_from_the_seed_alone(method, net, x) -> None:
    found = [
        attribute(net, x, Fields.single(5), method=method, target=0, seed=seed, tolerance=0.5).rows
        for seed in (3, 3, 4)
    ]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_gradient_shap_of_one_baseline_is_integrated_gradients_within_its_error(net, x) -> None:
    exact = attribute(net, x, Fields.single(5), target=1)
    rough = attribute(net, x, Fields.single(5), method="gradient_shap", target=1, tolerance=0.05)
    assert rough.completeness_gap <= 0.05
    assert rough.noise is not None
    assert np.square((rough.rows - exact.rows) / rough.noise).mean() < 4


def test_gradient_shap_takes_many_baselines_and_explains_the_distance_from_their_mean_answer(net, x) -> None:
    starts = torch.randn(6, 5, generator=torch.Generator().manual_seed(8))
    found = attribute(net, x, Fields.single(5), method="gradient_shap", target=1, baseline=starts, tolerance=0.1)
    change = (net(x)[:, 1] - net(starts)[:, 1].mean()).detach().numpy()
    assert np.abs(found.rows.sum(axis=1) - change).mean() <= 0.1 * np.abs(change).mean() + 1e-6
    assert found.baseline == "several rows given by the caller"


def test_draws_that_do_not_add_up_are_refused_with_a_remedy(net, x) -> None:
    with pytest.raises(UnsupportedModel, match="draws, above the tolerance") as caught:
        attribute(net, x[:2], Fields.single(5), method="gradient_shap", target=1, draws=1, tolerance=1e-6)
    assert "integrated gradients" in str(caught.value.fix)


def test_deep_lift_adds_up_where_every_module_has_a_rule(net, x) -> None:
    found = attribute(net, x, Fields.single(5), method="deep_lift", target=1, baseline=torch.full((5,), 0.5))
    assert found.completeness_gap < 1e-4
    assert found.how()["libraries"].keys() == {"captum", "torch"}


def test_deep_lift_of_a_linear_model_is_weight_times_way(x) -> None:
    layer = nn.Linear(5, 1)
    found = attribute(layer, x, Fields.single(5), method="deep_lift")
    assert found.rows == pytest.approx((x * layer.weight).detach().numpy(), abs=1e-5)


def test_deep_lift_is_refused_with_the_name_of_the_module_and_the_remedy(cnn, images) -> None:
    with pytest.raises(UnsupportedModel, match="GroupNorm") as caught:
        attribute(cnn, images, patches((2, 6, 6), 2), method="deep_lift", target=0)
    assert caught.value.where == "1"
    assert "integrated gradients" in str(caught.value.fix)


def test_occlusion_is_the_answer_less_the_answer_without_the_patch(cnn, images) -> None:
    fields = patches((2, 6, 6), 4)
    assert fields.names[:2] == ("rows 0-3, columns 0-3", "rows 0-3, columns 4-5")
    start = torch.full((2, 6, 6), 0.25)
    found = attribute(cnn, images, fields, method="occlusion", target=1, baseline=start)
    for number, (rows, columns) in enumerate(itertools.product((slice(0, 4), slice(4, 6)), repeat=2)):
        covered = images.clone()
        covered[:, :, rows, columns] = 0.25
        naive = (cnn(images) - cnn(covered))[:, 1].detach().numpy()
        assert found.rows[:, number] == pytest.approx(naive, abs=1e-5)


def test_chunks_of_occluded_rows_change_nothing(cnn, images, monkeypatch) -> None:
    fields = patches((2, 6, 6), 2)
    whole = attribute(cnn, images, fields, method="occlusion", target=1)
    monkeypatch.setattr("pellucid.explain.attribution.occlusion.PAIRS", 5)
    assert attribute(cnn, images, fields, method="occlusion", target=1).rows == pytest.approx(whole.rows, abs=1e-5)


def test_grad_cam_is_the_weighted_activation_of_the_last_convolution(cnn, images) -> None:
    # here the map is as large as the image, so that nothing is interpolated
    active = cnn[0](images).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cnn[1:](active)[:, 2].sum(), active)
    naive = relu((gradient.mean(dim=(2, 3), keepdim=True) * active).sum(dim=1)).detach().numpy()
    found = attribute(cnn, images, patches((2, 6, 6), 1), method="grad_cam", target=2)
    assert found.rows == pytest.approx(naive.reshape(12, 36), abs=1e-5)


def test_methods_that_do_not_add_up_say_so_and_have_no_gap(cnn, images) -> None:
    for method in ("grad_cam", "occlusion"):
        found = attribute(cnn, images, patches((2, 6, 6), 2), method=method, target=2)
        assert "completeness_gap" not in found.values()
        assert "not claimed" in found.how()["completeness"]
        with pytest.raises(Misuse, match="do not claim to add up"):
            _ = found.completeness_gap


def test_grad_cam_of_what_is_no_image_is_refused(net, x, images) -> None:
    with pytest.raises(BadData, match="images"):
        attribute(net, x, Fields.single(5), method="grad_cam", target=0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(72, 1))
    with pytest.raises(UnsupportedModel, match="convolution"):
        attribute(flat, images, patches((2, 6, 6), 2), method="grad_cam")
    with pytest.raises(BadData, match="takes no baseline"):
        attribute(flat, images, patches((2, 6, 6), 2), method="grad_cam", baseline=images[0])


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley_sampling", "occlusion", "deep_lift"])
def test_a_constant_feature_gets_exactly_nothing(method, net, x) -> None:
    x[:, 3] = 0.0
    assert (attribute(net, x, Fields.single(5), method=method, target=0).rows[:, 3] == 0).all()


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley_sampling", "gradient_shap", "occlusion"])
def test_again_makes_the_same_attributions_of_the_same_model_and_others_of_another(method, net, x) -> None:
    found = attribute(net, x, Fields.single(5), method=method, target=0, tolerance=0.5)
    assert again(net, x, found) == pytest.approx(found.rows, abs=1e-7)
    other = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3))
    assert np.abs(again(other, x, found) - found.rows).max() > 0.01


@pytest.mark.parametrize("method", ["shapley_sampling", "gradient_shap", "deep_lift", "occlusion", "grad_cam"])
def test_no_generator_moves(method, cnn, net, images, x) -> None:
    torch.manual_seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    if method == "grad_cam":
        attribute(cnn, images, patches((2, 6, 6), 3), method=method, target=0)
    else:
        attribute(net, x, Fields.single(5), method=method, target=0, tolerance=0.5)
    assert torch.equal(before, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == numpy_before


def test_a_method_that_does_not_exist_is_refused_with_the_nearest(net, x) -> None:
    with pytest.raises(BadData, match='did you mean "deep_lift"'):
        attribute(net, x, Fields.single(5), method="deeplift", target=0)
    with pytest.raises(BadData, match='no method "attention"'):
        attribute(net, x, Fields.single(5), method="attention", target=0)


def test_several_baselines_are_refused_by_methods_that_take_one(net, x) -> None:
    with pytest.raises(BadData, match="baseline"):
        attribute(net, x, Fields.single(5), method="deep_lift", target=0, baseline=x)


def test_patches_need_pixels() -> None:
    with pytest.raises(BadData, match="at least one pixel"):
        patches((1, 4, 4), 0)


@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 8))
def test_patches_are_every_slot_once(channels, height, width, size) -> None:
    found = patches((channels, height, width), size)
    assert found.width == channels * height * width
    assert len(found) == -(-height // size) * -(-width // size)


@given(st.integers(2, 12), st.integers(0, 99))
def test_batches_are_the_mean_and_its_standard_error(count, seed) -> None:
    drawn = []

    def estimate(number: int) -> np.ndarray:
        drawn.append(np.random.default_rng(number).normal(size=(3, 2)))
        return drawn[-1]

    batches = Batches(estimate, seed)
    batches.grow(2)
    batches.grow(count)
    assert len(drawn) == count
    assert batches.mean == pytest.approx(np.mean(drawn, axis=0))
    assert batches.error == pytest.approx(np.std(drawn, axis=0, ddof=1) / np.sqrt(count))
