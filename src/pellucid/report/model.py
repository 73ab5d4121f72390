"""From the input to the page: the verdict first, then the sections in their order. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from pellucid.evidence import Coverage, Finding, Status
from pellucid.report.blocks import ABSENT, NOT_SHOWN, Cell, Table, Tone, Verdict, View, text
from pellucid.report.covered import covered
from pellucid.report.elsewhere import elsewhere
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.highlights import highlights
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Reader
from pellucid.report.sections import (
    appendix,
    errors,
    explanation,
    glossary,
    governance,
    judgement,
    making,
    people,
    privacy,
    quality,
    readable,
    regulation,
    validity,
)
from pellucid.report.sections.absent import TIER

__all__ = ["verdict", "view"]

_SECTIONS: Final = (
    governance.identity,
    people.intended_use,
    making.data,
    making.model,
    privacy.privacy,
    quality.performance,
    quality.calibration,
    quality.subgroups,
    errors.errors,
    explanation.explanation,
    readable.readable,
    validity.validity,
    errors.robustness,
    errors.expectations,
    judgement.oversight,
    judgement.checks,
    judgement.change,
    governance.decisions,
    regulation.regulation,
    appendix.evidence_index,
    appendix.verify,
    appendix.coverage,
    appendix.redactions,
    glossary.glossary,
)
_RESULT: Final[dict[Status, tuple[Said, Tone]]] = {
    "pass": (say("✓ met"), "good"),
    "fail": (say("✗ not met"), "bad"),
    "unmeasured": (say("? unmeasured"), "open"),
    "waived": (say("~ waived"), "open"),
}
_ORDER: Final[dict[Status, int]] = {"fail": 0, "unmeasured": 1, "waived": 2, "pass": 3}


def view(report: ReportInput) -> View:
    """The whole page, in English; :func:`pellucid.report.language.translate` says it in another language."""
    return View(
        project=plain(report.project),
        name=plain(report.subject.name),
        sha256=report.subject.sha256,
        tier=TIER[report.tier],
        created=report.created,
        verdict=verdict(report),
        alarms=_alarms(report),
        highlights=highlights(report),
        key_figures=_key_figures(report),
        requirements=_requirements(report),
        sections=tuple(section(report) for section in _SECTIONS),
    )


def verdict(report: ReportInput) -> Verdict:
    """The verdict in one line that a person understands. Unmeasured is never counted as pass."""
    errors = [f for f in report.findings if f.severity == "error"]
    failed = [f.id for f in errors if f.status == "fail"]
    open_ = [f.id for f in errors if f.status == "unmeasured"]
    broken = [c.name for c in report.verification if not c.good and not c.open]
    counts = tuple((status, sum(f.status == status for f in report.findings)) for status in _ORDER)
    if report.exit_code == 3:
        if broken:
            why = say("The evidence does not verify: {names}.", names=_names(broken))
        elif not report.findings:
            why = say("No release policy was applied, so nothing is shown to be met.")
        elif open_ and all(_hidden(report, f) for f in errors if f.status == "unmeasured"):
            why = say(
                "Evidence that the policy asks for is not shown to {tier}: {names}. This page proves nothing of it, "
                "for or against the model.",
                tier=TIER[report.tier],
                names=_names(open_),
            )
        elif open_:
            what = (
                say("1 requirement could not be measured: {names}.", names=_names(open_))
                if len(open_) == 1
                else say("{count} requirements could not be measured: {names}.", count=len(open_), names=_names(open_))
            )
            why = say("{said} Unmeasured is never a pass.", said=what)
        else:
            why = say("The check could not be completed.")
        if failed:
            why = say("{said} Not met: {names}.", said=why, names=_names(failed))
        return Verdict(say("NOT PROVEN"), 3, why, counts)
    if report.exit_code == 1:
        refused = say("DO NOT RELEASE")
        if not failed:
            return Verdict(refused, 1, say("The release check refused this model."), counts)
        if len(failed) == 1:
            return Verdict(refused, 1, say("1 requirement is not met: {names}.", names=_names(failed)), counts)
        words = say("{count} requirements are not met: {names}.", count=len(failed), names=_names(failed))
        return Verdict(refused, 1, words, counts)
    waived = sum(f.status == "waived" for f in report.findings)
    warned = sum(f.severity == "warning" and f.status in {"fail", "unmeasured"} for f in report.findings)
    words = say("Every requirement that must be met is met.")
    if waived:
        words = say("Every requirement that must be met is met or waived ({count} waived).", count=waived)
    if warned == 1:
        words = say("{said} 1 warning should be read.", said=words)
    elif warned:
        words = say("{said} {count} warnings should be read.", said=words, count=warned)
    return Verdict(say("RELEASE"), 0, words, counts)


def _hidden(report: ReportInput, finding: Finding) -> bool:
    """Whether an unmeasured requirement lacks nothing but what readers of this tier are not shown."""
    absent = [path for path, value in finding.values.items() if value is None]
    return bool(absent) and all(report.withheld(path.partition(".")[0]) for path in absent)


def _names(ids: list[str]) -> str:
    if len(ids) > 5:
        return say("{names} and {more} more", names=plain(", ".join(ids[:5])), more=len(ids) - 5)
    return plain(", ".join(ids))


def _alarms(report: ReportInput) -> tuple[str, ...]:
    """What must not be overlooked, whatever the policy says of it."""
    found = [
        say("An unsafe door was used: {door}. Guarantees on this page may not hold.", door=e.values["door"])
        for e in report.every("unsafe")
    ]
    evidence, attack = report.last("privacy"), report.last("attack")
    if evidence is not None and attack is not None:
        upper, lower = Reader.of(evidence).number("epsilon"), Reader.of(attack).number("epsilon_lower")
        if upper is not None and lower is not None and lower > upper:
            found.append(say("The attack measured a greater privacy loss than is claimed: the claim is refuted."))
    return tuple(found)


def _key_figures(report: ReportInput) -> Table:
    def cell(kind: str, *path: str, how: str = "estimate") -> Cell:
        evidence = report.last(kind)
        if evidence is None:
            return NOT_SHOWN if report.withheld(kind) else ABSENT
        found: Cell = getattr(Reader.of(evidence), how)(*path)
        return found

    attack = report.last("attack")
    lower = None if attack is None else Reader.of(attack).number("epsilon_lower")
    attacked = cell("attack") if attack is None else ABSENT
    if lower is not None and attack is not None:
        attacked = Cell(fixed(lower, 4, "down"), lower, (attack.coverage,))
    rows = (
        (text(say("Privacy loss ε, at most")), cell("privacy", "epsilon", how="exact")),
        (text(say("Privacy loss ε, at least (attack)")), attacked),
        (text(say("AUC (0.5 is guessing, 1 is best)")), cell("evaluation", "auc")),
        (text(say("Accuracy (share of right answers)")), cell("evaluation", "accuracy")),
        (text(say("Calibration error (0 is best)")), cell("calibration", "ece")),
        (text(say("Completeness gap (0 is exact)")), cell("explanation", "completeness_gap", how="upper")),
    )
    return Table("key-figures", say("Key figures"), (say("What"), say("Value")), rows, "facts")


def _requirements(report: ReportInput) -> Table:
    def values(finding: Finding) -> Cell:
        said: Said | None = None
        kinds = set()
        for path, value in sorted(finding.values.items()):
            line = say("{name}: absent", name=path)
            if value is not None:
                line = say("{name} = {value}", name=path, value=_value(value))
            said = line if said is None else say("{what}\n{more}", what=said, more=line)
            kind, _, inner = path.partition(".")
            evidence = report.last(kind.split("[")[0])
            if evidence is not None and _numeric(value):
                kinds.add(covered(report, evidence, inner))
        order: tuple[Coverage, ...] = ("public", "post-processing", "own-release", "uncovered")
        shown = tuple(kind for kind in order if kind in kinds)
        return Cell(say("none") if said is None else said, dict(finding.values), shown, "code")

    rows = []
    for finding in sorted(report.findings, key=lambda f: (_ORDER[f.status], f.severity != "error", f.id)):
        reason = elsewhere(finding.because)
        if finding.status == "unmeasured" and _hidden(report, finding):
            kept = say("It rests on evidence that is not shown to {tier}.", tier=TIER[report.tier])
            reason = say("{because}\n{kept}", because=reason, kept=kept)
        elif finding.fix:
            # what a policy of somebody says stays as it was written
            reason = say("{because}\nNext: {fix}", because=reason, fix=elsewhere(finding.fix))
        mark, tone = _RESULT[finding.status]
        weight = say("must be met") if finding.severity == "error" else say("warning")
        result = Cell(say("{mark}\n({weight})", mark=mark, weight=weight), tone=tone)
        row = (text(finding.id), result, text(reason), values(finding), text(finding.that, "code"))
        rows.append(row)
    columns = (say("Requirement"), say("Result"), say("Why"), say("Measured"), say("Rule"))
    return Table("requirements", say("Requirements of the release policy"), columns, tuple(rows), "cards")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return exact(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _numeric(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_numeric(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_numeric(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
