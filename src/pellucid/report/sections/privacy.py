"""What is promised to a person, how it was computed, and what it does not cover."""

from __future__ import annotations

import math
from typing import Final

from pellucid.report.blocks import ABSENT, Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.plots import Line, Lines
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.budget import attack, ledger
from pellucid.report.sections.composed import chosen, composed
from pellucid.report.sections.promise import stated, statement, uncovered

__all__ = ["privacy"]

_SHOWN: Final = (
    *("epsilon", "delta", "accountant", "second_opinion", "adjacency", "unit", "unit_rows", "sampling"),
    *("noise_multiplier", "sample_rate", "steps", "max_grad_norm", "events", "curve", "epsilon_at"),
    *("odometer", "tuning"),
)
_LEAST_DRAWN: Final = 1e-18  # of a delta: below, a point would stretch the scale and tell nobody anything


def privacy(report: ReportInput) -> Section:
    """The promise in words, the accounting, the attack beside it, and the ledger."""
    title = say("Privacy")
    question = say("What can be learned from the model about one person in the training data?")
    evidence = report.last("privacy")
    spent = ledger(report)
    if evidence is None:
        empty = not_measured(report, "privacy", title, question, "privacy", say("Only governed training leaves it."))
        return Section("privacy", title, question, "not measured", (*empty.blocks, *attack(report, None), *spent))
    reader = Reader.of(evidence)
    facts = Table(
        "privacy-facts",
        say("The accounting"),
        (say("What"), say("Value")),
        (
            (text(say("Epsilon (upper bound)")), reader.exact("epsilon")),
            (text(say("Delta")), reader.exact("delta")),
            (text(say("Accountant")), _accountant(reader, "accountant")),
            (text(say("Second opinion, accountant")), _accountant(reader, "second_opinion", "accountant")),
            (text(say("Second opinion, epsilon")), reader.exact("second_opinion", "epsilon")),
            (text(say("Neighbouring data sets")), _adjacency(reader)),
            (text(say("Privacy unit")), _unit(reader)),
            *_drawn(reader),
            (text(say("Noise multiplier")), reader.exact("noise_multiplier")),
            (text(say("Sample rate")), reader.exact("sample_rate")),
            (text(say("Steps")), _steps(reader)),
            (text(say("Clipping norm")), reader.exact("max_grad_norm")),
            *_odometer(reader),
        ),
        "facts",
    )
    sentences = stated(report, reader)
    blocks: list[Block] = [Prose(_promise(reader)), statement(sentences), facts]
    if reader.get("second_opinion") is not None:
        blocks.append(
            Prose(
                say(
                    "Two accountants composed the same events independently. Each gives an upper bound; RDP is the "
                    "looser one by nature, so a greater number there is expected."
                )
            )
        )
    blocks += _curve(reader)
    blocks.append(uncovered(report, reader))
    blocks += attack(report, reader.number("epsilon"))
    blocks += spent
    blocks += chosen(report, reader)
    blocks += composed(reader)
    blocks += others(evidence, *_SHOWN)
    blocks.append(how_table(evidence))
    return Section("privacy", title, question, "shown", tuple(blocks))


def _accountant(reader: Reader, *path: str) -> Cell:
    names = {"pld": say("PLD: privacy loss distributions"), "rdp": say("RDP: Rényi differential privacy")}
    value = reader.get(*path)
    return ABSENT if value is None else text(names.get(str(value), str(value)))


def _adjacency(reader: Reader) -> Cell:
    value = reader.get("adjacency")
    if value == "add-or-remove-one":
        return text(say("one person more or less (add or remove)"))
    return ABSENT if value is None else text(str(value))


def _unit(reader: Reader) -> Cell:
    unit = reader.get("unit")
    if unit is None:
        return ABSENT
    if unit == "row":
        return text(say("one row; every row is another person"))
    return text(say('all rows of one person (column "{unit}")', unit=unit))


def _steps(reader: Reader) -> Cell:
    """Of a selection the accountant composes one: how many steps each of its runs took stands among the events."""
    if any(event.get("kind") == "repeat_and_select" for event in reader.readers("events")):
        return text(say("one selection among runs, each composed as shown below"))
    return reader.exact("steps")


def _drawn(reader: Reader) -> list[tuple[Cell, ...]]:
    """Of people with several rows: how many at most, and what a step draws."""
    if reader.get("unit_rows") is None:
        return []
    drawn = {"user": say("people, each with all their rows"), "example": say("rows, each on its own")}
    rows: list[tuple[Cell, ...]] = [(text(say("Rows of a person, at most")), reader.exact("unit_rows"))]
    if (reader.number("unit_rows") or 1) > 1:
        sampling = str(reader.get("sampling"))
        rows.append((text(say("What a step draws")), text(drawn.get(sampling, sampling))))
    return rows


def _odometer(reader: Reader) -> list[tuple[Cell, ...]]:
    """Of a run that was stopped: what its steps came to. No claim, and no requirement can read it."""
    if reader.get("odometer") is None:
        return []
    name = say("Epsilon of the steps that were taken (no claim: who stopped may have looked)")
    return [(text(name), reader.exact("odometer", "epsilon"))]


def _curve(reader: Reader) -> list[Block]:
    """Epsilon at other deltas: the same training, promised at another probability of failure."""
    covered = (reader.coverage,)
    at = reader.reader("epsilon_at")
    known = sorted(((float(d), e) for d in at.values if (e := at.number(d)) is not None), reverse=True) if at else []
    columns = (say("Delta (δ)"), say("Epsilon (ε), at most"))
    rows = tuple((Cell(exact(d), d, covered), Cell(exact(e), e, covered)) for d, e in known)
    others = Table("privacy-deltas", say("Epsilon at other deltas"), columns, rows) if rows else None
    points = reader.pairs("curve")
    if len(points) < 3:
        words = Prose(say("The curve of epsilon over delta: not measured."), tone="open")
        return [words] if others is None else [others, words]
    lines = tuple((Cell(exact(e), e, covered), Cell(exact(d), d, covered)) for e, d in points)
    table = Table(
        "privacy-curve", say("Points of the privacy curve"), (say("Epsilon (ε)"), say("Delta (δ), at most")), lines
    )
    epsilon, delta = reader.number("epsilon"), reader.number("delta")
    chart = Lines(
        "privacy-curve",
        say("The privacy curve: every pair (ε, δ) that holds"),
        say(
            "Delta on a scale of powers of ten over epsilon, falling. Each point of the line is a promise that holds; "
            "the diamond is the one that is claimed."
        ),
        say("epsilon ε"),
        say("delta δ"),
        (Line(say("privacy loss distribution"), tuple((e, d) for e, d in points if d >= _LEAST_DRAWN)),),
        log=True,
        mark=None if epsilon is None or delta is None else (epsilon, delta),
    )
    note = say(
        "A smaller delta asks for a larger epsilon. No single pair is the truth: they are one curve, and a reader who "
        "wants another delta reads it off here."
    )
    return [Prose(note), Figure(chart, table, beside=others)]


def _promise(reader: Reader) -> Said:
    epsilon, delta = reader.number("epsilon"), reader.number("delta")
    if epsilon is None or delta is None:
        return say("No promise is made: epsilon or delta is not measured.")
    unit = plain(str(reader.get("unit")))
    whose = say("one row") if unit == "row" else say('all rows of one person (column "{unit}")', unit=unit)
    # Posterior of someone who held membership for an even chance (Dwork & Roth 2014, section 2.3); expm1-free and safe
    # for a great epsilon, where it is 1.
    sure = 1.0 / (1.0 + math.exp(-epsilon)) if epsilon < 700 else 1.0
    times = say("e^ε times")
    if epsilon < 20:
        times = say("e^ε times (about {ratio} times)", ratio=fixed(math.exp(epsilon), 1, "up"))
    return say(
        "Adding or removing {whose} makes any outcome of the training at most {times} as likely, with ε = {epsilon}, "
        "except with a probability of δ = {delta}. In other words: someone who holds it for an even chance that a "
        "person is in the data, and then studies the model with unlimited means, may become at most {sure} % sure "
        "(leaving δ aside).",
        whose=whose,
        times=times,
        epsilon=exact(epsilon),
        delta=exact(delta),
        sure=fixed(100 * sure, 1, "up"),
    )
