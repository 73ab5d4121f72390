"""The report in a few lines for a terminal."""

from __future__ import annotations

import textwrap

from pellucid.report.inputs import ReportInput
from pellucid.report.model import view

__all__ = ["summary"]


def summary(report: ReportInput, width: int = 80) -> tuple[str, ...]:
    """Verdict, what is not met or not measured, key figures, and which sections are empty.

    Control characters in text of others are written out, so nothing in it can act on the terminal.

    Args:
        report: What the report is made from.
        width: Longest line, in characters; at least 40.
    """
    page = view(report)
    width = max(width, 40)
    lines = [f"{page.verdict.word}  {page.name}  (for {page.tier})"]
    lines += _wrap(page.verdict.sentence, width)
    for alarm in page.alarms:
        lines += _wrap(f"! {alarm}", width, "  ")
    for row in page.requirements.rows:
        result, severity = row[1].text.split("\n")
        if row[1].tone != "good":
            words = f"  {result}  {row[0].text} {severity}"
            lines += _wrap(words, width, "      ")
    label = max(len(row[0].text) for row in page.key_figures.rows)
    for name, value in page.key_figures.rows:
        lines += _wrap(f"  {name.text:<{label}}  {value.text}", width, " " * 6)
    for status in ("not measured", "not shown"):
        empty = [section.title for section in page.sections if section.status == status]
        if empty:
            lines += _wrap(f"{status}: {', '.join(empty)}", width, "  ")
    return tuple(lines)


def _wrap(words: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width``; an id, such as ``provenance.key-release``, stays in one piece."""
    return textwrap.wrap(words, width, subsequent_indent=indent, break_on_hyphens=False)
