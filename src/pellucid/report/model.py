"""From the input to the page: the verdict first, then the sections in their order. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from pellucid.evidence import Coverage, Finding, Status
from pellucid.report.blocks import ABSENT, Cell, Table, Tone, Verdict, View, text
from pellucid.report.figures import exact, fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.reading import Reader
from pellucid.report.sections import (
    appendix,
    errors,
    explanation,
    governance,
    making,
    people,
    privacy,
    quality,
    regulation,
)

__all__ = ["verdict", "view"]

_SECTIONS: Final = (
    governance.identity,
    people.intended_use,
    making.data,
    making.model,
    privacy.privacy,
    quality.performance,
    quality.subgroups,
    quality.calibration,
    errors.errors,
    explanation.explanation,
    explanation.validity,
    errors.robustness,
    errors.expectations,
    governance.decisions,
    regulation.regulation,
    appendix.evidence_index,
    appendix.verify,
    appendix.coverage,
    appendix.redactions,
    appendix.glossary,
)
_RESULT: Final[dict[Status, tuple[str, Tone]]] = {
    "pass": ("✓ pass", "good"),
    "fail": ("✗ fail", "bad"),
    "unmeasured": ("? unmeasured", "open"),
    "waived": ("~ waived", "open"),
}
_ORDER: Final[dict[Status, int]] = {"fail": 0, "unmeasured": 1, "waived": 2, "pass": 3}


def view(report: ReportInput) -> View:
    """The whole page."""
    return View(
        project=plain(report.project),
        name=plain(report.subject.name),
        sha256=report.subject.sha256,
        tier=report.tier,
        created=report.created,
        verdict=verdict(report),
        alarms=_alarms(report),
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
            why = f"The evidence does not verify: {_names(broken)}."
        elif not report.findings:
            why = "No release policy was applied, so nothing is shown to be met."
        elif open_:
            many = _count(len(open_), "requirement")
            why = f"{many} could not be measured: {_names(open_)}. Unmeasured is never a pass."
        else:
            why = "The check could not be completed."
        return Verdict("NOT PROVEN", 3, _with_failures(why, failed), counts)
    if report.exit_code == 1:
        if not failed:
            return Verdict("DO NOT RELEASE", 1, "The release check refused this model.", counts)
        are = "is" if len(failed) == 1 else "are"
        return Verdict(
            "DO NOT RELEASE", 1, f"{_count(len(failed), 'requirement')} {are} not met: {_names(failed)}.", counts
        )
    waived = sum(f.status == "waived" for f in report.findings)
    warned = sum(f.severity == "warning" and f.status in {"fail", "unmeasured"} for f in report.findings)
    words = "Every requirement that must be met is met."
    if waived:
        words = f"Every requirement that must be met is met or waived ({waived} waived)."
    if warned:
        words += f" {_count(warned, 'warning')} should be read."
    return Verdict("RELEASE", 0, words, counts)


def _with_failures(why: str, failed: list[str]) -> str:
    return f"{why} Not met: {_names(failed)}." if failed else why


def _names(ids: list[str]) -> str:
    return plain(", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else ""))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _alarms(report: ReportInput) -> tuple[str, ...]:
    """What must not be overlooked, whatever the policy says of it."""
    found = [
        f"An unsafe door was used: {plain(str(e.values['door']))}. Guarantees on this page may not hold."
        for e in report.every("unsafe")
    ]
    evidence, attack = report.last("privacy"), report.last("attack")
    if evidence is not None and attack is not None:
        upper, lower = Reader.of(evidence).number("epsilon"), Reader.of(attack).number("epsilon_lower")
        if upper is not None and lower is not None and lower > upper:
            found.append("The attack measured a greater privacy loss than is claimed: the claim is refuted.")
    return tuple(found)


def _key_figures(report: ReportInput) -> Table:
    def cell(kind: str, *path: str, how: str = "estimate") -> Cell:
        evidence = report.last(kind)
        if evidence is None:
            return ABSENT
        found: Cell = getattr(Reader.of(evidence), how)(*path)
        return found

    attack = report.last("attack")
    lower = None if attack is None else Reader.of(attack).number("epsilon_lower")
    attacked = ABSENT if lower is None or attack is None else Cell(fixed(lower, 4, "down"), lower, (attack.coverage,))
    rows = (
        (text("Privacy loss ε, at most"), cell("privacy", "epsilon", how="exact")),
        (text("Privacy loss ε, at least (attack)"), attacked),
        (text("AUC"), cell("evaluation", "auc")),
        (text("Accuracy"), cell("evaluation", "accuracy")),
        (text("Calibration error"), cell("calibration", "ece")),
        (text("Completeness gap"), cell("explanation", "completeness_gap", how="upper")),
    )
    return Table("key-figures", "Key figures", ("What", "Value"), rows, "facts")


def _requirements(report: ReportInput) -> Table:
    def values(finding: Finding) -> Cell:
        lines, covered = [], set()
        for path, value in sorted(finding.values.items()):
            lines.append(f"{path} = {_value(value)}")
            evidence = report.last(path.split(".")[0].split("[")[0])
            if evidence is not None and _numeric(value):
                covered.add(evidence.coverage)
        order: tuple[Coverage, ...] = ("public", "post-processing", "own-release", "uncovered")
        shown = tuple(kind for kind in order if kind in covered)
        return Cell(plain("\n".join(lines)) or "none", dict(finding.values), shown, "code")

    rows = []
    for finding in sorted(report.findings, key=lambda f: (_ORDER[f.status], f.severity != "error", f.id)):
        reason = finding.because if not finding.fix else f"{finding.because}\nNext: {finding.fix}"
        mark, tone = _RESULT[finding.status]
        result = Cell(f"{mark}\n({'must be met' if finding.severity == 'error' else 'warning'})", tone=tone)
        row = (text(finding.id), result, values(finding), text(finding.that, "code"), text(reason))
        rows.append(row)
    columns = ("Requirement", "Result", "Measured", "Rule", "Why")
    return Table("requirements", "Requirements of the release policy", columns, tuple(rows), "cards")


def _value(value: Any) -> str:
    if value is None:
        return "not measured"
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
