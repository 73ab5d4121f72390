"""What is promised to a person, how it was computed, what it does not cover, and what is left of the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pellucid.report.blocks import ABSENT, Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.charts import Bounds, Budget
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.inputs import Ledger, ReportInput
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import not_measured

__all__ = ["privacy"]


def privacy(report: ReportInput) -> Section:
    """The promise in words, the accounting, the attack beside it, and the ledger."""
    title, question = "Privacy", "What can be learned from the model about one person in the training data?"
    evidence = report.last("privacy")
    ledger = _ledger(report.ledger)
    if evidence is None:
        empty = not_measured("privacy", title, question, "privacy", "Only governed training leaves it.")
        attack = _attack(report, None)
        return Section("privacy", title, question, "not measured", (*empty.blocks, *attack, *ledger))
    reader = Reader.of(evidence)
    facts = Table(
        "privacy-facts",
        "The accounting",
        ("What", "Value"),
        (
            (text("Epsilon (upper bound)"), reader.exact("epsilon")),
            (text("Delta"), reader.exact("delta")),
            (text("Accountant"), reader.words("accountant")),
            (text("Second opinion, accountant"), reader.words("second_opinion", "accountant")),
            (text("Second opinion, epsilon"), reader.exact("second_opinion", "epsilon")),
            (text("Neighbouring data sets"), reader.words("adjacency")),
            (text("Privacy unit"), reader.words("unit")),
            (text("Noise multiplier"), reader.exact("noise_multiplier")),
            (text("Sample rate"), reader.exact("sample_rate")),
            (text("Steps"), reader.exact("steps")),
            (text("Clipping norm"), reader.exact("max_grad_norm")),
        ),
        "facts",
    )
    blocks: list[Block] = [Prose(_promise(reader)), facts]
    if reader.get("second_opinion") is not None:
        blocks.append(
            Prose(
                "Two accountants composed the same events independently. Each gives an upper bound; RDP is the looser "
                "one by nature, so a greater number there is expected."
            )
        )
    events = list(reader.readers("events"))
    if events:
        blocks.append(_composed(events))
    blocks.append(Prose("What this does not cover:", _uncovered(report, reader)))
    shown = ("epsilon", "delta", "accountant", "second_opinion", "adjacency", "unit", "noise_multiplier", "sample_rate")
    blocks += others(evidence, *shown, "steps", "max_grad_norm", "events")
    blocks += _attack(report, reader.number("epsilon"))
    blocks += ledger
    blocks.append(how_table(evidence))
    return Section("privacy", title, question, "shown", tuple(blocks))


def _composed(events: Sequence[Reader]) -> Table:
    """The events, with their bands if one has any."""
    banded = any(event.get("bands") is not None for event in events)
    rows: list[tuple[Cell, ...]] = [
        (
            event.words("kind"),
            _digits(event, "sample_rate"),
            _digits(event, "noise_multiplier"),
            event.exact("count"),
            *([event.exact("bands")] if banded else []),
        )
        for event in events
    ]
    columns = ("Event", "Sample rate", "Noise multiplier", "Count", *(["Bands"] if banded else []))
    return Table("privacy-events", "What the accountant composed", columns, tuple(rows))


def _promise(reader: Reader) -> str:
    epsilon, delta = reader.number("epsilon"), reader.number("delta")
    if epsilon is None or delta is None:
        return "No promise is made: epsilon or delta is not measured."
    unit = plain(str(reader.get("unit")))
    whose = "one row" if unit == "row" else f'all rows of one person (column "{unit}")'
    # Posterior of someone who held membership for an even chance (Dwork & Roth 2014, section 2.3); expm1-free and safe
    # for a great epsilon, where it is 1.
    sure = 1.0 / (1.0 + math.exp(-epsilon)) if epsilon < 700 else 1.0
    ratio = f" (about {fixed(math.exp(epsilon), 1, 'up')} times)" if epsilon < 20 else ""
    return (
        f"Adding or removing {whose} makes any outcome of the training at most e^ε times{ratio} as likely, with ε = "
        f"{exact(epsilon)}, except with a probability of δ = {exact(delta)}. In other words: someone who holds it for "
        "an even chance that a person is in the data, and then studies the model with unlimited means, may become at "
        f"most {fixed(100 * sure, 1, 'up')} % sure (leaving δ aside)."
    )


def _uncovered(report: ReportInput, reader: Reader) -> tuple[str, ...]:
    points = []
    if reader.get("unit") == "row":
        points.append(
            "A person who stands in several rows. The schema declares that every row is another person; if that is not "
            "so, the promise is weaker by the number of rows."
        )
    else:
        points.append("Groups of people together, such as a family: the promise weakens with their number.")
    points += [
        "What is learned about people in general. A rule that holds for a group may be applied to a person who was "
        "never in the data.",
        'The numbers marked "not covered" here: they are measured on people who did not train the model, and '
        "no privacy guarantee covers them.",
        "Access to the sealed data itself, and the machine on which it was opened.",
    ]
    if report.last("tuning") is None:
        points.append(
            "Choices made by looking at earlier private runs. There is no tuning evidence; the ledger below counts all "
            "the runs on this data set, this epsilon counts this run only."
        )
    return tuple(points)


def _digits(event: Reader, key: str) -> Cell:
    value = event.get(key)
    return ABSENT if value is None else Cell(plain(str(value)), value, (event.coverage,))


def _down(reader: Reader, key: str) -> Cell:
    """A lower bound, rounded down."""
    value = reader.number(key)
    return ABSENT if value is None else Cell(fixed(value, 4, "down"), value, (reader.coverage,))


def _attack(report: ReportInput, epsilon: float | None) -> tuple[Block, ...]:
    evidence = report.last("attack")
    if evidence is None:
        return (
            Prose("Attack: not measured. No membership attack was run on this model (pellucid attack).", tone="open"),
        )
    reader = Reader.of(evidence)
    lower = reader.number("epsilon_lower")
    table = Table(
        "attack-facts",
        "The attack",
        ("What", "Value"),
        (
            (text("Epsilon (lower bound from the attack)"), _down(reader, "epsilon_lower")),
            (text("Greatest bound this attack could have shown"), _down(reader, "epsilon_ceiling")),
            (text("Delta of the bound"), reader.exact("delta")),
            (text("Confidence of the bound"), reader.exact("confidence")),
            (text("AUC of the attack (0.5 is guessing)"), reader.estimate("auc")),
            (text("Method"), reader.words("method")),
        ),
        "facts",
    )
    note = Prose(
        "An attack tried to tell the people who trained the model from people who did not. What it manages is a lower "
        "bound on the loss; a weak attack proves little, so a low number is no proof of safety."
    )
    rest = others(evidence, "epsilon_lower", "epsilon_ceiling", "delta", "confidence", "auc", "method")
    how = (*rest, how_table(evidence))
    if lower is None or epsilon is None:
        return (note, table, *how)
    figure = Figure(Bounds("bounds", "Lower and upper bound of the privacy loss", lower, epsilon), table)
    if lower > epsilon:
        alarm = Prose("The attack's lower bound is above the claimed epsilon: the claim is refuted.", tone="bad")
        return (alarm, note, figure, *how)
    return (note, figure, *how)


def _ledger(ledger: Ledger | None) -> tuple[Block, ...]:
    if ledger is None:
        return (Prose("Budget of the data set: not measured. The ledger was not read for this report.", tone="open"),)
    rows = [
        (text("Budget"), *_pair(ledger.epsilon, ledger.delta), ABSENT if ledger.epsilon is None else text("set")),
        (text("Spent"), _number(ledger.spent, "up"), text("—"), text("settled")),
        (text("Reserved"), _number(ledger.reserved, "up"), text("—"), text("not settled yet")),
        (text("Left"), ABSENT if ledger.left is None else _number(ledger.left, "down"), text("—"), text("free")),
    ]
    table = Table("ledger", f"Budget of {plain(ledger.dataset)}", ("Part", "Epsilon", "Delta", "Status"), tuple(rows))
    chart = Budget("budget", "Budget of the data set", ledger.epsilon, ledger.spent, ledger.reserved)
    blocks: list[Block] = [
        Prose(
            "The budget belongs to the data set, not to the run: everything ever done with it is composed jointly, so "
            "the parts need not add up to the sum of the runs."
        ),
        Figure(chart, table),
    ]
    if ledger.runs:
        lines = tuple(
            (
                text(run.run),
                *_pair(run.epsilon, run.delta),
                text("not settled", "open") if run.steps is None else Cell(exact(run.steps), run.steps, ("public",)),
                text(run.status),
            )
            for run in ledger.runs
        )
        columns = ("Run", "Epsilon", "Delta", "Steps", "Status")
        blocks.append(Table("ledger-runs", "Runs on this data set", columns, lines))
    return tuple(blocks)


def _pair(epsilon: float | None, delta: float | None) -> tuple[Cell, Cell]:
    first = ABSENT if epsilon is None else Cell(exact(epsilon), epsilon, ("public",))
    return first, ABSENT if delta is None else Cell(exact(delta), delta, ("public",))


def _number(value: float, rounding: str) -> Cell:
    return Cell(fixed(value, 4, "up" if rounding == "up" else "down"), value, ("public",))
