"""Hold a bundle against a release policy: verify it, judge it, and say yes or no in a way that cannot be overlooked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pellucid.bundle import Bundle, Verified
from pellucid.check import compare, notices, rules
from pellucid.check.cel import PARAMETERS
from pellucid.check.comparisons import comparisons
from pellucid.check.policy import ReleasePolicy
from pellucid.check.results import CheckResult, Notice, Source
from pellucid.check.signatures import look_at
from pellucid.check.text import shown
from pellucid.check.verify import VerifyResult, read_and_verify
from pellucid.check.waivers import WAIVERS_FILE, Waiver, read_waivers
from pellucid.errors import BadFile, RequirementsNotMet, Unverified
from pellucid.evidence import Finding
from pellucid.keys import VerifyKey

__all__ = ["check", "require"]


def check(
    bundle: Bundle | Path | str,
    policy: ReleasePolicy | Path | str,
    *,
    owners: Sequence[VerifyKey] | None = None,
    default_owners: Sequence[VerifyKey] = (),
    today: dt.date | None = None,
    waivers: Path | str | None = None,
    weights: Path | None = None,
    environment: str | None = None,
    baseline: Bundle | Path | str | None = None,
    diff: Bundle | Path | str | None = None,
) -> CheckResult:
    """Verify ``bundle`` and hold its evidence against ``policy``.

    Args:
        bundle: A bundle, or the path of one.
        policy: A release policy, or the path of one.
        owners: Trusted owners. If None, those of the policy's ``[trust]``, else ``default_owners``.
        default_owners: Whom to trust if nobody else says so: inside a project, its owner.
        today: The day for waivers' expiry; today (UTC) if None. Never before the last entry of the bundle.
        waivers: The waivers' file. If None, ``waivers.toml`` beside the policy, if it is there.
        weights: The weights file to bind, or None.
        environment: Which environment of the policy counts; only for a policy given as a path.
        baseline: Another bundle: only what is worse than in it counts as a failure. What is unmeasured always counts.
        diff: Another bundle, to say what changed.

    Returns:
        Findings and verdict. A bundle that does not verify has exit 3, and what it says is not believed.

    Raises:
        BadFile: The policy or waivers are invalid, a file is missing, or no owner is trusted (exit 2).
        Unverified: ``baseline`` or ``diff`` does not verify (exit 3).
    """
    rulebook = policy if isinstance(policy, ReleasePolicy) else ReleasePolicy.read(policy, environment=environment)
    granted = _waivers(rulebook, waivers)
    trusted = owners if owners is not None else rulebook.owners or default_owners
    if not trusted:
        raise BadFile(
            "no trusted owner was named, so nothing can be believed",
            where=rulebook.where,
            fix='name one with --key OWNER.pub, or in the policy under [trust] as owners = ["…"]',
        )
    read, verification = read_and_verify(bundle, trusted, weights=weights)
    verified = verification.verified
    if read is None or verified is None:
        failed = next(each for each in verification.checks if each.status == "fail")
        findings = rules.unmeasured(rulebook, f"the bundle does not verify ({failed.name}: {failed.detail})")
        return CheckResult("unverified", 3, findings, verification, rulebook, read.subject.name if read else "")
    now = dt.datetime.now(dt.UTC)
    day = today or now.date()
    last = notices.latest(verified.evidence)
    told = notices.clock(day, last)
    day = max(day, last.date()) if last else day
    granted = tuple(look_at(each, verified, read, rulebook, max(now, last or now)) for each in granted)
    held = _hold(rulebook, verification, verified, day, granted)
    others = {name: _other(name, each, rulebook, trusted, day) for name, each in _named(baseline, diff).items()}
    known = frozenset[str]()
    if "baseline" in others:
        other = others["baseline"]
        known = compare.no_worse(other.findings, other.comparisons, held.findings, held.comparisons, held.unread)
        told += [Notice("note", each, f"fails, and is no worse than in {other.model}") for each in sorted(known)]
    values = rules.variables(verified.evidence, rulebook)
    told += notices.matched_nothing(rulebook, held.model, values, held.findings)
    told += notices.waived(granted, held.model, held.findings, day)
    outcome = rules.verdict(held.findings, known)
    word, code = (outcome.word, outcome.exit) if verification.ok else ("unverified", 3)
    return replace(
        held,
        verdict=word,
        exit=code,
        notices=tuple(told),
        known=known,
        against=others["baseline"].model if "baseline" in others else None,
        changes=compare.changes(others["diff"].findings, held.findings) if "diff" in others else None,
    )


def require(bundle: Bundle | Path | str, policy: ReleasePolicy | Path | str, **options: Any) -> CheckResult:
    """:func:`check`, with its options, that raises unless the verdict is ``pass``: a verdict ignored is a bug.

    Raises:
        RequirementsNotMet: The verdict is not ``pass``; ``exit_code`` is 1 or 3, and the message lists each requirement
            that stands in the way with its values and its reason.
        BadFile: As :func:`check` (exit 2).
    """
    result = check(bundle, policy, **options)
    if result.exit == 0:
        return result
    # one line a reason: findings that decide, then checks that failed
    lines = [_line(each) for each in result.findings if _decides(each, result.known)]
    lines += [f"{each.name}: {each.detail}" for each in result.verification.checks if each.status == "fail"]
    error = RequirementsNotMet(
        f"the verdict is {result.verdict}\n" + "\n".join(f"  {line}" for line in lines),
        where=result.policy.where,
        fix="see `pellucid check` for every finding",
    )
    error.exit_code = result.exit
    raise error


def _waivers(policy: ReleasePolicy, path: Path | str | None) -> tuple[Waiver, ...]:
    beside = Path(policy.where).with_name(WAIVERS_FILE)
    if path is None and not beside.is_file():
        return ()
    return read_waivers(beside if path is None else path, policy)


def _hold(
    policy: ReleasePolicy,
    verification: VerifyResult,
    verified: Verified,
    day: dt.date,
    waivers: Sequence[Waiver] = (),
) -> CheckResult:
    """Findings and what they rest on, the verdict still to come."""
    model = verified.subject.name
    findings = rules.judge(policy, verified.evidence, day, waivers, model=model, unverified=verification.unverified)
    values: Mapping[str, Any] = {**rules.variables(verified.evidence, policy), PARAMETERS: policy.parameters}
    programs = {each.id: each.program for each in policy.requirements}
    read = {each.id: comparisons(programs[each.id], values) for each in findings if each.id in programs}
    parts = {name: reading.parts for name, reading in read.items()}
    unread = frozenset(name for name, reading in read.items() if not reading.whole)
    if sum(piece.kind == rules.UNSAFE for piece in verified.evidence) > 1:  # read is of the last door alone
        unread |= {name for name in read if rules.UNSAFE in programs[name].kinds}
    pieces = zip(verified.evidence, verified.indices, verified.signers, strict=True)
    sources = {piece.kind: Source(piece.kind, index, signer) for piece, index, signer in pieces}
    return CheckResult("", 3, findings, verification, policy, model, comparisons=parts, unread=unread, sources=sources)


def _named(baseline: Bundle | Path | str | None, diff: Bundle | Path | str | None) -> dict[str, Bundle | Path | str]:
    return {name: each for name, each in (("baseline", baseline), ("diff", diff)) if each is not None}


def _other(
    name: str, bundle: Bundle | Path | str, policy: ReleasePolicy, owners: Sequence[VerifyKey], day: dt.date
) -> CheckResult:
    """Another bundle under the same policy, without waivers."""
    read, verification = read_and_verify(bundle, owners)
    if read is None or verification.verified is None or not verification.ok:
        failed = next(each for each in verification.checks if each.status == "fail")
        raise Unverified(
            f"the bundle to compare with does not verify ({failed.name}: {failed.detail})",
            where=f"--{name}",
            fix="compare with a bundle of the same trusted owner, as it was written",
        )
    return _hold(policy, verification, verification.verified, day)


def _decides(finding: Finding, known: frozenset[str]) -> bool:
    return finding.severity == "error" and finding.status in ("fail", "unmeasured") and finding.id not in known


def _line(finding: Finding) -> str:
    values = ", ".join(f"{path} = {shown(value)}" for path, value in finding.values.items())
    return f"{finding.status} {finding.id}: {finding.that} ({values}), because {finding.because}"
