"""Curves that start at the clean performance, attacks within their bounds, and the closed form of a linear model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadData
from pellucid.evidence import Evidence, canonical
from pellucid.explain import evaluate, predict, public_rows
from pellucid.explain.answers import outputs
from pellucid.explain.model import frozen
from pellucid.explain.robustness import fgsm, measure_robustness, missing_code, pgd
from pellucid.schema import Encoding, Schema

WIDE = """
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns.loan]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
[columns.age]
type = "integer"
bounds = [0, 100]
missing = "category"
sensitivity = "personal"
[columns.wealth]
type = "number"
bounds = [0, 1000]
scale = "log"
missing = { fill = 100 }
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["x", "y", "z"]
missing = { fill = "y" }
sensitivity = "personal"
[columns.hours]
type = "number"
bounds = [0, 80]
bins = [20, 40]
sensitivity = "personal"
[columns.member]
type = "boolean"
sensitivity = "personal"
"""


@pytest.fixture(scope="module")
def wide() -> Encoding:
    """Numbers with and without a missing code, a log scale, categories, bins and a boolean."""
    return Encoding.of(Schema.parse(WIDE))


def numbers_of(x: torch.Tensor) -> torch.Tensor:
    """Of ``wide``: age where it is known, and wealth."""
    found = torch.zeros(x.shape, dtype=torch.bool)
    found[:, 0] = x[:, 1] == 0
    found[:, 2] = True
    return found


def net(width: int, classes: int, seed: int = 0, scale: float = 3.0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(width, 16), torch.nn.Tanh(), torch.nn.Linear(16, classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def labelled(model: torch.nn.Module, x: torch.Tensor, noise: float = 0.5) -> torch.Tensor:
    logits = model(x).detach()
    return (logits + noise * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).argmax(dim=1)


def wrongness(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    logits = model(x).detach().double().numpy()
    right = logits[np.arange(len(y)), y]
    logits[np.arange(len(y)), y] = -np.inf
    return logits.max(axis=1) - right


@pytest.mark.parametrize("classes", [2, 3])
def test_every_curve_starts_at_the_clean_performance(wide: Encoding, classes: int) -> None:
    model, x = net(wide.width, classes), public_rows(wide, 400)
    y = labelled(model, x)
    found = measure_robustness(model, x, y, wide)
    plain = evaluate(predict(model, x, y))
    assert (found.clean.accuracy, found.clean.auc) == (plain.accuracy, plain.auc)
    for curve in (found.noise, found.corruption, found.fgsm, found.pgd):
        assert curve[0] == (0.0, found.clean)
        assert curve[-1][1].accuracy.value < found.clean.accuracy.value


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("eps", [0.05, 0.5])
def test_pgd_is_at_least_as_strong_as_fgsm_on_every_row(wide: Encoding, classes: int, eps: float) -> None:
    model, x = net(wide.width, classes), public_rows(wide, 300)
    y, twin = labelled(model, x), frozen(model)
    weak, strong = (how(twin, x, y, numbers_of(x), eps) for how in (fgsm, pgd))
    assert (wrongness(model, strong, y) >= wrongness(model, weak, y) - 1e-6).all()
    assert (wrongness(model, strong, y) > wrongness(model, weak, y) + 1e-4).any()


def test_the_published_curves_of_pgd_never_lie_above_those_of_fgsm(wide: Encoding) -> None:
    model, x = net(wide.width, 3, seed=4), public_rows(wide, 500)
    found = measure_robustness(model, x, labelled(model, x), wide)
    for (_, strong), (_, weak) in zip(found.pgd, found.fgsm, strict=True):
        assert strong.accuracy.value <= weak.accuracy.value


@given(st.integers(0, 1000), st.floats(0.001, 1.5))
def test_pgd_reaches_the_closed_form_of_a_linear_model(seed: int, eps: float) -> None:
    encoding = Encoding.of(Schema.parse(WIDE))
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(encoding.width, 1)
    with torch.no_grad():
        model.weight.copy_(torch.randn(1, encoding.width, generator=generator))
    x = public_rows(encoding, 40, seed=seed)
    y = torch.randint(0, 2, (40,), generator=generator)
    numbers, weight = numbers_of(x), model.weight[0].detach().double()
    moved = pgd(frozen(model), x, y, numbers, eps)
    sign = (1 - 2 * y)[:, None].double() * weight.sign()
    worst = torch.where(numbers, (x.double() + eps * sign).clamp(-1, 1), x.double())
    reached = (moved.double() @ weight) * (1 - 2 * y)
    assert reached.numpy() == pytest.approx(((worst @ weight) * (1 - 2 * y)).numpy(), abs=1e-4)


@pytest.mark.parametrize("how", [fgsm, pgd])
def test_an_attack_moves_known_numbers_only_and_stays_in_the_declared_ranges(wide: Encoding, how) -> None:
    model, x = net(wide.width, 2), public_rows(wide, 300)
    numbers = numbers_of(x)
    moved = how(frozen(model), x, labelled(model, x), numbers, 0.3)
    assert torch.equal(moved[~numbers], x[~numbers])
    assert (moved - x).abs().max() <= 0.3 + 1e-6
    assert moved.abs().max() <= 1
    assert ((moved - x).abs()[numbers] > 0.01).float().mean() > 0.9


def test_a_model_that_is_very_sure_is_attacked_too(wide: Encoding) -> None:
    # the gradient of its cross-entropy is exactly zero in float32
    model = torch.nn.Linear(wide.width, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, 2] = 1e4
        model.bias.zero_()
    x = public_rows(wide, 200)
    y = (x[:, 2] > 0).long()
    assert wrongness(model, fgsm(frozen(model), x, y, numbers_of(x), 2.0), y).min() > 0


def test_columns_stay_whole_and_numbers_in_their_ranges_whatever_is_done_to_the_rows(wide: Encoding) -> None:
    seen = []

    class Watching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net(wide.width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.detach().clone())
            return self.inner(x)

        def __deepcopy__(self, memo: dict) -> Watching:
            return self

    x = public_rows(wide, 300)
    y = labelled(net(wide.width, 2), x)
    measure_robustness(Watching(), x, y, wide, noise=[0.5], corruption=[0.5, 1.0], attack=[])
    rows = torch.cat([part for part in seen if len(part) == 300])
    lawful = rows[(rows[:, 3:6].sum(dim=1) == 1) & (rows[:, 6:9].sum(dim=1).sub(1).abs() < 1e-6)]
    assert len(lawful) == len(rows)
    assert rows.abs().max() <= 1
    gone = rows[:, 1] == 1
    assert (rows[gone, 0] == 0).all()


def test_rows_of_other_people_only_leave_nothing_to_tell_classes_by(people, sample, linear) -> None:
    found = measure_robustness(linear, *sample, people)
    last = found.corruption[-1][1].auc
    assert last.low <= 0.5 <= last.high
    areas = [part.auc.value for _, part in found.corruption]
    assert areas == sorted(areas, reverse=True)


def test_a_column_that_the_model_ignores_may_be_missing_and_one_it_needs_may_not(people, sample, linear) -> None:
    found = measure_robustness(linear, *sample, people)
    assert found.missing["noise"] == found.missing["member"] == found.clean
    assert found.missing["age"].auc.high < found.clean.auc.low


def test_unknown_values_are_coded_as_the_schema_declares(wide: Encoding) -> None:
    age, wealth, job, hours, member = (missing_code(code).tolist() for code in wide.codes)
    assert age == [0, 1]
    assert wealth == pytest.approx([2 * np.log1p(100) / np.log1p(1000) - 1])
    assert job == [0, 1, 0]
    assert hours == pytest.approx([1 / 3] * 3)
    assert member == [0.5]


def test_without_numbers_there_is_no_curve_of_noise_or_attack() -> None:
    schema = Schema.parse(WIDE)
    encoding = Encoding.of(schema, ["job", "hours"])
    x = public_rows(encoding, 200)
    model = net(encoding.width, 2)
    values = measure_robustness(model, x, labelled(model, x), encoding).values()
    assert values.keys() == {"accuracy", "auc", "missing", "corruption"}


def test_the_model_and_the_generators_are_untouched(people, sample, mlp) -> None:
    x, y = sample
    mlp.train()
    for parameter in mlp.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: tensor.clone() for name, tensor in mlp.state_dict().items()}
    state, again = torch.get_rng_state(), x.clone()
    one = measure_robustness(mlp, x, y, people, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert mlp.training
    assert all(torch.equal(before[name], tensor) for name, tensor in mlp.state_dict().items())
    assert all((parameter.grad == 1).all() and parameter.requires_grad for parameter in mlp.parameters())
    assert torch.equal(x, again)
    assert one == measure_robustness(mlp, x, y, people, seed=1, chunk=37)
    assert one.noise != measure_robustness(mlp, x, y, people, seed=2).noise


def test_attacked_rows_are_answered_as_reported(people, sample, linear) -> None:
    x, y = sample
    (only,) = measure_robustness(linear, x, y, people, attack=[0.05]).fgsm
    numbers = torch.zeros(x.shape, dtype=torch.bool)
    numbers[:, [0, 4]] = True
    moved = fgsm(frozen(linear), x, y, numbers, 0.1)  # a declared range is two encoded units wide
    right = ((outputs(frozen(linear), moved) > 0) == (y == 1)).float().mean()
    assert only[1].accuracy.value == pytest.approx(float(right), abs=0.002)


def test_evidence_is_uncovered_for_auditors_and_canonical(people, sample, linear, subject) -> None:
    found = measure_robustness(linear, *sample, people).evidence(subject)
    assert (found.kind, found.coverage, found.tier) == ("robustness", "uncovered", "auditor")
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
    assert found.values["pgd"][1].keys() == {"strength", "accuracy", "auc"}


def test_bad_input_is_refused(people, sample, linear) -> None:
    x, y = sample
    for options in ({"noise": [-0.1]}, {"corruption": [1.5]}, {"attack": [float("nan")]}):
        with pytest.raises(BadData, match="a strength"):
            measure_robustness(linear, x, y, people, **options)
    with pytest.raises(BadData, match="one step"):
        measure_robustness(linear, x, y, people, steps=0)
    with pytest.raises(BadData, match="one class"):
        measure_robustness(linear, x, torch.zeros(600, dtype=torch.int64), people)
    with pytest.raises(BadData, match="NaN"):
        measure_robustness(linear, x * float("nan"), y, people)
    with pytest.raises(BadData, match="7 slots"):
        measure_robustness(linear, x[:, :-1], y, people)


def test_a_model_without_a_gradient_is_attacked_by_nothing_and_measured_in_all_else(people, sample) -> None:
    class Rounded(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (4 * x).round().detach() @ torch.tensor([3.0, 1.5, 0.0, -1.0, 0.0, 0.0, 0.0])

    found = measure_robustness(Rounded(), *sample, people)
    assert found.fgsm == found.pgd == ()
    assert "fgsm" not in found.values()
    assert found.noise
    assert found.corruption
    assert found.missing
