"""Shapley values: closed forms, brute force, two ways to ask a model, and errors that are as large as they say."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pellucid.errors import BadData, Misuse, UnsupportedModel
from pellucid.evidence import canonical
from pellucid.explain import coalitions
from pellucid.explain.background import Background
from pellucid.explain.coalitions import Composites, Preactivations, mixer
from pellucid.explain.fields import Fields
from pellucid.explain.model import frozen
from pellucid.explain.shapley import exact_shapley
from pellucid.explain.strength import measure_strength
from pellucid.explain.walks import estimate_shapley


class Formula(nn.Module):
    """A model that is a function of its slots."""

    def __init__(self, formula) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(*x.T)


class Hidden(nn.Module):
    """The same answers, without a first layer to be recognised."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def network(width: int, out: int = 1, seed: int = 0, scale: float = 2.0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, out))
    with torch.no_grad():
        for part in model.parameters():
            part *= scale
    return model


def rows(n: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32))


def held(n: int, width: int, seed: int = 2) -> Background:
    return Background(rows(n, width, seed), False, "held-out rows")


def zero(width: int = 2) -> Background:
    return Background(torch.zeros(1, width), True, "zeros")


GROUPED = Fields(("job", "age", "pay", "sex"), ((1, 4, 2), (0,), (6,), (3, 5)))


@pytest.mark.parametrize(
    ("formula", "point", "expected"),
    [
        (lambda a, b: 2 * a - 3 * b + 1, (2, 1), (4, -3)),
        (lambda a, b: a * b, (2, 3), (3, 3)),
        (lambda a, b: torch.maximum(a, b), (2, 1), (1.5, 0.5)),
        (lambda a, b: (a.relu() - 1 - b.relu()).relu(), (3, 1), (1.5, -0.5)),
        (lambda a, b: ((a - 1).relu() - b.relu()).relu(), (3, 1), (1.5, -0.5)),
    ],
)
def test_closed_forms_to_1e_5(formula, point, expected) -> None:
    x = torch.tensor([point], dtype=torch.float32)
    exact = exact_shapley(Formula(formula), x, zero(), Fields.single(2))
    drawn = estimate_shapley(Formula(formula), x, zero(), Fields.single(2), walks=4, seed=0)
    assert exact.rows[0] == pytest.approx(expected, abs=1e-5)
    assert drawn.rows[0] == pytest.approx(expected, abs=1e-5)  # a pair of walks meets both orders
    assert drawn.standard_error.max() < 1e-6


@given(st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=25)
def test_every_term_of_a_polynomial_is_shared_equally(fields, seed) -> None:
    rng = np.random.default_rng(seed)
    terms = [
        (group, float(rng.normal()))
        for size in range(1, fields + 1)
        for group in itertools.combinations(range(fields), size)
    ]
    model = Formula(lambda *x: sum(c * torch.stack([x[i] for i in group]).prod(dim=0) for group, c in terms))
    found = exact_shapley(model, torch.ones(1, fields), zero(fields), Fields.single(fields))
    expected = [sum(c / len(group) for group, c in terms if i in group) for i in range(fields)]
    assert found.rows[0] == pytest.approx(expected, abs=1e-5)


def brute_game(model, x, b, fields):
    """Mean answer by coalition, row by row."""
    game = {}
    for size in range(len(fields) + 1):
        for coalition in itertools.combinations(range(len(fields)), size):
            mixed = b.clone()
            for name in coalition:
                for slot in fields.slots[name]:
                    mixed[:, slot] = x[slot]
            with torch.no_grad():
                game[frozenset(coalition)] = float(model(mixed).double().mean())
    return game


@pytest.mark.parametrize("hide", [False, True])
def test_exact_values_equal_all_permutations_of_seven_fields(hide) -> None:
    model, x, background = network(7), rows(2, 7), held(5, 7)
    found = exact_shapley(Hidden(model) if hide else model, x, background, Fields.single(7))
    for number, row in enumerate(x):
        game = brute_game(model, row, background.rows, Fields.single(7))
        paid = np.zeros(7)
        for order in itertools.permutations(range(7)):
            for place, name in enumerate(order):
                paid[name] += game[frozenset(order[: place + 1])] - game[frozenset(order[:place])]
        assert found.rows[number] == pytest.approx(paid / math.factorial(7), abs=1e-6)


@pytest.mark.parametrize("hide", [False, True])
def test_exact_values_equal_brute_force_on_twelve_fields_to_1e_6(hide) -> None:
    """All 12! orders, counted by the set that comes before a field."""
    model, x, background = network(12), rows(1, 12), held(3, 12)
    found = exact_shapley(Hidden(model) if hide else model, x, background, Fields.single(12))
    game = brute_game(model, x[0], background.rows, Fields.single(12))
    paid = np.zeros(12)
    for before, value in game.items():
        orders = math.factorial(len(before)) * math.factorial(11 - len(before)) if len(before) < 12 else 0
        for name in set(range(12)) - before:
            paid[name] += orders * (game[before | {name}] - value)
    assert found.rows[0] == pytest.approx(paid / math.factorial(12), abs=1e-6)


def test_a_column_of_several_slots_is_one_field() -> None:
    model, x, background = network(7), rows(3, 7), held(4, 7)
    found = exact_shapley(model, x, background, GROUPED)
    for number, row in enumerate(x):
        game = brute_game(model, row, background.rows, GROUPED)
        paid = np.zeros(4)
        for order in itertools.permutations(range(4)):
            for place, name in enumerate(order):
                paid[name] += (game[frozenset(order[: place + 1])] - game[frozenset(order[:place])]) / 24
        assert found.rows[number] == pytest.approx(paid, abs=1e-6)


@pytest.mark.parametrize("fields", [GROUPED, Fields.single(7), Fields(("b", "a"), ((3, 4, 5, 6), (2, 1, 0)))])
def test_the_first_layer_is_skipped_only_with_the_same_answers(fields) -> None:
    model, x, background = network(7), rows(9, 7), held(6, 7)
    fast, plain = (mixer(frozen(m), fields, None, x, background.rows) for m in (model, Hidden(model)))
    assert (type(fast), type(plain)) == (Preactivations, Composites)
    orders = torch.from_numpy(np.random.default_rng(0).permuted(np.tile(np.arange(len(fields)), (6, 1)), axis=1))
    one, two = (m.along(x[:6], background.rows, orders) for m in (fast, plain))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    taken = torch.from_numpy(np.random.default_rng(0).random((5, len(fields))) < 0.5)
    torch.testing.assert_close(*(m.table(x, background.rows, taken) for m in (fast, plain)), rtol=0, atol=1e-5)
    torch.testing.assert_close(*(m.mixed(x[:5], background.rows[:5], taken) for m in (fast, plain)), rtol=0, atol=1e-5)
    ours, theirs = (estimate_shapley(m, x, background, fields, walks=9, seed=4) for m in (model, Hidden(model)))
    np.testing.assert_allclose(ours.rows, theirs.rows, atol=1e-5)
    np.testing.assert_allclose(ours.standard_error, theirs.standard_error, atol=1e-5)


class Loud(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 3


def test_a_chain_that_does_something_else_is_asked_with_whole_rows() -> None:
    x, fields = rows(4, 7), Fields.single(7)
    hooked = network(7)
    hooked[0].register_forward_hook(lambda _module, _args, out: out * 2)
    nested = nn.Sequential(nn.Sequential(*network(7)))
    repeated = nn.Sequential(nn.Linear(7, 7), relu := nn.ReLU(), nn.Linear(7, 2), relu)
    for model, kind in (
        (Loud(*network(7)), Composites),
        (hooked, Composites),
        (nn.Sequential(nn.Tanh(), nn.Linear(7, 1)), Composites),
        (nested, Preactivations),
        (repeated, Preactivations),
        (nn.Linear(7, 1), Preactivations),
    ):
        found = mixer(frozen(model), fields, None, x)
        assert type(found) is kind
        everything = torch.ones(4, 7, dtype=torch.bool)
        own = coalitions.scores(frozen(model), x)
        torch.testing.assert_close(found.mixed(x, torch.zeros_like(x), everything), own, rtol=1e-5, atol=1e-6)


def test_what_a_hook_behind_a_linear_layer_holds_is_not_overwritten() -> None:
    held_by = []
    model = nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    model[2].register_forward_hook(lambda _module, _args, out: held_by.append(out))
    found = mixer(frozen(model), Fields.single(7), None, rows(4, 7))
    assert isinstance(found, Preactivations)
    assert not any(module.inplace for module in model if isinstance(module, nn.ReLU))  # the user's own stay as they are
    found.mixed(rows(40, 7), torch.zeros(40, 7), torch.ones(40, 7, dtype=torch.bool))
    assert held_by[-1].min() < 0


@pytest.fixture(scope="module")
def known() -> SimpleNamespace:
    """A model of ten fields, sixty rows, twenty background rows, and the exact values."""
    found = SimpleNamespace(model=network(10), x=rows(60, 10), background=held(20, 10), fields=Fields.single(10))
    found.exact = exact_shapley(found.model, found.x, found.background, found.fields)
    return found


def drawn(known: SimpleNamespace, walks: int, seed: int):
    return estimate_shapley(known.model, known.x, known.background, known.fields, walks=walks, seed=seed)


@pytest.mark.parametrize("walks", [4, 7, 24, 40, 65])
def test_the_estimate_is_unbiased_and_its_standard_error_right(known, walks) -> None:
    found = [drawn(known, walks, seed) for seed in range(16)]
    miss = np.stack([one.rows - known.exact.rows for one in found])
    error = np.stack([one.standard_error for one in found])
    # 600 means of 16 draws: standardised, their mean square is 16-draw t's, 15/13, give or take
    t = miss.mean(axis=0) / (miss.std(axis=0, ddof=1) / 4)
    assert 0.85 < np.sqrt((t**2).mean()) / np.sqrt(15 / 13) < 1.15
    assert np.sqrt((miss**2).mean()) == pytest.approx(np.sqrt((error**2).mean()), rel=0.1)


def test_more_walks_than_background_rows_leave_only_the_chance_of_the_orders(known) -> None:
    few, some, many = (float(np.square(drawn(known, walks, 3).standard_error).mean()) for walks in (10, 40, 160))
    assert few > 10 * some
    assert some == pytest.approx(4 * many, rel=0.25)


@pytest.mark.parametrize("walks", [4, 11, 40])
def test_the_values_of_a_row_sum_to_the_answer_less_the_base_with_any_number_of_walks(known, walks) -> None:
    found = drawn(known, walks, 1)
    np.testing.assert_allclose(found.rows.sum(axis=1), found.answers - found.base, atol=1e-6)
    assert found.completeness_gap <= found.completeness_gap_max < 1e-6
    assert known.exact.completeness_gap_max < 1e-6


@pytest.mark.parametrize("hide", [False, True])
def test_a_constant_field_has_exactly_zero_and_an_ignored_one_none(hide) -> None:
    model = network(6)
    with torch.no_grad():
        model[0].weight[:, 4] = 0
    if hide:
        model = Hidden(model)
    x, background = rows(12, 6), rows(7, 6, 5)
    x[:, 2] = background[:, 2] = 0.7
    b = Background(background, False, "held-out rows")
    for found in (
        exact_shapley(model, x, b, Fields.single(6)),
        estimate_shapley(model, x, b, Fields.single(6), walks=5, seed=0),
    ):
        assert (found.rows[:, 2] == 0).all()
        assert np.abs(found.rows[:, 4]).max() < 1e-6
    assert (found.standard_error[:, 2] == 0).all()
    strength = measure_strength(found)
    assert strength.columns["x2"].values() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 10}


def test_a_linear_model_is_known_after_four_walks() -> None:
    model, x, background = nn.Linear(30, 1), rows(20, 30), held(50, 30)
    found = estimate_shapley(model, x, background, Fields.single(30), walks=4, seed=0)
    expected = (x - background.rows.mean(dim=0)) * model.weight.detach()
    np.testing.assert_allclose(found.rows, expected.numpy(), atol=1e-5)
    assert found.standard_error.max() < 1e-5  # the control takes all of it


@pytest.mark.parametrize("hide", [False, True])
def test_chunks_change_speed_and_not_the_result(known, hide, monkeypatch) -> None:
    model = Hidden(known.model) if hide else known.model
    ask = (model, known.x[:9], known.background, known.fields)
    whole = estimate_shapley(*ask, walks=9, seed=1, tolerance=0.2), exact_shapley(*ask)
    monkeypatch.setattr(coalitions, "NUMBERS", 5000)
    monkeypatch.setattr("pellucid.explain.shapley.GAMES", 4096)
    parts = estimate_shapley(*ask, walks=9, seed=1, tolerance=0.2), exact_shapley(*ask)
    for one, two in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.rows, two.rows, atol=1e-5)
        assert one.walks == two.walks
    np.testing.assert_allclose(whole[0].standard_error, parts[0].standard_error, atol=1e-5)


def test_a_seed_makes_it_repeatable_and_is_recorded(known) -> None:
    one, two, other = (drawn(known, 5, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.rows, two.rows)
    assert not np.allclose(one.rows, other.rows)
    assert one.how()["seed"] == 1
    assert one.how()["walks"] == {"least": 5, "most": 5}


def test_walks_go_on_until_the_tolerance_or_the_limit_and_say_which(known) -> None:
    ask = (known.model, known.x, known.background, known.fields)
    rough = float(drawn(known, 10, 0).standard_error.max())
    found = estimate_shapley(*ask, walks=10, seed=0, tolerance=rough / 3)
    assert found.reached is True
    assert found.walks[0] == 10 < found.walks[1] < 4096
    assert found.standard_error.max() <= rough / 3 == found.tolerance
    short = estimate_shapley(*ask, walks=10, seed=0, tolerance=rough / 100, limit=25)
    assert (short.reached, short.walks) == (False, (10, 25))
    assert short.values()["tolerance_reached"] is False
    assert drawn(known, 10, 0).reached is None


def test_importance_is_not_biased_by_noise_where_the_mean_size_is(known) -> None:
    truth = np.array([estimate.value for estimate in measure_strength(known.exact).columns.values()])
    found, naive = [], []
    for seed in range(20):
        values = drawn(known, 4, seed)
        found.append([estimate.value for estimate in measure_strength(values).columns.values()])
        naive.append(np.sqrt((values.rows**2).mean(axis=0)))
    assert (np.mean(naive, axis=0) / truth).mean() > 1.05
    assert (np.mean(found, axis=0) / truth).mean() == pytest.approx(1.0, abs=0.015)


def test_the_standard_error_of_an_importance_holds_over_rows_and_walks(known) -> None:
    found, errors, inside = [], [], []
    truth = measure_strength(
        estimate_shapley(known.model, rows(6000, 10, 77), known.background, known.fields, walks=10, seed=0)
    )
    for seed in range(30):
        x = rows(80, 10, 1000 + seed)
        values = estimate_shapley(known.model, x, known.background, known.fields, walks=5, seed=seed)
        strength = measure_strength(values)
        found.append([estimate.value for estimate in strength.columns.values()])
        errors.append(list(strength.standard_error.values()))
        inside += [e.low <= truth.columns[name].value <= e.high for name, e in strength.columns.items()]
    assert np.std(found, axis=0, ddof=1).mean() == pytest.approx(np.mean(errors), rel=0.15)
    assert np.mean(inside) > 0.9


def test_several_classes_need_a_target_and_two_need_none() -> None:
    x, background, fields = rows(11, 5), held(3, 5), Fields.single(5)
    model = network(5, out=3)
    with pytest.raises(UnsupportedModel, match="3 classes"):
        exact_shapley(model, x, background, fields)
    with pytest.raises(BadData, match="no class 3"):
        exact_shapley(model, x, background, fields, target=3)
    found = exact_shapley(model, x, background, fields, target=1)
    alone = exact_shapley(nn.Sequential(model, Formula(lambda a, b, c: b)), x, background, fields)
    np.testing.assert_allclose(found.rows, alone.rows, atol=1e-6)
    assert found.how()["score"].startswith("score of class 1")
    two = exact_shapley(network(5, out=2), x, background, fields)
    odds = exact_shapley(nn.Sequential(network(5, out=2), Formula(lambda a, b: b - a)), x, background, fields)
    np.testing.assert_allclose(two.rows, odds.rows, atol=1e-6)
    other = exact_shapley(network(5, out=2), x, background, fields, target=0)
    np.testing.assert_allclose(two.rows, -other.rows, atol=1e-6)


def test_bad_input_is_refused(known) -> None:
    x, background, fields = known.x, known.background, known.fields
    gone = x.clone()
    gone[3, 1] = math.nan
    for ask in (
        lambda *given: exact_shapley(*given),
        lambda *given: estimate_shapley(*given, walks=4, seed=0),
    ):
        with pytest.raises(BadData, match="NaN"):
            ask(known.model, gone, background, fields)
        with pytest.raises(BadData, match="slots"):
            ask(known.model, x[:, :4], background, fields)
        with pytest.raises(BadData, match="slots"):
            ask(known.model, x, held(4, 3), fields)
        with pytest.raises(BadData, match="float32"):
            ask(known.model, x.double(), background, fields)
        with pytest.raises(UnsupportedModel, match="second time"):
            ask(Formula(lambda *a: a[0] + torch.rand(())), x, background, fields)
        with pytest.raises(UnsupportedModel, match="does not take rows"):
            ask(network(4), x, background, fields)
    with pytest.raises(BadData, match="NaN"):
        Background(gone, False, "held-out rows")
    with pytest.raises(BadData, match="at least one row"):
        Background(gone[:0], False, "held-out rows")
    with pytest.raises(Misuse, match="15 fields") as refused:
        exact_shapley(network(15), rows(2, 15), held(2, 15), Fields.single(15))
    assert "estimate_shapley" in str(refused.value)
    for wrong in (
        {"walks": 3},
        {"walks": 9, "limit": 8, "tolerance": 1.0},
        {"walks": 4, "tolerance": 0.0},
        {"walks": 4, "seed": -1},
    ):
        with pytest.raises(BadData, match="walks"):
            estimate_shapley(known.model, x, background, fields, **{"seed": 0, **wrong})
    with pytest.raises(BadData, match="fewer than 10"):
        measure_strength(exact_shapley(known.model, x[:9], background, fields))


def test_one_background_row_one_field_one_row_and_more_fields_than_rows_are_no_obstacle() -> None:
    found = estimate_shapley(network(40), rows(3, 40), held(1, 40), Fields.single(40), walks=6, seed=0)
    assert found.completeness_gap_max < 1e-5
    assert (found.standard_error > 0).any()
    whole = Fields(("all",), (tuple(range(5)),))
    for ask in (exact_shapley, lambda *given: estimate_shapley(*given, walks=4, seed=0)):
        single = ask(network(5), rows(1, 5), held(3, 5), whole)
        assert single.rows[0, 0] == pytest.approx(single.answers[0] - single.base, abs=1e-6)


def test_the_model_and_all_generators_stay_as_they_were(known) -> None:
    model = network(10).train()
    model(known.x).sum().backward()
    before = [(p.clone(), p.grad.clone()) for p in model.parameters()], torch.get_rng_state(), np.random.get_state()[1]
    estimate_shapley(model, known.x, known.background, known.fields, walks=4, seed=0)
    exact_shapley(model, known.x[:2], known.background, known.fields)
    for (weight, grad), now in zip(before[0], model.parameters(), strict=True):
        assert torch.equal(weight, now)
        assert torch.equal(grad, now.grad)
    assert model.training
    assert torch.equal(before[1], torch.get_rng_state())
    assert np.array_equal(before[2], np.random.get_state()[1])


def test_results_say_how_they_were_made_and_show_no_row(known, subject) -> None:
    values = drawn(known, 6, 0)
    strength = measure_strength(values)
    for shown in (repr(values), repr(strength), repr(known.background)):
        assert "array" not in shown
        assert "tensor" not in shown
    assert values.how()["background"] == {"source": "held-out rows", "public": False, "n": 20}
    evidence = strength.evidence(subject)
    assert (evidence.coverage, evidence.tier) == ("uncovered", "auditor")
    canonical([dict(evidence.values), dict(evidence.how), dict(evidence.error)])
    assert evidence.values["importance"]["x0"]["n"] == 60
    made = Background(rows(5, 10), True, "made from the declared schema")
    for public, coverage in ((True, "post-processing"), (False, "uncovered")):
        found = measure_strength(exact_shapley(known.model, known.x, made, known.fields, public=public))
        assert found.evidence(subject).coverage == coverage
    mixed = measure_strength(exact_shapley(known.model, known.x, known.background, known.fields, public=True))
    assert mixed.evidence(subject).coverage == "uncovered"
    assert 0 < strength.relative_error < 1
