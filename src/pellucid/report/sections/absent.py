"""What a section says where its evidence is not there: never 0, never silence."""

from __future__ import annotations

from pellucid.report.blocks import Prose, Section

__all__ = ["not_measured"]


def not_measured(id: str, title: str, question: str, kind: str, fix: str) -> Section:
    """A section without evidence of ``kind``, saying so and what would measure it."""
    words = f"Not measured. There is no {kind} evidence for this tier, so nothing is claimed here. {fix}"
    return Section(id, title, question, "not measured", (Prose(words, tone="open"),))
