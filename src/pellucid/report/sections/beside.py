"""A model that can be read beside one that cannot, for the same target on the same data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pellucid.evidence import Evidence
from pellucid.report.blocks import ABSENT, Block, Cell, Prose, Table, text
from pellucid.report.covered import covered
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Reader, how_table, others

__all__ = ["beside"]

_COMPARED: Final = {
    "privacy.epsilon": say("Privacy loss ε, at most"),
    "evaluation.auc": say("AUC (0.5 is guessing, 1 is best)"),
    "evaluation.accuracy": say("Accuracy (share of right answers)"),
    "calibration.ece": say("Calibration error (0 is best)"),
    "attack.epsilon_lower": say("Privacy loss ε, at least (attack)"),
}


def beside(report: ReportInput, evidence: Evidence) -> list[Block]:
    """A model for the same that is read otherwise: both, number by number, as their own signed evidence has them."""
    comparison = report.last("comparison")
    if comparison is None:
        return []
    reader = Reader.of(comparison)
    readable, other = "readout" in evidence.values, reader.get("readable") is True
    if readable is other:
        return []
    numbers = reader.reader("numbers")
    rows: list[tuple[Cell, ...]] = []
    training = report.last("training")
    here = ABSENT if training is None else Reader.of(training).code("architecture")
    rows.append((text(say("Architecture")), reader.code("architecture"), here))
    rows += [(text(label), *_both(report, numbers, path)) for path, label in _COMPARED.items()]
    columns = (say("What"), _named(str(reader.get("with", "name")), other), _named(report.subject.name, readable))
    table = Table("readout-beside", say("The readable model beside the black box"), columns, tuple(rows))
    note = say(
        "Two models for the same target on the same data set; one can be read, and of the other explanations have to "
        "be believed. Where the readable one does as well, nothing is lost by choosing it."
    )
    blocks: list[Block] = [Prose(note), table]
    if reader.get("same_data") is False:
        words = say("They were trained on different versions of the data set, so a small difference may be the data's.")
        blocks.insert(1, Prose(words, tone="open"))
    return [
        *blocks,
        *others(comparison, "with", "architecture", "readable", "same_data", "numbers"),
        how_table(comparison),
    ]


def _named(name: str, readable: bool) -> Said:
    return say("{name}: can be read", name=name) if readable else say("{name}: a black box", name=name)


def _both(report: ReportInput, numbers: Reader | None, path: str) -> tuple[Cell, Cell]:
    """One number of the other model and of this one; both are covered as its own evidence says."""
    kind, key = path.split(".")
    evidence = report.last(kind)
    if evidence is None:
        return ABSENT if numbers is None else _figure(numbers, path), ABSENT
    coverage = covered(report, evidence, key)
    there = ABSENT if numbers is None else _figure(replace(numbers, coverage=coverage), path)
    return there, _figure(replace(Reader.of(evidence), coverage=coverage), key)


def _figure(reader: Reader, key: str) -> Cell:
    """An estimate with its interval, a bound with all its digits: rounding makes none better."""
    return reader.estimate(key) if isinstance(reader.get(key), Mapping) else reader.exact(key)
