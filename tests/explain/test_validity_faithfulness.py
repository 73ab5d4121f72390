"""A right attribution beats a random order, a wrong one does not, and nothing beats the exact one of a linear model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.fields import Fields
from pellucid.explain.model import frozen
from pellucid.explain.validity import measure_faithfulness
from pellucid.explain.validity.curves import Curves
from pellucid.explain.validity.faithfulness import _sign_test


def plane(*weights: float) -> nn.Linear:
    model = nn.Linear(len(weights), 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights]))
        model.bias.fill_(0.5)
    return model


def rows(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32))


WEIGHTS = (3.0, -2.0, 1.0, 0.5, -0.25, 0.0, 1.5, -1.0)


def exact(x: torch.Tensor) -> np.ndarray:
    return x.double().numpy() * np.array(WEIGHTS)


def test_the_exact_attribution_of_a_linear_model_beats_a_random_order() -> None:
    x = rows(200, 8)
    found = measure_faithfulness(plane(*WEIGHTS), x, exact(x), baseline=torch.zeros(8))
    assert found.deletion.low > 0
    assert found.insertion.low > 0
    assert found.deletion_p < 1e-6
    assert found.insertion_p < 1e-6
    assert found.scale == pytest.approx(np.abs(exact(x).sum(axis=1)).mean(), rel=1e-5)


def test_the_exact_attribution_of_a_linear_model_is_the_best_of_all_orders() -> None:
    x, weights = rows(3, 5, 1), (3.0, -2.0, 1.0, 0.5, -0.25)
    attributions = x.double().numpy() * np.array(weights)
    curves = Curves(frozen(plane(*weights)), x, torch.zeros(5), Fields.single(5), None, np.arange(6))
    best = curves.area(curves.of(np.argsort(np.argsort(-attributions, axis=1), axis=1)))
    every = [curves.area(curves.of(np.tile(order, (3, 1)))) for order in itertools.permutations(range(5))]
    assert best == pytest.approx(np.min(every, axis=0), abs=1e-5)
    found = measure_faithfulness(plane(*weights), x, attributions, baseline=torch.zeros(5), controls=400)
    assert found.deletion.value == pytest.approx(float((np.mean(every, axis=0) - best).mean()), abs=0.1)


def test_a_shuffled_attribution_is_no_better_than_the_control() -> None:
    x = rows(200, 8)
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(20):
        shuffled = rng.permuted(exact(x), axis=1)
        found = measure_faithfulness(plane(*WEIGHTS), x, shuffled, baseline=torch.zeros(8), seed=seed)
        inside += found.deletion.low <= 0 <= found.deletion.high
        assert found.deletion_p > 1e-4
    assert inside >= 16  # 95 % intervals, of which a fair share of 20 holds 0


def test_constant_attributions_are_a_random_order_and_not_the_order_of_the_fields() -> None:
    x = rows(200, 8).abs()
    # the weights fall with the place of the field: taking ties in order would look faithful
    model = plane(8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
    found = measure_faithfulness(model, x, np.ones((200, 8)), baseline=torch.zeros(8))
    assert found.deletion.low <= 0 <= found.deletion.high


def test_a_reversed_attribution_is_worse_than_the_control() -> None:
    x = rows(100, 8)
    found = measure_faithfulness(plane(*WEIGHTS), x, -exact(x), baseline=torch.zeros(8))
    assert found.deletion.high < 0
    assert found.insertion.high < 0
    assert found.deletion_p == 1.0


def test_curves_equal_a_naive_loop(people, mlp, sample) -> None:
    x, fields = sample[0][:7], Fields.of(people)
    rng = np.random.default_rng(0)
    places = np.argsort(rng.random((7, 4)), axis=1)
    baseline = torch.full((7,), 0.25)
    twin = frozen(mlp)
    found = Curves(twin, x, baseline, fields, None, np.array([0, 1, 3, 4])).of(places)
    for row, place in itertools.product(range(7), range(4)):
        moved = x[row].clone()
        for field in range(4):
            if places[row, field] < (0, 1, 3, 4)[place]:
                moved[list(fields.slots[field])] = baseline[list(fields.slots[field])]
        answer = twin(moved[None])[0]
        assert found[row, place] == pytest.approx(float(answer[1] - answer[0]), abs=1e-5)


def test_restoring_has_the_area_of_removing_in_the_reversed_order() -> None:
    x = rows(40, 8)
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))
    found = measure_faithfulness(model, x, exact(x), baseline=torch.zeros(8), public=True)
    down, up, random = (np.array(curve) for curve in (found.deleted, found.inserted, found.random))
    steps = np.diff(found.removed)
    area = lambda curve: float(((curve[1:] + curve[:-1]) / 2) @ steps)  # noqa: E731 - one line of the oracle
    assert found.deletion.value == pytest.approx(area(random) - area(down))
    assert found.insertion.value == pytest.approx(area(up) - area(random))
    assert up[0] == pytest.approx(down[-1])  # nothing is back yet: all is removed
    assert up[-1] == pytest.approx(down[0])


def test_images_and_classes_are_taken_by_fields_and_target() -> None:
    x = rows(30, 16).reshape(30, 1, 4, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    patches = Fields(("left", "right"), (tuple(range(8)), tuple(range(8, 16))))
    weights = model[1].weight.detach().double().numpy()
    slots = x.flatten(1).double().numpy() * weights[2]
    found = measure_faithfulness(
        model, x, patches.total(slots), baseline=torch.zeros(1, 4, 4), fields=patches, target=2, controls=32
    )
    assert found.deletion.low > 0
    with pytest.raises(UnsupportedModel, match="3 classes"):
        measure_faithfulness(model, x, slots, baseline=torch.zeros(1, 4, 4))
    with pytest.raises(BadData, match="no class 3"):
        measure_faithfulness(model, x, slots, baseline=torch.zeros(1, 4, 4), target=3)


@given(st.lists(st.sampled_from([-1.0, 0.0, 2.0]), min_size=1, max_size=60))
def test_the_sign_test_is_the_exact_one_rounded_up_to_one_digit(areas: list[float]) -> None:
    signs = np.array(areas)
    found, total = _sign_test(signs), int((signs != 0).sum())
    if total == 0:
        assert found is None
        return
    wanted = stats.binomtest(int((signs > 0).sum()), total, alternative="greater").pvalue
    assert wanted * (1 - 1e-6) <= found <= max(1e-12, min(1.0, 2 * wanted + 1e-15))
    assert found == float(f"{found:.0e}")


def test_what_has_no_meaning_is_absent() -> None:
    one_field = measure_faithfulness(plane(2.0), rows(20, 1), np.ones((20, 1)), baseline=torch.zeros(1))
    one_row = measure_faithfulness(plane(*WEIGHTS), rows(1, 8), np.ones((1, 8)), baseline=torch.zeros(8))
    for found in (one_field, one_row):
        assert not {"deletion", "insertion", "deletion_p", "insertion_p"} & set(found.values())
    assert "curves" not in one_row.values()  # a mean curve of fewer than ten people is not published
    still = measure_faithfulness(plane(0.0, 0.0), rows(20, 2), np.ones((20, 2)), baseline=torch.zeros(2))
    assert (still.deletion.value, still.scale) == (0.0, 0.0)
    assert "deletion_p" not in still.values()


def test_a_seed_makes_it_repeatable_and_rows_are_rounded() -> None:
    x = rows(123, 8)
    ask = lambda seed: measure_faithfulness(  # noqa: E731 - the same call three times
        plane(*WEIGHTS), x, exact(x), baseline=torch.zeros(8), seed=seed
    )
    assert ask(1) == ask(1)
    assert ask(1).deletion != ask(2).deletion
    assert ask(1).how()["rows"] == 120
    assert ask(1).values()["deletion"]["n"] == 120
    assert measure_faithfulness(plane(*WEIGHTS), x, exact(x), baseline=torch.zeros(8), rows=50).rows == 50


def test_bad_input_is_refused() -> None:
    x, model = rows(20, 8), plane(*WEIGHTS)
    with pytest.raises(BadData, match="one row, of the type"):
        measure_faithfulness(model, x, exact(x), baseline=torch.zeros(7))
    with pytest.raises(BadData, match="do not fit"):
        measure_faithfulness(model, x, exact(x)[:, :7], baseline=torch.zeros(8))
    with pytest.raises(BadData, match="one number a row"):
        measure_faithfulness(model, x, exact(x)[:5], baseline=torch.zeros(8))
    with pytest.raises(BadData, match="NaN"):
        measure_faithfulness(model, x, np.full((20, 8), np.nan), baseline=torch.zeros(8))
    with pytest.raises(BadData, match="at least one step"):
        measure_faithfulness(model, x, exact(x), baseline=torch.zeros(8), steps=0)
