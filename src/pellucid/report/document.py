"""The JSON twin: the same page for machines, with the unrounded value behind every number."""

from __future__ import annotations

from typing import Any, Final

from pellucid.evidence import COVERAGE, canonical
from pellucid.report.blocks import Block, Cell, Commands, Definitions, Figure, Prose, Table, Verbatim, View
from pellucid.report.inputs import ReportInput
from pellucid.report.language import LANGUAGES, check_language, translate
from pellucid.report.model import view

__all__ = ["FORMAT", "document", "render_json"]

FORMAT: Final = "pellucid/report@1"


def render_json(report: ReportInput, lang: str = "en") -> bytes:
    """``document(report, lang)`` as RFC 8785 canonical JSON: the same input, the same bytes.

    Raises:
        BadFile: A value of the evidence is not finite, or an integer of 2**53 or more.
        Unverified: A piece of evidence is not of its form.
    """
    return canonical(document(report, lang))


def document(report: ReportInput, lang: str = "en") -> dict[str, Any]:
    """The report as JSON: verdict, findings, sections as on the page, and the statements of the evidence themselves.

    A cell is ``{"text", "value", "coverage"}``: what the page prints, the JSON value behind it (absent for words), and
    the names of the coverage legend (absent where there is no number). Words are in ``lang``; keys, values, findings
    and statements are the same in every language.
    """
    page = translate(view(report), check_language(lang))
    return {
        "format": FORMAT,
        "language": LANGUAGES[lang],
        "project": report.project,
        "subject": {"name": report.subject.name, "digest": {"sha256": report.subject.sha256}},
        "tier": report.tier,
        "created": report.created,
        "verdict": {
            "word": page.verdict.word,
            "exit": page.verdict.exit_code,
            "sentence": page.verdict.sentence,
            "counts": dict(page.verdict.counts),
        },
        "policy": {"name": report.policy_name, "sha256": report.policy_sha256},
        "findings": [finding.document() for finding in report.findings],
        "alarms": list(page.alarms),
        "highlights": [{"text": item.text, "section": item.section} for item in page.highlights],
        "coverage": dict(COVERAGE),
        "verification": [{"name": c.name, "status": c.status, "detail": c.detail} for c in report.verification],
        "log": {"size": report.log_size, "checkpoint": report.checkpoint, "owner": report.owner},
        "key_figures": _block(page.key_figures),
        "requirements": _block(page.requirements),
        "sections": _sections(page),
        "evidence": [evidence.statement() for evidence in report.evidence],
    }


def _sections(page: View) -> list[dict[str, Any]]:
    return [
        {
            "id": section.id,
            "title": section.title,
            "question": section.question,
            "status": section.status,
            "blocks": [_block(block) for block in section.blocks],
        }
        for section in page.sections
    ]


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Table):
        return {
            "type": "table",
            "id": block.id,
            "caption": block.caption,
            "columns": list(block.columns),
            "rows": [[_cell(cell) for cell in row] for row in block.rows],
        }
    if isinstance(block, Figure):
        tables = [block.table] if block.beside is None else [block.beside, block.table]
        return {"type": "figure", "title": block.chart.title, "tables": [_block(table) for table in tables]}
    if isinstance(block, Prose):
        return {"type": "prose", "text": block.text, "points": list(block.points)}
    if isinstance(block, Commands):
        return {"type": "commands", "items": [{"command": command, "does": does} for command, does in block.items]}
    if isinstance(block, Verbatim):
        return {"type": "verbatim", "label": block.label, "text": block.text}
    return _definitions(block)


def _definitions(block: Definitions) -> dict[str, Any]:
    return {"type": "definitions", "items": [{"word": word, "means": means} for _, word, means in block.items]}


def _cell(cell: Cell) -> dict[str, Any]:
    found: dict[str, Any] = {"text": cell.text}
    if cell.value is not None:
        found["value"] = cell.value
    if cell.coverage:
        found["coverage"] = list(cell.coverage)
    return found
