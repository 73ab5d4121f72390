"""What a section says where its evidence is not there: never 0, never silence."""

from __future__ import annotations

from pellucid.report.blocks import Prose, Section
from pellucid.report.language import Said, say

__all__ = ["not_measured"]


def not_measured(id: str, title: Said, question: Said, kind: str, fix: Said) -> Section:
    """A section without evidence of ``kind``, saying so and what would measure it."""
    words = say(
        "Not measured. There is no {kind} evidence for this tier, so nothing is claimed here. {fix}",
        kind=kind,
        fix=fix,
    )
    return Section(id, title, question, "not measured", (Prose(words, tone="open"),))
