from __future__ import annotations

from pellucid.access import (
    SCHEMA_FILE,
    AccessPolicy,
    Principal,
    Request,
    Resource,
    decide,
    difference,
    matrix,
    readers,
    shipped,
)
from pellucid.schema import Schema

SCHEMA = (shipped() / SCHEMA_FILE).read_bytes()
POLICY = (shipped() / "access.cedar").read_bytes()


def test_readers_of_the_shipped_policy(policy: AccessPolicy, schema: Schema) -> None:
    found = readers(policy, schema, "applicants", policy.roles)
    assert found == {
        "region": {"owner", "steward", "scientist", "auditor"},
        "age": {"owner", "steward", "scientist", "auditor"},
        "gender": {"owner", "steward", "auditor"},
        "passport": {"owner", "steward"},
        "loan": {"owner", "steward", "scientist", "auditor"},
    }
    assert list(found) == list(schema.columns)


def test_readers_are_among_the_roles_asked_for(policy: AccessPolicy, schema: Schema) -> None:
    found = readers(policy, schema, "applicants", ["scientist", "wizard", "reader", "scientist"])
    assert found["age"] == {"scientist"}
    assert found["passport"] == frozenset()
    assert set(readers(policy, schema, "applicants", []).values()) == {frozenset()}


def test_one_declared_purpose_is_enough_to_read(schema: Schema) -> None:
    text = b"""@id("audit") permit (principal in Role::"auditor", action == Action::"read", resource)
    when { context has purpose && context.purpose == "fairness audit" };
    @id("other") permit (principal in Role::"reader", action == Action::"read", resource)
    when { context has purpose && context.purpose == "marketing" };"""
    found = readers(AccessPolicy.parse(text, SCHEMA), schema, "applicants", ["auditor", "reader"])
    assert set(found.values()) == {frozenset({"auditor"})}


def test_readers_hold_for_one_data_set(schema: Schema) -> None:
    text = b"""@id("one") permit (principal in Role::"reader", action == Action::"read", resource in Dataset::"a");
    @id("two") permit (principal in Role::"reader", action == Action::"read", resource == Column::"b/age");"""
    policy = AccessPolicy.parse(text, SCHEMA)
    assert set(readers(policy, schema, "a", ["reader"]).values()) == {frozenset({"reader"})}
    found = readers(policy, schema, "b", ["reader"])
    assert [name for name, roles in found.items() if roles] == ["age"]


def test_readers_agree_with_decide(policy: AccessPolicy, schema: Schema) -> None:
    found = readers(policy, schema, "applicants", policy.roles)
    for name, column in schema.columns.items():
        resource = Resource.column("applicants", column, schema)
        for role in policy.roles:
            may = any(
                decide(policy, Request(Principal("Identity", "x", frozenset({role})), "read", resource, p)).allowed
                for p in schema.purposes
            )
            assert may == (role in found[name])


def test_the_matrix_has_every_cell_once(policy: AccessPolicy, schema: Schema) -> None:
    rows = matrix(policy, schema, "applicants", project="credit", model="credit-risk")
    # 5 administrative actions on the project, 7 on the data set, 2 on each of 5 columns, 6 on the model; 3 purposes
    assert len(rows) == 5 * 3 * (5 + 7 + 2 * 5 + 6)
    assert len({(r.role, r.action, r.resource, r.purpose) for r in rows}) == len(rows)
    cells = {(r.role, r.action, r.resource, r.purpose): r for r in rows}
    cell = cells["steward", "export", 'Column::"applicants/gender"', "credit scoring"]
    assert (cell.allowed, cell.policies) == (False, ("special-stays",))
    assert cells["reader", "report", 'Model::"credit-risk"', None].allowed


def test_difference_says_who_gains_and_who_loses(policy: AccessPolicy, schema: Schema) -> None:
    changed = POLICY.replace(b'["public", "personal"].contains', b'["public", "special"].contains')
    assert changed != POLICY
    before, after = (matrix(p, schema, "d") for p in (policy, AccessPolicy.parse(changed, SCHEMA)))
    changes = difference(before, after)
    assert {(c.role, c.action, c.resource, c.gained) for c in changes} == {
        ("scientist", "read", 'Column::"d/age"', False),
        ("scientist", "read", 'Column::"d/loan"', False),
        ("scientist", "read", 'Column::"d/gender"', True),
    }
    assert {c.purpose for c in changes} == set(schema.purposes)
    assert all(c.policies == (("scientist-reads",) if c.gained else ()) for c in changes)
    assert difference(before, before) == ()


def test_a_cell_that_is_gone_counts_as_lost(policy: AccessPolicy, schema: Schema) -> None:
    rows = matrix(policy, schema, "d")
    lost = difference(rows, ())
    assert len(lost) == sum(row.allowed for row in rows)
    assert not any(change.gained for change in lost)
    assert all(change.gained for change in difference((), rows))
