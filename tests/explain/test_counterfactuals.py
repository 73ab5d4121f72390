"""Counterfactuals: they flip, they are near, they change what may be changed, and they always come to an end."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import BadData, UnknownName
from pellucid.evidence import Evidence, canonical
from pellucid.explain import public_rows
from pellucid.explain.counterfactuals import find_counterfactual
from pellucid.schema import Encoding, Schema

PEOPLE = """
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
bounds = [18, 98]
sensitivity = "personal"
[columns.wealth]
type = "number"
bounds = [10, 1000]
scale = "log"
missing = "category"
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["x", "y", "z"]
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
ENCODING = Encoding.of(Schema.parse(PEOPLE))
ALL = ENCODING.features


def net(seed: int, classes: int = 2) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(ENCODING.width, 12), torch.nn.Tanh(), torch.nn.Linear(12, classes))


def decided(model: torch.nn.Module, row: torch.Tensor) -> int:
    with torch.no_grad():
        return int(model(row[None])[0].argmax())


@given(st.integers(0, 10_000), st.integers(2, 3), st.sets(st.sampled_from(ALL), min_size=1))
@settings(max_examples=40)
def test_what_is_found_flips_changes_only_what_may_change_and_stays_in_the_schema(
    seed: int, classes: int, mutable: set[str]
) -> None:
    model, row = net(seed, classes), public_rows(ENCODING, 1, seed=seed)[0]
    found = find_counterfactual(model, row, ENCODING, mutable=sorted(mutable), budget=600, whole=["age"])
    assert found.decision == decided(model, row)
    assert found.evaluated <= 600
    if found.status != "found":
        assert (found.status, found.row, found.distance, found.changes) == ("not found in budget", None, None, ())
        return
    assert decided(model, found.row) == found.target != found.decision
    total = 0.0
    for code, place in zip(ENCODING.codes, ENCODING.slices().values(), strict=True):
        before, after = row[place], found.row[place]
        changed = not torch.equal(before, after)
        assert changed == (code.column in {change.column for change in found.changes})
        assert not changed or code.column in mutable
        if code.how in ("linear", "log"):
            assert abs(float(after[0])) <= 1
            assert torch.equal(after[1:], before[1:])
            total += abs(float(after[0]) - float(before[0])) / 2
        elif code.how == "boolean":
            assert float(after[0]) in (0.0, 1.0)
            total += changed
        else:
            assert sorted(after.tolist()) == [0.0] * (code.width - 1) + [1.0]
            steps = abs(int(after.argmax()) - int(before.argmax()))
            total += steps / 2 if code.how == "bins" else changed
    assert found.distance == pytest.approx(total, abs=1e-6)


def linear(weights: dict[str, float], bias: float = 0.0) -> torch.nn.Module:
    """Log-odds of class 1 that are linear in the first slots of the named columns."""
    model = torch.nn.Linear(ENCODING.width, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.fill_(bias)
        for name, weight in weights.items():
            model.weight[0, ENCODING.slices()[name].start] = weight
    return model


def known(age: float = 0.0, wealth: float = 0.0) -> torch.Tensor:
    row = torch.zeros(ENCODING.width)
    row[0], row[1], row[3], row[6] = age, wealth, 1, 1
    return row


@pytest.mark.parametrize("budget", [100, 4000])  # the first leaves time for the greedy search only
def test_of_a_linear_model_the_nearest_change_is_found_to_one_percent(budget: int) -> None:
    # the closed form in L1: all along the column with the largest weight
    for weights, bias in (({"age": 3, "wealth": 1}, 0.9), ({"age": 1, "wealth": -4}, -1.7), ({"age": 0.2}, 0.1)):
        found = find_counterfactual(linear(weights, bias), known(), ENCODING, mutable=["age", "wealth"], budget=budget)
        nearest = abs(bias) / (2 * max(map(abs, weights.values())))
        assert found.status == "found"
        assert nearest <= found.distance <= 1.01 * nearest


def test_two_columns_are_moved_where_one_does_not_suffice() -> None:
    found = find_counterfactual(linear({"age": 1, "wealth": 1}, -1.5), known(), ENCODING, mutable=["age", "wealth"])
    assert {change.column for change in found.changes} == {"age", "wealth"}
    assert 0.75 <= found.distance <= 0.76


@pytest.mark.parametrize("seed", range(6))
def test_it_is_nearly_as_near_as_brute_force_over_a_grid(seed: int) -> None:
    model, row = net(seed), public_rows(ENCODING, 1, seed=seed + 50)[0]
    start, best = decided(model, row), np.inf
    wealths = np.linspace(-1, 1, 41) if row[2] == 0 else [0.0]
    rows, far = [], []
    for age, wealth, job in itertools.product(np.linspace(-1, 1, 41), wealths, range(3)):
        other = row.clone()
        other[0], other[1], other[3:6] = age, wealth, torch.eye(3)[job]
        rows.append(other)
        far.append(abs(age - float(row[0])) / 2 + abs(wealth - float(row[1])) / 2 + (row[3 + job] == 0))
    with torch.no_grad():
        flips = model(torch.stack(rows)).argmax(dim=1).numpy() != start
    best = float(np.array(far)[flips].min()) if flips.any() else np.inf
    found = find_counterfactual(model, row, ENCODING, mutable=["age", "wealth", "job"], budget=8000)
    if not np.isfinite(best):
        assert found.status == "not found in budget"
    else:
        assert found.distance <= 1.1 * best + 0.01


def test_columns_that_the_model_ignores_flip_nothing_and_the_search_still_returns() -> None:
    found = find_counterfactual(linear({"age": 3}, 0.5), known(), ENCODING, mutable=["job", "member"], budget=5000)
    assert found.status == "not found in budget"
    assert found.values() == {"status": "not found in budget", "decision": 1}
    assert found.evaluated <= 5000


@pytest.mark.parametrize("budget", [1, 2, 30])
def test_no_more_rows_are_asked_than_the_budget_allows(budget: int) -> None:
    asked = 0

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net(1)

        def __deepcopy__(self, memo: dict) -> Counting:
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal asked
            asked += len(x)
            return self.inner(x)

    found = find_counterfactual(Counting(), public_rows(ENCODING, 1)[0], ENCODING, mutable=ALL, budget=budget)
    assert found.evaluated <= budget
    assert asked <= budget + 7  # is it steady, what is the decision, and does the answer hold


def test_time_is_up_when_the_clock_says_so() -> None:
    ticks = itertools.count()
    found = find_counterfactual(
        net(1), public_rows(ENCODING, 1)[0], ENCODING, mutable=ALL, seconds=3, clock=lambda: float(next(ticks))
    )
    whole = find_counterfactual(net(1), public_rows(ENCODING, 1)[0], ENCODING, mutable=ALL)
    assert 0 < found.evaluated < whole.evaluated
    none = find_counterfactual(net(1), public_rows(ENCODING, 1)[0], ENCODING, mutable=ALL, seconds=0)
    assert none.status == "not found in budget"


def test_a_decision_that_is_there_already_needs_no_change() -> None:
    found = find_counterfactual(linear({"age": 1}, 0.5), known(), ENCODING, mutable=["age"], target=1)
    assert (found.status, found.changes, found.row, found.evaluated) == ("already there", (), None, 1)


def test_a_wanted_class_is_reached_and_not_just_another() -> None:
    model = net(3, classes=3)
    for seed in range(5):
        row = public_rows(ENCODING, 1, seed=seed)[0]
        for target in {0, 1, 2} - {decided(model, row)}:
            found = find_counterfactual(model, row, ENCODING, mutable=ALL, target=target)
            assert found.status != "found" or decided(model, found.row) == target
            assert found.target == target


def test_whole_numbers_stay_whole_and_words_are_declared_ones() -> None:
    # class 1 from an age of 58 + 80 · 0.15 = 70 on
    found = find_counterfactual(linear({"age": 1}, -0.3), known(), ENCODING, mutable=["age"], whole=["age"])
    (change,) = found.changes
    assert (change.before, change.after) == (58.0, 71.0)
    rich = find_counterfactual(linear({"wealth": 1}, 0.5), known(), ENCODING, mutable=["wealth"])
    (change,) = rich.changes
    assert change.before == pytest.approx(10 + np.expm1(0.5 * np.log1p(990)), rel=1e-4)
    assert change.after == pytest.approx(10 + np.expm1(0.25 * np.log1p(990)), rel=0.01)
    job = find_counterfactual(linear({"job": -2}, 1.0), known(), ENCODING, mutable=["job"])
    assert [(c.column, c.before) for c in job.changes] == [("job", "x")]
    assert job.changes[0].after in ("y", "z")


def test_a_missing_value_stays_missing_and_none_becomes_missing() -> None:
    gone = known()
    gone[2] = 1
    found = find_counterfactual(linear({"wealth": 5}, -1), gone, ENCODING, mutable=["wealth"])
    assert found.status == "not found in budget"
    model = linear({}, -1.0)
    with torch.no_grad():
        model.weight[0, 2] = 5.0  # only being missing would flip
    assert find_counterfactual(model, known(), ENCODING, mutable=["wealth"]).status == "not found in budget"


def test_nothing_of_the_person_is_shown_and_the_evidence_is_for_stewards(subject) -> None:
    found = find_counterfactual(linear({"age": 1}, -0.3), known(), ENCODING, mutable=["age"], whole=["age"])
    text = repr(found)
    assert not any(part in text for part in ("58", "71", "tensor", "decision", "distance"))
    item = found.evidence(subject, "ab" * 32)
    assert (item.kind, item.coverage, item.tier) == ("counterfactual", "uncovered", "steward")
    assert Evidence.from_statement(json.loads(canonical(item.statement()))) == item
    assert item.values["changes"] == [{"column": "age", "before": 58.0, "after": 71.0}]


def test_the_model_and_the_generators_are_untouched_and_a_seed_makes_it_repeatable() -> None:
    model, row = net(2).train(), public_rows(ENCODING, 1, seed=4)[0]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, again = torch.get_rng_state(), row.clone()
    one = find_counterfactual(model, row, ENCODING, mutable=ALL, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(row, again)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert one == find_counterfactual(model, row, ENCODING, mutable=ALL, seed=3)
    assert one.how()["seed"] == 3


def test_bad_input_is_refused() -> None:
    model, row = net(0), known()
    with pytest.raises(UnknownName, match='did you mean "wealth"'):
        find_counterfactual(model, row, ENCODING, mutable=["welth"])
    with pytest.raises(UnknownName, match='did you mean "age"'):
        find_counterfactual(model, row, ENCODING, mutable=["age"], whole=["agee"])
    with pytest.raises(BadData, match="at least one column"):
        find_counterfactual(model, row, ENCODING, mutable=[])
    with pytest.raises(BadData, match="at least once"):
        find_counterfactual(model, row, ENCODING, mutable=ALL, budget=0)
    with pytest.raises(BadData, match=r"0\.\.1"):
        find_counterfactual(model, row, ENCODING, mutable=ALL, target=2)
    with pytest.raises(BadData, match="slots"):
        find_counterfactual(model, row[:-1], ENCODING, mutable=ALL)
    with pytest.raises(BadData, match="NaN"):
        find_counterfactual(model, row * float("nan"), ENCODING, mutable=ALL)
    for place, value in ((0, 1.5), (2, 0.5), (3, 0.0), (9, 0.5)):
        odd = row.clone()
        odd[place] = value
        with pytest.raises(BadData, match="not what the encoding writes"):
            find_counterfactual(model, odd, ENCODING, mutable=ALL)
