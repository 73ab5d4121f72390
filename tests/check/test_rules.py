from __future__ import annotations

import copy
import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.check import ReleasePolicy, judge, verdict
from pellucid.check.rules import unmeasured, variables
from pellucid.errors import BadFile
from pellucid.evidence import Evidence, Finding, Subject

TODAY = dt.date(2026, 6, 1)
MODEL = Subject("m@1", "0" * 64)


def policy(*rules: tuple[str, str] | str) -> ReleasePolicy:
    text = ""
    for number, rule in enumerate(rules):
        that, severity = (rule, "error") if isinstance(rule, str) else rule
        text += f"[[require]]\nid = 'r{number}'\nthat = '''{that}'''\n"
        text += f"because = 'b'\nseverity = '{severity}'\nfix = 'do it'\n"
    return ReleasePolicy.parse(text.encode())


def piece(kind: str, **values: Any) -> Evidence:
    required: dict[str, Any] = {
        "attack": {},
        "evaluation": {"auc": {"low": 0.9}, "accuracy": {}},
        "fairness": {"columns": {}},
        "review": {"verdict": "approve"},
        "slices": {},
        "unsafe": {"door": ""},
    }[kind]
    return Evidence(kind, MODEL, {**required, **values}, {}, "public")


def statuses(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.status for finding in findings]


@pytest.mark.parametrize(
    ("found", "exit_code", "word"),
    [
        ([("pass", "error")], 0, "pass"),
        ([("waived", "error")], 0, "pass"),
        ([("fail", "warning"), ("pass", "error")], 0, "pass"),
        ([("unmeasured", "warning"), ("pass", "error")], 0, "pass"),
        ([("fail", "error"), ("pass", "error")], 1, "fail"),
        ([("fail", "error"), ("unmeasured", "warning")], 1, "fail"),
        ([("fail", "error"), ("unmeasured", "error")], 3, "unmeasured"),
        ([("unmeasured", "error"), ("pass", "error")], 3, "unmeasured"),
    ],
)
def test_the_verdict_is_3_if_an_error_is_unmeasured_else_1_if_one_fails_else_0(
    found: list[Any], exit_code: int, word: str
) -> None:
    findings = [Finding("x", status, severity, "t", "b", {}) for status, severity in found]
    assert (verdict(findings).exit, verdict(findings).word) == (exit_code, word)


def test_no_finding_is_no_pass() -> None:
    with pytest.raises(BadFile, match="nothing was required"):
        verdict([])


def test_a_finding_carries_the_rule_its_values_and_what_to_do() -> None:
    (finding,) = judge(policy("evaluation.auc.low >= 0.95"), [piece("evaluation")], TODAY)
    assert finding.document() == {
        "id": "r0",
        "status": "fail",
        "severity": "error",
        "that": "evaluation.auc.low >= 0.95",
        "because": "b",
        "values": {"evaluation.auc.low": 0.9},
        "fix": "do it",
    }


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("fairness.columns['gendr'].gap <= 0.9", '; did you mean "gender"?'),
        ("fairness.columns['gender'].gpa <= 0.9", '; did you mean "gap"?'),
        ("fairness.colunms['gender'].gap <= 0.9", '; did you mean "columns"?'),
        ("fairness.columns['a b'].gap <= 0.9", ""),
        ("fairness.columns.gender.groups[7].auc <= 0.9", ""),
    ],
)
def test_the_nearest_known_is_one_of_the_step_at_which_a_path_ends(rule: str, hint: str) -> None:
    columns = {"gender": {"gap": 0.1, "groups": [{"group": "f", "auc": 0.9}]}, "age": {"gap": 0.2}}
    (finding,) = judge(policy(rule), [piece("fairness", columns=columns)], TODAY)
    assert finding.status == "unmeasured"
    assert finding.fix.partition(" was not measured")[2] == hint


def test_an_unmeasured_finding_says_what_is_missing() -> None:
    rules = policy("evaluation.acu.low > 0.5", "attack.epsilon_lower < 1", "fairness.columns.all(c, c != '')")
    first, second, third = judge(rules, [piece("evaluation"), piece("fairness")], TODAY)
    assert 'did you mean "auc"' in first.fix
    assert "no evidence of kind attack" in second.fix
    assert "fairness.columns holds nothing" in third.fix


def test_of_several_pieces_of_a_kind_the_last_in_the_bundle_counts() -> None:
    first, last = piece("attack", epsilon_lower=0.1), piece("attack", epsilon_lower=9.0)
    assert variables([first, last])["attack"]["epsilon_lower"] == 9.0
    assert statuses(judge(policy("attack.epsilon_lower < 1"), [first, last], TODAY)) == ["fail"]
    assert statuses(judge(policy("attack.epsilon_lower < 1"), [last, first], TODAY)) == ["pass"]


def test_pieces_of_a_kind_are_not_merged() -> None:
    pieces = [piece("attack", epsilon_lower=0.1, extra=1), piece("attack", epsilon_lower=0.2)]
    assert statuses(judge(policy("attack.extra == 1"), pieces, TODAY)) == ["unmeasured"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize(
    "that", ["attack.epsilon_lower <= 3", "!(attack.epsilon_lower > 3)", "attack.epsilon_lower != 3"]
)
def test_evidence_that_is_no_number_never_passes(bad: Any, that: str) -> None:
    (finding,) = judge(policy(that), [piece("attack", epsilon_lower=bad)], TODAY)
    assert finding.status == "unmeasured"
    assert finding.values == {"attack.epsilon_lower": None}


@pytest.mark.parametrize("bad", ["0.1", "", True, False, [], {}, ["0.1"]])
def test_evidence_of_another_type_is_an_error_that_names_the_requirement(bad: Any) -> None:
    with pytest.raises(BadFile, match=r"require\[r0\]\.that: this requirement cannot be evaluated") as error:
        judge(policy("attack.epsilon_lower <= 3"), [piece("attack", epsilon_lower=bad)], TODAY)
    assert error.value.exit_code == 2
    assert error.value.fix


def test_a_requirement_that_reads_unverified_evidence_is_unmeasured_even_under_has() -> None:
    rules = policy("!has(attack.epsilon_lower) || attack.epsilon_lower < 1", "evaluation.auc.low > 0.5")
    evidence = [piece("attack", epsilon_lower=0.1), piece("evaluation")]
    found = judge(rules, evidence, TODAY, unverified={"attack": "does not verify: x"})
    assert statuses(found) == ["unmeasured", "pass"]
    assert "does not verify: x" in found[0].fix


def test_of_a_bundle_that_does_not_verify_everything_is_unmeasured() -> None:
    rules = policy("!has(attack.epsilon_lower)", ("evaluation.auc.low > 0.5", "warning"))
    assert statuses(unmeasured(rules, "forged")) == ["unmeasured", "unmeasured"]
    assert verdict(unmeasured(rules, "forged")).exit == 3


# -- the law of absence -----------------------------------------------------------------------------------------------

LAW_RULES = [
    "attack.epsilon_lower < 1",
    "!(attack.epsilon_lower < 1)",
    "attack.epsilon_lower < 1 || evaluation.auc.low > 0.5",
    "evaluation.auc.low > 0.5 && !(attack.auc.low > 0.9)",
    "evaluation.auc.low > 0.5 ? attack.auc.low < 0.9 : attack.epsilon_lower < 2",
    "fairness.columns.all(c, fairness.columns[c].gap <= 0.1)",
    "!fairness.columns.exists(c, fairness.columns[c].gap > 0.1)",
    "fairness.columns.all(c, fairness.columns[c].groups.all(g, g.auc.low > 0.5 || g.n < 100))",
    "fairness.columns.gender.groups.filter(g, g.n >= 100).all(g, g.auc.low > 0.5)",
    "slices.found.size() == 0 || slices.found.all(s, s.gap < 0.2)",
    "!('age' in slices.names)",
]
number = st.sampled_from([0.0, 0.05, 0.4, 0.6, 0.95, 1.5, 100, 200])


@st.composite
def evidence_values(draw: st.DrawFn) -> dict[str, Any]:
    estimate = st.fixed_dictionaries({"low": number, "n": number})
    group = st.fixed_dictionaries({"auc": estimate, "n": number})
    column = st.fixed_dictionaries({"gap": number, "groups": st.lists(group, max_size=3)})
    return draw(
        st.fixed_dictionaries(
            {
                "attack": st.fixed_dictionaries({"epsilon_lower": number, "auc": estimate}),
                "evaluation": st.fixed_dictionaries({"auc": estimate}),
                "fairness": st.fixed_dictionaries(
                    {"columns": st.dictionaries(st.sampled_from(["gender", "age"]), column, max_size=2)}
                ),
                "slices": st.fixed_dictionaries(
                    {
                        "found": st.lists(st.fixed_dictionaries({"gap": number}), max_size=2),
                        "names": st.lists(st.sampled_from(["age", "sex"]), max_size=2),
                    }
                ),
            }
        )
    )


def fields(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value where a field of a record stands (a list's length and a map of columns are data)."""
    found: list[tuple[Any, ...]] = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(value, dict) and at[-1:] != ("columns",):
            found.append((*at, key))
        found += fields(item, (*at, key))
    return found


RANK = {"pass": 0, "fail": 1, "unmeasured": 2}


@given(evidence_values(), st.data(), st.lists(st.sampled_from(LAW_RULES), min_size=1, max_size=4, unique=True))
def test_removing_evidence_never_turns_a_non_pass_into_a_pass_nor_betters_the_verdict(
    values: dict[str, Any], data: st.DataObject, rules: list[str]
) -> None:
    programs = policy(*rules)

    def found(of: dict[str, Any]) -> tuple[Finding, ...]:
        return judge(programs, [_Loose(kind, part) for kind, part in of.items()], TODAY)  # type: ignore[misc]

    less = copy.deepcopy(values)
    place = data.draw(st.sampled_from(fields(values)))
    holder = less
    for key in place[:-1]:
        holder = holder[key]
    how = data.draw(st.sampled_from(["drop", "null", "nan"]))
    if how == "drop" or len(place) == 1:
        del holder[place[-1]]
    else:
        holder[place[-1]] = None if how == "null" else math.nan
    before, after = found(values), found(less)
    for one, other in zip(before, after, strict=True):
        assert other.status == one.status or other.status == "unmeasured"
    assert RANK[verdict(after).word] >= RANK[verdict(before).word]


class _Loose:
    """Kind and values, without the fields a statement must have: so that any of them can be missing."""

    def __init__(self, kind: str, values: Any) -> None:
        self.kind, self.values = kind, values


def test_every_unsafe_door_is_held_against_a_rule_and_the_worst_counts() -> None:
    """A door that a policy allows does not cover for one that it does not, whichever was opened last."""
    rules = policy("!has(unsafe.door) || unsafe.door == 'UnsafeSeed'", "evaluation.auc.low > 0.5")
    seed, score = piece("unsafe", door="UnsafeSeed"), piece("unsafe", door="UnsafeScore")
    measured = piece("evaluation")
    assert statuses(judge(rules, [measured, seed], TODAY)) == ["pass", "pass"]
    for order in ([score, seed], [seed, score], [seed, score, seed]):
        findings = judge(rules, [measured, *order], TODAY)
        assert statuses(findings) == ["fail", "pass"]
        assert findings[0].values == {"unsafe.door": "UnsafeScore"}
    silent = judge(policy("evaluation.auc.low > 0.5"), [measured, seed, score], TODAY)
    assert [(each.id, each.status) for each in silent] == [("r0", "pass"), ("unsafe", "fail")]
