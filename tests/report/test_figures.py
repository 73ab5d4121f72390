from __future__ import annotations

import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.report.figures import exact, fixed, plain
from pellucid.report.reading import span

NUMBERS = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)


def number(shown: str) -> Decimal:
    return Decimal(shown.replace(",", "").replace("−", "-"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-0.0, "0"),
        (32000, "32,000"),
        (2.999871, "2.999871"),
        (1e-5, "1e-5"),
        (-0.25, "−0.25"),
        (1.0, "1"),
        (100, "100"),
        (1.5e-7, "1.5e-7"),
        (1e20, "1e20"),
    ],
)
def test_exact_writes_all_digits(value: float, shown: str) -> None:
    assert exact(value).replace("e+", "e") == shown


@given(NUMBERS)
def test_exact_gives_the_number_back(value: float) -> None:
    assert float(number(exact(value))) == value


@given(NUMBERS, st.integers(min_value=0, max_value=6))
def test_fixed_rounds_in_the_direction_it_was_told(value: float, places: int) -> None:
    true = Decimal(repr(value))
    step = Decimal(1).scaleb(-places)
    assert true <= number(fixed(value, places, "up")) <= true + step
    assert true - step <= number(fixed(value, places, "down")) <= true
    assert abs(number(fixed(value, places)) - true) <= step / 2


@given(NUMBERS, NUMBERS)
def test_a_printed_interval_contains_the_measured_one(a: float, b: float) -> None:
    low, high = sorted((a, b))
    left, right = span(low, high).split(" to ")
    assert number(left) <= Decimal(repr(low))
    assert number(right) >= Decimal(repr(high))


@pytest.mark.parametrize("value", [1e15, 1.5e300, -1e16])
def test_a_number_without_decimals_is_written_exactly(value: float) -> None:
    for rounding in ("up", "down", "half"):
        assert float(number(fixed(value, 6, rounding))) == value  # type: ignore[arg-type]  # one of the three


def test_zero_has_no_sign() -> None:
    assert fixed(-0.0001, 3, "half") == "0.000"
    assert fixed(-0.0001, 3, "down") == "−0.001"


@given(st.text())
def test_plain_leaves_no_character_without_a_shape(words: str) -> None:
    shown = plain(words)
    hidden = [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}]
    assert set(hidden) <= set("\n\u200c\u200d")
    shown.encode("utf-8")
    assert plain(shown) == shown


def test_plain_shows_direction_marks_and_escapes() -> None:
    assert plain("a\u202eb\x1b[31m") == "a[U+202E]b[U+001B][31m"
    assert plain("Größe ≤ 3, 名前, می\u200cخواهم") == "Größe ≤ 3, 名前, می\u200cخواهم"
