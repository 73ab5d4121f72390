"""The additive model: what its tables say is what it says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.boosted import ENCODING, SCHEMA, random_model

from pellucid.errors import BadFile
from pellucid.schema import Encoding, Schema
from pellucid.train import load, save
from pellucid.train.additive import Additive
from pellucid.train.encode import encode_features

BINS = 8


def encoded(**columns: list[Any]) -> torch.Tensor:
    rows = len(next(iter(columns.values())))
    types = {"age": pa.int64(), "gain": pa.float64(), "hours": pa.int64(), "job": pa.string(), "member": pa.bool_()}
    defaults: dict[str, Any] = {"age": 20, "gain": 0.0, "hours": 1, "job": "clerk", "member": False}
    table = {name: pa.array(columns.get(name, [defaults[name]] * rows), kind) for name, kind in types.items()}
    return encode_features(pa.table(table), ENCODING)


def naive(model: Additive, row: dict[str, Any]) -> float:
    """The score by hand, from values in declared units."""

    def number(column: str, share: float) -> float:
        values = tables[column][:BINS]
        return float(np.interp(share * BINS - 0.5, np.arange(BINS), values))

    tables = {table.code.column: model.values[table.cells].detach().double().numpy() for table in model.tables}
    total = float(model.intercept.detach())
    total += number("age", (row["age"] - 10) / 80)
    gone = row["gain"] is None
    total += tables["gain"][-1] if gone else number("gain", math.log1p(row["gain"]) / math.log1p(1000))
    total += tables["hours"][int(np.searchsorted([20, 40], row["hours"], side="right"))]
    total += tables["job"][["clerk", "cook", None].index(row["job"])]
    return total + float(tables["member"][int(row["member"])])


@given(
    st.fixed_dictionaries(
        {
            "age": st.integers(10, 90),
            "gain": st.one_of(st.none(), st.floats(0, 1000)),
            "hours": st.integers(0, 99),
            "job": st.sampled_from(["clerk", "cook", None]),
            "member": st.booleans(),
        }
    )
)
def test_the_score_is_the_sum_of_what_the_tables_say_in_declared_units(row: dict[str, Any]) -> None:
    model = random_model(BINS)
    x = encoded(**{name: [value] for name, value in row.items()})
    logits = model(x).detach()
    assert logits[0, 0] == 0
    # a float32 slot and float32 sums
    assert float(logits[0, 1]) == pytest.approx(naive(model, row), abs=2e-5)


def test_every_boundary_of_every_bin_is_the_tables_own_value() -> None:
    model = random_model(BINS)
    values = model.values[model.tables[0].cells].detach()
    middles = [10 + 80 * (k + 0.5) / BINS for k in range(BINS)]  # whole numbers: 15, 25, …
    x = encoded(age=[round(m) for m in middles])
    assert model.contributions(x)[:, 0].detach() == pytest.approx(values, abs=1e-6)
    edges = encoded(age=[10 + 80 * k // BINS for k in range(BINS + 1)])
    assert model.places(edges)[:, 0].tolist() == [*range(BINS), BINS - 1]  # the lower edge inside, the last one too
    between = model.contributions(edges[1:-1])[:, 0].detach()
    assert between == pytest.approx((values[:-1] + values[1:]) / 2, abs=1e-6)
    ends = model.contributions(edges[[0, -1]])[:, 0].detach()
    assert ends == pytest.approx(values[[0, -1]], abs=1e-6)


def test_what_is_outside_falls_into_the_nearest_bin() -> None:
    model = random_model(BINS)
    x = encoded(age=[10, 90]).repeat(2, 1)
    x[2, 0], x[3, 0] = -5.0, 5.0
    assert torch.equal(model(x)[:2], model(x)[2:])


def test_a_person_is_in_exactly_one_cell_of_each_column() -> None:
    model = random_model(BINS)
    x = encoded(gain=[None, 0.0, 1000.0], job=["cook", None, "clerk"], hours=[0, 20, 99], member=[True, False, True])
    places = model.places(x)
    assert places[:, 1].tolist() == [BINS, 0, BINS - 1]
    assert places[:, 2].tolist() == [0, 1, 2]
    assert places[:, 3].tolist() == [1, 2, 0]
    assert places[:, 4].tolist() == [1, 0, 1]
    sizes = torch.tensor([len(table) for table in model.tables])
    assert bool((places < sizes).all())
    assert int(sizes.sum()) == len(model.values)


def test_labels_say_what_a_cell_means() -> None:
    labels = {table.code.column: table.labels for table in Additive(ENCODING, 2).tables}
    assert labels["age"] == ("age in [10, 50)", "age in [50, 90]")
    assert labels["gain"][0] == f"gain in [0, {math.sqrt(1001) - 1:.6g})"
    assert labels["gain"][-1] == "gain=<missing>"
    assert labels["member"] == ("member=false", "member=true")


def test_the_model_has_a_gradient_and_integrated_gradients_of_it_add_up() -> None:
    from pellucid.explain import attribute, public_rows

    model, x = random_model(BINS), public_rows(ENCODING, 200)
    found = attribute(model, x, ENCODING)
    assert found.method == "integrated_gradients"
    assert found.completeness_gap < 0.01
    start = model.contributions(torch.zeros(1, ENCODING.width)).detach()
    exact = (model.contributions(x).detach() - start).double().numpy()
    assert np.abs(found.rows - exact).mean() < 0.02 * np.abs(exact).mean()


def test_weights_are_safetensors_with_a_digest(tmp_path: Any) -> None:
    model = random_model(BINS)
    digest = save(model, tmp_path / "weights.safetensors")
    again = Additive(ENCODING, BINS)
    load(tmp_path / "weights.safetensors", again, sha256=digest)
    x = encoded(age=[10, 33, 90])
    assert torch.equal(again(x), model(x))


def test_a_target_that_has_not_two_classes_is_refused() -> None:
    text = SCHEMA.replace('type = "boolean" # target', 'type = "category"\ncategories = ["a", "b", "c"]')
    assert text != SCHEMA
    with pytest.raises(BadFile, match="two classes"):
        Additive(Encoding.of(Schema.parse(text)), BINS)
