"""Evidence and requirements in, findings and a verdict out. Pure: no file, no clock, no network.

Each kind of evidence is a variable of the expressions. If a bundle holds several pieces of one kind, the last one in
the order of the log counts: a later evaluation replaces an earlier one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pellucid.check.program import Outcome
from pellucid.check.requirements import ReleasePolicy, Requirement
from pellucid.check.waivers import Waiver
from pellucid.errors import BadFile, nearest
from pellucid.evidence import Evidence, Finding, Status

__all__ = ["SOON", "Verdict", "judge", "unmeasured", "variables", "verdict"]

SOON: Final = dt.timedelta(days=14)
"""A waiver that ends within this time says so."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``word`` is ``pass`` (exit 0), ``fail`` (1) or ``unmeasured`` (3)."""

    word: str
    exit: int


def variables(evidence: Iterable[Evidence]) -> dict[str, Mapping[str, Any]]:
    """Kind of evidence -> its values; of several pieces of a kind, the last one's."""
    return {piece.kind: piece.values for piece in evidence}


def judge(
    policy: ReleasePolicy,
    evidence: Sequence[Evidence],
    today: dt.date,
    waivers: Sequence[Waiver] = (),
    *,
    unverified: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """One finding for each requirement, in the order of the policy.

    Args:
        policy: The release policy.
        evidence: Verified evidence, in the order of the bundle.
        today: The day on which waivers are held to their expiry.
        waivers: Waivers that may turn a failure into ``waived``.
        unverified: Kinds of evidence that did not verify, with the reason. A requirement that reads one is unmeasured,
            ``has()`` or not: evidence that does not verify is neither there nor absent.

    Raises:
        BadFile: A requirement cannot be evaluated on this evidence (types that do not fit, a division by zero): the
            policy is invalid, and the error names the requirement.
    """
    values = variables(evidence)
    doubtful = unverified or {}
    granted = {waiver.id: waiver for waiver in waivers}
    findings = []
    for requirement in policy.requirements:
        reasons = [f"{kind} {doubtful[kind]}" for kind in sorted(requirement.program.kinds & doubtful.keys())]
        if reasons:
            findings.append(_finding(requirement, "unmeasured", _nothing(requirement), "; ".join(reasons)))
            continue
        try:
            outcome = requirement.program.evaluate(values)
        except BadFile as error:
            raise BadFile(
                f"this requirement cannot be evaluated: {error.what}",
                where=f"{policy.where}: require[{requirement.id}].that",
                fix=error.fix
                or "compare numbers with numbers and texts with texts, and divide by nothing that may be 0",
            ) from error
        findings.append(_judged(requirement, outcome, values, today, granted.get(requirement.id)))
    return tuple(findings)


def unmeasured(policy: ReleasePolicy, why: str) -> tuple[Finding, ...]:
    """What can be said of a bundle that does not verify: every requirement is unmeasured."""
    return tuple(_finding(each, "unmeasured", _nothing(each), why) for each in policy.requirements)


def verdict(findings: Sequence[Finding]) -> Verdict:
    """3 if a requirement of severity error is unmeasured, else 1 if one fails, else 0.

    Raises:
        BadFile: There is no finding: nothing was required, and that is not a pass.
    """
    if not findings:
        raise BadFile("nothing was required, so nothing can pass")
    decisive = {finding.status for finding in findings if finding.severity == "error"}
    if "unmeasured" in decisive:
        return Verdict("unmeasured", 3)
    return Verdict("fail", 1) if "fail" in decisive else Verdict("pass", 0)


def _judged(
    requirement: Requirement,
    outcome: Outcome,
    values: Mapping[str, Any],
    today: dt.date,
    waiver: Waiver | None,
) -> Finding:
    if outcome.truth is None:
        missing = [f"{path} was not measured{_hint(path, values)}" for path in outcome.absent]
        missing += [f"{path} holds nothing to hold the rule against" for path in outcome.empty]
        return _finding(requirement, "unmeasured", outcome.values, "; ".join(missing))
    if outcome.truth:
        return _finding(requirement, "pass", outcome.values, "")
    if waiver is None:
        return _finding(requirement, "fail", outcome.values, requirement.fix)
    if not waiver.adopted:
        return _finding(
            requirement, "fail", outcome.values, _and(requirement.fix, "its waiver was adopted by no owner")
        )
    if today > waiver.expires:
        note = f"its waiver by {waiver.owner} expired on {waiver.expires.isoformat()}"
        return _finding(requirement, "fail", outcome.values, _and(requirement.fix, note))
    soon = f", {(waiver.expires - today).days} days from now" if waiver.expires - today <= SOON else ""
    note = f"waived by {waiver.owner} until {waiver.expires.isoformat()}{soon}: {waiver.reason}"
    return _finding(requirement, "waived", outcome.values, note)


def _finding(requirement: Requirement, status: Status, values: Mapping[str, Any], fix: str) -> Finding:
    return Finding(
        requirement.id, status, requirement.severity, requirement.that, requirement.because, dict(values), fix
    )


def _nothing(requirement: Requirement) -> dict[str, Any]:
    return dict.fromkeys(requirement.program.paths)


def _hint(path: str, values: Mapping[str, Any]) -> str:
    """What to do about a missing path: which verb leaves the kind, or the nearest field that is there."""
    kind, _, rest = path.partition(".")
    if kind not in values:
        return f" (the bundle holds no evidence of kind {kind})"
    return nearest(rest.partition(".")[0], values[kind])


def _and(first: str, second: str) -> str:
    return f"{first}; {second}" if first else second
