"""Evidence and requirements in, findings and a verdict out. Pure: no file, no clock, no network.

Each kind of evidence is a variable of the expressions, and so are the policy's ``parameters``. If a bundle holds
several pieces of one kind, the last one in the order in which they count does (:class:`pellucid.bundle.Verified`);
of unsafe evidence every piece does.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pellucid.check.cel import MAPS_VARIABLE, PARAMETERS
from pellucid.check.policy import ReleasePolicy
from pellucid.check.program import Outcome
from pellucid.check.requirements import Requirement
from pellucid.check.waivers import SOON, Waiver, fitting, when
from pellucid.errors import BadFile, nearest
from pellucid.evidence import Evidence, Finding, Status

__all__ = ["LEFT_BY", "UNSAFE", "Verdict", "applicable", "judge", "judge_values", "unmeasured", "variables", "verdict"]

UNSAFE: Final = "unsafe"
"""The id of the finding that a policy gets which does not speak of unsafe evidence, when there is some."""

LEFT_BY: Final = {
    **dict.fromkeys(("dataset", "training", "privacy", "provenance"), "pellucid train"),
    **dict.fromkeys(
        (
            *("evaluation", "fairness", "calibration", "slices", "explanation", "validity", "robustness"),
            *("uncertainty", "labels", "expectation", "counterfactual"),
        ),
        "pellucid explain",
    ),
    "attack": "pellucid attack",
    "review": "pellucid review",
}
"""Which verb leaves which kind of evidence."""


_STEP: Final = re.compile(r'\.([^.\[]+)|\[("(?:[^"\\]|\\.)*")\]|(\[)')  # a field, a quoted key, anything else
_WORSE: Final[tuple[Status, ...]] = ("pass", "waived", "fail", "unmeasured")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``word`` is ``pass`` (exit 0), ``fail`` (1) or ``unmeasured`` (3)."""

    word: str
    exit: int


def variables(evidence: Sequence[Evidence], policy: ReleasePolicy | None = None) -> dict[str, Mapping[str, Any]]:
    """Kind of evidence -> its values; of several pieces of a kind, the last one's.

    If a rule of ``policy`` reads them, the regulation maps stand there too (:func:`pellucid.maps.standing`).
    """
    values: dict[str, Mapping[str, Any]] = {piece.kind: piece.values for piece in evidence}
    if "privacy" in values:  # the epsilon of steps taken is no claim, and no rule may rest on it
        values["privacy"] = {name: value for name, value in values["privacy"].items() if name != "odometer"}
    if policy is not None and any(MAPS_VARIABLE in each.program.kinds for each in policy.requirements):
        from pellucid import maps

        values[MAPS_VARIABLE] = maps.standing(evidence)
    return values


def applicable(policy: ReleasePolicy, model: str, values: Mapping[str, Mapping[str, Any]]) -> tuple[Requirement, ...]:
    """The requirements that are for a model.

    Raises:
        BadFile: None is that decides anything: a policy that asks nothing of a model cannot release it.
    """
    found = tuple(each for each in policy.requirements if each.scope.fits(model, values))
    decisive = any(each.severity == "error" for each in policy.requirements)
    if not found or (decisive and not any(each.severity == "error" for each in found)):
        raise BadFile(
            f"no requirement of severity error is for {model}, and what is not asked for cannot pass",
            where=policy.where,
            fix="widen an applies-to, or check the model against the policy that is meant for it",
        )
    return found


def judge(
    policy: ReleasePolicy,
    evidence: Sequence[Evidence],
    today: dt.date,
    waivers: Sequence[Waiver] = (),
    *,
    model: str = "",
    unverified: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """One finding for each requirement that is for the model, in the order of the policy.

    Evidence of kind ``unsafe`` fails a policy that does not speak of it, in a finding of its own; of several pieces of
    it, the one that is worst under a rule counts.

    Args:
        policy: The release policy.
        evidence: Verified evidence, in the order of the bundle.
        today: The day on which waivers are held to their expiry.
        waivers: Waivers that may turn a failure into ``waived``, their signatures looked at.
        model: The model's name, for ``applies-to`` and the scope of waivers.
        unverified: Kinds of evidence that did not verify, with the reason. A requirement that reads one is unmeasured,
            ``has()`` or not: evidence that does not verify is neither there nor absent.

    Raises:
        BadFile: A requirement cannot be evaluated on this evidence (types that do not fit, a division by zero): the
            policy is invalid, and the error names the requirement. Or none is for this model.
    """
    values = variables(evidence, policy)
    # a rule is held against every door that was opened, and the worst that it finds counts
    doors: list[Mapping[str, Any]] = [{UNSAFE: piece.values} for piece in evidence if piece.kind == UNSAFE]
    each = (
        judge_values(policy, {**values, **door}, today, waivers, model=model, unverified=unverified)
        for door in doors or [{}]
    )
    return tuple(max(found, key=lambda finding: _WORSE.index(finding.status)) for found in zip(*each, strict=True))


def judge_values(
    policy: ReleasePolicy,
    values: Mapping[str, Mapping[str, Any]],
    today: dt.date,
    waivers: Sequence[Waiver] = (),
    *,
    model: str = "",
    unverified: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """:func:`judge` of values by kind of evidence, however they came about.

    Raises:
        BadFile: As :func:`judge`.
    """
    doubtful = unverified or {}
    findings = []
    for requirement in applicable(policy, model, values):
        reasons = [f"{kind} {doubtful[kind]}" for kind in sorted(requirement.program.kinds & doubtful.keys())]
        if reasons:
            findings.append(_finding(requirement, "unmeasured", _nothing(requirement), "; ".join(reasons)))
            continue
        try:
            outcome = requirement.program.evaluate({**values, PARAMETERS: policy.parameters})
        except BadFile as error:
            raise BadFile(
                f"this requirement cannot be evaluated: {error.what}",
                where=f"{requirement.file}, line {requirement.line}: require[{requirement.id}].that",
                fix=error.fix
                or "a rule says yes or no, compares numbers with numbers and texts with texts, and divides by nothing "
                "that may be 0",
            ) from error
        findings.append(_judged(requirement, outcome, values, today, fitting(waivers, requirement.id, model)))
    return (*findings, *_unsafe(policy, values))


def unmeasured(policy: ReleasePolicy, why: str) -> tuple[Finding, ...]:
    """What can be said of a bundle that does not verify: every requirement is unmeasured."""
    return tuple(_finding(each, "unmeasured", _nothing(each), why) for each in policy.requirements)


def verdict(findings: Sequence[Finding], known: frozenset[str] = frozenset()) -> Verdict:
    """3 if a requirement of severity error is unmeasured, else 1 if one fails, else 0.

    Args:
        findings: Of one bundle.
        known: Failures that do not count. What is unmeasured always counts.

    Raises:
        BadFile: There is no finding: nothing was required, and that is not a pass.
    """
    if not findings:
        raise BadFile("nothing was required, so nothing can pass")
    decisive = [finding for finding in findings if finding.severity == "error"]
    if any(finding.status == "unmeasured" for finding in decisive):
        return Verdict("unmeasured", 3)
    failed = any(finding.status == "fail" and finding.id not in known for finding in decisive)
    return Verdict("fail", 1) if failed else Verdict("pass", 0)


def _judged(
    requirement: Requirement,
    outcome: Outcome,
    values: Mapping[str, Any],
    today: dt.date,
    waiver: Waiver | None,
) -> Finding:
    if outcome.truth is None:
        missing = _missing(outcome.absent, values)
        missing += [f"{path} holds nothing to hold the rule against" for path in outcome.empty]
        return _finding(requirement, "unmeasured", outcome.values, "; ".join(missing))
    if outcome.truth:
        return _finding(requirement, "pass", outcome.values, "")
    if waiver is None:
        return _finding(requirement, "fail", outcome.values, requirement.fix)
    if waiver.refused is None or waiver.refused:
        why = waiver.refused or "its signature was not looked at"
        note = f"its waiver by {waiver.owner} does not count: {why}"
        return _finding(requirement, "fail", outcome.values, _and(requirement.fix, note))
    if today > waiver.expires:
        note = f"its waiver by {waiver.owner} expired on {waiver.expires.isoformat()}"
        return _finding(requirement, "fail", outcome.values, _and(requirement.fix, note))
    soon = f", {when((waiver.expires - today).days)}" if waiver.expires - today <= SOON else ""
    note = f"waived by {waiver.owner} until {waiver.expires.isoformat()}{soon}: {waiver.reason}"
    return _finding(requirement, "waived", outcome.values, note)


def _unsafe(policy: ReleasePolicy, values: Mapping[str, Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Deny is the default: what an unsafe door made is refused, unless the policy says in words what it makes of it."""
    if UNSAFE not in values or any(UNSAFE in each.program.kinds for each in policy.requirements):
        return ()
    return (
        Finding(
            UNSAFE,
            "fail",
            "error",
            "!has(unsafe.door)",
            "what an unsafe door made is for experiments, and the policy does not speak of it",
            {"unsafe.door": values[UNSAFE].get("door")},
            "train without the unsafe door",
        ),
    )


def _finding(requirement: Requirement, status: Status, values: Mapping[str, Any], fix: str) -> Finding:
    return Finding(
        requirement.id, status, requirement.severity, requirement.that, requirement.because, dict(values), fix
    )


def _nothing(requirement: Requirement) -> dict[str, Any]:
    return dict.fromkeys(requirement.program.paths)


def _missing(absent: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """What to do about missing paths: which verb leaves a kind that is not there, or the nearest field that is."""
    found = []
    for kind in dict.fromkeys(path.partition(".")[0] for path in absent):
        paths = [path for path in absent if path.partition(".")[0] == kind]
        if kind not in values:
            verb = f": {LEFT_BY[kind]} leaves it" if kind in LEFT_BY else ""
            word = "was" if len(paths) == 1 else "were"
            found.append(f"{', '.join(paths)} {word} not measured (the bundle holds no evidence of kind {kind}{verb})")
            continue
        found += [f"{path} was not measured{_nearest(path, values[kind])}" for path in paths]
    return found


def _nearest(path: str, value: Any) -> str:
    """The nearest of what is there, at the step of ``path`` that leads to nothing; empty where that is no field."""
    for dotted, quoted, other in _STEP.findall(path):
        key = dotted or (json.loads(quoted) if quoted else "")
        if other or not isinstance(value, Mapping):
            return ""
        if key not in value:
            return nearest(key, value)
        value = value[key]
    return ""


def _and(first: str, second: str) -> str:
    return f"{first}; {second}" if first else second
