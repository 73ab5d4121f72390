"""Markdown for the summary of a GitHub step, or for a comment on a pull request.

A summary may have 1 MiB and a comment 65,536 characters; this keeps below the smaller, and says what it left out. Every
text that somebody wrote is escaped: it is shown, and is neither markup nor HTML nor a link nor a mention.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pellucid.check.text import WORDS, near, origin, plain, shown, stands

if TYPE_CHECKING:
    from pellucid.check.results import CheckResult
    from pellucid.evidence import Finding

__all__ = ["MAX_CHARACTERS", "escaped", "render_markdown"]

MAX_CHARACTERS: Final = 60_000
_MARKS: Final = {"pass": "✅ pass", "fail": "❌ fail", "unmeasured": "❔ unmeasured", "waived": "〰️ waived"}
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:@])")
_ORDER: Final = ("unmeasured", "fail", "waived", "pass")


def render_markdown(result: CheckResult) -> str:
    """The verdict, a table of every finding, what did not pass in full, notices and changes."""
    icon = "✅" if result.exit == 0 else "❌"
    model = escaped(result.model or "unknown")
    blocks = [
        f"## {icon} {model}: {result.verdict.upper()}\n\n{WORDS[result.verdict]} (exit {result.exit}). "
        f"Policy `{result.policy.sha256[:16]}…`"
        + (f", environment {escaped(result.policy.environment)}" if result.policy.environment else "")
        + ".\n"
    ]
    failed = [check for check in result.verification.checks if check.status == "fail"]
    blocks += [f"- ❌ **{escaped(check.name)}**: {escaped(check.detail)}\n" for check in failed]
    ordered = sorted(result.findings, key=lambda each: (each.severity != "error", _ORDER.index(each.status)))
    rows = [_row(result, finding) for finding in ordered]
    blocks.append("\n| | requirement | value and threshold |\n|---|---|---|\n")
    blocks += rows
    blocks += [_details(result, finding) for finding in ordered if finding.status != "pass"]
    if result.notices:
        blocks.append("\n### To know\n\n")
        blocks += [
            f"- {'⚠️' if each.level == 'warning' else 'ℹ️'} {escaped(f'{each.about}: ' if each.about else '')}"
            f"{escaped(each.says)}\n"
            for each in result.notices
        ]
    if result.changes is not None:
        blocks.append("\n### Changes\n\n" if result.changes else "\nNo change in what the policy reads.\n")
        for change in result.changes:
            blocks.append(f"- **{escaped(change.id)}** {change.course}\n")
            for path, (old, new) in list(change.values.items())[:10]:
                blocks.append(f"  - {escaped(path)}: {escaped(shown(old))} → {escaped(shown(new))}\n")
    return _fitted(blocks)


def escaped(text: str) -> str:
    """A text as text: no markup, no HTML, no mention, no line break."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", safe)


def _row(result: CheckResult, finding: Finding) -> str:
    mark = "🟰 known" if finding.id in result.known else _MARKS[finding.status]
    severity = "" if finding.severity == "error" else " (warning)"
    parts = sorted(result.reasons(finding), key=lambda part: bool(part.holds))
    facts = [escaped(stands(part)) for part in parts[:2]] + ([f"and {len(parts) - 2} more"] if len(parts) > 2 else [])
    return f"| {mark}{severity} | {escaped(finding.id)} | {'<br>'.join(facts)} |\n"


def _details(result: CheckResult, finding: Finding) -> str:
    requirement = result.requirement(finding.id)
    lines = [f"\n<details><summary>{_html(finding.id)}: {_html(finding.fix or finding.because)}</summary>\n\n"]
    lines.append(f"- that {escaped(finding.that)}\n- because {escaped(finding.because)}\n")
    if requirement is not None:
        lines.append(f"- clause {escaped(requirement.clause)}\n" if requirement.clause else "")
        lines.append(f"- rule {escaped(near(requirement.file))}, line {requirement.line}\n")
    sources = [f"{each.kind}, log entry {each.index} by {each.signer}" for each in origin(result, finding.id)]
    lines.append(f"- evidence {escaped('; '.join(sources))}\n" if sources else "")
    return "".join(lines) + "\n</details>\n"


def _html(text: str) -> str:
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _fitted(blocks: list[str]) -> str:
    kept: list[str] = []
    room = MAX_CHARACTERS
    for number, block in enumerate(blocks):
        room -= len(block)
        if room < 0:
            return "".join(kept) + f"\n{len(blocks) - number} further parts were left out: see the JSON output.\n"
        kept.append(block)
    return "".join(kept)
