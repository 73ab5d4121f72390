"""A claim about people with several rows: of whom, how many rows, and what was drawn, held against each other."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pellucid.check.verify import verify_bundle
from pellucid.privacy import Plan, accounting

PUBLIC = {"delta": 1e-5, "units": 32_000, "test": 0.3, "batch": 224, "epochs": 1, "clip": 1.0}


def claim(values: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """What a run by ``plan`` on patients with several visits says."""
    made: dict[str, Any] = copy.deepcopy(values)
    made["dataset"] |= {"unit": "patient", "rows_per_unit": 4, "rows": 64_000}
    record = plan.record()
    made["training"] |= {name: record[name] for name in ("unit_rows", "sampling", "rows") if name in record}
    made["privacy"] |= {
        "unit": "patient",
        "unit_rows": plan.unit_rows,
        "sampling": plan.sampling,
        "epsilon": plan.epsilon,
        "noise_multiplier": plan.noise_multiplier,
        "sample_rate": plan.sample_rate,
        "events": plan.events,
        "second_opinion": accounting.second_opinion(plan.events, plan.delta),
    }
    return made


def plan(sampling: str, **changes: Any) -> Plan:
    rows = {"rows": 64_000} if sampling == "example" else {}
    return Plan.of(**{**PUBLIC, "noise_multiplier": 2.0, "unit_rows": 4, "sampling": sampling, **rows, **changes})


@pytest.fixture
def found(make: Any, maker: Any) -> Any:
    def check(values: dict[str, Any]) -> tuple[str, str]:
        result = verify_bundle(make(values), [maker.owner.verifier])
        (one,) = [check for check in result.checks if check.name == "epsilon"]
        return one.status, one.detail

    return check


@pytest.mark.parametrize("sampling", ["user", "example"])
def test_a_true_claim_about_people_with_several_rows_verifies(values: Any, found: Any, sampling: str) -> None:
    status, detail = found(claim(values, plan(sampling)))
    assert (status, "PLD" in detail, "RDP" in detail) == ("pass", True, True), detail


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("privacy", {"unit": "row"}, 'the data set declares "patient"'),
        ("dataset", {"unit": "row"}, 'the data set declares "row"'),
        ("privacy", {"unit_rows": 1}, "up to 4 rows"),
        ("training", {"unit_rows": 1}, "up to 4 rows"),
        ("dataset", {"rows_per_unit": 9}, "up to 9 rows"),
        ("dataset", {"rows_per_unit": None}, "nothing bounds"),
        ("dataset", {"rows_per_unit": True}, "nothing bounds"),
        ("privacy", {"sampling": "nobody"}, "another sampling"),
        ("training", {"sampling": "other"}, "another sampling"),
    ],
    ids=str,
)
@pytest.mark.parametrize("sampling", ["user", "example"])
def test_what_does_not_agree_is_found(
    values: Any, found: Any, sampling: str, kind: str, changes: dict[str, Any], says: str
) -> None:
    made = claim(values, plan(sampling))
    made[kind] |= changes
    status, detail = found(made)
    assert status == "fail"
    assert says in detail


def test_rows_drawn_and_accounted_as_people_are_found(values: Any, found: Any) -> None:
    """The mistake that this is all about: examples sampled, with the epsilon of a plan for rows."""
    made = claim(values, plan("example"))
    cheap = Plan.of(**PUBLIC, noise_multiplier=2.0)
    made["privacy"] |= {
        "epsilon": cheap.epsilon,
        "events": cheap.events,
        "second_opinion": accounting.second_opinion(cheap.events, 1e-5),
    }
    status, detail = found(made)
    assert (status, "another mechanism" in detail) == ("fail", True), detail


def test_a_mixture_of_fewer_rows_than_a_person_may_have_is_found(values: Any, found: Any) -> None:
    made = claim(values, plan("example"))
    fewer = plan("example", unit_rows=2)
    made["privacy"] |= {
        "epsilon": fewer.epsilon,
        "events": fewer.events,
        "second_opinion": accounting.second_opinion(fewer.events, 1e-5),
    }
    status, detail = found(made)
    assert (status, "not those of the plan" in detail) == ("fail", True), detail


def test_a_statement_without_a_unit_column_says_what_it_always_said(values: Any, found: Any) -> None:
    assert found(values)[0] == "pass"
    values["dataset"]["unit"] = "patient"
    status, detail = found(values)
    assert (status, "the unit is" in detail) == ("fail", True)
