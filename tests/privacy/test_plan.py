"""The plan: exact arithmetic on public numbers, and a refusal that names the field."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import rfc8785
from hypothesis import assume, given
from hypothesis import strategies as st

from pellucid.errors import BadPlan
from pellucid.evidence import canonical
from pellucid.privacy import BoostPlan, Plan, Statistic, accounting
from pellucid.privacy.adaptive import adaptive_split
from pellucid.privacy.choices import CLIPPINGS
from pellucid.privacy.parsing import parse_events
from pellucid.privacy.statistics import StatisticsPlan

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
    "clip": [0, -1.0, 1e-300, 1e-42, 1e39, 1e300, math.nan, math.inf, "1", None, True],
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


BAD_CHOICES = {
    "clipping": ["", "Flat", "per-layer", "none", None, True, 1, ["flat"]],
    "mechanism": ["", "Gaussian", "laplace", "tree", None, True, 1, ["gaussian"]],
    "bands": [0, -1, 2, 2.0, "1", None, True, math.nan],  # 2 is for banded only
    "augmentations": [0, -1, 1.0, 1001, "2", None, True, math.nan],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_CHOICES.items() for value in values], ids=repr
)
def test_a_choice_that_cannot_be_meant_is_refused_and_its_field_named(name, value):
    with pytest.raises(BadPlan) as caught:
        Plan(**GOOD, **{name: value})
    assert caught.value.where == name
    with pytest.raises(BadPlan) as caught:
        Plan.from_record({**GOOD, name: value}, where="run.plan")
    assert caught.value.where == f"run.plan.{name}"
    for make, rest in ((Plan.calibrate, {"epsilon": 3.0}), (Plan.of, {"noise_multiplier": 1.25})):
        with pytest.raises(BadPlan) as caught:
            make(**PUBLIC, **rest, **{name: value})
        assert caught.value.where == name


def test_the_nearest_name_is_offered():
    with pytest.raises(BadPlan, match='did you mean "adaptive"'):
        Plan(**GOOD, clipping="adaptiv")


@pytest.mark.parametrize("bands", [1, 0, -3, 44, 45, 8.0, "8", None, True])
def test_bands_are_from_two_to_the_number_of_groups_a_batch_can_come_from(bands):
    """22400 units make 43 groups of at least one batch of 512."""
    with pytest.raises(BadPlan) as caught:
        Plan(**GOOD, mechanism="banded", bands=bands)
    assert caught.value.where == "bands"
    assert Plan(**GOOD, mechanism="banded", bands=43).group_rate <= 1


def test_bands_are_no_more_than_steps():
    few = {**GOOD, "epochs": 0.2}  # 9 steps
    assert Plan(**few, mechanism="banded", bands=9).steps == 9
    with pytest.raises(BadPlan, match="from 2 to 9"):
        Plan(**few, mechanism="banded", bands=10)


def test_a_banded_plan_samples_a_group_so_that_the_expected_batch_stays():
    plan = Plan(**GOOD, mechanism="banded", bands=8)
    assert plan.group_rate == plan.sample_rate * 8
    assert plan.group_rate * plan.train_units / 8 == pytest.approx(plan.batch)
    (event,) = plan.events
    assert (event["kind"], event["bands"], event["count"]) == ("banded_gaussian", 8, 875)
    (parsed,) = parse_events(plan.events)
    assert (parsed.poisson().sample_rate, parsed.poisson().count) == (plan.group_rate, 110)
    assert Plan(**GOOD).group_rate == Plan(**GOOD).sample_rate


def test_adaptive_clipping_pays_for_its_count_out_of_the_same_noise_multiplier():
    plan, flat = Plan(**GOOD, clipping="adaptive"), Plan(**GOOD)
    assert plan.events == flat.events
    assert (plan.gradient_noise_multiplier, plan.count_noise) == adaptive_split(1.25, 512)
    assert plan.gradient_noise_multiplier > 1.25


@pytest.mark.parametrize("clipping", [name for name in CLIPPINGS if name != "adaptive"])
def test_every_other_clipping_has_the_noise_multiplier_and_no_count(clipping):
    plan = Plan(**GOOD, clipping=clipping)
    assert (plan.gradient_noise_multiplier, plan.count_noise) == (1.25, None)


def test_adaptive_clipping_with_too_small_a_batch_is_refused():
    with pytest.raises(BadPlan, match="adaptive clipping counts") as caught:
        Plan(**{**GOOD, "batch": 12}, clipping="adaptive")
    assert caught.value.where == "batch"
    small = {"units": 1000, "test": 0, "batch": 100, "epochs": 5, "clip": 1, "epsilon": 0.1, "delta": 1e-4}
    with pytest.raises(BadPlan, match="adaptive clipping counts") as caught:
        Plan.calibrate(**small, clipping="adaptive")
    assert caught.value.where == "batch"
    assert Plan.calibrate(**small).noise_multiplier > 10


def test_adaptive_clipping_and_banded_noise_do_not_go_together():
    with pytest.raises(BadPlan, match="do not go together") as caught:
        Plan(**GOOD, clipping="adaptive", mechanism="banded", bands=8)
    assert caught.value.where == "clipping"


@pytest.mark.parametrize(
    "choice",
    [{"clipping": "adaptive"}, {"clipping": "per_layer", "augmentations": 8}, {"mechanism": "banded", "bands": 4}],
    ids=str,
)
def test_calibrate_and_of_agree_on_every_choice(choice):
    plan = Plan.calibrate(**{**PUBLIC, "epochs": 2}, epsilon=1.0, **choice)
    assert 0.999 < plan.epsilon <= 1.0
    assert plan.epsilon == accounting.epsilon(plan.events, plan.delta)
    assert plan == Plan.of(**{**PUBLIC, "epochs": 2, "noise_multiplier": plan.noise_multiplier}, **choice)
    assert {name: getattr(plan, name) for name in choice} == choice


def test_clipping_and_views_cost_nothing():
    assert Plan(**GOOD, clipping="automatic", augmentations=16).events == Plan(**GOOD).events


OLD = b'{"batch":512,"clip":1,"delta":0.00001,"epochs":20,"epsilon":3,"noise_multiplier":1.25,"test":0.3,"units":32000}'


def test_an_old_record_means_what_it_meant_and_is_written_as_it_was():
    plan = Plan.from_record(json.loads(OLD))
    assert plan == Plan(**GOOD)
    assert (plan.clipping, plan.mechanism, plan.bands, plan.augmentations) == ("flat", "gaussian", 1, 1)
    assert canonical(plan.record()) == OLD
    explicit = {**GOOD, "clipping": "flat", "mechanism": "gaussian", "bands": 1, "augmentations": 1}
    assert canonical(Plan.from_record(explicit).record()) == OLD


@given(
    clipping=st.sampled_from(CLIPPINGS),
    bands=st.integers(1, 43),
    augmentations=st.integers(1, 1000),
    noise=st.floats(1e-3, 50),
)
def test_a_record_of_any_choice_survives_canonical_json_and_holds_what_is_no_default(
    clipping, bands, augmentations, noise
):
    assume(bands == 1 or clipping != "adaptive")
    choice = {
        "clipping": clipping,
        "mechanism": "gaussian" if bands == 1 else "banded",
        "bands": bands,
        "augmentations": augmentations,
    }
    plan = Plan(**{**GOOD, "noise_multiplier": noise}, **choice)
    assert Plan.from_record(json.loads(canonical(plan.record()))) == plan
    defaults = {"clipping": "flat", "mechanism": "gaussian", "bands": 1, "augmentations": 1}
    assert set(plan.record()) - set(GOOD) == {name for name, value in choice.items() if value != defaults[name]}


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


@pytest.mark.parametrize("epsilon", [0.5000005, 1.4e-6, 1.0000009, 2.7182818284])
def test_an_epsilon_between_two_millionths_is_not_exceeded_by_the_claim(epsilon):
    asked = {"epsilon": epsilon, "delta": 1e-5, "units": 3000, "test": 0.3}
    plans = [
        Plan.calibrate(**asked, batch=300, epochs=1, clip=1.0),
        BoostPlan.calibrate(**asked, columns=3, rounds=2),
        StatisticsPlan.calibrate(**asked, statistics=[Statistic(kind="count")], part="training"),
    ]
    for plan in plans:
        assert 0 < plan.epsilon <= epsilon


@pytest.mark.parametrize("epsilon", [1e-300, 9.9e-7])
def test_an_epsilon_below_a_millionth_is_refused_since_no_claim_is_so_small(epsilon):
    asked = {"epsilon": epsilon, "delta": 1e-5, "units": 3000, "test": 0.3}
    for calibrate in (
        lambda: Plan.calibrate(**asked, batch=300, epochs=1, clip=1.0),
        lambda: BoostPlan.calibrate(**asked, columns=3, rounds=2),
        lambda: StatisticsPlan.calibrate(**asked, statistics=[Statistic(kind="count")], part="training"),
    ):
        with pytest.raises(BadPlan, match="whole number of millionths") as caught:
            calibrate()
        assert caught.value.where == "epsilon"


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
