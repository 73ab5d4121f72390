"""How far attributions move when the input moves a little: closed forms, the declared range, noise of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData
from pellucid.explain import public_rows
from pellucid.explain.validity import measure_sensitivity
from pellucid.schema import Encoding, Schema


def identity(_: nn.Module, x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


def gradients(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    rows = x.clone().requires_grad_(requires_grad=True)
    return torch.autograd.grad(model(rows).sum(), rows)[0].flatten(1).double().numpy()


MODEL = nn.Linear(7, 1)


def test_gradients_of_a_linear_model_do_not_move_at_all(sample) -> None:
    found = measure_sensitivity(gradients, MODEL, sample[0])
    assert found.largest.value == found.average.value == found.largest_absolute.value == 0.0
    assert found.largest.high == 0.0
    assert found.own is None


def test_the_change_is_the_norm_of_the_difference_over_the_norm_of_the_attribution() -> None:
    x = torch.full((50, 3), 0.5)
    found = measure_sensitivity(identity, nn.Linear(3, 1), x, radius=0.1, draws=2000, rows=50)
    # the longest way in the cube is that to a corner: r √3, over ‖x‖ = 0.5 √3
    assert found.largest.value == pytest.approx(0.2, abs=0.02)
    assert found.largest.high <= 0.2 + 1e-6
    assert found.largest_absolute.value == pytest.approx(found.largest.value * 0.5 * 3**0.5, rel=1e-6)
    assert found.average.value == pytest.approx(0.9606 * 0.1 / (0.5 * 3**0.5), rel=0.01)  # mean norm in the cube


def test_it_grows_with_the_radius_in_proportion_for_a_linear_explainer(sample) -> None:
    small, large = (measure_sensitivity(identity, MODEL, sample[0], radius=radius) for radius in (0.01, 0.02))
    assert large.average.value == pytest.approx(2 * small.average.value, rel=1e-3)


def test_rows_stay_in_the_declared_range_and_only_numbers_move(people) -> None:
    x = public_rows(people, 40)
    x[:5, 0] = 1.0
    seen = []

    def watching(_: nn.Module, rows: torch.Tensor) -> np.ndarray:
        seen.append(rows.clone())
        return identity(_, rows)

    measure_sensitivity(watching, MODEL, x, encoding=people, radius=0.5, rows=40)
    moved = seen[1].reshape(40, 10, 7)
    assert float(moved[:, :, [0, 4]].abs().max()) <= 1.0
    assert torch.equal(moved[:, :, [1, 2, 3, 5, 6]], x[:, None, [1, 2, 3, 5, 6]].expand(40, 10, 5))
    assert float((moved[:, :, 0] - x[:, None, 0]).abs().max()) > 0.4


def test_a_missing_value_stays_missing() -> None:
    schema = Schema.parse(
        """
        [dataset]
        target = "t"
        units = 100
        purposes = ["p"]
        [columns.t]
        type = "boolean"
        sensitivity = "personal"
        [columns.income]
        type = "number"
        bounds = [0, 100]
        missing = "category"
        sensitivity = "personal"
        """
    )
    encoding = Encoding.of(schema)
    x = torch.tensor([[0.0, 1.0], [0.5, 0.0]]).repeat(10, 1)
    seen = []

    def watching(_: nn.Module, rows: torch.Tensor) -> np.ndarray:
        seen.append(rows.clone())
        return identity(_, rows)

    measure_sensitivity(watching, nn.Linear(2, 1), x, encoding=encoding)
    moved = seen[1].reshape(20, 10, 2)
    assert torch.equal(moved[::2], x[::2, None].expand(10, 10, 2))
    assert not torch.equal(moved[1::2, :, 0], x[1::2, None, 0].expand(10, 10))


def test_chunks_give_what_one_call_gives(sample, monkeypatch) -> None:
    whole = measure_sensitivity(identity, MODEL, sample[0])
    # the package's own name, so that its constant is found whoever imported it
    from pellucid.explain.validity import sensitivity

    calls = []

    def counting(_: nn.Module, rows: torch.Tensor) -> np.ndarray:
        calls.append(len(rows))
        return identity(_, rows)

    monkeypatch.setattr(sensitivity, "CHUNK", 70)
    found = measure_sensitivity(counting, MODEL, sample[0])
    assert max(calls) <= 70
    assert found.average.value == pytest.approx(whole.average.value, rel=0.05)


def test_an_explainer_that_draws_anew_shows_its_own_noise(sample) -> None:
    def noisy(_: nn.Module, rows: torch.Tensor) -> np.ndarray:
        return 100.0 + torch.randn(rows.shape).double().numpy()

    found = measure_sensitivity(noisy, MODEL, sample[0])
    # the difference of two draws has norm √(2·7) on average, nearly, over ‖attribution‖ = 100 √7
    assert found.own.value == pytest.approx(2**0.5 / 100, rel=0.2)
    assert found.average.value == pytest.approx(found.own.value, rel=0.1)
    assert "draws anew" in found.how()["explainer"]


def test_rows_without_attribution_are_left_out_and_never_nan(sample) -> None:
    def half(_: nn.Module, rows: torch.Tensor) -> np.ndarray:
        return np.where(rows[:, :1] > 0, rows.double().numpy(), 0.0)

    assert np.isfinite(measure_sensitivity(half, MODEL, sample[0]).largest.value)
    none = measure_sensitivity(lambda _, rows: np.zeros((len(rows), 3)), MODEL, sample[0])
    assert none.values() == {"radius": 0.02, "largest_absolute": {"value": 0.0, "low": 0.0, "high": 0.0, "n": 60}}
    assert measure_sensitivity(identity, MODEL, sample[0][:1]).values() == {"radius": 0.02}


def test_a_seed_makes_it_repeatable(sample) -> None:
    one, two, other = (measure_sensitivity(identity, MODEL, sample[0], seed=seed) for seed in (3, 3, 4))
    assert one == two
    assert one.average != other.average


def test_bad_input_is_refused(people, sample) -> None:
    x = sample[0]
    with pytest.raises(BadData, match="radius"):
        measure_sensitivity(identity, MODEL, x, radius=0.0)
    with pytest.raises(BadData, match="radius"):
        measure_sensitivity(identity, MODEL, x, radius=float("nan"))
    with pytest.raises(BadData, match="declared range"):
        measure_sensitivity(identity, MODEL, x * 3, encoding=people)
    with pytest.raises(BadData, match="declared range"):
        measure_sensitivity(identity, MODEL, x, bounds=(0.0, 1.0))
    with pytest.raises(BadData, match="slots of the encoding"):
        measure_sensitivity(identity, MODEL, x[:, :5], encoding=people)
    words = Encoding(people.codes[1:2], people.target, people.classes)
    with pytest.raises(BadData, match="number that can move"):
        measure_sensitivity(identity, nn.Linear(3, 1), x[:, 1:4].contiguous(), encoding=words)
