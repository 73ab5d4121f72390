"""What went in and what was made of it: the data and the model."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.report.blocks import Block, Prose, Section, Table, text
from pellucid.report.inputs import ReportInput
from pellucid.report.reading import Reader, flatten, how_table, others
from pellucid.report.sections.absent import not_measured

__all__ = ["data", "model"]


def data(report: ReportInput) -> Section:
    """The declared schema, sensitivity, purposes and retention. Nothing here is read off the rows."""
    title, question = "Data", "Which data was the model made from, and what was declared about it?"
    evidence = report.last("dataset")
    if evidence is None:
        return not_measured("data", title, question, "dataset", "Sealing with pellucid seal leaves it.")
    reader = Reader.of(evidence)
    facts = Table(
        "data-facts",
        "The data set, as declared",
        ("What", "Value"),
        (
            (text("Data set"), reader.words("name")),
            (text("Version"), reader.words("version")),
            (text("Units (public, declared)"), reader.exact("units")),
            (text("Privacy unit"), reader.words("unit")),
            (text("Target"), reader.words("target")),
            (text("Purposes"), reader.words("purposes")),
            (text("Keep until"), reader.words("retention")),
            (text("Manifest, SHA-256"), reader.code("manifest")),
        ),
        "facts",
    )
    training = report.last("training")
    features = None if training is None else Reader.of(training).texts("features")
    rows = []
    for column in reader.readers("columns"):
        name = str(column.get("name"))
        if name == reader.get("target"):
            use = text("target")
        elif features is None:
            use = text("not measured", "open")
        else:
            use = text("feature" if name in features else "not used")
        sensitivity = column.get("sensitivity")
        rows.append(
            (
                text(name),
                column.words("type"),
                text(f"◆ {sensitivity}") if sensitivity == "special" else column.words("sensitivity"),
                use,
            )
        )
    columns = Table("data-columns", "Columns", ("Column", "Type", "Sensitivity", "In this model"), tuple(rows))
    note = Prose(
        "The schema is declared by people and adopted by the owner; no bound or category is read off the data."
    )
    shown = ("name", "version", "units", "unit", "target", "columns", "purposes", "retention", "manifest")
    rest = others(evidence, *shown)
    return Section("data", title, question, "shown", (note, facts, columns, *rest, how_table(evidence)))


def model(report: ReportInput) -> Section:
    """Architecture, training and recipe."""
    title, question = "Model and training", "What kind of model is it, and how was it trained?"
    evidence = report.last("training")
    if evidence is None:
        return not_measured("model", title, question, "training", "pellucid train leaves it.")
    reader = Reader.of(evidence)
    blocks: list[Block] = []
    if reader.get("status") != "complete":
        blocks.append(
            Prose(
                "Training stopped before its plan was complete. The model still claims the epsilon of the whole plan.",
                tone="open",
            )
        )
    rows = [
        (text("Architecture"), reader.words("architecture")),
        (text("Parameters"), reader.exact("parameters")),
        (text("Features"), reader.words("features")),
        (text("Target"), reader.words("target")),
        (text("Classes"), reader.words("classes")),
        (text("Data set"), reader.words("dataset", "name")),
        (text("Version of the data set"), reader.words("dataset", "version")),
        (text("Data set, SHA-256"), reader.code("dataset", "sha256")),
        (text("Purpose"), reader.words("purpose")),
        (text("Status"), reader.words("status")),
        (text("Expected batch"), reader.exact("batch")),
        (text("Epochs"), reader.exact("epochs")),
        (text("Steps"), reader.exact("steps")),
        (text("Optimizer"), reader.words("optimizer", "name")),
        (text("Learning rate"), reader.exact("optimizer", "learning_rate")),
    ]
    blocks.append(Table("model-facts", "The model and its training", ("What", "Value"), tuple(rows), "facts"))
    recipe = reader.get("recipe")
    if isinstance(recipe, Mapping):
        lines = tuple((text(name), cell) for name, cell in flatten(recipe, evidence.coverage))
        blocks.append(Table("model-recipe", "The recipe", ("What", "Value"), lines, "facts"))
    elif recipe is not None:
        blocks.append(Prose(f"Recipe: {recipe}"))
    shown = ("architecture", "parameters", "features", "target", "classes", "dataset", "purpose", "status")
    blocks += others(evidence, *shown, "batch", "epochs", "steps", "optimizer", "recipe")
    blocks.append(how_table(evidence))
    return Section("model", title, question, "shown", tuple(blocks))
