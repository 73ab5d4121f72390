from __future__ import annotations

from typing import Any

import pytest

from pellucid.errors import Unverified
from pellucid.report.blocks import ABSENT
from pellucid.report.reading import Reader, flatten

GOOD = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 120}


def reader(**values: Any) -> Reader:
    return Reader(values, "uncovered", "kind")


def test_absent_is_not_measured_and_never_zero() -> None:
    it = reader(a={})
    for cell in (it.exact("x"), it.estimate("x"), it.units("x"), it.upper("x"), it.words("x"), it.code("x")):
        assert cell == ABSENT
    assert it.exact("a", "b") == ABSENT
    assert it.number("x") is None
    assert it.readers("x") == ()
    assert ABSENT.text == "not measured"
    assert ABSENT.value is None


def test_zero_is_zero_and_not_absent() -> None:
    assert reader(x=0).exact("x").text == "0"
    assert reader(x=0.0).estimate("x").text == "0.000 (no interval)"


def test_an_estimate_shows_its_interval_and_units() -> None:
    it = reader(auc=GOOD)
    assert it.estimate("auc").text == "0.500 (0.400 to 0.600)"
    assert it.estimate("auc").value == GOOD
    assert it.estimate("auc").coverage == ("uncovered",)
    assert it.units("auc").text == "120"


@pytest.mark.parametrize(
    "value",
    ["0.5", True, [], {"low": 0.1}, {**GOOD, "value": "x"}, {**GOOD, "low": 0.9, "high": 0.1}, {"value": 1, "low": 0},
     float("nan"), {**GOOD, "high": float("inf")}],
)  # fmt: skip
def test_a_wrong_shape_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(Unverified) as caught:
        reader(a={"b": value}).estimate("a", "b")
    assert caught.value.where is not None
    assert caught.value.where.startswith("kind.a.b")


@pytest.mark.parametrize("read", ["reader", "readers", "texts"])
def test_a_text_where_a_structure_must_be_is_refused(read: str) -> None:
    with pytest.raises(Unverified, match="not of its form"):
        getattr(reader(a="text"), read)("a")
    with pytest.raises(Unverified):
        reader(a="text").get("a", "b")


def test_flatten_gives_every_leaf_its_path() -> None:
    leaves = dict(flatten({"b": {"c": 1.5, "e": GOOD}, "a": [1, 2], "d": [{"x": None}], "f": True}, "public"))
    assert {path: cell.text for path, cell in leaves.items()} == {
        "a": "1, 2",
        "b.c": "1.5",
        "b.e": "0.500 (0.400 to 0.600)",
        "d[0].x": "not measured",
        "f": "yes",
    }
    assert leaves["a"].coverage == ("public",)
