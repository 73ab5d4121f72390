"""What is read off an additive model's tables is what the model says, in declared units."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.boosted import ENCODING, random_model

from pellucid.errors import BadData, Misuse
from pellucid.evidence import Evidence, canonical
from pellucid.explain import Explanation, Fields, Shapes, attribute, public_rows, read_tables
from pellucid.train.additive import Additive
from pellucid.train.encode import encode_features

BINS = 8
MODEL = random_model(BINS)


def read(model: Additive) -> Shapes:
    tables = {table.code.column: model.values[table.cells].tolist() for table in model.tables}
    return read_tables(ENCODING, tables, model.intercept.item())


SHAPES = read(MODEL)
PERSON = st.fixed_dictionaries(
    {
        "age": st.integers(10, 90),
        "gain": st.one_of(st.none(), st.floats(0, 1000)),
        "hours": st.integers(0, 99),
        "job": st.sampled_from(["clerk", "cook", None]),
        "member": st.booleans(),
    }
)


@given(PERSON)
def test_the_readout_of_an_additive_model_equals_its_scores(row: dict[str, Any]) -> None:
    types = {"age": pa.int64(), "gain": pa.float64(), "hours": pa.int64(), "job": pa.string(), "member": pa.bool_()}
    x = encode_features(pa.table({name: pa.array([row[name]], kind) for name, kind in types.items()}), ENCODING)
    score = float(MODEL(x)[0, 1].detach())
    assert SHAPES.log_odds(row, ENCODING) == pytest.approx(score, abs=2e-5)  # a float32 slot and float32 sums


@given(PERSON)
def test_a_reader_of_the_json_alone_finds_the_same_score(row: dict[str, Any]) -> None:
    said = json.loads(json.dumps(SHAPES.values()))
    total = said["intercept"]
    for name, value in row.items():
        shape = said["columns"][name]
        if value is None:
            total += shape["missing"]
        elif "at" in shape:
            warp = np.log1p if shape["scale"] == "log" else np.asarray
            total += float(np.interp(warp(value), warp(shape["at"]), shape["adds"]))
        elif name == "hours":
            place = [float(label.strip("[)").split(", ")[0]) <= value for label in shape["names"]]
            total += shape["adds"][sum(place) - 1]
        else:
            total += shape["adds"][shape["names"].index(str(value).lower())]
    assert total == pytest.approx(
        SHAPES.log_odds(row, ENCODING), abs=2e-3
    )  # places in six digits, adds in six decimals


def test_fields_are_named_so_that_a_chart_is_easy() -> None:
    columns = SHAPES.values()["columns"]
    assert tuple(columns) == ENCODING.features
    for shape in columns.values():
        if "names" in shape:
            assert len(shape["names"]) == len(shape["adds"])
        else:
            assert len(shape["at"]) == len(shape["adds"]) == len(shape["edges"]) - 1
            assert shape["at"] == sorted(shape["at"])
    assert columns["age"]["edges"][0] == 10
    assert columns["age"]["edges"][-1] == 90
    assert columns["gain"]["edges"][-1] == 1000
    assert columns["member"]["names"] == ["false", "true"]
    assert "missing" in columns["gain"]


def test_the_readout_stands_in_explanation_evidence_and_says_that_it_is_post_processing(subject) -> None:
    rows = public_rows(ENCODING, 30)
    found = Explanation(attribute(MODEL, rows, ENCODING, public=True, tolerance=0.1), readout=SHAPES).evidence(subject)
    assert found.values["readout"] == SHAPES.values()
    assert found.how["readout"]["coverage"].startswith("post-processing")
    assert (found.coverage, found.tier) == ("post-processing", "public")
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", 9), ("age", "ten"), ("hours", None), ("job", "king"), ("member", "yes"), ("member", 1)],
)
def test_a_value_that_is_not_declared_is_refused_by_column_and_not_shown(column: str, value: Any) -> None:
    row = {"age": 20, "gain": 0.0, "hours": 1, "job": "clerk", "member": False, column: value}
    with pytest.raises(BadData) as caught:
        SHAPES.log_odds(row, ENCODING)
    assert caught.value.where == column
    assert "king" not in str(caught.value)
    with pytest.raises(BadData, match="not there"):
        SHAPES.log_odds({}, ENCODING)


def test_tables_that_do_not_fit_the_encoding_are_refused() -> None:
    tables = {table.code.column: MODEL.values[table.cells].tolist() for table in MODEL.tables}
    for wrong in ({**tables, "job": [0.0]}, {**tables, "age": []}):
        with pytest.raises(BadData, match="does not fit"):
            read_tables(ENCODING, wrong, 0.0)
    with pytest.raises(Misuse):
        read_tables(Fields.single(3), tables, 0.0)
