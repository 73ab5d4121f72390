from __future__ import annotations

import pytest

from pellucid.access import SCHEMA_FILE, AccessPolicy, shipped

SCHEMA = (shipped() / SCHEMA_FILE).read_bytes()
POLICY = (shipped() / "access.cedar").read_bytes()


def remarks(text: str, base: bytes = POLICY) -> list[tuple[str, str | None, int | None]]:
    policy = AccessPolicy.parse(base + text.encode(), SCHEMA)
    return [(remark.id, remark.policy, remark.line) for remark in policy.lint()]


END = POLICY.count(b"\n") + 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('@id("x") permit (principal, action, resource);', "open-permit"),
        ('@id("x") permit (principal, action == Action::"release", resource);', "open-principal"),
        ('@id("x") permit (principal is Identity, action, resource) when { false };', "never-decides"),
        ('@id("x") permit (principal in Role::"reader", action, resource is Column) when { false };', "never-decides"),
        (
            '@id("x") permit (principal in Role::"reader", action == Action::"export", resource)'
            ' when { resource.sensitivity == "special" };',
            "never-decides",  # a forbid beats it wherever it applies
        ),
        (
            '@id("x") forbid (principal, action == Action::"read", resource)'
            ' when { resource.sensitivity == "speciall" };',
            "never-decides",
        ),
    ],
)
def test_each_remark(text: str, found: str) -> None:
    assert remarks(text) == [(found, "x", END)]


@pytest.mark.parametrize(
    "text",
    [
        '@id("x") permit (principal == Identity::"ana", action == Action::"release", resource);',
        '@id("x") permit (principal, action == Action::"release", resource) when { principal in Role::"auditor" };',
        '@id("x") forbid (principal, action, resource in Dataset::"other");',
        '@id("x") forbid (principal, action, resource) when { context has purpose && context.purpose like "un*" };',
    ],
)
def test_no_remark(text: str) -> None:
    assert remarks(text) == []


def test_an_action_that_nobody_may_do_is_named() -> None:
    policy = AccessPolicy.parse(
        b'@id("x") permit (principal in Role::"owner", action == Action::"read", resource);', SCHEMA
    )
    found = {remark.says for remark in policy.lint()}
    assert found == {f'no role may ever "{action}"' for action in policy.actions if action != "read"}


def test_a_policy_of_forbids_alone_is_remarked_on() -> None:
    found = remarks('@id("x") forbid (principal, action, resource);', b"")
    assert {name for name, _, _ in found} == {"unused-action"}
