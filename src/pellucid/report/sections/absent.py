"""What a section says where its evidence is not there: never 0, never silence."""

from __future__ import annotations

from typing import Final

from pellucid.report.blocks import Prose, Section
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say

__all__ = ["TIER", "kept_back", "not_measured"]

TIER: Final = {"public": say("the public"), "auditor": say("auditors"), "steward": say("stewards")}


def not_measured(report: ReportInput, id: str, title: Said, question: Said, kind: str, fix: Said) -> Section:
    """A section without evidence of ``kind``, saying so and what would measure it.

    Where readers of this tier would not be given such evidence, it is not said whether there is any.
    """
    if report.withheld(kind):
        return Section(id, title, question, "not shown", (Prose(kept_back(report, kind), tone="open"),))
    words = say(
        "Not measured. There is no {kind} evidence for this tier, so nothing is claimed here. {fix}",
        kind=kind,
        fix=fix,
    )
    return Section(id, title, question, "not measured", (Prose(words, tone="open"),))


def kept_back(report: ReportInput, kind: str) -> Said:
    """Why nothing of ``kind`` stands here."""
    return say(
        "Not shown. {kind} evidence is for more privileged readers, and this report is for {tier}: whether there is "
        "any is not said.",
        kind=kind,
        tier=TIER[report.tier],
    )
