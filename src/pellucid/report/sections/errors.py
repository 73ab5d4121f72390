"""Where the model fails, how sure it may be, what it takes to mislead it, and what an expert expected."""

from __future__ import annotations

from typing import Final

from pellucid.evidence import Evidence
from pellucid.report.blocks import Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.charts import Bar, Bars
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say
from pellucid.report.plots import Line, Lines
from pellucid.report.reading import Reader, flatten, how_table, others
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.quality import anchor

__all__ = ["errors", "expectations", "robustness"]

_EXPLAIN: Final = say("{call} or {command} leaves it.", call="run.evaluate()", command="pellucid explain")
_CURVES: Final = {
    "noise": say("Noise on every number; strength is its standard deviation, as a share of the declared range"),
    "corruption": say("Columns taken from other people; strength is the chance of each"),
    "fgsm": say("One step along the gradient (FGSM); strength is the largest change, as a share of the declared range"),
    "pgd": say("Several steps (PGD); strength is the largest change, as a share of the declared range"),
}


def errors(report: ReportInput) -> Section:
    """Slices, conformal sets and likely label errors."""
    title, question = say("Errors"), say("For whom is it wrong more often, and does it know when it is?")
    slices, uncertainty, labels = (report.last(kind) for kind in ("slices", "uncertainty", "labels"))
    if slices is None and uncertainty is None and labels is None:
        return not_measured(report, "errors", title, question, "slices", _EXPLAIN)
    blocks: list[Block] = []
    for evidence, show in ((slices, _slices), (uncertainty, _uncertainty)):
        if evidence is not None:
            blocks += show(evidence)
            blocks.append(how_table(evidence))
    if labels is not None:
        training = report.last("training")
        names = None if training is None else Reader.of(training).texts("classes")
        blocks += [*_labels(labels, names or ()), how_table(labels)]
    return Section("errors", title, question, "shown", tuple(blocks))


def _slices(evidence: Evidence) -> list[Block]:
    reader = Reader.of(evidence)
    found = reader.readers("slices")
    searched = reader.number("searched")
    many = say("all") if searched is None else exact(searched)
    if not found:
        said = say(
            "No group of people was found in which the model fails more often, among {many} that were searched.",
            many=many,
        )
        return [Prose(said), *others(evidence, "slices", "searched", "candidates", "confirmed", "columns")]
    note = say(
        "Of {many} groups those that stood out on one half of the people were tested on the other half. What is shown "
        "was confirmed there: the error, how many times that of everybody else, and q, the share of such findings that "
        "is chance.",
        many=many,
    )
    columns = (say("Group"), say("People"), say("Error (95 % interval)"), say("Times the error of the rest"), say("q"))
    rows, bars = [], []
    for card in found:
        name, error = _slice(card), card.measure("error")
        rows.append((name, card.exact("n"), card.estimate("error"), card.estimate("lift"), card.exact("half_b", "q")))
        if error is not None:
            bars.append(Bar(name.text, error.value, error.low, error.high))
    table = Table("slices", say("Groups in which the model fails more often"), columns, tuple(rows))
    overall = Table(
        "slices-overall",
        say("Everybody"),
        (say("What"), say("Value")),
        (
            (text(say("Error over everybody")), reader.estimate("error")),
            (text(say("Groups searched")), reader.exact("searched")),
        ),
        "facts",
    )
    chart = Bars("slices", say("Error of the groups found"), say("share of wrong answers"), tuple(bars))
    return [Prose(note), Figure(chart, table, beside=overall)]


def _slice(card: Reader) -> Cell:
    where = card.get("where")
    return text(plain(str(where))) if where is not None else card.words("columns")


def _uncertainty(evidence: Evidence) -> list[Block]:
    reader = Reader.of(evidence)
    alpha = reader.number("alpha")
    note = say("Conformal sets name every answer that cannot be ruled out.")
    if alpha is not None:
        share = exact(round(100 * (1 - alpha), 6))
        note = say("{said} They were made to hold the truth for {share} % of people.", said=note, share=share)
    facts = Table(
        "uncertainty",
        say("Sets of answers that hold the truth"),
        (say("What"), say("Value")),
        (
            (text(say("Share of people whose set holds the truth")), reader.estimate("coverage")),
            (text(say("Mean number of answers in a set")), reader.estimate("size")),
            (text(say("Share of people with one answer only")), reader.estimate("certain")),
            (text(say("Share of people with none")), reader.estimate("empty")),
        ),
        "facts",
    )
    blocks: list[Block] = [Prose(note), facts]
    points = reader.readers("abstention")
    if points:
        rows = tuple((point.exact("coverage"), point.estimate("error")) for point in points)
        headers = (say("Share that the model answers"), say("Error (95 % interval)"))
        table = Table("abstention", say("Error if the least certain people are left to a person"), headers, rows)
        drawn = [(p.number("coverage"), p.measure("error")) for p in points]
        known = sorted((x, m) for x, m in drawn if x is not None and m is not None)
        line = Line(
            say("error"),
            tuple((x, m.value) for x, m in known),
            tuple((x, m.low, m.high) for x, m in known if m.low is not None and m.high is not None),
        )
        chart = Lines(
            "abstention",
            say("Error of the answers that the model keeps"),
            say("Error over the share of people that the model answers; the band is the 95 % interval."),
            say("share of people that the model answers"),
            say("error"),
            (line,),
        )
        blocks.append(Figure(chart, table) if len(known) > 1 else table)
    by = reader.reader("columns")
    for name in sorted(by.values if by is not None else ()):
        column = None if by is None else by.reader(name)
        if column is None:
            continue
        rows = tuple((group.words("group"), group.estimate("coverage")) for group in column.readers("groups"))
        hidden = column.texts("suppressed") or ()
        rows += tuple((text(group), text(say("suppressed"), "open")) for group in hidden)
        caption = say("Sets that hold the truth, by {column}", column=name)
        headers = (say("Group"), say("Share (95 % interval)"))
        blocks.append(Table(f"sets-{anchor(name)}", caption, headers, rows))
    shown = ("alpha", "coverage", "size", "certain", "empty", "abstention", "columns")
    return [*blocks, *others(evidence, *shown)]


def _labels(evidence: Evidence, classes: tuple[str, ...]) -> list[Block]:
    reader = Reader.of(evidence)
    rows = [(text(say("Everybody")), reader.estimate("rate"))]
    rows += [
        (Cell(_class(item, classes), item.get("class"), ()), item.estimate("rate"))
        for item in reader.readers("classes")
    ]
    note = say("Labels that the model, which never saw these people, would bet against. Who they are is for stewards.")
    table = Table("labels", say("Likely wrong labels"), (say("People"), say("Share (95 % interval)")), tuple(rows))
    return [Prose(note), table, *others(evidence, "rate", "classes", "suppressed")]


def _class(item: Reader, names: tuple[str, ...]) -> str:
    """The name of a class where the training evidence has it, else its number."""
    number = item.number("class")
    if number is not None and 0 <= int(number) < len(names):
        return plain(names[int(number)])
    return say("class {number}", number=item.exact("class").text)


def robustness(report: ReportInput) -> Section:
    """Accuracy and AUC on rows that were tampered with."""
    title, question = (
        say("Robustness"),
        say("What happens when a column is missing, noisy, or set by somebody who means harm?"),
    )
    evidence = report.last("robustness")
    if evidence is None:
        return not_measured(report, "robustness", title, question, "robustness", _EXPLAIN)
    reader = Reader.of(evidence)
    missing = reader.reader("missing")
    rows = [(text(say("as they are")), reader.estimate("accuracy"), reader.estimate("auc"))]
    for name in sorted(missing.values if missing is not None else ()):
        part = None if missing is None else missing.reader(name)
        if part is not None:
            rows.append((text(say("without {column}", column=name)), part.estimate("accuracy"), part.estimate("auc")))
    columns = (say("Rows"), say("Accuracy (95 % interval)"), say("AUC (95 % interval)"))
    blocks: list[Block] = [Table("missing", say("Without a column"), columns, tuple(rows))]
    for kind, caption in _CURVES.items():
        points = reader.readers(kind)
        if points:
            lines = tuple((p.exact("strength"), p.estimate("accuracy"), p.estimate("auc")) for p in points)
            blocks.append(Table(f"robustness-{kind}", caption, (say("Strength"), *columns[1:]), lines))
    blocks += others(evidence, "accuracy", "auc", "missing", *_CURVES)
    blocks.append(how_table(evidence))
    return Section("robustness", title, question, "shown", tuple(blocks))


def expectations(report: ReportInput) -> Section:
    """What an expert expected, and whether the model does it."""
    title, question = say("Expectations"), say("Does it do what an expert expects of it?")
    evidence = report.last("expectation")
    if evidence is None:
        fix = say("{command} leaves it.", command="pellucid explain --expectations")
        return not_measured(report, "expectations", title, question, "expectation", fix)
    rows = tuple(
        (item.words("id"), _met(item), _about(item), item.words("because"), _measured(item))
        for item in Reader.of(evidence).readers("expectations")
    )
    columns = (say("Expectation"), say("Result"), say("About"), say("Because"), say("Measured"))
    table = Table("expectations-table", say("Expectations, tested"), columns, rows, "cards")
    return Section("expectations", title, question, "shown", (table, how_table(evidence)))


def _measured(item: Reader) -> Cell:
    """What was measured, name by name, and the reason beside it where there is one."""
    found = item.reader("measured")
    parts = [] if found is None else [f"{name} = {cell.text}" for name, cell in flatten(found.values, item.coverage)]
    reason = item.get("reason")
    said = "; ".join([*parts, *([str(reason)] if reason else [])])
    return Cell(said or say("not measured"), "" if said else "open", (item.coverage,) if parts else ())


def _met(item: Reader) -> Cell:
    status = str(item.get("status"))
    known = {
        "met": text(say("✓ met"), "good"),
        "not met": text(say("✗ not met"), "bad"),
        "unmeasured": text(say("? unmeasured"), "open"),
    }
    return known.get(status, text(status))


def _about(item: Reader) -> Cell:
    """Kind of the expectation, and what it is about."""
    about = item.reader("about")
    said = {} if about is None else about.values
    return text(plain(", ".join([str(item.get("kind")), *(f"{name} {value}" for name, value in said.items())])))
