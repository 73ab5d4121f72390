"""The guarantee in words, as NIST SP 800-226 asks whoever claims differential privacy to say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pellucid.privacy.guarantee import TOPICS, Sentence, guarantee, not_covered
from pellucid.report.blocks import Block, Prose, Table, text
from pellucid.report.elsewhere import retold
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, lines, say
from pellucid.report.reading import Reader
from pellucid.report.sections.composed import known

__all__ = ["stated", "statement", "uncovered"]

_NAMES: Final = {
    "promise": say("What is promised"),
    "unit": say("Privacy unit"),
    "neighbours": say("Neighbouring data sets"),
    "strength": say("How strong it is"),
    "delta": say("Delta"),
    "sampling": say("Sampling, as it was run"),
    "noise": say("Noise"),
    "accounting": say("Accounting"),
    "trust": say("Who is trusted"),
    "not covered": say("Not covered"),
}
_NUMBERS: Final = ("epsilon", "delta", "noise_multiplier", "max_grad_norm")


def stated(report: ReportInput, reader: Reader) -> tuple[Sentence, ...]:
    """The sentences; none where the evidence lacks a number that they need, or holds an event that nobody knows."""
    training = report.last("training")
    if any(reader.number(name) is None for name in _NUMBERS) or not known(reader):
        return ()
    reader.number("second_opinion", "epsilon")  # of their form, or refused
    for name in ("tuning", "epsilon_at"):
        if (inner := reader.reader(name)) is not None:
            for key in inner.values:
                if name == "epsilon_at" or key in ("hold", "score_noise", "trials"):
                    inner.number(key)
    return guarantee(reader.values, None if training is None else training.values)


def statement(sentences: Sequence[Sentence]) -> Block:
    """One row a topic. What is not covered stands apart, so that nobody overlooks it."""
    if not sentences:
        words = say("The guarantee in words: not measured. The evidence lacks what it is said from.")
        return Prose(words, tone="open")
    rows = tuple(
        (text(_NAMES[topic]), text(lines(told)))
        for topic in TOPICS
        if topic != "not covered" and (told := [retold(s.words) for s in sentences if s.topic == topic])
    )
    caption = say("The guarantee, as {standard} asks for it to be stated", standard="NIST SP 800-226")
    return Table("privacy-guarantee", caption, (say("What"), say("Said")), rows, "facts")


def uncovered(report: ReportInput, reader: Reader) -> Prose:
    """What the guarantee does not cover: in general, and of this model."""
    points: list[Said] = []
    if reader.get("unit") == "row":
        points.append(
            say(
                "A person who stands in several rows. The schema declares that every row is another person; if that is "
                "not so, the promise is weaker by the number of rows."
            )
        )
    points += [retold(sentence.words) for sentence in not_covered(reader.values)]
    if report.last("tuning") is None:
        points.append(
            say(
                "Choices made by looking at earlier private runs. There is no tuning evidence; the ledger below counts "
                "all the runs on this data set, this epsilon counts this run only."
            )
        )
    return Prose(say("What this does not cover:"), tuple(points))
