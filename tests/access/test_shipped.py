"""The shipped policy against a truth table written in Python, over everything it can be asked."""

from __future__ import annotations

import itertools

import pytest

from pellucid.access import (
    TESTS_FILE,
    AccessPolicy,
    Principal,
    Request,
    Resource,
    decide_many,
    read_cases,
    run,
    untested,
)
from pellucid.access import shipped as shipped_folder

ROLES = ("owner", "steward", "scientist", "auditor", "reader")
SENSITIVITIES = ("public", "personal", "special", "identifier", "mistyped")
DECLARED = frozenset({"credit scoring", "fairness audit"})
PURPOSES = (None, "credit scoring", "fairness audit", "marketing", "")
ACTIONS = {
    "Project": ("administer", "init", "grant", "revoke", "adopt"),
    "Dataset": ("seal", "budget", "rotate", "erase", "shred", "train", "statistics"),
    "Column": ("read", "export"),
    "Model": ("evaluate", "explain", "attack", "report", "review", "release"),
}
PROCESSING = {"read", "export", "train", "statistics", "evaluate", "explain", "attack"}


def allowed(role: str | None, action: str, sensitivity: str | None, purpose: str | None) -> bool:
    if action in PROCESSING and purpose not in DECLARED:
        return False
    if action == "export" and sensitivity not in {"public", "personal", "identifier"}:
        return False
    if role == "owner":
        return True
    if role == "steward":
        return action in {"seal", "budget", "rotate", "erase", "read", "export", "report"}
    if role == "scientist":
        if action == "read":
            return sensitivity in {"public", "personal"}
        return action in {"train", "statistics", "evaluate", "explain", "attack", "report"}
    if role == "auditor":
        if action == "read":
            return sensitivity in {"public", "personal", "special"}
        return action in {"evaluate", "explain", "attack", "report", "review"}
    return role == "reader" and action == "report"


def resource(kind: str, sensitivity: str | None) -> Resource:
    whole = Resource("Dataset", "applicants", {"purposes": DECLARED}, (Resource.project("credit"),))
    if kind == "Project":
        return Resource.project("credit")
    if kind == "Dataset":
        return whole
    if kind == "Column":
        attributes = {"purposes": DECLARED, "sensitivity": sensitivity}
        return Resource("Column", f"applicants/{sensitivity}", attributes, (whole,))
    return Resource.model("credit-risk", DECLARED, whole)


TABLE = [
    (kind, action, sensitivity, purpose)
    for kind, actions in ACTIONS.items()
    for action in actions
    for sensitivity in (SENSITIVITIES if kind == "Column" else (None,))
    for purpose in PURPOSES
]


def test_the_table_covers_every_action_and_role(policy: AccessPolicy) -> None:
    assert {action for _, action, _, _ in TABLE} == set(policy.actions)
    assert policy.roles == ROLES
    for kind, actions in ACTIONS.items():
        assert all(policy.engine.actions[action] == (kind,) for action in actions)


@pytest.mark.parametrize("role", [*ROLES, None])
def test_every_role_action_sensitivity_and_purpose(policy: AccessPolicy, role: str | None) -> None:
    own = Principal("Identity", "someone", frozenset({role} if role else ()))
    principals = [own, Principal("Role", role)] if role else [own]
    for principal in principals:
        decisions = decide_many(policy, [Request(principal, a, resource(k, s), p) for k, a, s, p in TABLE])
        wrong = [
            (action, sensitivity, purpose, decision.reason)
            for (_, action, sensitivity, purpose), decision in zip(TABLE, decisions, strict=True)
            if decision.allowed != allowed(role, action, sensitivity, purpose)
        ]
        assert wrong == []
        # no cell may rest on an error: a shipped policy never errs
        assert not [d.reason for d in decisions if not d.policies and d.reason != "nothing allows it"]


@pytest.mark.parametrize("pair", list(itertools.combinations(ROLES, 2)))
def test_two_roles_allow_what_either_allows(policy: AccessPolicy, pair: tuple[str, str]) -> None:
    both = Principal("Identity", "someone", frozenset(pair))
    decisions = decide_many(policy, [Request(both, a, resource(k, s), p) for k, a, s, p in TABLE])
    for (_, action, sensitivity, purpose), decision in zip(TABLE, decisions, strict=True):
        assert decision.allowed == any(allowed(role, action, sensitivity, purpose) for role in pair)


def test_every_case_of_the_shipped_test_file_holds(policy: AccessPolicy) -> None:
    path = shipped_folder() / TESTS_FILE
    assert len(read_cases(path)) >= 20
    assert [failure.says for failure in run(policy, path)] == []


def test_every_shipped_policy_has_a_case(policy: AccessPolicy) -> None:
    assert untested(policy, shipped_folder() / TESTS_FILE) == []


def test_the_shipped_policy_has_no_remarks(policy: AccessPolicy) -> None:
    assert policy.lint() == []
