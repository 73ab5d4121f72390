"""An explanation that does not depend on what was learned is found out; one that does is let through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Estimate
from pellucid.explain.attribution import integrated_gradients
from pellucid.explain.model import frozen
from pellucid.explain.ranking import spearman
from pellucid.explain.validity import (
    measure_faithfulness,
    measure_leakage,
    measure_sensitivity,
    randomise_layers,
    randomised,
)
from pellucid.explain.validity.redraw import layers, redraw


def gradients(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    rows = x.clone().requires_grad_(requires_grad=True)
    found = model(rows)
    score = found[:, 1] - found[:, 0] if found.ndim == 2 and found.shape[1] == 2 else found
    return torch.autograd.grad(score.sum(), rows)[0].flatten(1).double().numpy()


def ours(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    return np.asarray(integrated_gradients(model, x, torch.zeros(x.shape[1:]), 8)).reshape(len(x), -1)


def guided_backprop(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Springenberg et al. 2015: on the way back every ReLU lets only what is positive through."""
    handles = [
        part.register_full_backward_hook(lambda _, into, __: (into[0].clamp(min=0),))
        for part in model.modules()
        if isinstance(part, nn.ReLU)
    ]
    try:
        return gradients(model, x)
    finally:
        for handle in handles:
            handle.remove()


@pytest.fixture(scope="module")
def bars() -> tuple[nn.Module, torch.Tensor]:
    """A small CNN that has learned to tell horizontal from vertical bars, and images it has not seen."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, (1000, 1, 12, 12)).astype(np.float32)
    y = rng.integers(0, 2, 1000)
    for image, label, place in zip(x[:, 0], y, rng.integers(1, 10, 1000), strict=True):
        (image if label else image.T)[place : place + 2] += 1
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 36, 32),
            nn.ReLU(),
            nn.Linear(32, 2),
        )
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(100):
            chosen = torch.randint(0, 800, (64,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    model.eval()
    assert float((model(images[800:]).argmax(1) == labels[800:]).float().mean()) > 0.95
    return model, images[800:]


@pytest.mark.parametrize("explain", [gradients, ours])
def test_gradients_and_integrated_gradients_pass(bars, explain) -> None:
    found = randomise_layers(explain, *bars, draws=16, rows=10)
    assert found.passes is True
    assert found.cascade.high < 0.5
    assert found.average.high < 0.5
    assert found.values()["passes"] is True


def test_guided_backprop_fails(bars) -> None:
    found = randomise_layers(guided_backprop, *bars, draws=16, rows=10)
    assert found.passes is False
    assert found.average.low > 0.5
    assert found.stages[0].cascade.low > 0.75  # the last layer alone hardly matters to it
    assert found.values()["passes"] is False


def test_an_explainer_that_looks_at_the_input_alone_fails_with_a_correlation_of_one(bars) -> None:
    model, x = bars
    found = randomise_layers(lambda _, rows: rows.flatten(1).double().numpy(), model, x, draws=2, rows=5)
    assert found.cascade == Estimate(1.0, 1.0, 1.0, 0)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)
    assert found.passes is False


def test_stages_go_from_the_last_layer_to_the_first_and_neighbours_share_one(bars) -> None:
    model, x = bars
    found = randomise_layers(gradients, model, x, draws=2, rows=4)
    assert [stage.layers for stage in found.stages] == [("8",), ("6",), ("3",), ("0",)]
    assert found.stages[0].cascade == found.stages[0].alone
    few = randomise_layers(gradients, model, x, draws=2, rows=4, stages=2)
    assert [stage.layers for stage in few.stages] == [("8", "6"), ("3", "0")]
    assert few.stages[-1].cascade == found.stages[-1].cascade  # the whole cascade is the same models


def test_cascade_and_single_layers_equal_a_naive_twin(mlp, sample) -> None:
    x = sample[0][:6]
    found = randomise_layers(gradients, mlp, x, draws=3, seed=4)
    learned = gradients(frozen(mlp), x)
    cascade, alone = [], []
    for number in range(3):
        whole, first = frozen(mlp), frozen(mlp)
        for place, name in enumerate(("3", "0")):
            seed = int(np.random.SeedSequence([4, number, place]).generate_state(1)[0])
            redraw(whole, (name,), seed)
            if name == "0":
                redraw(first, (name,), seed)
        cascade.append(np.mean([spearman(a, b) for a, b in zip(learned, gradients(whole, x), strict=True)]))
        alone.append(np.mean([spearman(abs(a), abs(b)) for a, b in zip(learned, gradients(first, x), strict=True)]))
    assert found.cascade.value == pytest.approx(np.mean(cascade))
    assert found.standard_error == pytest.approx(np.std(cascade, ddof=1) / 3**0.5)
    assert found.cascade.high == pytest.approx(min(1.0, np.mean(cascade) + 4.302653 * found.standard_error))
    assert found.stages[-1].alone_absolute.value == pytest.approx(np.mean(alone))


def test_the_last_layer_is_drawn_as_its_own_initialisation_draws_it(mlp, sample) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        fresh = nn.Linear(16, 2)
    twin = randomised(mlp, sample[0][:2], seed=9)
    assert torch.equal(twin[3].weight, fresh.weight)
    assert torch.equal(twin[3].bias, fresh.bias)


def test_what_an_initialisation_leaves_fixed_is_drawn_too() -> None:
    norm = nn.Sequential(nn.LayerNorm(400))
    with torch.no_grad():
        norm[0].weight.fill_(3.0)
    twin = frozen(norm)
    redraw(twin, ("0",), 1)
    assert 2.5 < float(twin[0].weight.square().mean().sqrt()) < 3.5
    assert float(twin[0].weight.std()) > 2


def test_layers_that_attention_reads_without_calling_belong_to_it() -> None:
    model = frozen(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = model
            self.idle = nn.Linear(3, 3)
            self.last = nn.Linear(8, 1)

        def forward(self, x):
            return self.last(self.part(x).mean(dim=1))

    found = layers(frozen(Reader()), torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)))
    assert found["part.self_attn"] == ("part.self_attn", "part.self_attn.out_proj")
    assert list(found)[-1] == "last"
    assert "idle" not in found
    assert all("idle" not in modules for modules in found.values())


def test_constant_attributions_have_no_correlation_absent_and_not_nan(mlp, sample) -> None:
    found = randomise_layers(lambda _, x: np.ones((len(x), 4)), mlp, sample[0], draws=2)
    assert found.passes is None
    assert found.error() == {}
    assert found.values() == {"stages": [{"layers": ["3"]}, {"layers": ["0"]}]}


@pytest.mark.parametrize("fields", [1, 2])
def test_fewer_than_three_fields_have_no_correlation(mlp, sample, fields: int) -> None:
    found = randomise_layers(lambda m, x: gradients(m, x)[:, :fields], mlp, sample[0], draws=2)
    assert found.cascade is None
    assert "passes" not in found.values()


def test_one_row_is_enough_for_draws_to_be_compared(mlp, sample) -> None:
    found = randomise_layers(gradients, mlp, sample[0][:1], draws=3)
    assert found.cascade is not None
    assert found.rows == 0  # rounded down to ten
    assert randomise_layers(gradients, mlp, sample[0][:1], draws=3, public=True).rows == 1


def test_token_ids_can_be_explained() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2))
    x = torch.arange(40).reshape(8, 5) % 9

    def size(twin: nn.Module, rows: torch.Tensor) -> np.ndarray:
        return twin[0](rows).pow(2).sum(dim=2).double().numpy()

    found = randomise_layers(size, model, x, draws=3)
    assert [stage.layers for stage in found.stages] == [("2",), ("0",)]
    assert found.stages[0].cascade.value == pytest.approx(1.0)  # it does not look at the last layer
    assert found.cascade.value < 0.9
    with pytest.raises(BadData, match="at least one row and one token"):
        randomise_layers(size, model, x[:0])


def test_an_explainer_that_draws_anew_is_said_to(mlp, sample) -> None:
    def noisy(model: nn.Module, x: torch.Tensor) -> np.ndarray:
        return gradients(model, x) + torch.randn(x.shape).double().numpy()

    assert "draws anew" in randomise_layers(noisy, mlp, sample[0], draws=2).how()["explainer"]
    assert "same" in randomise_layers(gradients, mlp, sample[0], draws=2).how()["explainer"]


def test_neither_the_model_nor_a_generator_is_touched(mlp, sample) -> None:
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    mlp.train()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    randomise_layers(gradients, mlp, sample[0], draws=2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert mlp.training
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    assert not any(part._forward_hooks for part in mlp.modules())


def test_a_seed_makes_it_repeatable(mlp, sample) -> None:
    one, two, other = (randomise_layers(gradients, mlp, sample[0], draws=2, seed=seed) for seed in (3, 3, 4))
    assert one == two
    assert one.values() != other.values()


def test_bad_input_is_refused(mlp, sample) -> None:
    x = sample[0]
    with pytest.raises(BadData, match="two draws"):
        randomise_layers(gradients, mlp, x, draws=1)
    with pytest.raises(BadData, match="float32"):
        randomise_layers(gradients, mlp, x.double())
    with pytest.raises(BadData, match="NaN"):
        randomise_layers(gradients, mlp, torch.full_like(x, torch.nan))
    with pytest.raises(BadData, match="one number a row"):
        randomise_layers(lambda m, rows: gradients(m, rows)[0], mlp, x)
    with pytest.raises(BadData, match="infinity"):
        randomise_layers(lambda m, rows: gradients(m, rows) * np.inf, mlp, x + 0.1)
    with pytest.raises(BadData, match="at least one row"):
        randomise_layers(gradients, mlp, x, rows=0)
    with pytest.raises(UnsupportedModel, match="parameters"):
        randomise_layers(gradients, nn.Sequential(nn.Tanh(), nn.Flatten(0), nn.Unflatten(0, (-1, 7))), x)


def test_every_test_refuses_a_model_that_draws_randomness_in_eval_mode(sample) -> None:
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(7, 1)

        def forward(self, x):
            return nn.functional.dropout(self.last(x), 0.5, training=True)

    model, x = Restless(), sample[0]
    for ask in (
        lambda: randomise_layers(gradients, model, x),
        lambda: measure_faithfulness(model, x, x.double().numpy(), baseline=torch.zeros(7)),
        lambda: measure_sensitivity(gradients, model, x),
        lambda: measure_leakage(gradients, model, x[:300], x[300:]),
    ):
        with pytest.raises(UnsupportedModel, match="differently the second time"):
            ask()


def test_modules_with_tied_weights_and_modules_called_twice_are_layers_once(sample) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(7, 7)
            self.two = nn.Linear(7, 7)
            self.last = nn.Linear(7, 1)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.last(self.one(self.two(self.one(x))))

    found = randomise_layers(gradients, Twice(), sample[0], draws=2)
    assert [stage.layers for stage in found.stages] == [("last",), ("one",), ("two",)]
