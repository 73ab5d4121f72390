"""What only people can say: their words as they wrote and signed them, or *missing*. Nothing here comes from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pellucid.evidence import Evidence
from pellucid.report.blocks import Block, Cell, Prose, Section, Table, Tone, text
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Reader, flatten
from pellucid.report.sections.absent import kept_back

__all__ = ["PARTS", "intended_use", "missing", "written"]

# section of model.toml -> key -> how it is called
PARTS: Final[Mapping[str, Mapping[str, Said]]] = {
    "author": {"name": say("Written by"), "role": say("In the capacity of"), "date": say("Written on")},
    "intended_use": {
        "purpose": say("What the model is for"),
        "users": say("Who uses its answers, and how"),
        "people": say("Whom it is used on"),
        "ruled_out": say("What it must not be used for"),
    },
    "owner": {"accountable": say("Who answers for the model"), "contact": say("Questions and complaints go to")},
    "legal": {
        "basis": say("Legal basis of the processing"),
        "necessity": say("Why it is necessary and proportionate"),
        "assessment": say("Impact assessment"),
        "automated": say("Decisions without a person, and what people may do about them"),
    },
    "data": {
        "origin": say("How and from whom the data was collected"),
        "labels": say("Who decided the labels, and how"),
        "gaps": say("Who is missing, or described wrongly"),
    },
    "choices": {
        "measures": say("Why these measures fit the harm"),
        "thresholds": say("Why the thresholds are where they are"),
        "alternatives": say("What else was tried, and why not"),
    },
    "oversight": {
        "people": say("Who may stop or overrule the model"),
        "how": say("What they see, and what they can do"),
        "appeal": say("How a person can object to an answer"),
    },
    "limits": {
        "known": say("Where the model is known to fail"),
        "accepted": say("Which risks remain, and who accepted them"),
        "review": say("What is watched, and when it is looked at again"),
    },
    "change": {"reason": say("Why this version was made")},
}
_HERE: Final = ("intended_use", "owner", "legal")
_VERDICT: Final = {"approve": say("✓ approved"), "reject": say("✗ rejected")}
_TONE: Final[Mapping[str, Tone]] = {"approve": "good", "reject": "bad"}
_REVIEW: Final = frozenset({"verdict", "note", "reasons", "reviewer", "roles", "independent", "read"})
_CAPTION: Final = {
    "intended_use": say("What people wrote about the use of the model"),
    "data": say("What people wrote about the data"),
    "choices": say("What people wrote about the choices"),
    "oversight": say("What people wrote about oversight and limits"),
    "change": say("What people wrote about the change"),
}


def intended_use(report: ReportInput) -> Section:
    """What the model is for, who answers for it and on which legal basis; signed human reviews."""
    title = say("Intended use and human judgement")
    question = say("What is it for, who answers for it, and what did people decide?")
    blocks: list[Block] = []
    evidence = report.last("card")
    if evidence is None:
        blocks.append(
            Prose(
                say(
                    "Nobody has written what only people can say. These parts cannot be filled from a run: fill in "
                    "{file} in the project, and make the report again.",
                    file="model.toml",
                ),
                tone="open",
            )
        )
    else:
        blocks.append(
            Prose(
                say(
                    "These are the words of a person, signed with the file as it stood. The signature says that the "
                    "words were there; it does not say that they are true. What nobody wrote is missing."
                )
            )
        )
        reader = Reader.of(evidence)
        facts = (
            *((text(label), _words(report, "author", key)) for key, label in PARTS["author"].items()),
            (text(say("File")), reader.code("file", "name")),
            (text(say("File, SHA-256")), reader.code("file", "sha256")),
            (text(say("Signed at")), text(str(evidence.how.get("at", "—")), "code")),
        )
        blocks.append(Table("card-facts", say("Whose words these are"), (say("What"), say("Value")), facts, "facts"))
    blocks.append(written(report, *_HERE))
    if report.withheld("review"):
        blocks.append(Prose(kept_back(report, "review"), tone="open"))
    else:
        blocks += _reviews(report.every("review"))
    gaps = missing(report, *_HERE)
    return Section("intended-use", title, question, "missing" if gaps else "shown", tuple(blocks))


def _reviews(reviews: Sequence[Evidence]) -> list[Block]:
    """Who judged the model, one judgement a row, in the order in which they were signed."""
    if not reviews:
        return [Prose(say("No signed human review is in the bundle."), tone="open")]
    said = say("A rejection counts until the person who rejected approves, whatever others say after it.")
    headers = (say("Reviewer"), say("Verdict"), say("Note"), say("What was read"), say("Signed at"))
    table = Table("reviews", say("Signed human reviews"), headers, tuple(map(_review, reviews)), "cards")
    rest = [
        (text(name, "code"), cell)
        for review in reviews
        for name, cell in flatten({k: v for k, v in review.values.items() if k not in _REVIEW}, review.coverage)
    ]
    if not rest:
        return [Prose(said), table]
    caption = say("Further values of the {kind} evidence, by their names", kind="review")
    return [
        Prose(said),
        table,
        Table("others-review", caption, (say("What"), say("Value")), tuple(rest), "facts", fold=True),
    ]


def _review(review: Evidence) -> tuple[Cell, ...]:
    reader = Reader.of(review)
    verdict = str(reader.get("verdict"))
    judged = text(_VERDICT.get(verdict, verdict), _TONE.get(verdict, ""))
    who = str(reader.get("reviewer") or "—")
    if roles := ", ".join(reader.texts("roles") or ()):
        who = say("{who} ({roles})", who=who, roles=roles)
    independent = reader.get("independent")
    if isinstance(independent, bool):
        made = say("did not train the model") if independent else say("trained the model")
        who = say("{who}, who {made}", who=who, made=made)
    note = str(reader.get("note") or "—")
    for reason in reader.texts("reasons") or ():
        note = say("{note}\n– {reason}", note=note, reason=reason)
    read = reader.reader("read")
    named = None if read is None else read.get("name")
    what = text(say("not recorded"))
    if read is not None and named is not None:
        digest = str(read.get("sha256"))
        what = text(say("{name}\nSHA-256 {digest}", name=str(named), digest=digest), "code")
    return text(who), judged, text(note), what, text(str(review.how.get("at", "—")), "code")


def written(report: ReportInput, *sections: str) -> Table:
    """What people wrote in these sections of ``model.toml``; a part without words is missing."""
    rows = tuple(
        (text(label), _words(report, section, key)) for section in sections for key, label in PARTS[section].items()
    )
    return Table(f"written-{sections[0]}", _CAPTION[sections[0]], (say("Part"), say("Words")), rows, "facts")


def missing(report: ReportInput, *sections: str) -> int:
    """How many parts of these sections nobody wrote."""
    return sum(_said(report, section, key) is None for section in sections for key in PARTS[section])


def _words(report: ReportInput, section: str, key: str) -> Cell:
    words = _said(report, section, key)
    return text(say("missing"), "open") if words is None else text(words)


def _said(report: ReportInput, section: str, key: str) -> str | None:
    evidence = report.last("card")
    found = None if evidence is None else Reader.of(evidence).get(section, key)
    return None if found is None else str(found)
