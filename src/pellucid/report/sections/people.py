"""What only people can say: their words as they wrote and signed them, or *missing*. Nothing here comes from a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pellucid.report.blocks import Block, Cell, Prose, Section, Table, text
from pellucid.report.inputs import ReportInput
from pellucid.report.reading import Reader, flatten

__all__ = ["PARTS", "intended_use", "missing", "written"]

# section of model.toml -> key -> how it is called
PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "author": {"name": "Written by", "role": "In the capacity of", "date": "Written on"},
    "intended_use": {
        "purpose": "What the model is for",
        "users": "Who uses its answers, and how",
        "people": "Whom it is used on",
        "ruled_out": "What it must not be used for",
    },
    "owner": {"accountable": "Who answers for the model", "contact": "Questions and complaints go to"},
    "legal": {
        "basis": "Legal basis of the processing",
        "necessity": "Why it is necessary and proportionate",
        "assessment": "Impact assessment",
        "automated": "Decisions without a person, and what people may do about them",
    },
    "data": {
        "origin": "How and from whom the data was collected",
        "labels": "Who decided the labels, and how",
        "gaps": "Who is missing, or described wrongly",
    },
    "choices": {
        "measures": "Why these measures fit the harm",
        "thresholds": "Why the thresholds are where they are",
        "alternatives": "What else was tried, and why not",
    },
    "oversight": {
        "people": "Who may stop or overrule the model",
        "how": "What they see, and what they can do",
        "appeal": "How a person can object to an answer",
    },
    "limits": {
        "known": "Where the model is known to fail",
        "accepted": "Which risks remain, and who accepted them",
        "review": "What is watched, and when it is looked at again",
    },
    "change": {"reason": "Why this version was made"},
}
_HERE: Final = tuple(section for section in PARTS if section != "author")


def intended_use(report: ReportInput) -> Section:
    """What the model is for, who answers for it and on which legal basis; signed human reviews."""
    title, question = (
        "Intended use and human judgement",
        "What is it for, who answers for it, and what did people decide?",
    )
    blocks: list[Block] = []
    evidence = report.last("card")
    if evidence is None:
        blocks.append(
            Prose(
                "Nobody has written what only people can say. These parts cannot be filled from a run: fill in "
                "model.toml in the project, and make the report again.",
                tone="open",
            )
        )
    else:
        blocks.append(
            Prose(
                "These are the words of a person, signed with the file as it stood. The signature says that the words "
                "were there; it does not say that they are true. What nobody wrote is missing."
            )
        )
        reader = Reader.of(evidence)
        facts = (
            *((text(label), _words(report, "author", key)) for key, label in PARTS["author"].items()),
            (text("File"), reader.code("file", "name")),
            (text("File, SHA-256"), reader.code("file", "sha256")),
            (text("Signed at"), text(str(evidence.how.get("at", "not recorded")), "code")),
        )
        blocks.append(Table("card-facts", "Whose words these are", ("What", "Value"), facts, "facts"))
    blocks.append(written(report, *_HERE))
    reviews = report.every("review")
    if reviews:
        lines = [
            (text(f"review {i}: {name}"), cell)
            for i, review in enumerate(reviews, 1)
            for name, cell in flatten(review.values, review.coverage)
        ]
        blocks.append(Table("reviews", "Signed human reviews", ("What", "Value"), tuple(lines), "facts"))
    else:
        blocks.append(Prose("No signed human review is in the bundle.", tone="open"))
    gaps = missing(report, *_HERE)
    return Section("intended-use", title, question, "missing" if gaps else "shown", tuple(blocks))


def written(report: ReportInput, *sections: str) -> Table:
    """What people wrote in these sections of ``model.toml``; a part without words is missing."""
    rows = tuple(
        (text(label), _words(report, section, key)) for section in sections for key, label in PARTS[section].items()
    )
    return Table(f"written-{sections[0]}", "What people wrote", ("Part", "Words"), rows, "facts")


def missing(report: ReportInput, *sections: str) -> int:
    """How many parts of these sections nobody wrote."""
    return sum(_said(report, section, key) is None for section in sections for key in PARTS[section])


def _words(report: ReportInput, section: str, key: str) -> Cell:
    words = _said(report, section, key)
    return text("missing", "open") if words is None else text(words)


def _said(report: ReportInput, section: str, key: str) -> str | None:
    evidence = report.last("card")
    found = None if evidence is None else Reader.of(evidence).get(section, key)
    return None if found is None else str(found)
