"""The encoding against a twin that does one value at a time, in plain Python."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import BadData
from pellucid.schema import Code, Encoding, Schema
from pellucid.train import encode, encode_features, encode_target

SCHEMA = Schema.parse("""
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns.age]
type = "integer"
bounds = [17, 90]
missing = { fill = 40 }
sensitivity = "personal"
[columns.wage]
type = "number"
bounds = [-10.0, 1000.0]
scale = "log"
missing = "category"
sensitivity = "personal"
[columns.hours]
type = "integer"
bounds = [0, 99]
bins = [20, 40]
missing = "category"
sensitivity = "personal"
[columns.job]
type = "category"
categories = ["a", "b", "c"]
missing = "category"
sensitivity = "personal"
[columns.town]
type = "category"
categories = ["x", "y"]
missing = { fill = "y" }
sensitivity = "personal"
[columns.owner]
type = "boolean"
missing = "category"
sensitivity = "personal"
[columns.loan]
type = "category"
categories = ["no", "yes"]
sensitivity = "personal"
""")
ENCODING = Encoding.of(SCHEMA)
TYPES = {
    "age": pa.int64(),
    "wage": pa.float64(),
    "hours": pa.int32(),
    "job": pa.string(),
    "town": pa.string(),
    "owner": pa.bool_(),
    "loan": pa.string(),
}


def naive(code: Code, value: object) -> list[float]:
    """One value, by the words of ``Code``."""
    out = [0.0] * code.width
    if value is None and code.fill is not None:
        value = code.fill
    if value is None:
        assert code.missing
        out[-1] = 1.0
        return out
    if code.how == "onehot":
        out[code.categories.index(str(value))] = 1.0
    elif code.how == "boolean":
        out[0] = 1.0 if value else 0.0
    elif code.how == "bins":
        out[sum(1 for edge in code.edges if float(value) >= edge)] = 1.0  # type: ignore[arg-type]
    else:
        above, span = float(value) - code.low, code.high - code.low  # type: ignore[arg-type]
        share = above / span if code.how == "linear" else math.log1p(above) / math.log1p(span)
        out[0] = 2 * share - 1
    return out


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), strategy)


ROW = st.fixed_dictionaries(
    {
        "age": maybe(st.integers(17, 90)),
        "wage": maybe(st.floats(-10, 1000, allow_nan=False)),
        "hours": maybe(st.integers(0, 99)),
        "job": maybe(st.sampled_from("abc")),
        "town": maybe(st.sampled_from("xy")),
        "owner": maybe(st.booleans()),
        "loan": st.sampled_from(["no", "yes"]),
    }
)


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()})


@given(st.lists(ROW, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_equals_the_naive_twin_and_lies_in_minus_one_to_one(rows: list[dict[str, object]]) -> None:
    x = encode_features(table(rows), ENCODING)
    twin = [[number for code in ENCODING.codes for number in naive(code, row[code.column])] for row in rows]
    assert x.dtype == torch.float32
    assert x.shape == (len(rows), ENCODING.width)
    np.testing.assert_allclose(x.numpy(), np.asarray(twin), rtol=0, atol=2e-7)
    assert x.abs().max() <= 1
    y = encode_target(table(rows), ENCODING)
    assert y.dtype == torch.int64
    assert y.tolist() == [["no", "yes"].index(str(row["loan"])) for row in rows]


def test_chunking_and_column_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"age": 17 + i % 70, "wage": i / 3, "hours": i % 99, "job": "abc"[i % 3], "town": None, "owner": i % 2 == 0}
        | {"loan": "yes" if i % 3 else "no"}
        for i in range(200)
    ]
    whole = table(rows)
    pieces = pa.concat_tables([whole.slice(0, 7), whole.slice(7, 90), whole.slice(97)]).select(list(TYPES)[::-1])
    expected = encode_features(whole, ENCODING)
    monkeypatch.setattr(encode, "CHUNK", 16)
    assert torch.equal(encode_features(pieces, ENCODING), expected)
    assert torch.equal(encode_target(pieces, ENCODING), encode_target(whole, ENCODING))


def test_dictionary_columns_are_decoded() -> None:
    rows = [{"age": 20, "wage": 1.0, "hours": 3, "job": job, "town": "x", "owner": None, "loan": "no"} for job in "cab"]
    plain = table(rows)
    place = plain.column_names.index("job")
    coded = plain.set_column(place, "job", plain.column("job").dictionary_encode())
    assert torch.equal(encode_features(coded, ENCODING), encode_features(plain, ENCODING))


def test_bounds_map_to_the_ends() -> None:
    code = Code("c", "log", 1, ("c",), 0.0, 99999.0)
    data = pa.table({"c": [0, 99999]})
    assert encode_features(data, Encoding((code,), "y")).flatten().tolist() == [-1.0, 1.0]


GOOD: dict[str, object] = {
    "age": 30,
    "wage": 1.0,
    "hours": 40,
    "job": "a",
    "town": "x",
    "owner": True,
    "loan": "no",
}


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("age", 91, "bounds"),
        ("age", 16, "bounds"),
        ("wage", float("inf"), "not finite"),
        ("wage", 1000.5, "bounds"),
        ("hours", 137, "bounds"),
        ("job", "secretword", "categories"),
    ],
)
def test_a_value_not_admitted_is_refused_and_not_shown(column: str, value: object, words: str) -> None:
    with pytest.raises(BadData) as caught:
        encode_features(table([GOOD, GOOD | {column: value}]), ENCODING)
    assert words in caught.value.what
    assert caught.value.where == column
    assert str(value) not in str(caught.value)


def test_missing_is_refused_unless_declared() -> None:
    code = Code("age", "linear", 1, ("age",), 17, 90)
    with pytest.raises(BadData, match="missing"):
        encode_features(table([GOOD | {"age": None}]), Encoding((code,), "loan"))
    nan = pa.table({"age": [30.0, float("nan")]})
    with pytest.raises(BadData, match="missing"):
        encode_features(nan, Encoding((code,), "loan"))


def test_a_missing_column_or_another_type_is_refused() -> None:
    with pytest.raises(BadData, match='did you mean "age"'):
        encode_features(table([GOOD]), _typo())
    wrong = table([GOOD]).set_column(0, "age", pa.array(["30"]))
    with pytest.raises(BadData, match="numbers are declared"):
        encode_features(wrong, ENCODING)
    wrong = table([GOOD]).set_column(5, "owner", pa.array([1]))
    with pytest.raises(BadData, match="true or false"):
        encode_features(wrong, ENCODING)
    wrong = table([GOOD]).set_column(3, "job", pa.array([1]))
    with pytest.raises(BadData, match="categories are declared"):
        encode_features(wrong, ENCODING)


def _typo() -> Encoding:
    return Encoding((Code("agge", "linear", 1, ("agge",), 17, 90),), "loan")


def test_targets() -> None:
    data = pa.table({"flag": [True, False], "amount": [1.5, 2.5], "bad": [1.0, None], "word": ["no", None]})
    flags = encode_target(data, Encoding((), "flag", ("false", "true")))
    assert flags.tolist() == [1, 0]
    amounts = encode_target(data, Encoding((), "amount"))
    assert amounts.dtype == torch.float32
    assert amounts.tolist() == [1.5, 2.5]
    for name, classes in (("bad", ()), ("word", ("no", "yes"))):
        with pytest.raises(BadData, match="target is missing"):
            encode_target(data, Encoding((), name, classes))


def test_no_row_is_legal() -> None:
    assert encode_features(table([]), ENCODING).shape == (0, ENCODING.width)


def test_the_shipped_schema_encodes() -> None:
    schema = Schema.read(Path(__file__).parents[2] / "schemas" / "applicants.toml")
    encoding = Encoding.of(schema)
    assert "gender" not in encoding.features
    assert "ethnicity" not in encoding.features
    assert encoding.classes == ("<=50K", ">50K")
