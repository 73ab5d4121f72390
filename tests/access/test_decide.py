from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.access import (
    SCHEMA_FILE,
    AccessPolicy,
    Principal,
    Request,
    Resource,
    decide,
    decide_many,
    require,
    shipped,
)
from pellucid.errors import Denied
from pellucid.evidence import canonical
from pellucid.log.entries import RECORDS
from pellucid.schema import Schema

SCHEMA = (shipped() / SCHEMA_FILE).read_bytes()
ANA = Principal("Identity", "ana", frozenset({"scientist"}))
EVERYONE = ("owner", "steward", "scientist", "auditor", "reader")


def read(schema: Schema, column: str = "age", purpose: str | None = "credit scoring", who: Principal = ANA) -> Request:
    return Request(who, "read", Resource.column("applicants", schema.columns[column], schema), purpose)


def test_an_allow_names_the_policy_that_decided(policy: AccessPolicy, schema: Schema) -> None:
    decision = decide(policy, read(schema))
    assert decision.allowed
    assert decision.policies == ("scientist-reads",)
    assert (decision.policy_sha256, decision.schema_sha256) == (policy.sha256, policy.schema_sha256)
    assert require(decision) is decision
    with pytest.raises(FrozenInstanceError):
        decision.allowed = False  # type: ignore[misc]


def test_record_has_exactly_the_fields_of_a_decision_record(policy: AccessPolicy, schema: Schema) -> None:
    for request in (read(schema), read(schema, purpose=None), read(schema, who=Principal("Role", "owner"))):
        record = decide(policy, request).record()
        assert record.keys() == RECORDS["decision"]
        assert json.loads(canonical(record)) == record
    assert (record["identity"], record["roles"]) == (None, ["owner"])
    record = decide(policy, read(schema)).record()
    assert record["resource"] == {"type": "Column", "name": "applicants/age"}
    assert (record["identity"], record["roles"], record["purpose"]) == ("ana", ["scientist"], "credit scoring")


@pytest.mark.parametrize(
    ("action", "roles", "says"),
    [
        ("raed", {"scientist"}, 'no action "raed"; did you mean "read"?'),
        ("processing", {"owner"}, 'no action "processing"'),
        ("", {"owner"}, "no action"),
        ("read", {"scientits"}, 'no role "scientits"; did you mean "scientist"?'),
        ("read", {"owner", "wizard"}, 'no role "wizard"'),
    ],
)
def test_an_unknown_action_or_role_is_denied(
    policy: AccessPolicy, schema: Schema, action: str, roles: set[str], says: str
) -> None:
    resource = Resource.column("applicants", schema.columns["age"], schema)
    request = Request(Principal("Identity", "ana", frozenset(roles)), action, resource, "credit scoring")
    decision = decide(policy, request)
    assert not decision.allowed
    assert decision.policies == ()
    assert says in decision.reason


AGE = {"purposes": frozenset({"p"}), "sensitivity": "personal"}


@pytest.mark.parametrize(
    "resource",
    [
        Resource("Column", "a.b"),
        Resource("Column", "a.b", {"purposes": frozenset({"p"})}),
        Resource("Column", "a.b", {**AGE, "sensitivity": 3}),
        Resource("Column", "a.b", {**AGE, "more": 1}),
        Resource("Column", "a.b", {**AGE, "purposes": [1, "p"]}),
        Resource("Column", "a.b", {**AGE, "sensitivity": object()}),
        Resource("Dataset", "a", {"purposes": frozenset({"p"})}),
        Resource("Table", "a", AGE),  # type: ignore[arg-type]
        Resource("Column", "a.b", AGE, (Resource("Model", "x", {"purposes": frozenset()}),)),
        Resource("Column", "a.b", AGE, (Resource("Column", "a.b", {**AGE, "sensitivity": "public"}),)),
    ],
    ids=["bare", "missing", "type", "more", "mixed", "not json", "kind", "unknown kind", "parent", "described twice"],
)
def test_a_resource_that_does_not_fit_the_schema_is_denied(policy: AccessPolicy, resource: Resource) -> None:
    fine = Resource("Column", "c.d", AGE)
    owner = Principal("Identity", "olga", frozenset({"owner"}))
    decisions = decide_many(policy, [Request(owner, "read", r, "p") for r in (fine, resource, fine)])
    assert [decision.allowed for decision in decisions] == [True, False, True]
    assert decisions[1].policies == ()
    assert "could not be decided without an error" in decisions[1].reason


def test_an_erroring_forbid_is_denied_with_its_reason() -> None:
    schema = SCHEMA.replace(b"sensitivity: String,", b"sensitivity: String, level: Long,")
    text = b"""@id("all") permit (principal, action, resource);
    @id("no") forbid (principal, action == Action::"read", resource)
    when { resource.level + 9223372036854775807 > 0 };"""
    policy = AccessPolicy.parse(text, schema)
    resource = Resource("Column", "a.b", {**AGE, "level": 1})
    decision = decide(policy, Request(ANA, "read", resource))
    assert (decision.allowed, decision.policies) == (False, ())
    assert "overflow" in decision.reason
    resource = Resource("Column", "a.b", {**AGE, "level": -9223372036854775807})
    assert decide(policy, Request(ANA, "read", resource)).allowed


def test_a_schema_without_what_is_asked_denies(schema: Schema) -> None:
    narrow = b"entity Role; entity Identity in [Role]; entity Thing;"
    narrow += b"action read appliesTo { principal: Identity, resource: Thing };"
    policy = AccessPolicy.parse(b'@id("all") permit (principal, action, resource);', narrow)
    assert not decide(policy, read(schema, who=Principal("Identity", "ana"))).allowed


def test_nothing_allows_it_is_the_reason_of_a_default_deny(policy: AccessPolicy, schema: Schema) -> None:
    decision = decide(policy, read(schema, "gender"))
    assert (decision.allowed, decision.policies, decision.reason) == (False, (), "nothing allows it")


def test_every_forbid_that_applies_is_named(policy: AccessPolicy, schema: Schema) -> None:
    resource = Resource.column("applicants", schema.columns["gender"], schema)
    decision = decide(policy, Request(Principal("Role", "owner"), "export", resource, None))
    assert decision.policies == ("purpose-needed", "special-stays")


def test_an_empty_purpose_is_not_a_purpose(policy: AccessPolicy, schema: Schema) -> None:
    assert not decide(policy, read(schema, purpose="")).allowed


def test_a_role_cannot_pose_as_another(policy: AccessPolicy, schema: Schema) -> None:
    assert not decide(policy, read(schema, "passport", who=Principal("Role", "reader", frozenset({"owner"})))).allowed


def test_an_identity_named_like_a_role_is_not_that_role(policy: AccessPolicy, schema: Schema) -> None:
    assert not decide(policy, read(schema, who=Principal("Identity", "owner"))).allowed


@pytest.mark.parametrize("name", ['a"na', "a\nb", "ána", 'x" in Role::"owner'])
def test_an_odd_name_is_data_not_syntax(policy: AccessPolicy, schema: Schema, name: str) -> None:
    assert not decide(policy, read(schema, who=Principal("Identity", name))).allowed
    assert decide(policy, read(schema, who=Principal("Identity", name, frozenset({"scientist"})))).allowed
    odd = Resource("Column", name, AGE)
    assert decide(policy, Request(ANA, "read", odd, "p")).allowed
    assert json.loads(str(odd).removeprefix("Column::")) == name


def test_require_says_who_what_purpose_policies_and_what_next(policy: AccessPolicy, schema: Schema) -> None:
    with pytest.raises(Denied) as caught:
        require(decide(policy, read(schema, purpose="marketing")))
    text = str(caught.value)
    for part in ("ana (scientist)", "read", 'Column::"applicants/age"', '"marketing"', "purpose-declared"):
        assert part in text
    assert 'next: state a declared purpose: "credit scoring", "fairness audit"' in text
    assert caught.value.exit_code == 1
    with pytest.raises(Denied, match="may not read applicants: age, loan for"):
        require(decide(policy, read(schema, purpose="marketing")), what="applicants: age, loan")
    with pytest.raises(Denied, match="nothing allows it") as caught:
        require(decide(policy, read(schema, "passport")))
    assert "ask an owner" in str(caught.value)
    export = Request(Principal("Role", "owner"), "export", read(schema, "gender").resource, "credit scoring")
    with pytest.raises(Denied, match="special-stays") as caught:
        require(decide(policy, export))
    assert "no role changes this" in str(caught.value)
    with pytest.raises(Denied, match="without a purpose"):
        require(decide(policy, read(schema, purpose=None, who=Principal("Identity", "zoe"))))


def test_decide_many_of_nothing_is_nothing(policy: AccessPolicy) -> None:
    assert decide_many(policy, []) == []


@st.composite
def requests(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(["Project", "Dataset", "Column", "Model"]))
    purposes = draw(st.frozensets(st.sampled_from(["p", "q"]), max_size=2))
    attributes = {
        "Project": {},
        "Column": {"purposes": purposes, "sensitivity": draw(st.sampled_from(["public", "special", "odd", 3]))},
    }.get(kind, {"purposes": purposes})
    who = draw(st.sampled_from(["ana", "ben"]))
    roles = draw(st.frozensets(st.sampled_from([*EVERYONE, "wizard"]), max_size=2))
    action = draw(st.sampled_from(["read", "export", "train", "report", "grant", "fly"]))
    resource = Resource(kind, draw(st.sampled_from(["a", "b"])), attributes)
    return Request(Principal("Identity", who, roles), action, resource, draw(st.sampled_from([None, "p", "r"])))


@given(st.lists(requests(), max_size=8))
def test_decide_many_is_decide_of_each(asked: list[Request]) -> None:
    policy = _shipped()
    assert decide_many(policy, asked) == [decide(policy, request) for request in asked]


CONDITIONS = (
    "",
    "when { context has purpose }",
    'when { context has purpose && context.purpose == "p" }',
    "unless { context has purpose }",
    'when { principal in Role::"scientist" }',
    'unless { principal in Role::"owner" }',
)
SCOPES = ("principal", 'principal in Role::"steward"', 'principal == Identity::"ana"', "principal is Identity")
ACTIONS = ("action", 'action == Action::"read"', 'action in Action::"processing"', 'action == Action::"report"')


@given(st.sampled_from(SCOPES), st.sampled_from(ACTIONS), st.sampled_from(CONDITIONS), st.lists(requests(), max_size=8))
def test_adding_a_forbid_never_allows_more(who: str, action: str, condition: str, asked: list[Request]) -> None:
    base = (shipped() / "access.cedar").read_bytes()
    more = AccessPolicy.parse(base + f'\n@id("added") forbid ({who}, {action}, resource) {condition};'.encode(), SCHEMA)
    for before, after in zip(decide_many(_shipped(), asked), decide_many(more, asked), strict=True):
        assert before.allowed or not after.allowed
        if before.allowed and not after.allowed:
            assert after.policies == ("added",)


_CACHE: list[AccessPolicy] = []


def _shipped() -> AccessPolicy:
    if not _CACHE:  # hypothesis asks many times; a fixture would be shared all the same
        _CACHE.append(AccessPolicy.load(shipped()))
    return _CACHE[0]
