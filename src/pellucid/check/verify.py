"""Does a bundle prove what it says, and is its epsilon what its events compose to? Offline, without torch.

Two things are checked, and told apart. What the bundle proves by cryptography is :func:`pellucid.bundle.verify`'s
work. What it claims about privacy is recomputed here from the events alone, by two accountants that share no
mathematics: privacy loss distributions (Koskela et al. 2020, arXiv 1906.03049; Doroshenko et al. 2022, arXiv
2207.04380) and Rényi differential privacy (Mironov 2017, arXiv 1702.07476; Mironov et al. 2019, arXiv 1908.10530).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pellucid import bundle as bundles
from pellucid.bundle import Bundle, Verified
from pellucid.check.epsilon import TOLERANCE, CheckStatus, EpsilonCheck, recheck
from pellucid.errors import BadFile, PellucidError, Tampered, Unverified
from pellucid.keys import VerifyKey

__all__ = ["TOLERANCE", "Check", "EpsilonCheck", "VerifyResult", "read_and_verify", "verify_bundle", "verify_file"]

_CRYPTOGRAPHY: Final = ("owner", "checkpoint", "inclusion", "signatures", "grants", "subject")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``pass``, ``fail`` or ``not checked``, with one line of detail."""

    name: str
    status: CheckStatus
    detail: str

    def document(self) -> dict[str, str]:
        """The record of the command line contract."""
        return {"name": self.name, "status": self.status, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What verifying found.

    Attributes:
        checks: What was looked at, in order.
        epsilon: The privacy claim, recomputed.
        verified: What the bundle proves; None if it proves nothing.
        unverified: Kinds of evidence that are signed but not true to themselves, with the reason.
    """

    checks: tuple[Check, ...]
    epsilon: EpsilonCheck = field(default_factory=EpsilonCheck)
    verified: Verified | None = None
    unverified: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed. What was not checked did not fail, and its check says so."""
        return all(check.status != "fail" for check in self.checks)

    @property
    def exit(self) -> int:
        """0 if :attr:`ok`, else 3."""
        return 0 if self.ok else 3

    def document(self) -> dict[str, Any]:
        """The JSON document of the command line contract."""
        epsilon = self.epsilon
        return {
            "ok": self.ok,
            "checks": [check.document() for check in self.checks],
            "epsilon": {"claimed": epsilon.claimed, "pld": epsilon.pld, "rdp": epsilon.rdp},
        }


def verify_file(path: Path | str, owners: Sequence[VerifyKey], *, weights: Path | None = None) -> VerifyResult:
    """:func:`verify_bundle` of a file; a file that is no bundle in canonical bytes is a failed check too.

    Raises:
        BadFile: There is no such file, no owner was named, or ``weights`` cannot be read.
    """
    return read_and_verify(path, owners, weights=weights)[1]


def read_and_verify(
    bundle: Bundle | Path | str, owners: Sequence[VerifyKey], *, weights: Path | None = None
) -> tuple[Bundle | None, VerifyResult]:
    """The bundle, None if it could not be read, and what verifying it found.

    Raises:
        BadFile: As :func:`verify_file`.
    """
    if isinstance(bundle, Bundle):
        return bundle, verify_bundle(bundle, owners, weights=weights)
    try:
        read = bundles.read(bundle)
    except Unverified as error:
        names = (*_CRYPTOGRAPHY, "epsilon", "weights")
        return None, VerifyResult((_fail("canonical", error), *_unchecked(names, "the bundle could not be read")))
    return read, verify_bundle(read, owners, weights=weights)


def verify_bundle(bundle: Bundle, owners: Sequence[VerifyKey], *, weights: Path | None = None) -> VerifyResult:
    """Check signatures, proofs, grants, bindings and the privacy claim of ``bundle``.

    Args:
        bundle: As read.
        owners: Trusted owners, at least one.
        weights: The weights file to bind, or None: then the result says ``not checked``.

    Returns:
        Every check with its result. A failure is a result, not an exception; :attr:`VerifyResult.exit` carries it.

    Raises:
        BadFile: No owner was named, or ``weights`` cannot be read: errors of use, not of the bundle.
    """
    if not owners:
        raise BadFile("no trusted owner was named", fix="name one with --key OWNER.pub, or in [trust] of the policy")
    checks: list[Check] = []
    try:
        if Bundle.from_bytes(bundle.to_bytes()) != bundle:
            raise Tampered("this is not what its canonical bytes say", where="bundle")
        checks.append(Check("canonical", "pass", "RFC 8785 bytes, strict base64"))
        verified = bundles.verify(
            bundle, owners, passed=lambda name, detail: checks.append(Check(name, "pass", detail))
        )
    except (Unverified, BadFile, KeyError, TypeError, ValueError, AttributeError) as error:
        # the last four: signed by someone who may, and yet not of the shape its kind has
        done = [check.name for check in checks]
        rest = [name for name in ("canonical", *_CRYPTOGRAPHY) if name not in done]
        checks.append(_fail(rest.pop(0), error))
        checks += _unchecked([*rest, "epsilon"], "an earlier check failed")
        checks.append(_weights(bundle, weights))
        return VerifyResult(tuple(checks))
    status, detail, epsilon = recheck(verified.evidence)
    checks += [Check("epsilon", status, detail), _weights(bundle, weights)]
    unverified = {"privacy": f"does not verify: {detail}"} if status == "fail" else {}
    return VerifyResult(tuple(checks), epsilon, verified, unverified)


def _fail(name: str, error: Exception) -> Check:
    if not isinstance(error, PellucidError):
        return Check(name, "fail", "a signed entry does not have the shape of its kind")
    return Check(name, "fail", f"{error.where}: {error.what}" if error.where else error.what)


def _unchecked(names: Sequence[str], why: str) -> list[Check]:
    return [Check(name, "not checked", why) for name in names]


def _weights(bundle: Bundle, weights: Path | None) -> Check:
    if weights is None:
        return Check("weights", "not checked", "no weights file was given (--weights FILE)")
    if bundles.weights_digest(weights) == bundle.subject.sha256:
        return Check("weights", "pass", f"the file is {bundle.subject.name}, sha256 {bundle.subject.sha256}")
    return Check("weights", "fail", f"the file is not {bundle.subject.name}: its SHA-256 is another one")
