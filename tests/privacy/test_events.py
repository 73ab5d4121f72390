"""Events: one reading of every number, and nothing skipped."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import Unverified
from pellucid.privacy.events import (
    MAX_COUNT,
    MAX_EVENTS,
    Event,
    as_composed,
    decimal_text,
    round_epsilon_down,
    round_epsilon_up,
)
from pellucid.privacy.parsing import parse_events

GOOD = {"kind": "poisson_gaussian", "sample_rate": "0.02", "noise_multiplier": "1.1", "count": 10}
BANDED = {**GOOD, "kind": "banded_gaussian", "bands": 4}
positive = st.floats(min_value=1e-9, max_value=1e9)


@given(positive)
def test_a_decimal_text_is_plain_and_is_exactly_the_number(number):
    text = decimal_text(number)
    assert float(text) == number
    assert set(text) <= set("0123456789.")


@given(
    st.integers(1, 10**12),
    st.integers(1, 10**12),
    st.integers(1, MAX_COUNT),
    st.floats(1e-3, 1e6),
    st.integers(1, MAX_COUNT),
)
def test_a_record_parses_to_the_same_event(batch, more, count, noise, bands):
    event = Event(batch / (batch + more), noise, count, bands)
    assert parse_events([event.record()]) == (event,)


@given(positive)
def test_rounding_up_is_never_less_within_a_millionth_and_idempotent(epsilon):
    up = round_epsilon_up(epsilon)
    assert up >= epsilon
    assert Fraction(up) - Fraction(epsilon) <= Fraction(1, 10**6) + Fraction(math.ulp(epsilon))
    assert round_epsilon_up(up) == up
    assert Decimal(repr(up)).as_tuple().exponent >= -6


@given(positive)
def test_rounding_down_is_never_more_within_a_millionth_and_idempotent(epsilon):
    down = round_epsilon_down(epsilon)
    assert down <= epsilon
    assert Fraction(epsilon) - Fraction(down) <= Fraction(1, 10**6) + Fraction(math.ulp(epsilon))
    assert round_epsilon_down(down) == down


@pytest.mark.parametrize(
    ("given", "up", "down"),
    [
        (0.0, 1e-6, 0.0),
        (-1.0, 1e-6, 0.0),
        (1.234567, 1.234567, 1.234567),
        (0.1 + 0.2, 0.300001, 0.3),
        (5e-324, 1e-6, 0.0),
    ],
)
def test_rounding_of_known_numbers(given, up, down):
    assert (round_epsilon_up(given), round_epsilon_down(given)) == (up, down)


def test_equal_mechanisms_are_merged_and_order_is_canonical():
    other = {**GOOD, "noise_multiplier": "0.9"}
    assert parse_events([GOOD, other, GOOD]) == (Event(0.02, 0.9, 10), Event(0.02, 1.1, 20))
    assert parse_events([GOOD, {**GOOD, "sample_rate": "0.020"}]) == (Event(0.02, 1.1, 20),)


def test_an_event_without_bands_is_written_as_it_always_was():
    assert Event(0.02, 1.1, 10).record() == GOOD
    assert Event(0.02, 1.1, 10, 4).record() == BANDED


def test_banded_events_never_merge():
    """Two runs of 2 steps with 4 bands may meet a unit twice; one of 4 steps once."""
    two = {**BANDED, "count": 2}
    parsed = parse_events([two, GOOD, two, GOOD])
    assert parsed == (Event(0.02, 1.1, 2, 4), Event(0.02, 1.1, 2, 4), Event(0.02, 1.1, 20))
    assert as_composed(parsed) == (Event(0.02, 1.1, 20), Event(0.08, 1.1, 2))
    assert as_composed(parse_events([{**BANDED, "count": 4}])) == (Event(0.08, 1.1, 1),)


def test_a_rate_of_a_turn_is_never_above_one():
    assert Event(0.4, 1.1, 10, 4).poisson() == Event(1.0, 1.1, 3)


@pytest.mark.parametrize("bands", [1, 0, -4, 4.0, "4", None, True, MAX_COUNT + 1])
def test_bands_that_are_none_are_refused(bands):
    with pytest.raises(Unverified, match="bands must be an integer from 2"):
        parse_events([{**BANDED, "bands": bands}])


@pytest.mark.parametrize("name", list(BANDED))
def test_a_missing_field_of_a_banded_event_is_refused(name):
    with pytest.raises(Unverified):
        parse_events([{key: value for key, value in BANDED.items() if key != name}])


def test_bands_belong_to_banded_events_only():
    with pytest.raises(Unverified, match="exactly the fields"):
        parse_events([{**GOOD, "bands": 4}])


NOT_DECIMAL = [
    "",
    "nan",
    "inf",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1e-2",
    "0x1",
    "1_0",
    ".5",
    "5.",
    "01",
    "1,5",
    "0",
    "0.0",
    "٣",
    0.02,
    1,
    None,
    ["1"],
]


@pytest.mark.parametrize("name", ["sample_rate", "noise_multiplier"])
@pytest.mark.parametrize("text", NOT_DECIMAL, ids=repr)
def test_a_malformed_string_is_refused(name, text):
    with pytest.raises(Unverified) as caught:
        parse_events([{**GOOD, name: text}])
    assert caught.value.where == f"events[0].{name}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sample_rate", "1.0000000000000003"),
        ("sample_rate", "2"),
        ("sample_rate", "0." + "0" * 47 + "1" * 9),
        ("noise_multiplier", "0.0009"),
        ("noise_multiplier", "1000001"),
    ],
)
def test_a_number_out_of_range_is_refused(name, text):
    with pytest.raises(Unverified):
        parse_events([{**GOOD, name: text}])


@pytest.mark.parametrize("count", [0, -1, 1.0, "1", None, True, MAX_COUNT + 1])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(Unverified, match="count"):
        parse_events([{**GOOD, "count": count}])


@pytest.mark.parametrize("kind", ["geometric", "Poisson_gaussian", "poisson-gaussian", "", None, ["poisson_gaussian"]])
def test_an_unknown_kind_is_refused_never_skipped(kind):
    with pytest.raises(Unverified, match="unknown kind"):
        parse_events([GOOD, {**GOOD, "kind": kind}])


@pytest.mark.parametrize("name", list(GOOD))
def test_a_missing_field_is_refused(name):
    with pytest.raises(Unverified):
        parse_events([{key: value for key, value in GOOD.items() if key != name}])


def test_an_unknown_field_is_refused():
    with pytest.raises(Unverified, match="exactly the fields"):
        parse_events([{**GOOD, "sensitivity": "2"}])


@pytest.mark.parametrize("records", [[], None, "x", {}, GOOD, 3, [None], ["x"], [[GOOD]]], ids=repr)
def test_what_is_not_a_list_of_events_is_refused(records):
    with pytest.raises(Unverified):
        parse_events(records)


def test_too_much_is_refused():
    with pytest.raises(Unverified, match="more than"):
        parse_events([GOOD] * (MAX_EVENTS + 1))
    with pytest.raises(Unverified, match="more than"):
        parse_events([BANDED] * (MAX_EVENTS + 1))
    with pytest.raises(Unverified, match="steps"):
        parse_events([{**GOOD, "count": MAX_COUNT}, GOOD])


# -- the other kinds --------------------------------------------------------------------------------------------------

LAPLACE = {"kind": "laplace", "noise_multiplier": "4", "count": 3}
TRUNCATED = {**GOOD, "kind": "truncated_poisson_gaussian", "units": 1000, "most": 40}
MIXTURE = {
    "kind": "mixture_gaussian",
    "noise_multiplier": "2.5",
    "sensitivities": ["1", "2"],
    "probabilities": ["0.18", "0.01"],
    "count": 5,
}
SELECTION = {"kind": "repeat_and_select", "events": [GOOD, LAPLACE], "mean": "10", "shape": "0", "count": 1}
OTHERS = [LAPLACE, TRUNCATED, MIXTURE, SELECTION]


@pytest.mark.parametrize("record", OTHERS, ids=lambda record: record["kind"])
def test_a_record_of_any_kind_reads_back_and_misses_no_field_and_has_none_more(record):
    (event,) = parse_events([record])
    assert event.kind == record["kind"]
    assert parse_events([event.record()]) == (event,)
    for name in record:
        with pytest.raises(Unverified):
            parse_events([{key: value for key, value in record.items() if key != name}])
    with pytest.raises(Unverified, match="exactly the fields"):
        parse_events([{**record, "note": "x"}])


@pytest.mark.parametrize("record", OTHERS, ids=lambda record: record["kind"])
@pytest.mark.parametrize("count", [0, -1, 1.5, "1", None, True, MAX_COUNT + 1])
def test_a_count_that_is_none_is_refused_whatever_the_kind(record, count):
    with pytest.raises(Unverified, match="count"):
        parse_events([{**record, "count": count}])


@pytest.mark.parametrize(
    ("record", "changed"),
    [
        (LAPLACE, {"noise_multiplier": "0"}),
        (LAPLACE, {"noise_multiplier": "nan"}),
        (LAPLACE, {"noise_multiplier": 4}),
        (TRUNCATED, {"units": 0}),
        (TRUNCATED, {"most": 0}),
        (TRUNCATED, {"most": 1001}),
        (TRUNCATED, {"units": "1000"}),
        (TRUNCATED, {"sample_rate": "1.1"}),
        (MIXTURE, {"sensitivities": []}),
        (MIXTURE, {"sensitivities": "1"}),
        (MIXTURE, {"sensitivities": ["2", "1"]}),
        (MIXTURE, {"sensitivities": ["1", "1"]}),
        (MIXTURE, {"sensitivities": ["0", "1"]}),
        (MIXTURE, {"sensitivities": ["1"]}),
        (MIXTURE, {"sensitivities": ["1", "1e9"]}),
        (MIXTURE, {"probabilities": ["0.9", "0.2"]}),
        (MIXTURE, {"probabilities": ["0", "0.2"]}),
        (MIXTURE, {"probabilities": ["-0.1", "0.2"]}),
        (MIXTURE, {"probabilities": [0.1, 0.2]}),
        (MIXTURE, {"sensitivities": ["1"] * 65, "probabilities": ["0.001"] * 65}),
        (SELECTION, {"mean": "0.5"}),
        (SELECTION, {"mean": "inf"}),
        (SELECTION, {"shape": "-1"}),
        (SELECTION, {"shape": "inf"}),
        (SELECTION, {"shape": 0}),
        (SELECTION, {"events": []}),
        (SELECTION, {"events": [SELECTION]}),
        (SELECTION, {"events": [{**GOOD, "kind": "geometric"}]}),
    ],
    ids=repr,
)
def test_a_value_that_cannot_be_meant_is_refused(record, changed):
    with pytest.raises(Unverified) as caught:
        parse_events([GOOD, {**record, **changed}])
    assert caught.value.where.startswith("events[1]")
