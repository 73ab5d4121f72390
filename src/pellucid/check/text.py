"""A check or a verification for a reader: text of 80 columns for a person, JSON for a program.

:data:`FORMATS` is the one table of formats of ``pellucid check -o FORMAT``.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pellucid.evidence import Finding

if TYPE_CHECKING:
    from pellucid.check.api import CheckResult
    from pellucid.check.verify import VerifyResult

__all__ = ["FORMATS", "MARKS", "WIDTH", "json_document", "render_json", "render_text", "render_verification", "shown"]

WIDTH: Final = 80
MARKS: Final[Mapping[str, str]] = {
    "pass": "✓ PASS",
    "fail": "✗ FAIL",
    "unmeasured": "? UNMEASURED",
    "waived": "~ WAIVED",
    "not checked": "- NOT CHECKED",
}
_WORDS: Final[Mapping[str, str]] = {
    "pass": "every requirement of severity error is met",
    "fail": "a requirement is not met",
    "unmeasured": "a requirement could not be measured, which is not a pass",
    "unverified": "the bundle does not verify, so what it says is not believed",
}
_COLUMN: Final = 14
_MOST: Final = 12  # values of one finding that a person is shown; JSON has them all


def json_document(result: CheckResult) -> dict[str, Any]:
    """The JSON document of the command line contract: ``{verdict, exit, findings}``."""
    return {
        "verdict": result.verdict,
        "exit": result.exit,
        "findings": [finding.document() for finding in result.findings],
    }


def render_json(result: CheckResult) -> str:
    """:func:`json_document` as text, keys in the contract's order. NaN cannot be in it."""
    return json.dumps(json_document(result), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def render_text(result: CheckResult) -> str:
    """Every finding with its values and reasons, then what verification found, the verdict last."""
    lines: list[str] = []
    for finding in result.findings:
        lines += _finding(finding)
    lines += ["", *_checks(result.verification)]
    tally = [f"{sum(f.status == s for f in result.findings)} {s}" for s in ("pass", "fail", "unmeasured", "waived")]
    lines += ["", *_wrap(f"{', '.join(tally)}; policy sha256 {result.policy_sha256[:16]}…", 0)]
    lines += _wrap(f"verdict: {result.verdict.upper()} (exit {result.exit}): {_WORDS[result.verdict]}", 0)
    return "\n".join(lines) + "\n"


def render_verification(result: VerifyResult) -> str:
    """What verifying a bundle found, for ``pellucid verify``."""
    word = "VERIFIED" if result.ok else "NOT VERIFIED"
    return "\n".join([*_checks(result), f"verdict: {word} (exit {result.exit})"]) + "\n"


FORMATS: Final[Mapping[str, Callable[[CheckResult], str]]] = {"text": render_text, "json": render_json}
"""Format -> the function that renders a result in it."""


def shown(value: Any) -> str:
    """A value in one short line: containers by their size, no control character, nothing longer than 60."""
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) and abs(value) < 1e-4 else str(value)
    if isinstance(value, str):
        text = json.dumps(_plain(value), ensure_ascii=False)
    elif isinstance(value, Mapping):
        text = f"map of {len(value)}"
    elif all(isinstance(item, str | int | float) for item in value):
        text = f"[{', '.join(shown(item) for item in value)}]"
    else:
        text = f"list of {len(value)}"
    return text if len(text) <= 60 else text[:57] + "…"


def _finding(finding: Finding) -> list[str]:
    severity = "" if finding.severity == "error" else " (warning)"
    lines = _wrap(f"{MARKS[finding.status]:<{_COLUMN}}{finding.id}{severity}", 0)
    lines += _wrap(f"that {finding.that}", _COLUMN)
    pairs = list(finding.values.items())
    for path, value in pairs[:_MOST]:
        lines += _wrap(f"{path} = {shown(value)}", _COLUMN)
    if len(pairs) > _MOST:
        lines += _wrap(f"… and {len(pairs) - _MOST} more", _COLUMN)
    lines += _wrap(f"because {finding.because}", _COLUMN)
    return lines + (_wrap(f"→ {finding.fix}", _COLUMN) if finding.fix else [])


def _checks(result: VerifyResult) -> list[str]:
    lines = []
    for check in result.checks:
        lines += _wrap(f"{MARKS[check.status]:<{_COLUMN}}{check.name}: {check.detail}", 0)
    return lines


def _wrap(text: str, indent: int) -> list[str]:
    """Lines of at most :data:`WIDTH` columns; what follows the first hangs under the second column."""
    hang = " " * (_COLUMN if indent == 0 else indent + 2)
    return textwrap.wrap(_plain(text), WIDTH, initial_indent=" " * indent, subsequent_indent=hang)


def _plain(text: str) -> str:
    """Without control characters, so that no file a stranger wrote moves a terminal's cursor or forges a line."""
    return "".join(character if character.isprintable() else " " for character in text)
