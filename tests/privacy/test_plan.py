"""The plan: exact arithmetic on public numbers, and a refusal that names the field."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.privacy import Plan, accounting
from pellucid.privacy.events import parse_events

PUBLIC = {"delta": 1e-5, "units": 32_000, "test": 0.3, "batch": 512, "epochs": 20, "clip": 1.0}
GOOD = {**PUBLIC, "epsilon": 3.0, "noise_multiplier": 1.25}


def test_arithmetic_of_the_documented_plan():
    plan = Plan(**GOOD)
    assert (plan.train_units, plan.steps, plan.normaliser) == (22_400, 875, 512)
    assert plan.sample_rate == 512 / 22_400
    assert plan.events == [
        {"kind": "poisson_gaussian", "sample_rate": "0.022857142857142857", "noise_multiplier": "1.25", "count": 875}
    ]


@given(
    units=st.integers(2, 10**9),
    tenths=st.integers(0, 999),
    share=st.floats(0, 1, exclude_max=True),
    hundredths=st.integers(1, 10**5),
)
def test_arithmetic_is_that_of_fractions(units, tenths, share, hundredths):
    """A naive twin in exact fractions of the decimals that a person wrote."""
    train = math.floor(units * (1 - Fraction(tenths, 1000)))
    batch = int(1 + share * (train - 2))
    if not 1 <= batch < train or math.ceil(Fraction(hundredths, 100) * train / batch) > 10**9:
        return
    plan = Plan(
        **{**GOOD, "units": units, "delta": 1e-10, "test": tenths / 1000, "batch": batch, "epochs": hundredths / 100}
    )
    assert plan.train_units == train
    assert plan.steps == math.ceil(Fraction(hundredths, 100) * train / batch)
    assert plan.sample_rate == float(Fraction(batch, train))
    (event,) = parse_events(plan.events)
    assert (event.sample_rate, event.noise_multiplier, event.count) == (plan.sample_rate, 1.25, plan.steps)


@pytest.mark.parametrize(
    ("units", "test", "train"),
    [
        (32_000, 0.3, 22_400),
        (100, 0.9, 10),
        (1000, 0.001, 999),
        (100, 0.07, 93),
        (3, 0.3, 2),
        (10**11, 0.1, 9 * 10**10),
    ],
)
def test_train_units_do_not_suffer_float_error(units, test, train):
    assert (
        Plan(**{**GOOD, "units": units, "test": test, "batch": 1, "delta": 1e-12, "epochs": 1e-4}).train_units == train
    )


@pytest.mark.parametrize(
    ("epochs", "steps"), [(0.1, 10), (0.3, 30), (0.7, 70), (1.1, 110), (2, 200), (0.001, 1), (0.101, 11)]
)
def test_steps_do_not_suffer_float_error(epochs, steps):
    # 1000 / 10 steps an epoch: epochs / (10 / 1000) in floats gives 30.000000000000004 or 109.99999999999999
    assert Plan(**{**GOOD, "units": 1000, "test": 0, "batch": 10, "delta": 1e-4, "epochs": epochs}).steps == steps


BAD = {
    "epsilon": [0, -1, math.nan, math.inf, -math.inf, 501, "3", None, True],
    "delta": [0, -1e-5, math.nan, math.inf, 1 / 32_000, 0.1, 1e-13, 5e-324, "1e-5", None, True],
    "units": [0, -5, 1, 32_000.0, 10**12 + 1, "32000", None, True, math.nan],
    "test": [-0.1, 1, 1.5, math.nan, math.inf, "0.3", None, False],
    "batch": [0, -1, 22_400, 22_401, 512.0, "512", None, True],
    "epochs": [0, -1, math.nan, math.inf, 10**9, 10**400, "20", None, True],
    "clip": [0, -1.0, math.nan, math.inf, "1", None, True],
    "noise_multiplier": [0, -1, math.nan, math.inf, 1e-4, 1e7, "1", None, True],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values], ids=repr
)
def test_a_value_that_cannot_be_meant_is_refused_and_its_field_named(name, value):
    with pytest.raises(BadPlan) as caught:
        Plan(**{**GOOD, name: value})
    # a number of units too small shows in what depends on it: no batch fits
    assert caught.value.where in ({"units", "batch"} if name == "units" else {name})
    with pytest.raises(BadPlan) as caught:
        Plan.from_record({**GOOD, name: value}, where="run.plan")
    assert caught.value.where.startswith("run.plan.")
    if name not in ("epsilon", "noise_multiplier"):
        for make, rest in ((Plan.calibrate, {"epsilon": 3.0}), (Plan.of, {"noise_multiplier": 1.25})):
            with pytest.raises(BadPlan):
                make(**{**PUBLIC, **rest, name: value})


@pytest.mark.parametrize("epsilon", BAD["epsilon"], ids=repr)
def test_calibrate_refuses_an_epsilon_that_cannot_be_meant(epsilon):
    with pytest.raises(BadPlan) as caught:
        Plan.calibrate(**PUBLIC, epsilon=epsilon)
    assert caught.value.where == "epsilon"


def test_numbers_of_numpy_are_numbers():
    plan = Plan(**{**GOOD, "units": np.int64(32_000), "epochs": np.float64(20), "batch": np.int32(512)})
    assert plan == Plan(**GOOD)
    assert [type(value) for value in plan.record().values()] == [float, float, int, float, int, float, float, float]


def test_calibrate_claims_what_the_accountant_finds_and_no_more_than_asked():
    plan = Plan.calibrate(**{**PUBLIC, "epochs": 2}, epsilon=1.0)
    assert 0.999 < plan.epsilon <= 1.0
    assert plan.epsilon == accounting.epsilon(plan.events, plan.delta, "pld")
    assert plan.noise_multiplier == round(plan.noise_multiplier, 4)
    less = {**PUBLIC, "epochs": 2, "noise_multiplier": plan.noise_multiplier - 3e-4}
    assert Plan.of(**less).epsilon > 1.0
    assert plan == Plan.of(**{**PUBLIC, "epochs": 2, "noise_multiplier": plan.noise_multiplier})


def test_no_noise_is_enough_for_the_impossible():
    with pytest.raises(BadPlan, match="no noise multiplier") as caught:
        Plan.calibrate(epsilon=1e-6, delta=1e-12, units=1000, test=0, batch=999, epochs=10**6, clip=1)
    assert caught.value.where == "epsilon"


def test_too_little_noise_has_no_privacy_to_state():
    with pytest.raises(BadPlan, match="no privacy") as caught:
        Plan.of(**PUBLIC, noise_multiplier=0.01)
    assert caught.value.where == "noise_multiplier"


def test_a_record_survives_canonical_json():
    plan = Plan(**GOOD)
    assert Plan.from_record(json.loads(rfc8785.dumps(plan.record()))) == plan
    assert set(plan.record()) == set(GOOD)


def test_from_record_recomputes_nothing():
    assert Plan.from_record({**GOOD, "epsilon": 0.001}).epsilon == 0.001


@pytest.mark.parametrize("name", list(GOOD))
def test_from_record_names_what_is_missing(name):
    with pytest.raises(BadPlan) as caught:
        Plan.from_record({key: value for key, value in GOOD.items() if key != name})
    assert caught.value.where == f"plan.{name}"


def test_from_record_names_what_is_unknown_and_the_nearest():
    with pytest.raises(BadPlan, match='did you mean "clip"'):
        Plan.from_record({**GOOD, "clipp": 1})
    with pytest.raises(BadPlan, match="table"):
        Plan.from_record([1])


def test_a_plan_is_frozen_and_knows_no_loose_numbers():
    plan = Plan(**GOOD)
    with pytest.raises(AttributeError):
        plan.clip = 2.0
    with pytest.raises(TypeError):
        Plan(3.0, 1e-5, 32_000, 0.3, 512, 20, 1.0, 1.25)
    assert Decimal(plan.events[0]["sample_rate"]) == Decimal(repr(plan.sample_rate))
