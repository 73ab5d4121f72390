"""JUnit XML, as Jenkins and GitLab read it (the xunit plugin's junit-10.xsd).

One test case for each requirement: a failure where it is not met, an error where it was not measured, skipped where it
is waived, where it only warns and is not met, or where it is for other models. What verifying found is a case too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pellucid.check.sarif import message, plain_lines
from pellucid.check.text import plain, stands

if TYPE_CHECKING:
    from pellucid.check.results import CheckResult
    from pellucid.evidence import Finding

__all__ = ["render_junit"]

_NONCHARACTERS: Final = ("\ufffe", "\uffff")  # printable for Python, and not allowed in XML


def render_junit(result: CheckResult) -> str:
    """The check as one test suite."""
    model = result.model or "unknown"
    suite = Element("testsuite", name=_xml(f"pellucid check {model}"))
    properties = SubElement(suite, "properties")
    facts = {
        "policy.sha256": result.policy.sha256,
        "policy.environment": result.policy.environment or "",
        "verdict": result.verdict,
        "exit": str(result.exit),
    }
    for name, value in facts.items():
        SubElement(properties, "property", name=name, value=_xml(value))
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    cases = [_finding(result, suite, finding) for finding in result.findings]
    for check in result.verification.checks:
        case = SubElement(suite, "testcase", classname="verify", name=_xml(check.name), time="0")
        if check.status == "fail":
            SubElement(case, "error", message=_xml(check.detail), type="unverified")
        elif check.status == "not checked":
            SubElement(case, "skipped", message=_xml(check.detail))
        cases.append(case)
    found = {finding.id for finding in result.findings}
    for notice in result.notices:
        if notice.about and notice.about not in found:
            case = SubElement(suite, "testcase", classname=_xml(model), name=_xml(notice.about), time="0")
            SubElement(case, "skipped", message=_xml(notice.says))
            cases.append(case)
    for case in cases:
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            counts[kind] += case.find(tag) is not None
    suite.set("tests", str(len(cases)))
    for kind, count in counts.items():
        suite.set(kind, str(count))
    suite.set("time", "0")
    suites = Element("testsuites")
    suites.append(suite)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _finding(result: CheckResult, suite: Element, finding: Finding) -> Element:
    case = SubElement(suite, "testcase", classname=_xml(result.model or "unknown"), name=_xml(finding.id), time="0")
    text = _xml(message(result, finding))
    if finding.status == "pass":
        pass
    elif finding.status == "waived" or finding.id in result.known or finding.severity == "warning":
        why = "known: no worse than the baseline. " if finding.id in result.known else ""
        SubElement(case, "skipped", message=why + text)
    else:
        tag = "failure" if finding.status == "fail" else "error"
        SubElement(case, tag, message=text, type=finding.status).text = _xml(f"that {finding.that}", lines=True)
    facts = [stands(part) for part in result.reasons(finding)[:50]]
    if facts:
        SubElement(case, "system-out").text = _xml("\n".join(facts), lines=True)
    return case


def _xml(text: str, *, lines: bool = False) -> str:
    """Only what XML 1.0 may hold: no control characters, no noncharacters, no halves of a surrogate pair."""
    clean = plain_lines(text) if lines else plain(text)
    return "".join(" " if character in _NONCHARACTERS else character for character in clean)
