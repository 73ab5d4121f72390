"""Where the model fails, how sure it may be, what it takes to mislead it, and what an expert expected."""

from __future__ import annotations

from typing import Final

from pellucid.evidence import Evidence
from pellucid.report.blocks import Block, Cell, Prose, Section, Table, text
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.quality import anchor

__all__ = ["errors", "expectations", "robustness"]

_EXPLAIN: Final = "run.evaluate() or pellucid explain leaves it."
_CURVES: Final = {
    "noise": "Noise on every number; strength is its standard deviation, as a share of the declared range",
    "corruption": "Columns taken from other people; strength is the chance of each",
    "fgsm": "One step along the gradient (FGSM); strength is the largest change, as a share of the declared range",
    "pgd": "Several steps (PGD); strength is the largest change, as a share of the declared range",
}


def errors(report: ReportInput) -> Section:
    """Slices, conformal sets and likely label errors."""
    title, question = "Errors", "For whom is it wrong more often, and does it know when it is?"
    slices, uncertainty, labels = (report.last(kind) for kind in ("slices", "uncertainty", "labels"))
    if slices is None and uncertainty is None and labels is None:
        return not_measured("errors", title, question, "slices", _EXPLAIN)
    blocks: list[Block] = []
    for evidence, show in ((slices, _slices), (uncertainty, _uncertainty), (labels, _labels)):
        if evidence is not None:
            blocks += show(evidence)
            blocks.append(how_table(evidence))
    return Section("errors", title, question, "shown", tuple(blocks))


def _slices(evidence: Evidence) -> list[Block]:
    reader = Reader.of(evidence)
    found = reader.readers("slices")
    searched = reader.number("searched")
    many = "all" if searched is None else exact(searched)
    if not found:
        said = f"No slice of people was found in which the model fails more often, among {many} that were searched."
        return [Prose(said), *others(evidence, "slices", "searched", "candidates", "confirmed", "columns")]
    note = (
        f"Of {many} slices those that stood out on one half of the people were tested on the other half. What is shown "
        "was confirmed there: the error, how many times that of everybody else, and q, the share of such "
        "findings that is chance."
    )
    columns = ("Slice", "People", "Error (95 % interval)", "Times the error of the rest", "q")
    rows = tuple(
        (_slice(card), card.exact("n"), card.estimate("error"), card.estimate("lift"), card.exact("half_b", "q"))
        for card in found
    )
    table = Table("slices", "Slices in which the model fails more often", columns, rows)
    overall = Table(
        "slices-overall",
        "Everybody",
        ("What", "Value"),
        ((text("Error over everybody"), reader.estimate("error")), (text("Slices searched"), reader.exact("searched"))),
        "facts",
    )
    return [Prose(note), table, overall]


def _slice(card: Reader) -> Cell:
    where = card.get("where")
    return text(plain(str(where))) if where is not None else card.words("columns")


def _uncertainty(evidence: Evidence) -> list[Block]:
    reader = Reader.of(evidence)
    alpha = reader.number("alpha")
    promised = "" if alpha is None else f" They were made to hold the truth for {exact(round(100 * (1 - alpha), 6))} %."
    facts = Table(
        "uncertainty",
        "Sets of answers that hold the truth",
        ("What", "Value"),
        (
            (text("Share of people whose set holds the truth"), reader.estimate("coverage")),
            (text("Mean number of answers in a set"), reader.estimate("size")),
            (text("Share of people with one answer only"), reader.estimate("certain")),
            (text("Share of people with none"), reader.estimate("empty")),
        ),
        "facts",
    )
    blocks: list[Block] = [Prose("Conformal sets name every answer that cannot be ruled out." + promised), facts]
    points = reader.readers("abstention")
    if points:
        rows = tuple((point.exact("coverage"), point.estimate("error")) for point in points)
        caption = "Error if the least certain people are left to a person"
        blocks.append(Table("abstention", caption, ("Share that the model answers", "Error (95 % interval)"), rows))
    by = reader.reader("columns")
    for name in sorted(by.values if by is not None else ()):
        column = None if by is None else by.reader(name)
        if column is None:
            continue
        rows = tuple((group.words("group"), group.estimate("coverage")) for group in column.readers("groups"))
        hidden = column.texts("suppressed") or ()
        rows += tuple((text(group), text("suppressed", "open")) for group in hidden)
        caption = f"Sets that hold the truth, by {plain(name)}"
        blocks.append(Table(f"sets-{anchor(name)}", caption, ("Group", "Share (95 % interval)"), rows))
    shown = ("alpha", "coverage", "size", "certain", "empty", "abstention", "columns")
    return [*blocks, *others(evidence, *shown)]


def _labels(evidence: Evidence) -> list[Block]:
    reader = Reader.of(evidence)
    rows = [(text("Everybody"), reader.estimate("rate"))]
    rows += [
        (Cell(f"class {item.exact('class').text}", item.get("class"), ()), item.estimate("rate"))
        for item in reader.readers("classes")
    ]
    note = "Labels that the model, which never saw these people, would bet against. Who they are is for stewards."
    table = Table("labels", "Likely wrong labels", ("People", "Share (95 % interval)"), tuple(rows))
    return [Prose(note), table, *others(evidence, "rate", "classes", "suppressed")]


def robustness(report: ReportInput) -> Section:
    """Accuracy and AUC on rows that were tampered with."""
    title, question = "Robustness", "What happens when a column is missing, noisy, or set by somebody who means harm?"
    evidence = report.last("robustness")
    if evidence is None:
        return not_measured("robustness", title, question, "robustness", _EXPLAIN)
    reader = Reader.of(evidence)
    missing = reader.reader("missing")
    rows = [(text("as they are"), reader.estimate("accuracy"), reader.estimate("auc"))]
    for name in sorted(missing.values if missing is not None else ()):
        part = None if missing is None else missing.reader(name)
        if part is not None:
            rows.append((text(f"without {plain(name)}"), part.estimate("accuracy"), part.estimate("auc")))
    columns = ("Rows", "Accuracy (95 % interval)", "AUC (95 % interval)")
    blocks: list[Block] = [Table("missing", "Without a column", columns, tuple(rows))]
    for kind, caption in _CURVES.items():
        points = reader.readers(kind)
        if points:
            lines = tuple((p.exact("strength"), p.estimate("accuracy"), p.estimate("auc")) for p in points)
            blocks.append(Table(f"robustness-{kind}", caption, ("Strength", *columns[1:]), lines))
    blocks += others(evidence, "accuracy", "auc", "missing", *_CURVES)
    blocks.append(how_table(evidence))
    return Section("robustness", title, question, "shown", tuple(blocks))


def expectations(report: ReportInput) -> Section:
    """What an expert expected, and whether the model does it."""
    title, question = "Expectations", "Does it do what an expert expects of it?"
    evidence = report.last("expectation")
    if evidence is None:
        fix = "pellucid explain --expectations leaves it."
        return not_measured("expectations", title, question, "expectation", fix)
    rows = tuple(
        (item.words("id"), item.words("status"), _about(item), item.words("because"), item.words("reason"))
        for item in Reader.of(evidence).readers("expectations")
    )
    columns = ("Expectation", "Result", "About", "Because", "Measured")
    table = Table("expectations-table", "Expectations, tested", columns, rows)
    return Section("expectations", title, question, "shown", (table, how_table(evidence)))


def _about(item: Reader) -> Cell:
    """Kind of the expectation, and what it is about."""
    about = item.reader("about")
    said = {} if about is None else about.values
    return text(plain(", ".join([str(item.get("kind")), *(f"{name} {value}" for name, value in said.items())])))
