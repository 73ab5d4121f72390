"""Plans for units with several rows: what is drawn, what it costs, and which way is taken."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.privacy import Plan, accounting

PUBLIC = {"delta": 1e-5, "units": 10_000, "test": 0.3, "batch": 350, "epochs": 10, "clip": 1.0}
plan = functools.partial(Plan, epsilon=3.0, noise_multiplier=5.0, **PUBLIC)
calibrate = functools.partial(Plan.calibrate, epsilon=3.0, **PUBLIC)


def test_drawing_units_is_accounted_as_if_each_had_one_row():
    """The mean gradient of all rows of a unit is clipped as one, so that how many there are makes no difference."""
    several, one = calibrate(unit_rows=8, sampling="user"), calibrate()
    assert several.events == one.events
    assert (several.epsilon, several.normaliser, several.steps) == (one.epsilon, 350, one.steps)


def test_drawing_rows_is_accounted_as_the_mixture_of_all_that_a_unit_may_add():
    """``Bin(8, q)`` gradients, each clipped alone; of the same rate and steps."""
    made = plan(unit_rows=8, sampling="example")
    (event,) = made.events
    assert (event["kind"], event["count"], event["noise_multiplier"]) == ("mixture_gaussian", made.steps, "5.0")
    assert event["sensitivities"] == [str(float(rows)) for rows in range(1, 9)]
    assert float(event["probabilities"][0]) == pytest.approx(8 * 0.05 * 0.95**7, rel=1e-12)
    assert (made.sample_rate, made.steps) == (plan().sample_rate, plan().steps)
    assert made.normaliser == 350 * 8
    assert plan(unit_rows=8, sampling="example", rows=25_000).normaliser == 875


def test_a_row_level_claim_would_be_far_too_low_for_several_rows():
    """What the refusal is for: the same noise, with the unit's rows drawn one by one and counted as one."""
    rows = Plan.of(noise_multiplier=1.2868, unit_rows=8, sampling="example", **PUBLIC)
    assert rows.epsilon > 5 * Plan.of(noise_multiplier=1.2868, **PUBLIC).epsilon


@settings(max_examples=8, deadline=None)
@given(
    k=st.integers(2, 12),
    mean=st.floats(1.0, 12.0),
    epsilon=st.sampled_from([0.5, 2.0, 6.0]),
)
def test_calibrate_takes_the_way_with_less_noise_on_the_mean(k, mean, epsilon):
    """And each way keeps to the epsilon asked for."""
    rows = int(10_000 * min(mean, k))
    asked = functools.partial(calibrate, epsilon=epsilon, unit_rows=k, rows=rows)
    both = [asked(sampling="user"), asked(sampling="example")]
    found = asked()
    assert found == min(both, key=lambda made: made.noise_multiplier / made.normaliser)
    assert found.relative_noise == min(made.relative_noise for made in both)
    for made in both:
        assert accounting.epsilon(made.events, made.delta) == made.epsilon <= epsilon


def test_both_ways_are_taken():
    """Rows where nearly everybody has as many as they may, units where most have far fewer."""
    assert calibrate(unit_rows=5).sampling == "example"
    assert calibrate(unit_rows=5, rows=20_000).sampling == "user"
    assert calibrate().sampling == "user"


def test_where_only_units_can_be_drawn_they_are():
    assert calibrate(unit_rows=65).sampling == "user"
    assert calibrate(unit_rows=64).sampling == "example"
    assert calibrate(unit_rows=5, clipping="adaptive").sampling == "user"
    assert calibrate(unit_rows=5, mechanism="banded", bands=4).sampling == "user"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"unit_rows": 0}, "unit_rows"),
        ({"unit_rows": 1001}, "unit_rows"),
        ({"unit_rows": 2.5}, "unit_rows"),
        ({"unit_rows": True}, "unit_rows"),
        ({"sampling": "rows", "unit_rows": 3}, "sampling"),
        ({"sampling": "example"}, "sampling"),
        ({"sampling": "example", "unit_rows": 65}, "sampling"),
        ({"sampling": "example", "unit_rows": 3, "clipping": "adaptive"}, "sampling"),
        ({"sampling": "example", "unit_rows": 3, "mechanism": "banded", "bands": 4}, "sampling"),
        ({"unit_rows": 3, "rows": 20_000}, "rows"),
        ({"sampling": "example", "unit_rows": 3, "rows": 9_999}, "rows"),
        ({"sampling": "example", "unit_rows": 3, "rows": 30_001}, "rows"),
        ({"sampling": "example", "unit_rows": 3, "rows": 1e5}, "rows"),
    ],
    ids=str,
)
def test_rows_of_a_unit_that_cannot_be_meant_are_refused(changes, field):
    with pytest.raises(BadPlan) as caught:
        plan(**changes)
    assert caught.value.where == field


def test_records_say_what_is_drawn_only_where_there_is_a_choice():
    """A plan of units with one row has the record that it always had."""
    assert not {"unit_rows", "sampling", "rows"} & plan().record().keys()
    for made in (plan(unit_rows=4), plan(unit_rows=4, sampling="example", rows=30_000)):
        assert Plan.from_record(made.record()) == made
