"""The shipped policy, held against its own cases."""

from __future__ import annotations

import copy
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from pellucid.check import ReleasePolicy, judge, read_waivers, verdict
from pellucid.evidence import Evidence, Subject
from pellucid.schema import read_toml

FOLDER = Path(__file__).parents[2] / "policies"
POLICY = ReleasePolicy.read(FOLDER / "release.toml")
CASES = read_toml(FOLDER / "release.tests.toml")
TODAY = dt.date(2026, 6, 1)


class _Partial:
    """Kind and values: a case may lack what a statement must have."""

    def __init__(self, kind: str, values: Any) -> None:
        self.kind, self.values = kind, values


def evidence_of(case: dict[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(CASES["base"])
    for path, value in case.get("set", {}).items():
        *steps, last = path.split(".")
        holder = values
        for step in steps:
            holder = holder.setdefault(step, {})
        holder[last] = value
    for path in case.get("drop", []):
        *steps, last = path.split(".")
        holder = values
        for step in steps:
            holder = holder[step]
        del holder[last]
    return values


def judged(values: dict[str, Any]) -> Any:
    return judge(POLICY, [_Partial(kind, part) for kind, part in values.items()], TODAY)  # type: ignore[misc]


@pytest.mark.parametrize("case", CASES["case"], ids=lambda case: case["name"])
def test_case(case: dict[str, Any]) -> None:
    assert set(case) <= {"name", "set", "drop", "expect", "exit"}
    findings = judged(evidence_of(case))
    assert {f.id: f.status for f in findings if f.status != "pass"} == case.get("expect", {})
    assert verdict(findings).exit == case["exit"]


def test_the_base_is_evidence_as_it_is_signed() -> None:
    for kind, values in CASES["base"].items():
        Evidence(kind, Subject("m@1", "0" * 64), values, {}, "public")


def test_every_requirement_fails_in_some_case_and_says_what_to_do() -> None:
    failed = {name for case in CASES["case"] for name, status in case.get("expect", {}).items() if status == "fail"}
    assert failed == {requirement.id for requirement in POLICY.requirements} - {"privacy.attacked"}
    assert all(len(requirement.because) > 20 for requirement in POLICY.requirements)


def test_the_shipped_waivers_grant_nothing() -> None:
    assert read_waivers(FOLDER / "waivers.toml", POLICY, adopted=True) == ()


def test_the_shipped_policy_trusts_nobody_by_itself() -> None:
    assert POLICY.owners == ()
