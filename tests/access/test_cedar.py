"""The traps of Cedar, each reproduced with Cedar alone and then shown closed."""

from __future__ import annotations

import subprocess
import sys

import cedarpy
import pytest

from pellucid.access.cedar import _answer, parse
from pellucid.errors import BadFile

SCHEMA = """
entity Role enum ["owner"];
entity Identity in [Role];
entity Dataset { level: Long };
action read, write appliesTo { principal: [Identity], resource: [Dataset], context: { purpose?: String } };
action touch;
"""
# overflow is the one error that Cedar's validator lets through
OVERFLOW = """
@id("all") permit (principal, action, resource);
@id("never") forbid (principal, action, resource) when { resource.level + 9223372036854775807 > 0 };
"""
ENTITIES = [
    {"uid": {"type": "Identity", "id": "ana"}, "attrs": {}, "parents": []},
    {"uid": {"type": "Dataset", "id": "low"}, "attrs": {"level": 0}, "parents": []},
    {"uid": {"type": "Dataset", "id": "high"}, "attrs": {"level": 1}, "parents": []},
]


def question(resource: str = "low", action: str = "read", **context: object) -> dict[str, object]:
    return {
        "principal": {"type": "Identity", "id": "ana"},
        "action": {"type": "Action", "id": action},
        "resource": {"type": "Dataset", "id": resource},
        "context": context,
    }


def engine(policies: str, schema: str = SCHEMA):
    return parse(policies, schema, policies_at="p.cedar", schema_at="p.cedarschema")


def test_an_erroring_forbid_is_a_deny() -> None:
    alone = cedarpy.is_authorized(question("high"), OVERFLOW, ENTITIES, SCHEMA)
    assert alone.allowed  # the trap: the forbid errs, is skipped, and Cedar says Allow
    (answer,) = engine(OVERFLOW).evaluate(ENTITIES, [question("high")])
    assert not answer.allowed
    assert "overflow" in answer.errors[0]
    (answer,) = engine('@id("all") permit (principal, action, resource);').evaluate(ENTITIES, [question("high")])
    assert answer.allowed  # so it was the error that denied


def test_an_unsafe_context_access_is_refused_at_loading() -> None:
    text = '@id("a") forbid (principal, action, resource) when { context.purpose == "marketing" };'
    with pytest.raises(BadFile, match="optional attribute `purpose`"):
        engine(text)


@pytest.mark.parametrize(
    "request_",
    [
        question(action="fly"),
        question(action="touch"),
        question("missing"),
        question(purpose=3),
        question(other="x"),
        {**question(), "principal": {"type": "Role", "id": "owner"}},
        {**question(), "principal": {"type": "Stranger", "id": "ana"}},
        {**question(), "resource": {"type": "no type", "id": "x"}},
    ],
    ids=["action", "group", "resource", "context type", "context key", "principal type", "type", "syntax"],
)
def test_a_request_that_does_not_fit_the_schema_is_a_deny(request_: dict[str, object]) -> None:
    text = '@id("all") permit (principal, action, resource) when { resource.level >= 0 };'
    odd, fine = engine(text).evaluate(ENTITIES, [request_, question()])
    assert not odd.allowed
    assert odd.errors
    assert fine.allowed  # and the batch goes on
    assert not fine.errors


@pytest.mark.parametrize("decision", ["NoDecision", "Deny"])
def test_no_decision_is_a_deny_with_an_error(decision: str) -> None:
    answer = _answer(cedarpy, cedarpy.AuthzResult({"decision": decision, "diagnostics": {}}))
    assert not answer.allowed
    assert bool(answer.errors) == (decision == "NoDecision")


@pytest.mark.parametrize(
    "entities",
    [
        [{**ENTITIES[1], "attrs": {"level": "x"}}],
        [{**ENTITIES[1], "attrs": {}}],
        [{**ENTITIES[1], "attrs": {"level": 1, "more": 1}}],
        [{**ENTITIES[0], "parents": [{"type": "Role", "id": "wizard"}]}],
        [ENTITIES[1], {**ENTITIES[1], "attrs": {"level": 2}}],
        [{**ENTITIES[1], "attrs": {"level": object()}}],
        [{}],
    ],
    ids=["type", "missing", "more", "role", "twice", "not json", "empty"],
)
def test_entities_that_do_not_fit_the_schema_are_a_deny(entities: list[dict[str, object]]) -> None:
    answers = engine('@id("all") permit (principal, action, resource);').evaluate(entities, [question(), question()])
    assert [(a.allowed, a.unfit, bool(a.errors)) for a in answers] == [(False, True, True)] * 2


def test_reasons_are_positions_in_the_file_past_ten_policies() -> None:
    lines = [f'@id("p{i}") permit (principal, action, resource) when {{ resource.level == {i} }};' for i in range(13)]
    built = engine("\n".join(lines))
    assert [rule.id for rule in built.rules] == [f"p{i}" for i in range(13)]
    assert [rule.line for rule in built.rules] == list(range(1, 14))
    entities = [ENTITIES[0], {**ENTITIES[1], "attrs": {"level": 11}}]
    (answer,) = built.evaluate(entities, [question()])
    assert [built.rules[i].id for i in answer.rules] == ["p11"]


def test_lines_are_counted_past_comments_and_strings() -> None:
    text = (
        '// a; "comment\n@id("a;b") // tail;\npermit (principal, action, resource)\n  when { "//;\\"" == "x" };\n\n'
        '  // more\n@id("b") forbid (principal, action, resource);@id("c") forbid (principal, action, resource);'
        "\n// end"
    )
    assert [(rule.id, rule.line) for rule in engine(text).rules] == [("a;b", 2), ("b", 7), ("c", 7)]


@pytest.mark.parametrize(
    ("policies", "where"),
    [
        ('@id("a") permit (principal, action, resource);\n\npermit (principal, action);', "p.cedar:3"),
        ("permit (principal, action, resource)\n  when { resource blah };", "p.cedar:2:19"),
        ("permit (principal, action, resource)", "p.cedar:1"),
        ("\n\nallow all;", "p.cedar:3"),
    ],
)
def test_a_parse_error_names_the_line(policies: str, where: str) -> None:
    with pytest.raises(BadFile) as caught:
        engine(policies)
    assert caught.value.where == where


def test_a_validation_error_names_policy_and_line() -> None:
    text = '@id("a") permit (principal, action, resource);\n'
    text += '@id("b")\nforbid (principal, action, resource)\nwhen { resource.levl > 1 };'
    with pytest.raises(BadFile, match=r'policy "b" \(line 2\): attribute `levl`') as caught:
        engine(text)
    assert caught.value.where == "p.cedar:2"


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        ('permit (principal in Role::"wizard", action, resource);', "wizard"),
        ('permit (principal, action == Action::"fly", resource);', "unrecognized action"),
        ('permit (principal == Person::"ana", action, resource);', "Person"),
        ('permit (principal, action, resource) when { resource.level == "high" };', "types"),
    ],
)
def test_policies_that_do_not_fit_the_schema_are_refused(policies: str, says: str) -> None:
    with pytest.raises(BadFile, match=says):
        engine(policies)


def test_a_template_is_refused() -> None:
    with pytest.raises(BadFile, match="allows nothing by itself") as caught:
        engine("\npermit (principal == ?principal, action, resource);")
    assert caught.value.where == "p.cedar:2"


@pytest.mark.parametrize(
    ("schema", "where"),
    [("entity A;\nentty B;", "p.cedarschema:2:1"), ("entity A in [C];", "p.cedarschema"), ("x x", "p.cedarschema")],
)
def test_a_schema_that_does_not_parse_is_refused(schema: str, where: str) -> None:
    with pytest.raises(BadFile, match="not a Cedar schema") as caught:
        engine("permit (principal, action, resource);", schema)
    assert caught.value.where == where


def test_roles_and_actions_come_from_the_schema() -> None:
    built = engine('@id("a") permit (principal in Role::"owner", action, resource);')
    assert built.roles == ("owner",)
    assert built.actions == {"read": ("Dataset",), "write": ("Dataset",)}  # touch applies to nothing
    loose = SCHEMA.replace('entity Role enum ["owner"];', "entity Role;")
    text = '@id("a") permit (principal in Role::"b", action, resource) unless { principal in Role::"c" };'
    assert engine(text, loose).roles == ("b", "c")


def test_several_names_and_odd_names_of_actions_and_roles() -> None:
    schema = (
        'entity Role enum ["a b", "c\\"d", "e]"]; entity Identity in [Role]; entity Dataset; entity Model;\n'
        'action "do it" appliesTo { principal: Identity, resource: [Dataset, Model] };'
        "action x appliesTo { principal: Identity, resource: Dataset, context: {} };"
    )
    built = engine('@id("a") permit (principal, action, resource);', schema)
    assert built.roles == ("a b", 'c"d', "e]")
    assert built.actions == {"do it": ("Dataset", "Model"), "x": ("Dataset",)}


def test_repr_shows_no_handles() -> None:
    assert "PolicySet" not in repr(engine('@id("a") permit (principal, action, resource);'))


def test_importing_access_loads_no_engine() -> None:
    code = "import pellucid.access, sys; sys.exit(any(m in sys.modules for m in ('cedarpy', 'torch', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_cedarpy_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['cedarpy'] = None\n"
        "from pellucid.access import AccessPolicy, shipped\n"
        "from pellucid.errors import MissingExtra\n"
        "try: AccessPolicy.load(shipped())\n"
        "except MissingExtra as error: sys.exit(0 if 'pellucid[vault]' in str(error) else 1)\n"
        "sys.exit(2)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
