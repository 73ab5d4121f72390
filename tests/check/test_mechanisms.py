"""Verifying a run of another mechanism: its epsilon is recomputed, and its events must be those of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pellucid.bundle import Bundle
from pellucid.check import verify_bundle
from pellucid.privacy import Plan


def banded(values: dict[str, dict[str, Any]], **training: Any) -> None:
    """Make the run in ``values`` a banded one."""
    from pellucid.privacy.accounting import epsilon

    plan = Plan.of(
        **{name: values["training"][name] for name in ("test", "batch", "epochs")},
        units=values["dataset"]["units"],
        delta=values["privacy"]["delta"],
        clip=1.0,
        noise_multiplier=1.1,
        mechanism="banded",
        bands=4,
    )
    values["privacy"] |= {"epsilon": plan.epsilon, "events": plan.events}
    values["privacy"]["second_opinion"]["epsilon"] = epsilon(plan.events, plan.delta, "rdp")
    values["training"] |= {"mechanism": "banded", "bands": 4, **training}


def detail(result: Any) -> str:
    return next(check.detail for check in result.checks if check.name == "epsilon")


def test_a_banded_claim_is_recomputed_and_costs_more_than_a_plain_one(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    plain = values["privacy"]["epsilon"]
    banded(values)
    claimed = values["privacy"]["epsilon"]
    assert claimed > plain
    assert verify_bundle(make(values), [maker.owner.verifier]).ok
    values["privacy"]["epsilon"] = plain
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert result.epsilon.pld == claimed
    assert "the events compose to" in detail(result)


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"mechanism": "gaussian", "bands": 1}, "another mechanism"),
        ({"bands": 8}, "another mechanism"),
        ({"bands": 101}, "make no plan"),
        ({"bands": "4"}, "make no plan"),
        ({"mechanism": "tree"}, "make no plan"),
        ({"clipping": "adaptive"}, "make no plan"),
        ({"augmentations": 0}, "make no plan"),
    ],
)
def test_events_that_do_not_follow_from_the_mechanism_fail(
    make: Callable[..., Bundle], maker: Any, values: Any, training: dict[str, Any], says: str
) -> None:
    banded(values, **training)
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert not result.ok
    assert says in detail(result)


def test_a_training_that_names_no_mechanism_is_not_banded(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    banded(values)
    del values["training"]["mechanism"], values["training"]["bands"]
    assert "another mechanism" in detail(verify_bundle(make(values), [maker.owner.verifier]))


def test_plain_events_of_a_banded_training_fail(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    values["training"] |= {"mechanism": "banded", "bands": 4}
    assert "another mechanism" in detail(verify_bundle(make(values), [maker.owner.verifier]))


@pytest.mark.parametrize("clipping", ["flat", "per_layer", "automatic", "adaptive"])
def test_clipping_changes_no_event(make: Callable[..., Bundle], maker: Any, values: Any, clipping: str) -> None:
    values["training"] |= {"clipping": clipping, "augmentations": 8}
    assert verify_bundle(make(values), [maker.owner.verifier]).ok
