"""SARIF 2.1.0 (OASIS, sarif-v2.1.0-os), as GitHub code scanning reads it.

Every requirement is a rule, and every finding that is not a pass a result that points at the policy's file and line.
GitHub's limits are kept ("SARIF support for code scanning", "SARIF results exceed one or more limits"): at most 5,000
results, which is what it shows; texts of rules of at most 1,024 characters; ids of at most 255; one run.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pellucid.check.text import WORDS, plain, stands
from pellucid.evidence import Finding, digest

if TYPE_CHECKING:
    from pellucid.check.requirements import Requirement
    from pellucid.check.results import CheckResult

__all__ = ["MAX_RESULTS", "MAX_TEXT", "SCHEMA", "message", "relative", "render_sarif"]

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
MAX_RESULTS: Final = 5000
MAX_TEXT: Final = 1024
_LEVELS: Final = {"error": "error", "warning": "warning"}


def render_sarif(result: CheckResult) -> str:
    """The run as SARIF text."""
    return json.dumps(_document(result), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def message(result: CheckResult, finding: Finding) -> str:
    """What is wrong, by how much, why it matters and what to do, in one paragraph."""
    word = {"fail": "is not met", "unmeasured": "was not measured"}.get(finding.status, "is waived")
    failing = [stands(part) for part in result.comparisons.get(finding.id, ()) if not part.holds]
    facts = "; ".join(failing[:5]) + (f"; and {len(failing) - 5} more" if len(failing) > 5 else "")
    parts = [f"{finding.id} {word}", facts, f"because {finding.because}", finding.fix]
    return plain(". ".join(part for part in parts if part))


def relative(file: str) -> str:
    """A file as a link from the folder the check ran in; its bare name if it lies outside, such as a shipped policy."""
    path = Path(file).resolve()
    try:
        return quote(path.relative_to(Path.cwd()).as_posix())
    except ValueError:
        return quote(PurePath(file).name)


def _document(result: CheckResult) -> dict[str, Any]:
    from importlib.metadata import version

    requirements = result.policy.requirements
    places = {each.id: number for number, each in enumerate(requirements)}
    unmet = [each for each in result.findings if each.status != "pass"]
    unmet.sort(key=lambda each: (each.severity != "error", each.status == "waived"))
    rules = [_rule(each) for each in requirements]
    for finding in unmet:  # a finding that no requirement asked for: evidence of an unsafe door
        if finding.id not in places:
            places[finding.id] = len(rules)
            rules.append({"id": finding.id, "shortDescription": {"text": finding.because}})
    told = [_notification("warning" if n.level == "warning" else "note", n.about, n.says) for n in result.notices]
    broken = [check for check in result.verification.checks if check.status == "fail"]
    told += [_notification("error", "", f"{check.name}: {check.detail}") for check in broken]
    if len(unmet) > MAX_RESULTS:
        told.append(_notification("warning", "", f"{len(unmet) - MAX_RESULTS} further results were left out"))
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "Pellucid", "version": version("pellucid"), "rules": rules}},
                "automationDetails": {"id": f"pellucid-check/{result.model or 'unknown'}"},
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": result.verdict != "unverified",
                        "exitCode": result.exit,
                        "exitCodeDescription": f"{result.verdict}: {WORDS[result.verdict]}",
                        "toolExecutionNotifications": told,
                    }
                ],
                "results": [_result(result, each, places[each.id]) for each in unmet[:MAX_RESULTS]],
            }
        ],
    }


def _rule(requirement: Requirement) -> dict[str, Any]:
    help_text = f"{requirement.that}\n\nbecause {requirement.because}"
    if requirement.fix:
        help_text += f"\n\nto meet it: {requirement.fix}"
    rule: dict[str, Any] = {
        "id": requirement.id,
        "shortDescription": {"text": _short(requirement.because)},
        "fullDescription": {"text": _short(f"{requirement.that}, because {requirement.because}")},
        "help": {"text": plain_lines(help_text)},
        "defaultConfiguration": {"level": _LEVELS[requirement.severity]},
    }
    tags = sorted(requirement.program.kinds)[:10]
    rule["properties"] = {"tags": tags, **({"clause": requirement.clause} if requirement.clause else {})}
    return rule


def _result(result: CheckResult, finding: Finding, place: int) -> dict[str, Any]:
    requirement = result.requirement(finding.id)
    file, line = (requirement.file, requirement.line) if requirement else (result.policy.where, 1)
    region: dict[str, int] = {"startLine": line}
    if requirement and requirement.column:
        region["startColumn"] = requirement.column
    short = result.model.partition("@")[0]
    found: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": place,
        "level": _LEVELS[finding.severity],
        "message": {"text": message(result, finding)},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": relative(file)}, "region": region},
                "logicalLocations": [{"name": result.model or "unknown", "kind": "module"}],
            }
        ],
        # one alert for each requirement and model, whatever its version: it closes when a later version passes
        "partialFingerprints": {"pellucidRequirement/v1": digest(f"{short}\n{finding.id}".encode())},
        "properties": {"status": finding.status, "values": dict(finding.values)},
    }
    if result.against is not None:
        found["baselineState"] = "unchanged" if finding.id in result.known else "new"
    if finding.status == "waived":
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": plain(finding.fix)}]
    return found


def _notification(level: str, about: str, says: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": plain(f"{about}: {says}" if about else says)}}


def _short(text: str) -> str:
    text = plain(text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def plain_lines(text: str) -> str:
    """:func:`~pellucid.check.text.plain` that keeps line breaks."""
    return "\n".join(plain(line) for line in text.split("\n"))
