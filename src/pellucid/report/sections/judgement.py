"""Human oversight, the checks with their waivers, and what changed since the version before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pellucid.evidence import Coverage
from pellucid.report.blocks import ABSENT, Block, Cell, Prose, Section, Table, text
from pellucid.report.covered import covered
from pellucid.report.elsewhere import elsewhere
from pellucid.report.figures import exact, fixed
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say
from pellucid.report.reading import Measure, Reader, how_table, others
from pellucid.report.sections.absent import kept_back
from pellucid.report.sections.people import missing, written

__all__ = ["change", "checks", "oversight"]

_CHANGED: Final = {
    "privacy.epsilon": say("Privacy loss ε, at most"),
    "evaluation.auc": say("AUC"),
    "evaluation.accuracy": say("Accuracy"),
    "calibration.ece": say("Calibration error"),
    "explanation.completeness_gap": say("Completeness gap"),
    "attack.epsilon_lower": say("Privacy loss ε, at least (attack)"),
    "training.parameters": say("Parameters"),
    "training.steps": say("Steps"),
}


def oversight(report: ReportInput) -> Section:
    """Who may overrule the model, where its limits are, and how far it knows when to leave a case to a person."""
    title = say("Human oversight and limits")
    question = say("Who can stop it or overrule it, and where does it end?")
    blocks: list[Block] = [written(report, "oversight", "limits")]
    evidence = report.last("uncertainty")
    if evidence is not None:
        certain = Reader.of(evidence).estimate("certain")
        blocks.append(
            Table(
                "oversight-facts",
                say("What the model can leave to a person"),
                (say("What"), say("Value")),
                ((text(say("Share of people with one answer only")), certain),),
                "facts",
            )
        )
        words = say("The rest are cases in which more than one answer, or none, could not be ruled out: see Errors.")
        blocks.append(Prose(words))
    status = "missing" if missing(report, "oversight", "limits") else "shown"
    return Section("oversight", title, question, "missing" if status == "missing" else "shown", tuple(blocks))


def checks(report: ReportInput) -> Section:
    """The policy, its waivers, and why people chose these measures and thresholds."""
    title, question = say("Checks and waivers"), say("What was required, and who took responsibility for exceptions?")
    counts = tuple(
        (text(label), Cell(exact(number), number, ("public",)))
        for status, label in (
            ("pass", say("Met")),
            ("fail", say("Not met")),
            ("unmeasured", say("Not measured")),
            ("waived", say("Waived")),
        )
        for number in (sum(finding.status == status for finding in report.findings),)
    )
    columns = (say("What"), say("Value"))
    blocks: list[Block] = [
        Prose(say("Every requirement with its values and reasons stands on the first page, under the verdict.")),
        Table("checks-counts", say("Requirements of {policy}", policy=report.policy_name), columns, counts, "facts"),
    ]
    waived = [finding for finding in report.findings if finding.status == "waived"]
    if waived:
        rows = tuple((text(f.id), text(elsewhere(f.fix) if f.fix else "—"), text(elsewhere(f.because))) for f in waived)
        headers = (say("Requirement"), say("Waiver"), say("Why it is required"))
        blocks.append(Table("waivers", say("Waived requirements"), headers, rows, "cards"))
    else:
        blocks.append(Prose(say("No requirement is waived.")))
    blocks.append(written(report, "choices"))
    return Section("checks", title, question, "missing" if missing(report, "choices") else "shown", tuple(blocks))


def change(report: ReportInput) -> Section:
    """The version before, number by number, as its own signed evidence has them."""
    title, question = say("Change since the last version"), say("What is different from the version before, and why?")
    evidence = report.last("change")
    if evidence is None:
        words = say(
            "No earlier version of this model is named in the evidence: it is the first, or the report was made by a "
            "role that signs no evidence."
        )
        if report.withheld("change"):
            words = kept_back(report, "change")
        return Section("change", title, question, "shown", (Prose(words), written(report, "change")))
    reader = Reader.of(evidence)
    facts = Table(
        "change-facts",
        say("The version before"),
        (say("What"), say("Value")),
        (
            (text(say("Model")), reader.words("since", "name")),
            (text(say("SHA-256 of the weights")), reader.code("since", "sha256")),
            (text(say("Architecture")), reader.code("was")),
            (text(say("Same data set version")), reader.words("same_data")),
            (text(say("Same recipe")), reader.words("same_recipe")),
            (text(say("Inputs added")), reader.words("features_added")),
            (text(say("Inputs left out")), reader.words("features_removed")),
        ),
        "facts",
    )
    before = reader.reader("before")
    rows = tuple(_row(report, before, path) for path in before.values) if before is not None else ()
    headers = (say("What"), say("Before"), say("Now"), say("Difference"))
    blocks: list[Block] = [facts]
    if rows:
        blocks.append(Table("change", say("Number by number"), headers, rows))
    blocks.append(written(report, "change"))
    shown = ("since", "was", "same_data", "same_recipe", "features_added", "features_removed", "before")
    blocks += others(evidence, *shown)
    blocks.append(how_table(evidence))
    return Section("change", title, question, "shown", tuple(blocks))


def _row(report: ReportInput, before: Reader, path: str) -> tuple[Cell, ...]:
    """One number, before and now; both are covered as its own evidence says, not as the comparison is."""
    kind, *keys = path.split(".")
    evidence = report.last(kind)
    name = text(_CHANGED.get(path, path), "" if path in _CHANGED else "code")
    was = before.measure(path)
    if evidence is None:
        return name, _figure(before, path), ABSENT, ABSENT
    coverage = covered(report, evidence, ".".join(keys))
    there, here = replace(before, coverage=coverage), replace(Reader.of(evidence), coverage=coverage)
    now = here.measure(*keys)
    return name, _figure(there, path), _figure(here, *keys), _difference(was, now, coverage)


def _figure(reader: Reader, *path: str) -> Cell:
    """An estimate with its interval; a bound or a count with all its digits: rounding makes none better."""
    estimated = isinstance(reader.get(*path), Mapping)
    return reader.estimate(*path) if estimated else reader.exact(*path)


def _difference(was: Measure | None, now: Measure | None, coverage: Coverage) -> Cell:
    if was is None or now is None:
        return ABSENT
    difference = round(now.value - was.value, 9)
    places = 3 if was.low is not None else 0 if isinstance(difference, int) else 6
    sign = "+" if difference > 0 else ""
    return Cell(f"{sign}{fixed(difference, places)}", difference, (coverage,))
