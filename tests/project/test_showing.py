"""What a page draws of an explanation: nothing of one person, and the numbers of the explanation itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.project.conftest import FEATURES, Place

from pellucid import explain
from pellucid.errors import BadFile
from pellucid.project import card
from pellucid.project.model import Trained, load
from pellucid.project.showing import LEVELS, described, example, points, spread
from pellucid.schema import Code

EXAMPLE = 'model = "tiny"\n[example]\nage = 40\nincome = 2000.0\njob = "nurse"\n'


@pytest.fixture(scope="module")
def model(trained_once: Place) -> Trained:
    return load(trained_once.open("kim"), "tiny")


@pytest.fixture(scope="module")
def people(model: Trained) -> Any:
    x, _ = model.held_out()
    return x, explain.attribute(model.module, x, model.encoding)


def test_no_cell_of_a_spread_is_of_fewer_than_ten_people_and_none_is_exact(model: Trained, people: Any) -> None:
    x, attribution = people
    found = spread(attribution, x, model.encoding.codes)
    assert found is not None
    assert set(found["columns"]) == set(FEATURES)
    counts = [cell["n"] for cells in found["columns"].values() for cell in cells]
    assert counts
    assert all(n >= 10 and n % 10 == 0 for n in counts)
    assert found["people"] % 10 == 0
    for cells in found["columns"].values():
        assert sum(cell["n"] for cell in cells) <= found["people"]


def test_a_spread_counts_what_a_naive_count_counts(model: Trained, people: Any) -> None:
    x, attribution = people
    found = spread(attribution, x, model.encoding.codes)
    assert found is not None
    edges = np.array(found["edges"])
    place = FEATURES.index("job")
    for cell in found["columns"]["job"]:
        assert "level" not in cell
        low, high = edges[cell["cell"]], edges[cell["cell"] + 1]
        first, last = cell["cell"] == 0, cell["cell"] == len(edges) - 2
        values = attribution.rows[:, place]
        inside = ((values >= low) | first) & ((values < high) | last)
        assert cell["n"] == int(inside.sum()) // 10 * 10
    assert {cell["level"] for cell in found["columns"]["age"]} <= set(LEVELS)


def test_edges_are_round_and_never_a_persons_value(model: Trained, people: Any) -> None:
    x, attribution = people
    found = spread(attribution, x, model.encoding.codes)
    assert found is not None
    reach = found["edges"][-1]
    assert reach / 10.0 ** np.floor(np.log10(reach)) in (1.0, 2.0, 5.0)
    assert float(np.abs(attribution.rows).max()) != reach


def test_too_few_people_have_no_spread(model: Trained) -> None:
    x, _ = model.held_out()
    few = x[:199]
    assert spread(explain.attribute(model.module, few, model.encoding), few, model.encoding.codes) is None


def test_points_are_in_the_columns_own_words() -> None:
    job = Code("job", "onehot", 3, ("job=a", "job=b", "job=<missing>"), categories=("a", "b"), missing=True)
    assert points(job, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) == ["a", "b"]
    assert points(Code("age", "linear", 1, ("age",), 10.0, 30.0), [-1.0, 0.0, 1.0]) == [10.0, 20.0, 30.0]
    gain = Code("gain", "log", 1, ("gain",), 0.0, 99.0)
    assert points(gain, [-1.0, 0.0, 1.0]) == [0.0, 9.0, 99.0]  # expm1(log1p(99) / 2) = 10 - 1
    bins = Code("age", "bins", 3, ("age in [-inf, 25)", "age in [25, 65)", "age in [65, inf)"), edges=(25.0, 65.0))
    assert points(bins, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]) == ["< 25", "25 – 65", "≥ 65"]
    assert points(Code("own", "boolean", 1, ("own",)), [[0.0], [1.0]]) == ["false", "true"]


def test_a_declared_example_adds_up_to_its_answer(trained: Place) -> None:
    (trained.root / card.FILE).write_text(EXAMPLE, encoding="utf-8")
    found = load(trained.open("kim"), "tiny")
    case = example(found)
    assert case is not None
    assert case["of"] == {"age": "40", "income": "2000.0", "job": "nurse"}
    moved = case["answer"] - case["base"]
    assert sum(case["attribution"].values()) == pytest.approx(moved, abs=0.05 * abs(moved) + 1e-6)
    assert case["probability"] == pytest.approx(1 / (1 + np.exp(-case["answer"])), abs=1e-6)


def test_without_an_example_there_is_no_case(model: Trained, people: Any) -> None:
    x, attribution = people
    assert example(model) is None
    made = explain.Explanation(attribution).evidence(model.subject)
    assert "case" not in described(made, attribution, x, model.encoding.codes, None).values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.replace("age = 40", "ago = 40"), 'example.ago: the model has no such column; did you mean "age"?'),
        (lambda s: s.replace("age = 40", "age = 400"), "example.age: a value is outside the declared bounds"),
        (lambda s: s.replace('"nurse"', '"pope"'), "example.job: a value is none of the declared categories"),
        (lambda s: s.replace("age = 40\n", ""), "example.age: the data has no such column"),
        (lambda s: s.replace("age = 40", 'age = "old"'), "example.age: numbers are declared"),
    ],
)
def test_an_example_that_does_not_fit_is_an_error_that_says_where(trained: Place, change: Any, said: str) -> None:
    (trained.root / card.FILE).write_text(change(EXAMPLE), encoding="utf-8")
    with pytest.raises(BadFile) as error:
        example(load(trained.open("kim"), "tiny"))
    assert said in str(error.value)
    assert torch.is_grad_enabled()
