import datetime as dt
import math
import traceback
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadData
from pellucid.schema import Schema
from pellucid.vault import check_table

HEAD = (
    '[dataset]\ntarget = "y"\nunits = 10\npurposes = ["p"]\n[columns.y]\ntype = "boolean"\nsensitivity = "personal"\n'
)
TYPES = {
    "integer": 'type = "integer"\nbounds = [17, 90]',
    "number": 'type = "number"\nbounds = [-1.5, 1e6]',
    "category": 'type = "category"\ncategories = ["b", "a", "1", "NA"]',
    "boolean": 'type = "boolean"',
    "text": 'type = "text"',
    "image": 'type = "image"',
    "timestamp": 'type = "timestamp"',
}


def schema_of(kind, missing="refuse"):
    return Schema.parse(f'{HEAD}[columns.x]\n{TYPES[kind]}\nsensitivity = "personal"\nmissing = "{missing}"\n')


def check(kind, values, missing="refuse"):
    values = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    table = check_table(pa.table({"x": values, "y": [True] * len(values)}), schema_of(kind, missing))
    return table.column("x")


UTC = dt.UTC


@pytest.mark.parametrize(
    ("kind", "given", "normal"),
    [
        ("integer", ["39", " +40 ", "41.0", "4.2e1"], [39, 40, 41, 42]),
        ("integer", pa.array([17, 90], pa.uint8()), [17, 90]),
        ("integer", pa.array([17, 90], pa.uint64()), [17, 90]),
        ("integer", [39.0], [39]),
        ("integer", [Decimal("39.00")], [39]),
        ("integer", pa.array(["39", "39"]).dictionary_encode(), [39, 39]),
        ("number", ["-1.5", ".5", "5.", "1E3"], [-1.5, 0.5, 5.0, 1000.0]),
        ("number", [1, 2], [1.0, 2.0]),
        ("number", [Decimal("0.1")], [0.1]),
        ("number", pa.array([0.5], pa.float32()), [0.5]),
        ("category", ["a", " b ", "NA", "1"], ["a", "b", "NA", "1"]),
        ("category", [1, 1], ["1", "1"]),
        ("boolean", ["True", "false", "1", "0"], [True, False, True, False]),
        ("boolean", [1, 0], [True, False]),
        ("boolean", [1.0, 0.0], [True, False]),
        ("text", ["", " a\x00"], ["", " a\x00"]),
        ("image", pa.array([b"\x00"], pa.large_binary()), [b"\x00"]),
        ("timestamp", ["2024-02-29"], [dt.datetime(2024, 2, 29, tzinfo=UTC)]),
        ("timestamp", ["2024-02-29T01:02:03.5+02:00"], [dt.datetime(2024, 2, 28, 23, 2, 3, 500000, tzinfo=UTC)]),
        ("timestamp", ["2024-02-29 01:02Z"], [dt.datetime(2024, 2, 29, 1, 2, tzinfo=UTC)]),
        ("timestamp", [dt.date(1, 1, 1)], [dt.datetime(1, 1, 1, tzinfo=UTC)]),
        ("timestamp", pa.array([1_000], pa.timestamp("ns")), [dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
    ],
)
def test_admissible_values_come_out_in_the_declared_type(kind, given, normal):
    assert check(kind, given).to_pylist() == normal


SECRET = "SECRET_VALUE"
BAD = [
    ("integer", ["16", "91"], "out of its bounds [17, 90]", 2),
    ("integer", [16], "out of its bounds", 1),
    ("integer", pa.array([2**64 - 1], pa.uint64()), "fits 64 bits", 1),
    ("integer", ["39.5"], "not a whole number", 1),
    ("integer", [39.5], "not a whole number", 1),
    ("integer", [1e300], "not a whole number", 1),
    ("integer", ["9" * 19], "not a whole number", 1),
    ("integer", [SECRET, "", "1_0", "٣٩"], "not a whole number", 4),
    ("integer", [True], "not a whole number", 1),
    ("integer", [math.inf], "not a whole number", 1),
    ("number", ["-1.6", "1e999"], "out of its bounds", 2),
    ("number", ["nan", "inf", SECRET, "0x10"], "not a number", 4),
    ("number", [math.inf], "out of its bounds", 1),
    ("number", [False], "not a number", 1),
    ("category", [SECRET, "A"], "not a declared category", 2),
    ("category", [1.5], "not a declared category", 1),
    ("category", [True], "not a category", 1),
    ("boolean", ["yes", SECRET], "not true or false", 2),
    ("boolean", [2], "not true or false", 1),
    ("text", [1], "not text", 1),
    ("image", [SECRET], "not the bytes of an image", 1),
    ("timestamp", [SECRET, "2024-02-30", "0000-01-01", "2024-01-01T00:00:00.1234567"], "ISO 8601", 4),
    ("timestamp", [12], "ISO 8601", 1),
    ("timestamp", pa.array([1], pa.timestamp("ns")), "finer than a microsecond", 1),
    ("timestamp", pa.array([2**62], pa.timestamp("s")), "cannot be converted", 1),
]


@pytest.mark.parametrize(("kind", "values", "rule", "count"), BAD)
def test_inadmissible_values_are_refused_and_never_shown(kind, values, rule, count):
    with pytest.raises(BadData) as caught:
        check(kind, values)
    error = caught.value
    assert 'column "x" ' in str(error)
    assert rule in str(error)
    assert [(p.column, p.count) for p in error.problems] == [("x", count)]
    seen = str(error) + repr(error) + repr(error.args) + "".join(traceback.format_exception(error))
    assert SECRET not in seen
    assert error.__context__ is None, "no error of Arrow's, which holds the value, hangs on ours"


@pytest.mark.parametrize("kind", TYPES)
def test_missing_is_refused_or_kept_as_null(kind):
    nulls = pa.array([None, None])
    with pytest.raises(BadData, match="missing where the schema says refuse") as caught:
        check(kind, nulls)
    assert caught.value.problems[0].count == 2
    kept = check(kind, nulls, missing="category")
    assert kept.to_pylist() == [None, None]


def test_nan_is_missing():
    assert check("number", [1.0, math.nan], missing="category").to_pylist() == [1.0, None]
    assert check("integer", [20.0, math.nan], missing="category").to_pylist() == [20, None]


def test_categories_are_in_declared_order_whatever_the_data_says():
    column = check("category", ["a", "b", "a"])
    assert column.chunk(0).dictionary.to_pylist() == ["b", "a", "1", "NA"]
    assert column.chunk(0).indices.to_pylist() == [1, 0, 1]


def test_all_problems_are_found_at_once_and_no_count_is_in_the_message(kit):
    table = kit.rows()
    table = (
        table.set_column(1, "age", pa.array([5, 6, 7, 44])).drop_columns(["photo"]).append_column("phto", [["x"] * 4])
    )
    with pytest.raises(BadData) as caught:
        check_table(table, Schema.parse(kit.EVERY_TYPE))
    text = str(caught.value)
    assert 'column "age" is out of its bounds [17, 90]' in text
    assert 'column "photo" is not there; did you mean "phto"?' in text
    assert 'column "phto" is not in the schema; did you mean "photo"?' in text
    assert {(p.column, p.count) for p in caught.value.problems} == {("age", 3), ("photo", 4), ("phto", 4)}
    assert "3" not in text.replace("[17, 90]", "")


def test_the_unit_column_must_name_a_person_even_if_missing_is_declared(kit):
    lenient = kit.EVERY_TYPE.replace('sensitivity = "identifier"', 'sensitivity = "identifier"\nmissing = "category"')
    table = kit.rows().set_column(0, "person", pa.array(["a", None, "b", "c"]))
    with pytest.raises(BadData, match="must name a person"):
        check_table(table, Schema.parse(lenient))
    blank = kit.rows().set_column(0, "person", pa.array(["a", " ", "b", "c"]))
    with pytest.raises(BadData, match='"person" is empty'):
        check_table(blank, Schema.parse(lenient))


def test_one_person_with_blanks_is_still_one_person(kit):
    table = kit.rows().set_column(0, "person", pa.array(["a", " a", "b ", "b"]))
    assert check_table(table, Schema.parse(kit.EVERY_TYPE)).column("person").to_pylist() == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pa.table({"x": [17], "y": [True]}).slice(0, 0), "no row"),
        (pa.table({}), "no row"),
        (pa.table([[17], [18], [True]], names=["x", "x", "y"]), '"x" stands twice'),
        (pd.DataFrame([[17, 18, True]], columns=["x", "x", "y"]), '"x" stands twice'),
        (pd.DataFrame({"x": [17, "SECRET_VALUE"], "y": [True, True]}), "several types"),
        (pd.DataFrame({"x": [{1}], "y": [True]}), "several types|whole number"),
        ([[17, True]], "a list is neither"),
        (pa.table({"x": pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers()), "y": [True]}), "UTF-8"),
    ],
)
def test_tables_that_are_no_table_are_refused(data, says):
    with pytest.raises(BadData, match=says) as caught:
        check_table(data, schema_of("integer"))
    assert "SECRET_VALUE" not in str(caught.value) + repr(caught.value)


def test_without_a_header_line_the_names_are_values_and_not_shown():
    with pytest.raises(BadData) as caught:
        check_table(pa.table({"SECRET_VALUE": [1], "17": [True]}), schema_of("integer"))
    assert "SECRET_VALUE" not in str(caught.value)
    assert "header line" in str(caught.value)


def test_pandas_frames_of_every_kind_of_column(kit):
    frame = kit.rows().to_pandas()
    frame["job"] = frame["job"].astype("category")
    frame["age"] = frame["age"].astype(float)
    frame.index = [7, 7, 8, 9]
    schema = Schema.parse(kit.EVERY_TYPE)
    assert check_table(frame, schema).equals(check_table(kit.rows(), schema))


def _twin_integer(text):
    """The declared meaning of a text in an integer column, in plain Python."""
    text = text.strip()
    try:
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return None
    if not math.isfinite(value) or value != math.floor(value) or not 17 <= value <= 90:
        return None
    return int(value)


NUMERALS = st.from_regex(r"\A ?[+-]?[0-9]{1,3}(\.[0-9]{0,2})?(e[0-2])?\Z") | st.integers(10, 99).map(str)


@given(st.lists(NUMERALS | st.sampled_from(["", "x", "1 2", "--3", "."]), min_size=1, max_size=8))
def test_parsing_integers_agrees_with_python(texts):
    expected = [_twin_integer(text) for text in texts]
    if None in expected:
        with pytest.raises(BadData) as caught:
            check("integer", texts)
        assert sum(p.count for p in caught.value.problems) == expected.count(None)
    else:
        assert check("integer", texts).to_pylist() == expected


@given(st.lists(st.floats(-1.5, 1e6), min_size=1, max_size=8))
def test_numbers_written_by_python_are_read_back_to_the_last_bit(values):
    back = check("number", [repr(value) for value in values]).to_pylist()
    assert np.array(back).tobytes() == np.array(values).tobytes()
