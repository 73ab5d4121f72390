"""Hold a bundle against a release policy: verify it, judge it, and say yes or no in a way that cannot be overlooked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pellucid.bundle import Bundle
from pellucid.check import rules
from pellucid.check.requirements import ReleasePolicy
from pellucid.check.text import shown
from pellucid.check.verify import VerifyResult, verify_bundle, verify_file
from pellucid.check.waivers import Waiver
from pellucid.errors import BadFile, RequirementsNotMet
from pellucid.evidence import Finding
from pellucid.keys import VerifyKey

__all__ = ["CheckResult", "check", "require"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        verdict: ``pass``, ``fail``, ``unmeasured``, or ``unverified`` if the bundle does not verify.
        exit: 0, 1 or 3.
        findings: One for each requirement, in the order of the policy.
        verification: What verifying the bundle found.
        policy_sha256: Digest of the policy it was held against.
    """

    verdict: str
    exit: int
    findings: tuple[Finding, ...]
    verification: VerifyResult
    policy_sha256: str


def check(
    bundle: Bundle | Path | str,
    policy: ReleasePolicy | Path | str,
    *,
    owners: Sequence[VerifyKey] | None = None,
    default_owners: Sequence[VerifyKey] = (),
    today: dt.date | None = None,
    waivers: Sequence[Waiver] = (),
    weights: Path | None = None,
) -> CheckResult:
    """Verify ``bundle`` and hold its evidence against ``policy``.

    Args:
        bundle: A bundle, or the path of one.
        policy: A release policy, or the path of one.
        owners: Trusted owners. If None, those of the policy's ``[trust]``, else ``default_owners``.
        default_owners: Whom to trust if nobody else says so: inside a project, its owner.
        today: The day for waivers' expiry; today (UTC) if None.
        waivers: Waivers (:func:`pellucid.check.waivers.read_waivers`).
        weights: The weights file to bind, or None.

    Returns:
        Findings and verdict. A bundle that does not verify has exit 3, and what it says is not believed.

    Raises:
        BadFile: The policy is invalid, a file is missing, or no owner is trusted (exit 2).
    """
    rulebook = policy if isinstance(policy, ReleasePolicy) else ReleasePolicy.read(policy)
    trusted = owners if owners is not None else rulebook.owners or default_owners
    if not trusted:
        raise BadFile(
            "no trusted owner was named, so nothing can be believed",
            where=rulebook.where,
            fix='name one with --key OWNER.pub, or in the policy under [trust] as owners = ["…"]',
        )
    if isinstance(bundle, Bundle):
        verification = verify_bundle(bundle, trusted, weights=weights)
    else:
        verification = verify_file(bundle, trusted, weights=weights)
    if verification.verified is None:
        failed = next(each for each in verification.checks if each.status == "fail")
        findings = rules.unmeasured(rulebook, f"the bundle does not verify ({failed.name}: {failed.detail})")
        return CheckResult("unverified", 3, findings, verification, rulebook.sha256)
    findings = rules.judge(
        rulebook,
        verification.verified.evidence,
        today or dt.datetime.now(dt.UTC).date(),
        waivers,
        unverified=verification.unverified,
    )
    if not verification.ok:
        return CheckResult("unverified", 3, findings, verification, rulebook.sha256)
    outcome = rules.verdict(findings)
    return CheckResult(outcome.word, outcome.exit, findings, verification, rulebook.sha256)


def require(
    bundle: Bundle | Path | str,
    policy: ReleasePolicy | Path | str,
    *,
    owners: Sequence[VerifyKey] | None = None,
    default_owners: Sequence[VerifyKey] = (),
    today: dt.date | None = None,
    waivers: Sequence[Waiver] = (),
    weights: Path | None = None,
) -> CheckResult:
    """:func:`check` that raises unless the verdict is ``pass``: a verdict that can be ignored is a bug.

    Raises:
        RequirementsNotMet: The verdict is not ``pass``; ``exit_code`` is 1 or 3, and the message lists each requirement
            that stands in the way with its values and its reason.
        BadFile: As :func:`check` (exit 2).
    """
    result = check(
        bundle,
        policy,
        owners=owners,
        default_owners=default_owners,
        today=today,
        waivers=waivers,
        weights=weights,
    )
    if result.exit == 0:
        return result
    # one line a reason: findings that decide, then checks that failed
    lines = [
        _line(each) for each in result.findings if each.severity == "error" and each.status in ("fail", "unmeasured")
    ]
    lines += [f"{each.name}: {each.detail}" for each in result.verification.checks if each.status == "fail"]
    error = RequirementsNotMet(
        f"the verdict is {result.verdict}\n" + "\n".join(f"  {line}" for line in lines),
        where=policy.where if isinstance(policy, ReleasePolicy) else str(policy),
        fix="see `pellucid check` for every finding",
    )
    error.exit_code = result.exit
    raise error


def _line(finding: Finding) -> str:
    values = ", ".join(f"{path} = {shown(value)}" for path, value in finding.values.items())
    return f"{finding.status} {finding.id}: {finding.that} ({values}), because {finding.because}"
