"""A check or a verification for a person: text of 80 columns, the verdict last."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.evidence import Finding

if TYPE_CHECKING:
    from pellucid.check.comparisons import Comparison
    from pellucid.check.results import Change, CheckResult, Source
    from pellucid.check.verify import VerifyResult

__all__ = [
    "MARKS",
    "WIDTH",
    "WORDS",
    "estimated",
    "figure",
    "near",
    "origin",
    "plain",
    "render_text",
    "render_verification",
    "shown",
    "stands",
    "verdict_line",
    "wrapped",
]

WIDTH: Final = 80
MARKS: Final[Mapping[str, str]] = {
    "pass": "✓ PASS",
    "fail": "✗ FAIL",
    "unmeasured": "? UNMEASURED",
    "waived": "~ WAIVED",
    "known": "= KNOWN",
    "not checked": "- NOT CHECKED",
}
WORDS: Final[Mapping[str, str]] = {
    "pass": "every requirement of severity error is met",
    "fail": "a requirement is not met",
    "unmeasured": "a requirement could not be measured, which is not a pass",
    "unverified": "the bundle does not verify, so what it says is not believed",
}
_COLUMN: Final = 14
_MOST: Final = 12  # comparisons of one finding that a person is shown; JSON has every value


def render_text(result: CheckResult) -> str:
    """Every finding, what did not pass in full, then what else there is to know, and the verdict last."""
    lines: list[str] = []
    for finding in result.findings:
        lines += _finding(result, finding)
    lines += ["", *_checks(result.verification)]
    for notice in result.notices:
        about = f"{notice.about}: " if notice.about else ""
        lines += wrapped(f"{'! ' if notice.level == 'warning' else '- '}{about}{notice.says}", 0)
    if result.changes is not None:
        lines += ["", *_changes(result.changes)]
    tally = [f"{sum(f.status == s for f in result.findings)} {s}" for s in ("pass", "fail", "unmeasured", "waived")]
    chosen = f", environment {result.policy.environment}" if result.policy.environment else ""
    lines += ["", *wrapped(f"{', '.join(tally)}; policy sha256 {result.policy.sha256[:16]}…{chosen}", 0)]
    lines += wrapped(verdict_line(result), 0)
    return "\n".join(lines) + "\n"


def verdict_line(result: CheckResult) -> str:
    """The verdict in one sentence, with the requirements that decided it."""
    word = WORDS[result.verdict]
    if result.verdict == "pass" and result.known:
        word = f"nothing is worse than in {result.against}; failures that it has too: {len(result.known)}"
    for status in ("unmeasured", "fail") if result.verdict in ("unmeasured", "fail") else ():
        found = [f.id for f in result.findings if (f.status, f.severity) == (status, "error")]
        names = [name for name in found if name not in result.known]
        if names:
            more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
            also = "; not met" if status != result.verdict else ""
            word += f"{also}: {', '.join(names[:_MOST])}{more}"
    return f"verdict: {result.verdict.upper()} (exit {result.exit}): {word}"


def render_verification(result: VerifyResult) -> str:
    """What verifying a bundle found, for ``pellucid verify``."""
    word = "VERIFIED" if result.ok else "NOT VERIFIED"
    return "\n".join([*_checks(result), f"verdict: {word} (exit {result.exit})"]) + "\n"


def shown(value: Any) -> str:
    """A value in one short line: containers by their size, no control character, nothing longer than 60."""
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return figure(value)
    if isinstance(value, str):
        text = json.dumps(plain(value), ensure_ascii=False)
    elif isinstance(value, Mapping):
        text = estimated(value) or f"map of {len(value)}"
    elif all(isinstance(item, str | int | float) for item in value):
        text = f"[{', '.join(shown(item) for item in value)}]"
    else:
        text = f"list of {len(value)}"
    return text if len(text) <= 60 else text[:57] + "…"


def figure(value: float) -> str:
    """A number as a person writes it: whole ones without a point, small ones with an exponent."""
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return f"{value:g}" if abs(value) < 1e-4 else str(value)


def estimated(value: Mapping[str, Any]) -> str:
    """An estimate with its interval, such as ``0.902 (0.896 to 0.908, n 9600)``; empty if it is none."""
    if not value.keys() >= {"value", "low", "high"}:
        return ""
    n = f", n {value['n']}" if "n" in value else ""
    return f"{shown(value['value'])} ({shown(value['low'])} to {shown(value['high'])}{n})"


def stands(part: Comparison) -> str:
    """One comparison as a sentence: the value, the threshold, how far off, and the whole interval."""
    threshold = part.threshold
    if isinstance(part.bound, int | float) and not isinstance(part.bound, bool):
        number = figure(part.bound)
        threshold = number if _is_number(threshold) else f"{number} ({threshold})"
    link = "" if part.holds else ", has to be"
    text = f"{part.path} = {shown(part.value)}{link} {part.operator} {threshold}"
    if part.holds is False and part.slack:
        way = {"<": "too high", "<=": "too high", ">": "too low", ">=": "too low"}.get(part.operator, "off")
        text += f": {abs(part.slack):.6g} {way}"
    return f"{text}; estimate {estimated(part.estimate)}" if part.estimate else text


def origin(result: CheckResult, name: str) -> list[Source]:
    """Where the evidence stands that a requirement reads."""
    requirement = result.requirement(name)
    kinds = sorted(requirement.program.kinds) if requirement else []
    return [result.sources[kind] for kind in kinds if kind in result.sources]


def near(file: str) -> str:
    """A file as seen from the folder the check runs in, if it lies below; else as it is."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else file


def wrapped(text: str, indent: int) -> list[str]:
    """Lines of at most :data:`WIDTH` columns; what follows the first hangs under the second column.

    An id, such as ``bank.key-release``, stays in one piece; a path that is longer than a line does not.
    """
    hang = " " * (_COLUMN if indent == 0 else indent + 2)
    words = plain(text)
    long = any(len(word) > WIDTH - len(hang) for word in words.split())
    first = " " * indent
    return textwrap.wrap(words, WIDTH, initial_indent=first, subsequent_indent=hang, break_on_hyphens=long)


def plain(text: str) -> str:
    """Without control characters, so that no file a stranger wrote moves a terminal's cursor or forges a line."""
    return "".join(character if character.isprintable() else " " for character in text)


def _finding(result: CheckResult, finding: Finding) -> list[str]:
    severity = "" if finding.severity == "error" else " (warning)"
    mark = MARKS["known" if finding.id in result.known else finding.status]
    lines = wrapped(f"{mark:<{_COLUMN}}{finding.id}{severity}", 0)
    if finding.status != "pass":
        lines += wrapped(f"that {finding.that}", _COLUMN)
    parts = result.reasons(finding)
    told = [side for part in parts for side in (part.path, part.threshold)]
    sentences = _sentences(parts, "" if finding.status == "pass" else "or: ")
    sentences += [f"{path} = {shown(value)}" for path, value in finding.values.items() if not _told(path, told)]
    for sentence in sentences[:_MOST]:
        lines += wrapped(sentence, _COLUMN)
    if len(sentences) > _MOST:
        lines += wrapped(f"… and {len(sentences) - _MOST} more", _COLUMN)
    if finding.status == "pass":
        return lines
    lines += wrapped(f"because {finding.because}", _COLUMN)
    requirement = result.requirement(finding.id)
    if requirement is not None:
        if requirement.clause:
            lines += wrapped(f"clause {requirement.clause}", _COLUMN)
        found = [f"{each.kind}, log entry {each.index} by {each.signer}" for each in origin(result, finding.id)]
        lines += wrapped(f"evidence {'; '.join(found)}", _COLUMN) if found else []
        lines += wrapped(f"rule {near(requirement.file)}:{requirement.line}", _COLUMN)
    return lines + (wrapped(f"→ {finding.fix}", _COLUMN) if finding.fix else [])


def _sentences(parts: tuple[Comparison, ...], either: str) -> list[str]:
    """What has to hold first, then each choice, with what one of is enough; what fails before what holds."""
    found = [stands(part) for part in sorted(parts, key=lambda part: bool(part.holds)) if part.choice is None]
    for choice in dict.fromkeys(part.choice for part in parts if part.choice is not None):
        among = [part for part in parts if part.choice == choice]
        found += [f"{either if len(among) > 1 else ''}{stands(part)}" for part in among]
    return found


def _told(path: str, told: list[str]) -> bool:
    """Whether a path is part of something that a comparison showed already."""
    return path.startswith("parameters.") or any(path in each or each.startswith(path) for each in told)


def _changes(changes: tuple[Change, ...]) -> list[str]:
    lines = ["changes:" if changes else "changes: none in what the policy reads"]
    for change in changes:
        lines += wrapped(f"  {change.id} {change.course}", 0)
        for path, (old, new) in list(change.values.items())[:_MOST]:
            lines += wrapped(f"{path}: {shown(old)} → {shown(new)}", _COLUMN)
    return lines


def _checks(result: VerifyResult) -> list[str]:
    lines = []
    for check in result.checks:
        lines += wrapped(f"{MARKS[check.status]:<{_COLUMN}}{check.name}: {check.detail}", 0)
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
