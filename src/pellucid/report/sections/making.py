"""What went in and what was made of it: the data and the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pellucid.evidence import Evidence
from pellucid.report.blocks import ABSENT, Block, Cell, Prose, Section, Table, text
from pellucid.report.covered import covered
from pellucid.report.figures import exact
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say
from pellucid.report.reading import Reader, flatten, how_table, others
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.people import written

__all__ = ["data", "model"]

_SENSITIVITY: Final = {
    "public": say("public"),
    "personal": say("personal"),
    "special": say("◆ special category"),
    "identifier": say("identifies a person"),
}
_TYPE: Final = {
    "number": say("number"),
    "integer": say("whole number"),
    "category": say("category"),
    "boolean": say("yes or no"),
    "text": say("text"),
    "image": say("image"),
    "audio": say("audio"),
    "timestamp": say("time"),
    "identifier": say("identifier"),
}
_STATUS: Final = {"complete": say("complete"), "stopped": say("stopped before its plan was complete")}


def data(report: ReportInput) -> Section:
    """The declared schema, sensitivity, purposes and retention. Nothing here is read off the rows."""
    title, question = say("Data"), say("Which data was the model made from, and what was declared about it?")
    evidence = report.last("dataset")
    if evidence is None:
        fix = say("Sealing with {command} leaves it.", command="pellucid seal")
        return not_measured(report, "data", title, question, "dataset", fix)
    reader = Reader.of(evidence)
    unit = reader.get("unit")
    facts = Table(
        "data-facts",
        say("The data set, as declared"),
        (say("What"), say("Value")),
        (
            (text(say("Data set")), reader.words("name")),
            (text(say("Version")), reader.words("version")),
            (text(say("People (public, declared)")), reader.exact("units")),
            (
                text(say("What privacy protects")),
                text(
                    say("a row; every row is another person")
                    if unit == "row"
                    else say('all rows of one person (column "{unit}")', unit=str(unit))
                ),
            ),
            *_rows(reader),
            (text(say("Target")), reader.words("target")),
            (text(say("Purposes")), reader.words("purposes")),
            (
                text(say("Keep until")),
                text(say("no day is declared"), "open")
                if reader.get("retention") is None
                else reader.words("retention"),
            ),
            (text(say("Manifest, SHA-256")), reader.code("manifest")),
        ),
        "facts",
    )
    training = report.last("training")
    features = None if training is None else Reader.of(training).texts("features")
    rows = []
    for column in reader.readers("columns"):
        name = str(column.get("name"))
        if name == reader.get("target"):
            use = text(say("target"))
        elif features is None:
            use = text(say("not measured"), "open")
        else:
            use = text(say("input") if name in features else say("not used"))
        kind, sensitivity = str(column.get("type")), str(column.get("sensitivity"))
        rows.append((text(name), text(_TYPE.get(kind, kind)), text(_SENSITIVITY.get(sensitivity, sensitivity)), use))
    headers = (say("Column"), say("Type"), say("Sensitivity"), say("In this model"))
    columns = Table("data-columns", say("Columns"), headers, tuple(rows))
    note = Prose(
        say("The schema is declared by people and adopted by the owner; no bound or category is read off the data.")
    )
    shown = ("name", "version", "units", "unit", "target", "columns", "purposes", "retention", "manifest")
    rest = others(evidence, *shown, "rows_per_unit", "rows")
    people = written(report, "data")
    return Section("data", title, question, "shown", (note, facts, columns, people, *rest, how_table(evidence)))


def _rows(reader: Reader) -> list[tuple[Cell, ...]]:
    """Of people with several rows: what was declared of these."""
    names = {"rows_per_unit": say("Rows of a person, at most"), "rows": say("Rows (public, declared)")}
    return [(text(name), reader.exact(key)) for key, name in names.items() if reader.get(key) is not None]


def model(report: ReportInput) -> Section:
    """Architecture, training and recipe."""
    title, question = say("Model and training"), say("What kind of model is it, and how was it trained?")
    evidence = report.last("training")
    if evidence is None:
        fix = say("{command} leaves it.", command="pellucid train")
        return not_measured(report, "model", title, question, "training", fix)
    reader = Reader.of(evidence)

    def number(*path: str) -> Cell:
        return _exactly(report, evidence, reader.number(*path), ".".join(path))

    blocks: list[Block] = []
    status = str(reader.get("status"))
    if status != "complete":
        blocks.append(
            Prose(
                say(
                    "Training stopped before its plan was complete. The model still claims the epsilon of the whole "
                    "plan."
                ),
                tone="open",
            )
        )
    rows: list[tuple[Cell, ...]] = [
        (text(say("Architecture")), reader.code("architecture")),
        (text(say("Parameters")), number("parameters")),
        (text(say("Inputs")), reader.words("features")),
        (text(say("Target")), reader.words("target")),
        (text(say("Classes")), reader.words("classes")),
        (text(say("Data set")), reader.words("dataset", "name")),
        (text(say("Version of the data set")), number("dataset", "version")),
        (text(say("Data set, SHA-256")), reader.code("dataset", "sha256")),
        (text(say("Purpose")), reader.words("purpose")),
        (text(say("Status")), text(_STATUS.get(status, status))),
        (text(say("Share of people held out for testing")), number("test")),
        (text(say("Expected batch, in people")), number("batch")),
        (text(say("Epochs")), number("epochs")),
        (text(say("Steps")), number("steps")),
        (text(say("Optimizer")), reader.code("optimizer", "name")),
        (text(say("Learning rate")), number("optimizer", "learning_rate")),
    ]
    columns = (say("What"), say("Value"))
    blocks.append(Table("model-facts", say("The model and its training"), columns, tuple(rows), "facts"))
    recipe = reader.get("recipe")
    if isinstance(recipe, Mapping):
        lines = _lines(report, evidence, recipe, "recipe")
        blocks.append(Table("model-recipe", say("The recipe"), columns, lines, "facts", fold=True))
    elif recipe is not None:
        blocks.append(Prose(say("Recipe: {recipe}", recipe=recipe)))
    shown: tuple[str, ...]
    shown = ("architecture", "parameters", "features", "target", "classes", "dataset", "purpose", "status")
    optimizer = dict(reader.get("optimizer") or {}) if isinstance(reader.get("optimizer"), Mapping) else {}
    rest = {key: value for key, value in optimizer.items() if key not in ("name", "learning_rate")}
    if rest:
        lines = _lines(report, evidence, rest, "optimizer")
        caption = say("Further settings of the optimizer")
        blocks.append(Table("model-optimizer", caption, columns, lines, "facts", fold=True))
    if reader.get("factory") is None:  # none was named: Identity says what that means
        shown = (*shown, "factory")
    blocks += others(evidence, *shown, "test", "batch", "epochs", "steps", "optimizer", "recipe", coverage="public")
    blocks.append(how_table(evidence))
    return Section("model", title, question, "shown", tuple(blocks))


def _exactly(report: ReportInput, evidence: Evidence, number: float | None, path: str) -> Cell:
    return ABSENT if number is None else Cell(exact(number), number, (covered(report, evidence, path),))


def _lines(
    report: ReportInput, evidence: Evidence, settings: Mapping[str, object], at: str
) -> tuple[tuple[Cell, Cell], ...]:
    """Settings line by line, each number covered as its own path is."""
    return tuple(
        (
            text(name, "code"),
            replace(cell, coverage=(covered(report, evidence, f"{at}.{name}"),)) if cell.coverage else cell,
        )
        for name, cell in flatten(settings, evidence.coverage)
    )
