"""Every format of a check, each held against its schema or against the rules of whoever reads it."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lxml import etree

from pellucid.bundle import Bundle
from pellucid.check import FORMATS, CheckResult, ReleasePolicy, check, render
from pellucid.check.github import annotation
from pellucid.check.markdown import MAX_CHARACTERS, escaped
from pellucid.check.sarif import MAX_RESULTS, MAX_TEXT
from pellucid.errors import Invalid

VECTORS = Path(__file__).parents[1] / "vectors"
NASTY = "a | b\n::error::x\r%0A <script>alert(1)</script> [x](javascript:1) `c` @team \x1b[2J \u202e 中文 العربية ü"
POLICY = f"""
[parameters]
auc = 0.95
[[require]]
id = "met"
that = "privacy.epsilon > 0.0"
because = "a pass"
[[require]]
id = "missed"
that = "evaluation.auc >= parameters.auc"
because = {json.dumps(NASTY)}
fix = {json.dumps("fix: " + NASTY)}
clause = "Art. 1"
[[require]]
id = "unmeasured"
that = "tuning.accuracy.low >= 0.5"
because = "nobody tuned"
[[require]]
id = "warned"
that = "explanation.completeness_gap <= 0.0"
because = "a warning"
severity = "warning"
[[require]]
id = "waived"
that = "attack.epsilon_lower <= 0.0"
because = "known"
[[require]]
id = "elsewhere"
that = "privacy.epsilon < 0.0"
because = "for another model"
applies-to = {{ models = ["fraud"] }}
"""


@pytest.fixture
def result(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CheckResult:
    """One finding of every status, in a folder that is the repository."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "release.toml").write_text(POLICY)
    (folder / "waivers.toml").write_text(maker.waiver("waived", POLICY))
    values["training"]["purpose"] = NASTY
    changed = copy.deepcopy(values)
    changed["evaluation"]["auc"]["low"] = 0.7
    return check(
        make(changed), "policies/release.toml", owners=[maker.owner.verifier], baseline=make(values), diff=make(values)
    )


@pytest.fixture
def unverified(make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path) -> CheckResult:
    path = tmp_path / "bundle.json"
    path.write_bytes(make(values).to_bytes() + b" ")
    return check(path, ReleasePolicy.parse(POLICY.encode()), owners=[maker.owner.verifier])


def sarif(result: CheckResult) -> Any:
    document = json.loads(render(result, "sarif"))
    schema = json.loads((VECTORS / "sarif-2.1.0.json").read_text())
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)
    return document


def test_every_format_is_text_of_the_same_bytes_each_time(result: CheckResult, unverified: CheckResult) -> None:
    for name in FORMATS:
        for each in (result, unverified):
            text = render(each, name)
            assert text.endswith("\n")
            assert text == render(each, name)
            assert "\x1b" not in text
            assert "\u202e" not in text or name == "json"
    with pytest.raises(Invalid, match='did you mean "sarif"'):
        render(result, "sarf")


# -- SARIF ------------------------------------------------------------------------------------------------------------


def test_sarif_keeps_its_schema_and_points_at_the_policy_s_line(result: CheckResult) -> None:
    (run,) = sarif(result)["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["met", "missed", "unmeasured", "warned", "waived", "elsewhere"]
    found = {each["ruleId"]: each for each in run["results"]}
    assert set(found) == {"missed", "unmeasured", "warned", "waived"}
    for name, each in found.items():
        assert rules[each["ruleIndex"]]["id"] == name
        place = each["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "policies/release.toml"
        line = POLICY.splitlines()[place["region"]["startLine"] - 1]
        assert line[place["region"]["startColumn"] - 1 :].startswith(result.requirement(name).that)  # type: ignore[union-attr]
    assert {name: each["level"] for name, each in found.items()} == {
        **dict.fromkeys(("missed", "unmeasured", "waived"), "error"),
        "warned": "warning",
    }
    assert (
        "evaluation.auc.low = 0.7, has to be >= 0.95 (parameters.auc): 0.25 too low"
        in found["missed"]["message"]["text"]
    )
    assert found["waived"]["suppressions"][0]["status"] == "accepted"
    assert "suppressions" not in found["missed"]
    assert (found["missed"]["baselineState"], found["warned"]["baselineState"]) == ("new", "unchanged")
    invocation = run["invocations"][0]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (3, True)
    assert any("matched nothing" in each["message"]["text"] for each in invocation["toolExecutionNotifications"])


def test_a_fingerprint_is_of_requirement_and_model_and_of_nothing_that_moves(
    result: CheckResult, make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    first = {each["ruleId"]: each["partialFingerprints"] for each in sarif(result)["runs"][0]["results"]}
    assert len({json.dumps(each) for each in first.values()}) == len(first)
    moved = ReleasePolicy.parse(("# a line more\n" + POLICY.replace("0.95", "0.99")).encode())
    again = check(make(values), moved, owners=[maker.owner.verifier])
    second = {each["ruleId"]: each["partialFingerprints"] for each in sarif(again)["runs"][0]["results"]}
    assert {name: second[name] for name in first} == first


def test_sarif_of_a_bundle_that_does_not_verify_says_so(unverified: CheckResult) -> None:
    (run,) = sarif(unverified)["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert any(each["level"] == "error" for each in run["invocations"][0]["toolExecutionNotifications"])


def test_sarif_keeps_github_s_limits(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    rule = "[[require]]\nid='r{}'\nthat='evaluation.auc.low > 0.99'\nbecause='{}'\nseverity='{}'\n"
    count = MAX_RESULTS + 20
    text = "".join(
        rule.format(n, "b" * (9000 if n == 0 else 1), "warning" if n < 40 else "error") for n in range(count)
    )
    result = check(make(values), ReleasePolicy.parse(text.encode()), owners=[maker.owner.verifier])
    (run,) = json.loads(render(result, "sarif"))["runs"]
    assert len(run["results"]) == MAX_RESULTS <= 25_000
    kept = [each["level"] for each in run["results"]]
    assert kept == sorted(kept)  # errors first: what is left out are warnings
    assert kept.count("error") == count - 40
    assert any(
        "20 further results were left out" in str(each) for each in run["invocations"][0]["toolExecutionNotifications"]
    )
    texts = [
        rule[key]["text"] for rule in run["tool"]["driver"]["rules"] for key in ("shortDescription", "fullDescription")
    ]
    assert max(map(len, texts)) == MAX_TEXT
    assert all(
        len(rule["id"]) <= 255 and len(rule["properties"]["tags"]) <= 10 for rule in run["tool"]["driver"]["rules"]
    )


# -- JUnit ------------------------------------------------------------------------------------------------------------


def junit(result: CheckResult) -> Any:
    document = etree.fromstring(render(result, "junit").encode("utf-8"))
    etree.XMLSchema(etree.parse(VECTORS / "junit-10.xsd")).assertValid(document)
    return document


def test_junit_keeps_its_schema_and_has_one_case_for_each_requirement(result: CheckResult) -> None:
    suite = junit(result).find("testsuite")
    cases = {
        each.get("name"): [child.tag for child in each if child.tag != "system-out"] for each in suite.iter("testcase")
    }
    expected = {
        "met": [],
        "missed": ["failure"],
        "unmeasured": ["error"],
        "warned": ["skipped"],
        "waived": ["skipped"],
        "elsewhere": ["skipped"],
    }
    assert {name: cases[name] for name in expected} == expected
    assert cases["epsilon"] == []
    assert [int(suite.get(name)) for name in ("failures", "errors", "skipped")] == [1, 1, 4]  # the fourth: weights
    assert int(suite.get("tests")) == len(cases)
    assert "<script>" in suite.find(".//failure").get("message")  # a text, and no markup
    assert not list(suite.iter("script"))


def test_junit_of_a_bundle_that_does_not_verify_is_no_success(unverified: CheckResult) -> None:
    suite = junit(unverified).find("testsuite")
    assert int(suite.get("errors")) >= 1
    assert int(suite.get("failures")) == 0


# -- GitHub annotations -----------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(error|warning|notice) ?(?P<properties>[^:]*)::(?P<text>.*)")


def test_annotations_are_one_command_a_line_errors_first(result: CheckResult) -> None:
    *commands, last = render(result, "github").splitlines()
    parsed = [COMMAND.fullmatch(line) for line in commands]
    assert all(parsed)
    levels = [each[1] for each in parsed if each]
    assert levels == ["error", "error", *levels[2:]]
    assert "error" not in levels[2:]
    assert last.startswith("verdict: UNMEASURED (exit 3)")
    first = next(each for each in parsed if each and "missed" in each["properties"])
    line = next(number for number, text in enumerate(POLICY.splitlines(), 1) if "evaluation.auc" in text)
    assert first["properties"].startswith(f"file=policies/release.toml,line={line},title=missed")


@pytest.mark.parametrize("text", ["a\n::error::b", "a\r\n::set-output name=x::y", "100%", "%0A::error::z", "a:b,c"])
def test_no_text_starts_a_command_of_its_own(text: str) -> None:
    line = annotation("error", text, title=text, file=text, line=3)
    assert len(line.splitlines()) == 1
    found = COMMAND.fullmatch(line)
    assert found
    unescaped = found["text"].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
    assert unescaped == text
    properties = dict(each.split("=", 1) for each in found["properties"].split(","))
    title = properties["title"].replace("%2C", ",").replace("%3A", ":")
    assert title.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%") == text


# -- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_has_verdict_table_details_notices_and_changes(result: CheckResult) -> None:
    text = render(result, "markdown")
    assert text.startswith("## ❌ credit\\-risk\\@1: UNMEASURED\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split("|")[2].strip() for row in rows[1:]] == ["unmeasured", "missed", "waived", "met", "warned"]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    for part in ("### To know", "matched nothing", "### Changes", "evaluation\\.auc"):
        assert part in text
    assert not re.search(r"<(?!br>|/?details>|/?summary>)", text)
    assert "@team" not in text.replace("\\@team", "")


@pytest.mark.parametrize("text", [NASTY, "*a* _b_ ~c~ #d", "![x](y)", "http://x", "&amp;", "\\", "|"])
def test_what_somebody_wrote_is_no_markup(text: str) -> None:
    safe = escaped(text)
    assert "\n" not in safe
    assert not re.search(r"(?<!\\)[`*_\[\]()|@:#!~<>]", safe)
    shown = html.unescape(re.sub(r"\\(.)", r"\1", safe))
    assert shown == "".join(c if c.isprintable() else " " for c in text)


def test_markdown_stays_below_a_comment_s_limit_and_says_what_it_left_out(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    rule = "[[require]]\nid='r{}'\nthat='evaluation.auc.low > 0.99'\nbecause='" + "x" * 300 + "'\n"
    policy = ReleasePolicy.parse("".join(rule.format(n) for n in range(400)).encode())
    text = render(check(make(values), policy, owners=[maker.owner.verifier]), "markdown")
    assert MAX_CHARACTERS * 0.9 < len(text) < 65_536
    assert re.search(r"\d+ further parts were left out", text)


# -- text -------------------------------------------------------------------------------------------------------------


def test_text_says_why_by_how_much_where_and_what_next(result: CheckResult) -> None:
    text = render(result, "text")
    flat = re.sub(r"\s+", " ", text)
    assert "evaluation.auc.low = 0.7, has to be >= 0.95 (parameters.auc): 0.25 too low" in flat
    assert "estimate 0.9 (0.7 to 0.91, n 9600)" in flat
    for part in (
        "clause Art. 1",
        "evidence evaluation, log entry 6 by bo",
        "rule policies/release.toml:10",
        "→ fix:",
        "tuning.accuracy.low was not measured (the bundle holds no evidence of kind tuning)",
        "= KNOWN warned (warning)",
        "! elsewhere: matched nothing: it is for models fraud, and not for credit-risk@1",
        "evaluation.auc: 0.9 (0.89 to 0.91, n 9600) → 0.9 (0.7 to 0.91, n 9600)",
    ):
        assert part in flat
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("name", ["text", "markdown", "junit"])
def test_a_requirement_that_is_met_shows_no_alternative_that_does_not_hold(
    make: Callable[..., Bundle], maker: Any, values: Any, name: str
) -> None:
    rule = b"""
[[require]]
id = "either"
that = "!has(attack.epsilon_lower) || attack.epsilon_lower <= privacy.epsilon"
because = "b"
"""
    policy, owners = ReleasePolicy.parse(rule), [maker.owner.verifier]
    there = render(check(make(values), policy, owners=owners), name).replace("\\", "")
    assert "attack.epsilon_lower = 0.01 " in there
    assert "has to be" not in there  # it is met: nothing has to be otherwise
    assert "or: " not in there
    gone = {kind: value for kind, value in values.items() if kind != "attack"}
    absent = render(check(make(gone), policy, owners=owners), name).replace("\\", "")
    assert "has to be" not in absent
    worse = {**values, "attack": {**values["attack"], "epsilon_lower": 9.0}}
    assert "has to be" in render(check(make(worse), policy, owners=owners), name).replace("\\", "")
