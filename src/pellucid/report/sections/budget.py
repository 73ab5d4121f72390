"""The privacy claim beside what an attack managed, and what the data set's budget has left."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pellucid.report.blocks import ABSENT, DASH, Block, Cell, Figure, Prose, Table, text
from pellucid.report.charts import Bar, Bars, Bounds, Budget
from pellucid.report.covered import covered
from pellucid.report.elsewhere import elsewhere
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import TIER, kept_back

__all__ = ["attack", "ledger"]

_STATUS: Final = {
    "complete": say("complete"),
    "stopped": say("stopped"),
    "reserved": say("reserved"),
    "abandoned": say("abandoned, counted whole"),
    "running": say("running"),
}


def attack(report: ReportInput, epsilon: float | None) -> tuple[Block, ...]:
    """What a membership attack proves, with its power, beside the claimed ``epsilon``."""
    evidence = report.last("attack")
    if evidence is None and report.withheld("attack"):
        return (Prose(kept_back(report, "attack"), tone="open"),)
    if evidence is None:
        words = say(
            "Attack: not measured. No membership attack was run on this model ({command}).", command="pellucid attack"
        )
        return (Prose(words, tone="open"),)
    reader = Reader.of(evidence)
    constants = replace(reader, coverage=covered(report, evidence, "confidence"))
    lower = reader.number("epsilon_lower")
    table = Table(
        "attack-facts",
        say("The attack"),
        (say("What"), say("Value")),
        (
            (text(say("Epsilon (lower bound from the attack)")), _down(reader, "epsilon_lower")),
            (text(say("Greatest bound this attack could have shown (its power)")), _down(reader, "epsilon_ceiling")),
            (text(say("Delta of the bound")), constants.exact("delta")),
            (text(say("Confidence of the bound")), constants.exact("confidence")),
            (text(say("AUC of the attack (0.5 is guessing)")), reader.estimate("auc")),
            (text(say("Method")), _method(reader)),
        ),
        "facts",
    )
    note = Prose(
        say(
            "An attack tried to tell the people who trained the model from people who did not. What it manages is a "
            "lower bound on the loss; a weak attack proves little, so a low number is no proof of safety."
        )
    )
    rest = others(evidence, "epsilon_lower", "epsilon_ceiling", "delta", "confidence", "auc", "method")
    how = (*rest, how_table(evidence))
    if lower is None or epsilon is None:
        return (note, table, *how)
    figure = Figure(Bounds("bounds", say("Lower and upper bound of the privacy loss"), lower, epsilon), table)
    if lower > epsilon:
        words = say("The attack's lower bound is above the claimed epsilon: the claim is refuted.")
        return (Prose(words, tone="bad"), note, figure, *how)
    return (note, figure, *how)


def ledger(report: ReportInput) -> tuple[Block, ...]:
    """The budget of the data set when the model was trained: parts, and run by run.

    Settlements are entries of the log that a bundle does not carry, so what came after is not known here.
    """
    found = report.ledger
    if found is None and report.withheld("provenance"):  # which carries the ledger
        words = say("Budget of the data set: not shown to {tier}.", tier=TIER[report.tier])
        return (Prose(words, tone="open"),)
    if found is None:
        words = say("Budget of the data set: not measured. The ledger was not read for this report.")
        return (Prose(words, tone="open"),)
    budget = ABSENT if found.epsilon is None else text(say("set"))
    rows = [
        (text(say("Budget")), *_pair(found.epsilon, found.delta), budget),
        (text(say("Spent")), _number(found.spent, "up"), DASH, text(say("settled"))),
        (text(say("Reserved")), _number(found.reserved, "up"), DASH, text(say("not settled then"))),
        (text(say("Left")), ABSENT if found.left is None else _number(found.left, "down"), DASH, text(say("free"))),
    ]
    caption = say("Budget of {dataset}, as it stood then", dataset=found.dataset)
    columns = (say("Part"), say("Epsilon"), say("Delta"), say("Status"))
    table = Table("ledger", caption, columns, tuple(rows))
    chart = Budget(
        "budget", say("Budget of the data set, as it stood then"), found.epsilon, found.spent, found.reserved
    )
    blocks: list[Block] = [
        Prose(
            say(
                "The budget belongs to the data set, not to the run: everything ever done with it is composed jointly, "
                "so the parts need not add up to the sum of the runs. This is the ledger as it stood when the evidence "
                "of this training was signed. The run itself was still reserved then; it settles right after, for no "
                "more than it had reserved. {command} says how the ledger stands now.",
                command=f"pellucid budget {found.dataset}",
            )
        ),
        Figure(chart, table),
    ]
    if not found.runs:
        return tuple(blocks)
    lines = tuple(
        (
            text(run.run),
            *_pair(run.epsilon, run.delta),
            text(say("not settled"), "open") if run.steps is None else Cell(exact(run.steps), run.steps, ("public",)),
            text(_STATUS.get(run.status, run.status)),
        )
        for run in found.runs
    )
    headers = (say("Run"), say("Epsilon"), say("Delta"), say("Steps"), say("Status"))
    runs = Table(
        "ledger-runs", say("Runs on this data set until then, in the order of their reservations"), headers, lines
    )
    bars = tuple(Bar(plain(run.run), run.epsilon) for run in found.runs)
    timeline = Bars("timeline", say("Budget timeline: what each run took"), say("epsilon ε of the run"), bars)
    return (*blocks, Figure(timeline, runs))


def _method(reader: Reader) -> Cell:
    method = reader.get("method")
    return ABSENT if method is None else text(elsewhere(str(method)))


def _down(reader: Reader, key: str) -> Cell:
    """A lower bound, rounded down."""
    value = reader.number(key)
    return ABSENT if value is None else Cell(fixed(value, 4, "down"), value, (reader.coverage,))


def _pair(epsilon: float | None, delta: float | None) -> tuple[Cell, Cell]:
    first = ABSENT if epsilon is None else Cell(exact(epsilon), epsilon, ("public",))
    return first, ABSENT if delta is None else Cell(exact(delta), delta, ("public",))


def _number(value: float, rounding: str) -> Cell:
    return Cell(fixed(value, 4, "up" if rounding == "up" else "down"), value, ("public",))
