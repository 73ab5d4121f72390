"""Annotations of a GitHub workflow: one command a line, on standard output of a step.

``::error file=…,line=…,title=…::message`` ("Workflow commands for GitHub Actions"). GitHub shows ten errors and ten
warnings of a step, so what decides comes first. Every text is escaped as the runner unescapes it: nothing that somebody
wrote into a policy or into evidence can start a command of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from pellucid.check.sarif import message, relative
from pellucid.check.text import verdict_line

if TYPE_CHECKING:
    from pellucid.check.results import CheckResult

__all__ = ["annotation", "render_github"]


def render_github(result: CheckResult) -> str:
    """The check as annotations, errors first; one line with the verdict at the end."""
    broken = [check for check in result.verification.checks if check.status == "fail"]
    errors = [annotation("error", f"{check.name}: {check.detail}", title="pellucid verify") for check in broken]
    others: list[str] = []
    for finding in result.findings:
        if finding.status == "pass":
            continue
        requirement = result.requirement(finding.id)
        file, line = (requirement.file, requirement.line) if requirement else (result.policy.where, 1)
        excused = finding.status == "waived" or finding.id in result.known
        level = "notice" if excused else finding.severity
        command = annotation(level, message(result, finding), title=finding.id, file=unquote(relative(file)), line=line)
        (errors if level == "error" else others).append(command)
    levels = {"warning": "warning", "note": "notice"}
    others += [annotation(levels[notice.level], notice.says, title=notice.about) for notice in result.notices]
    return "\n".join([*errors, *others, verdict_line(result)]) + "\n"


def annotation(level: str, text: str, *, title: str = "", file: str = "", line: int | None = None) -> str:
    """One workflow command.

    Args:
        level: ``error``, ``warning`` or ``notice``.
        text: What it says.
        title: Its heading; may be empty.
        file: The file it is about, from the repository's root; may be empty.
        line: The line in it.
    """
    properties = {"file": file, "line": "" if line is None or not file else str(line), "title": title}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level}{' ' if written else ''}{written}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
