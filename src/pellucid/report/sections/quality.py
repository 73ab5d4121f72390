"""How well the model does, for whom, and whether its probabilities can be believed."""

from __future__ import annotations

from typing import Final

from pellucid.report.blocks import ABSENT, Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.charts import Bar, Curve, Dots, Panel, Reliability
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.classes import several

__all__ = ["anchor", "calibration", "performance", "subgroups"]

_EXPLAIN: Final = say("{call} or {command} leaves it.", call="run.evaluate()", command="pellucid explain")
_MOST: Final = 10
_RATES: Final[tuple[tuple[str, Said], ...]] = (
    ("selection_rate", say("Selection rate")),
    ("true_positive_rate", say("True positive rate")),
    ("false_positive_rate", say("False positive rate")),
    ("auc", say("AUC")),
    ("accuracy", say("Accuracy")),
)
_OF_A_CLASS: Final = frozenset({"true_positive_rate", "false_positive_rate", "auc"})


def performance(report: ReportInput) -> Section:
    """AUC and accuracy with intervals beside the trivial model, and the ROC curve."""
    title, question = say("Performance"), say("How often is it right on people who did not train it?")
    evidence = report.last("evaluation")
    if evidence is None:
        return not_measured(report, "performance", title, question, "evaluation", _EXPLAIN)
    reader = Reader.of(evidence)
    many = several(report)
    measures = (
        ("auc", say("AUC")),
        ("accuracy", say("Accuracy")),
        ("majority_accuracy", say("Accuracy of always saying the most frequent class")),
        *(() if many else (("base_rate", say("Base rate of the positive class")),)),
    )
    rows = tuple((text(label), reader.estimate(key), reader.units(key)) for key, label in measures)
    columns = (say("Measure"), say("Estimate (95 % interval)"), say("People"))
    table = Table("performance-table", say("Performance, with 95 % intervals"), columns, rows)
    blocks: list[Block] = []
    threshold = reader.number("threshold")
    if threshold is not None:
        blocks.append(
            Prose(
                say(
                    "Accuracy counts a prediction as positive from a probability of {threshold} on; AUC needs no "
                    "threshold.",
                    threshold=exact(threshold),
                )
            )
        )
    blocks.append(table)
    points = reader.readers("roc")
    pairs = [(p.number("fpr"), p.number("tpr")) for p in points]
    curve = tuple((x, y) for x, y in pairs if x is not None and y is not None)
    if len(curve) > 1:
        lines = tuple((p.bare("fpr"), p.bare("tpr")) for p in points)
        headers = (say("False positive rate"), say("True positive rate"))
        roc = Table("roc", say("Points of the ROC curve"), headers, lines)
        blocks.append(Figure(Curve("roc", say("ROC curve"), curve), roc))
    elif many:
        words = say(
            "None of {count} classes is the positive one, so there is no base rate and no ROC curve. AUC is the mean, "
            "over the classes, of each against the rest.",
            count=str(many),
        )
        blocks.append(Prose(words))
    else:
        blocks.append(Prose(say("ROC curve: not measured."), tone="open"))
    blocks += others(evidence, *(key for key, _ in measures), "roc", "threshold")
    blocks.append(how_table(evidence))
    return Section("performance", title, question, "shown", tuple(blocks))


def subgroups(report: ReportInput) -> Section:
    """Rates by group with intervals; small groups are suppressed, not shown as 0."""
    title, question = say("Subgroups and fairness"), say("Does it do as well, and say yes as often, for every group?")
    evidence = report.last("fairness")
    if evidence is None:
        return not_measured(report, "subgroups", title, question, "fairness", _EXPLAIN)
    reader = Reader.of(evidence)
    columns = reader.reader("columns")
    blocks: list[Block] = [
        Prose(
            say(
                "A gap is the greatest difference between two groups: 0 is none, 1 is the greatest there can be. "
                "Whether a gap is unjust is for people to say; see intended use."
            )
        )
    ]
    if several(report):
        blocks.append(
            Prose(
                say(
                    "Of more than two classes each is held against the rest, and the gap is that of the class where it "
                    "is largest."
                )
            )
        )
    if columns is None or not columns.values:
        blocks.append(Prose(say("No column was compared: the schema declares none as special."), tone="open"))
        return Section("subgroups", title, question, "shown", (*blocks, how_table(evidence)))
    for name in sorted(columns.values):
        column = columns.reader(name)
        if column is not None:
            blocks += _column(name, column)
    crossed = reader.reader("intersections")
    for name in sorted(crossed.values if crossed is not None else ()):
        column = None if crossed is None else crossed.reader(name)
        if column is not None:
            blocks += _column(name, column)
    blocks += _disparities(reader)
    blocks += others(evidence, "columns", "minimum_cell", "intersections", "disparities")
    blocks.append(how_table(evidence))
    return Section("subgroups", title, question, "shown", tuple(blocks))


def _disparities(reader: Reader) -> list[Block]:
    """Groups whose rates differ from the other groups' by more than chance, over all that were tested."""
    disparities = reader.reader("disparities")
    if disparities is None:
        return []
    tested, level = disparities.exact("tested").text, disparities.number("level")
    rows = tuple(
        (
            item.words("column"),
            item.words("group"),
            _rate(str(item.get("metric"))),
            item.estimate("difference"),
            item.exact("q"),
        )
        for item in disparities.readers("differences")
        if item.get("found") is True
    )
    if not rows:
        words = say(
            "No group differs from the others by more than chance, of {tested} differences tested.", tested=tested
        )
        return [Prose(words)]
    headers = (
        say("Column"),
        say("Group"),
        say("Rate"),
        say("Difference from the other groups (95 % interval)"),
        say("q"),
    )
    words = say(
        "Of {tested} differences between a group and the others of its column, those that were found.", tested=tested
    )
    if level is not None:
        words = say("{said} About {share} % of these may be chance.", said=words, share=exact(round(100 * level, 6)))
    first = sorted(rows, key=lambda row: -abs(row[3].value["value"]) if isinstance(row[3].value, dict) else 0.0)
    if len(rows) <= _MOST:
        return [Prose(words), Table("disparities", say("Groups that differ"), headers, rows)]
    caption = say("Groups that differ, the {most} largest differences", most=str(_MOST))
    return [
        Prose(words),
        Table("disparities", caption, headers, tuple(first[:_MOST])),
        Table(
            "disparities-all",
            say("All {count} differences that were found", count=str(len(rows))),
            headers,
            rows,
            fold=True,
        ),
    ]


def _rate(name: str) -> Cell:
    return text(dict(_RATES).get(name, name))


def _column(name: str, column: Reader) -> list[Block]:
    shown, key = plain(name), anchor(name)
    gaps = Table(
        f"gaps-{key}",
        say("Gaps by {column}", column=shown),
        (say("Gap"), say("Estimate (95 % interval)"), say("People")),
        tuple(
            (text(label), column.estimate(path), column.units(path))
            for path, label in (
                ("demographic_parity_difference", say("Demographic parity difference")),
                ("equalized_odds_difference", say("Equalized odds difference")),
            )
        ),
    )
    groups = sorted(column.readers("groups"), key=lambda group: str(group.get("group")))
    # of more than two classes a group has its accuracy, and rates of one class are said of none
    rates = _RATES if not groups or "selection_rate" in groups[0].values else _RATES[-1:]
    rows = [
        (group.words("group"), group.exact("n"), *(_estimate(group, rate) for rate, _ in rates)) for group in groups
    ]
    suppressed = column.texts("suppressed") or ()
    rows += [
        (text(group), *(text(say("suppressed"), "open") for _ in range(1 + len(rates)))) for group in sorted(suppressed)
    ]
    table = Table(
        f"groups-{key}",
        say("Groups by {column}, with 95 % intervals", column=shown),
        (say("Group"), say("People"), *(label for _, label in rates)),
        tuple(rows),
    )
    panels = tuple(panel for rate, label in rates if (panel := Panel(label, _bars(groups, rate))).groups)
    if not panels:
        return [gaps, table]
    return [Figure(Dots(f"groups-{key}", say("Groups by {column}", column=shown), panels), table, beside=gaps)]


def _estimate(group: Reader, rate: str) -> Cell:
    """A rate of a group; one of people of a single class is left out where those are too few to be told."""
    if rate in _OF_A_CLASS and group.get(rate) is None and group.get("n") is not None:
        return text(say("too few people"), "open")
    return group.estimate(rate)


def calibration(report: ReportInput) -> Section:
    """Calibration error, Brier score and the reliability curve."""
    title, question = say("Calibration"), say("When it says 70 %, does it happen in 70 of 100 cases?")
    evidence = report.last("calibration")
    if evidence is None:
        return not_measured(report, "calibration", title, question, "calibration", _EXPLAIN)
    reader = Reader.of(evidence)
    facts = Table(
        "calibration-table",
        say("Calibration, with 95 % intervals"),
        (say("Measure"), say("Estimate (95 % interval)"), say("People")),
        (
            (text(say("Expected calibration error (0 is best)")), reader.estimate("ece"), reader.units("ece")),
            (text(say("Brier score (0 is best)")), reader.estimate("brier"), reader.units("brier")),
        ),
    )
    blocks: list[Block] = [facts]
    if several(report):
        words = say(
            "Of more than two classes: the probability of the class that was named, against how often it was the right "
            "one. The Brier score adds up the squared errors of all classes, from 0 to 2."
        )
        blocks.insert(0, Prose(words))
    bins = reader.readers("bins")
    predicted = [b.number("predicted") for b in bins]
    observed = [b.measure("observed") for b in bins]
    rows = tuple((_range(b), b.bare("predicted"), b.estimate("observed"), b.units("observed")) for b in bins)
    if rows:
        headers = (say("Predicted range"), say("Mean prediction"), say("Observed rate"), say("People"))
        table = Table("bins", say("Predicted and observed rates"), headers, rows)
        known = [(p, o) for p, o in zip(predicted, observed, strict=True) if p is not None and o is not None]
        if known:
            chart = Reliability(
                "reliability",
                say("Reliability curve"),
                tuple(p for p, _ in known),
                tuple(Bar("", o.value, o.low, o.high) for _, o in known),
            )
            blocks.append(Figure(chart, table))
        else:
            blocks.append(table)
    blocks += _split(reader)
    by = reader.reader("columns")
    for name in sorted(by.values if by is not None else ()):
        column = None if by is None else by.reader(name)
        if column is not None:
            blocks.append(_by_group(name, column))
    blocks += others(evidence, "ece", "brier", "bins", "split", "columns")
    blocks.append(how_table(evidence))
    return Section("calibration", title, question, "shown", tuple(blocks))


def _split(reader: Reader) -> list[Block]:
    """What the Brier score is made of."""
    split = reader.reader("split")
    if split is None:
        return []
    parts = (
        ("reliability", say("Reliability: distance of predicted from observed rates (0 is best)")),
        ("resolution", say("Resolution: how far predictions part people (more is better)")),
        ("uncertainty", say("Uncertainty: what nobody could predict away")),
        ("within_bins", say("Left within bins")),
    )
    rows = tuple((text(label), split.estimate(key)) for key, label in parts)
    columns = (say("Part"), say("Estimate (95 % interval)"))
    return [Table("brier-split", say("What the Brier score is made of"), columns, rows)]


def _by_group(name: str, column: Reader) -> Table:
    shown = plain(name)
    rows = tuple((group.words("group"), group.estimate("ece")) for group in column.readers("groups"))
    rows += tuple((text(group), text(say("suppressed"), "open")) for group in column.texts("suppressed") or ())
    columns = (say("Group"), say("Expected calibration error"))
    return Table(f"calibration-{anchor(name)}", say("Calibration by {column}", column=shown), columns, rows)


def _bars(groups: list[Reader], rate: str) -> tuple[Bar, ...]:
    """One dot a group; a group keeps its shape in every panel, also where another is not measured."""
    found = ((shape, str(group.get("group")), group.measure(rate)) for shape, group in enumerate(groups))
    return tuple(Bar(plain(name), m.value, m.low, m.high, shape) for shape, name, m in found if m is not None)


def _range(bin_: Reader) -> Cell:
    low, high = bin_.number("low"), bin_.number("high")
    if low is None or high is None:
        return ABSENT
    return Cell(say("{low} to {high}", low=exact(low), high=exact(high)), [low, high], (bin_.coverage,))


def anchor(name: str) -> str:
    """An id for any name: letters and digits stay, the rest is its code point."""
    return "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}-" for c in name)
