"""What a reader should know first: at most eight sentences, each from evidence, each with the section that shows it."""

from __future__ import annotations

import math

from pellucid.report.blocks import Highlight
from pellucid.report.figures import exact, fixed
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say
from pellucid.report.reading import Reader
from pellucid.report.sections.classes import several
from pellucid.report.sections.people import PARTS, missing

__all__ = ["highlights"]


def highlights(report: ReportInput) -> tuple[Highlight, ...]:
    """What stands out, in the order in which a reader should hear of it: a rejection first, what nobody wrote last."""
    makers = (_rejected, _privacy, _quality, _slice, _gap, _leans, _expected, _people)
    return tuple(found for maker in makers if (found := maker(report)) is not None)


def _rejected(report: ReportInput) -> Highlight | None:
    evidence = report.last("review")
    if evidence is None or evidence.values.get("verdict") != "reject":
        return None
    reader = Reader.of(evidence)
    reviewer, note = str(reader.get("reviewer")), str(reader.get("note"))
    words = say("{reviewer} has read it and rejects it: {note}", reviewer=reviewer, note=note)
    return Highlight(words, "bad", "intended-use")


def _privacy(report: ReportInput) -> Highlight | None:
    evidence = report.last("privacy")
    epsilon = None if evidence is None else Reader.of(evidence).number("epsilon")
    if evidence is None or epsilon is None:
        words = say("What the model gives away about a person is not measured.")
        return Highlight(words, "open", "privacy")
    sure = 1.0 / (1.0 + math.exp(-epsilon)) if epsilon < 700 else 1.0
    words = say(
        "Whoever holds it for an even chance that a person is in the data can become at most {sure} % sure by studying "
        "the model (ε = {epsilon}).",
        sure=fixed(100 * sure, 1, "up"),
        epsilon=exact(epsilon),
    )
    return Highlight(words, "", "privacy")


def _quality(report: ReportInput) -> Highlight | None:
    evidence = report.last("evaluation")
    if evidence is None:
        words = say("How often the model is right is not measured.")
        if report.withheld("evaluation"):
            words = say("How often the model is right is not shown in this report.")
        return Highlight(words, "open", "performance")
    reader = Reader.of(evidence)
    right, trivial = reader.measure("accuracy"), reader.measure("majority_accuracy")
    if right is None or trivial is None:
        return None
    words = say(
        "On people it has not seen it is right in {right} of 100 cases; always naming the most frequent class would be "
        "right in {trivial}.",
        right=fixed(100 * right.value, 1),
        trivial=fixed(100 * trivial.value, 1),
    )
    lost = right.low is not None and right.low <= trivial.value
    return Highlight(words, "bad" if lost else "", "performance")


def _slice(report: ReportInput) -> Highlight | None:
    evidence = report.last("slices")
    cards = () if evidence is None else Reader.of(evidence).readers("slices")
    overall = None if evidence is None else Reader.of(evidence).measure("error")
    known = [(m.value, c) for c in cards if (m := c.measure("error")) is not None and c.get("where") is not None]
    if not known or overall is None:
        return None
    error, card = max(known, key=lambda item: item[0])
    words = say(
        "It fails most for {where}: {error} of 100 answers are wrong, against {overall} over everybody.",
        where=card.get("where"),
        error=fixed(100 * error, 1),
        overall=fixed(100 * overall.value, 1),
    )
    return Highlight(words, "open", "errors")


def _gap(report: ReportInput) -> Highlight | None:
    evidence = report.last("fairness")
    columns = None if evidence is None else Reader.of(evidence).reader("columns")
    if columns is None:
        words = say("Whether it treats groups alike is not measured.")
        if report.withheld("fairness"):
            words = say("Whether it treats groups alike is not shown in this report.")
        return Highlight(words, "open", "subgroups")
    gaps = [
        (found.value, name)
        for name in sorted(columns.values)
        if (found := columns.measure(name, "demographic_parity_difference")) is not None
    ]
    if not gaps:
        return None
    gap, name = max(gaps)
    parts = {"column": name, "gap": fixed(100 * gap, 1)}
    words = say(
        "By {column} the shares of people to whom it says yes lie up to {gap} percentage points apart.", **parts
    )
    if several(report):
        words = say(
            "By {column} the shares of people to whom it gives the same answer lie up to {gap} percentage points "
            "apart.",
            **parts,
        )
    return Highlight(words, "open", "subgroups")


def _leans(report: ReportInput) -> Highlight | None:
    evidence = report.last("explanation")
    importance = None if evidence is None else Reader.of(evidence).reader("importance")
    if importance is None or not importance.values:
        words = say("What the model goes by is not measured.")
        if report.withheld("explanation"):
            words = say("What the model goes by is not shown in this report.")
        return Highlight(words, "open", "explanations")
    found = [(m.value, name) for name in importance.values if (m := importance.measure(name)) is not None]
    first = [name for _, name in sorted(found, key=lambda item: (-item[0], item[1]))[:3]]
    return Highlight(say("It leans most on {columns}.", columns=", ".join(first)), "", "explanations")


def _expected(report: ReportInput) -> Highlight | None:
    evidence = report.last("expectation")
    asked = () if evidence is None else Reader.of(evidence).readers("expectations")
    against = [str(item.get("id")) for item in asked if item.get("status") == "not met"]
    if not against:
        return None
    words = say(
        "It goes against {count} of {many} expectations of an expert: {names}.",
        count=exact(len(against)),
        many=exact(len(asked)),
        names=", ".join(against),
    )
    return Highlight(words, "bad", "expectations")


def _people(report: ReportInput) -> Highlight | None:
    count = missing(report, *PARTS)
    if not count:
        return None
    many = sum(len(keys) for keys in PARTS.values())
    words = say(
        "{count} of the {many} parts that only people can write are missing.", count=exact(count), many=exact(many)
    )
    if count == many:
        words = say("None of the {many} parts that only people can write is written.", many=exact(many))
    elif count == 1:
        words = say("1 of the {many} parts that only people can write is missing.", many=exact(many))
    return Highlight(words, "open", "intended-use")
