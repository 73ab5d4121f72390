"""What a report is made from: verified evidence, the findings of the policy, and what the log and the ledger say.

All of it is given: the report opens no file, asks no clock, and what comes here was verified before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pellucid.errors import Misuse
from pellucid.evidence import TIERS, Evidence, Finding, Subject, Tier

__all__ = ["DecisionLine", "Ledger", "LedgerRun", "ReportInput", "VerificationCheck"]

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# These speak of the model's own bytes; the others may be about a data set, a person's erasure or an earlier trial.
_OF_THE_MODEL: Final = frozenset(
    {
        *("training", "privacy", "provenance", "evaluation", "fairness", "calibration", "slices", "explanation"),
        *("validity", "robustness", "attack", "card", "change", "comparison"),
    }
)
_FOR_AUDITORS: Final = frozenset(
    {
        *("provenance", "evaluation", "fairness", "calibration", "slices", "explanation", "validity", "robustness"),
        *("attack", "review", "uncertainty", "labels", "change", "comparison", "expectation"),
    }
)
"""Kinds that are rarely for everybody (docs/formats/evidence.md): where one is absent from a public report, it says
nothing of whether it was measured."""
FLOOR: Final[Mapping[Tier, int]] = {"public": 10, "auditor": 5, "steward": 0}
"""The least number of people that a number in a report of a tier may be about."""


@dataclass(frozen=True, slots=True)
class VerificationCheck:
    """One check of ``pellucid verify``: its name, its status and what it found.

    ``pass`` and ``ok`` are good; ``not checked`` and ``skipped`` are open; anything else counts as failed.
    """

    name: str
    status: str
    detail: str

    @property
    def good(self) -> bool:
        """Whether the check was made and held."""
        return self.status in {"pass", "ok"}

    @property
    def open(self) -> bool:
        """Whether the check was not made."""
        return self.status in {"not checked", "skipped"}


@dataclass(frozen=True, slots=True)
class LedgerRun:
    """What one run reserved or spent. ``steps`` is None where no step was settled."""

    run: str
    epsilon: float
    delta: float
    steps: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The budget of a data set. ``epsilon``, ``delta`` and ``left`` are None where no budget was ever set."""

    dataset: str
    epsilon: float | None
    delta: float | None
    spent: float
    reserved: float
    left: float | None
    runs: tuple[LedgerRun, ...] = ()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Ledger:
        """The ledger in the document of ``pellucid budget --json``.

        Raises:
            Misuse: A key of the contract is not there.
        """
        try:
            return cls(
                **{key: document[key] for key in ("dataset", "epsilon", "delta", "spent", "reserved", "left")},
                runs=tuple(
                    LedgerRun(**{key: run[key] for key in ("run", "epsilon", "delta", "steps", "status")})
                    for run in document["runs"]
                ),
            )
        except (KeyError, TypeError) as error:
            raise Misuse(f"the document of the ledger lacks {error}", where="ledger") from error


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """One decision of the access policy, as recorded in the log."""

    at: str
    identity: str
    action: str
    resource: str
    purpose: str
    allowed: bool
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportInput:
    """All that a report says, frozen.

    Attributes:
        project: Name of the project.
        subject: The model: name and SHA-256 of its weights.
        tier: Who the report is for.
        evidence: Verified evidence in the order of the bundle; the last of a kind counts.
        findings: What the release policy found.
        exit_code: The verdict of the check: 0 release, 1 do not release, 3 not proven.
        policy_name: The release policy's file name.
        policy_sha256: Its digest.
        checkpoint: The log's signed note.
        log_size: Number of entries under the checkpoint.
        owner: Verifier-key line of the owner at the root of trust.
        signers: Names of those who signed the evidence.
        verification: What ``pellucid verify`` found.
        created: The instant of the newest evidence (``2026-11-02T09:30:00Z``); never the clock.
        ledger: The data set's budget; None where it was not read.
        decisions: Decisions of the access policy; None where they were not read.

    Raises:
        Misuse: Evidence above the tier, evidence about another model, a group below the smallest cell, a verdict better
            than its findings, or a field that is not of its form.
    """

    project: str
    subject: Subject
    tier: Tier
    evidence: tuple[Evidence, ...]
    findings: tuple[Finding, ...]
    exit_code: int
    policy_name: str
    policy_sha256: str
    checkpoint: str
    log_size: int
    owner: str
    signers: tuple[str, ...]
    verification: tuple[VerificationCheck, ...]
    created: str
    ledger: Ledger | None = None
    decisions: tuple[DecisionLine, ...] | None = field(default=None)

    def __post_init__(self) -> None:
        for name in ("evidence", "findings", "signers", "verification", "decisions"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.tier not in TIERS:
            raise Misuse(f'"{self.tier}" is not a tier: {", ".join(TIERS)}', where="report")
        if not _INSTANT.fullmatch(self.created):
            raise Misuse("created must be an instant such as 2026-11-02T09:30:00Z", where="report")
        if not _SHA256.fullmatch(self.subject.sha256):
            raise Misuse("the model's digest must be a SHA-256 in lower-case hexadecimal", where="report")
        for evidence in self.evidence:
            self._admit(evidence)
        self._verdict_follows()

    def last(self, kind: str) -> Evidence | None:
        """The evidence of ``kind`` that counts (the last in the bundle), or None: not measured."""
        found: Evidence | None = None
        for evidence in self.evidence:
            if evidence.kind == kind:
                found = evidence
        return found

    def withheld(self, kind: str) -> bool:
        """Whether ``kind`` is not here, and readers of this tier would not have been given it if it were anywhere."""
        return self.tier == "public" and kind in _FOR_AUDITORS and self.last(kind) is None

    def every(self, kind: str) -> tuple[Evidence, ...]:
        """All evidence of ``kind`` in the order of the bundle."""
        return tuple(evidence for evidence in self.evidence if evidence.kind == kind)

    def _admit(self, evidence: Evidence) -> None:
        if TIERS.index(evidence.tier) > TIERS.index(self.tier):
            raise Misuse(
                f'evidence for tier "{evidence.tier}" may not stand in a report for tier "{self.tier}"',
                where=evidence.kind,
                fix=f"make the report from a bundle for tier {self.tier}",
            )
        if evidence.kind in _OF_THE_MODEL and evidence.subject.sha256 != self.subject.sha256:
            raise Misuse("this evidence is about another model", where=evidence.kind)
        place = _too_few(evidence.values, FLOOR[self.tier], evidence.kind)
        if place:
            raise Misuse(
                f"a number about fewer than {FLOOR[self.tier]} people may not stand in a report for tier {self.tier}",
                where=place,
                fix="make the evidence again: it suppresses small groups",
            )

    def _verdict_follows(self) -> None:
        errors = {finding.status for finding in self.findings if finding.severity == "error"}
        failed = any(not check.good and not check.open for check in self.verification)
        unproven = failed or "unmeasured" in errors or not self.findings
        least = 3 if unproven else int("fail" in errors)
        if self.exit_code not in {0, 1, 3} or self.exit_code < least:
            raise Misuse(
                f"exit code {self.exit_code} is a better verdict than the findings and checks allow ({least})",
                where="report",
            )


def _too_few(value: Any, floor: int, place: str) -> str:
    """The dotted path of the first record whose ``n`` lies below ``floor``; empty where there is none."""
    if isinstance(value, Mapping):
        n = value.get("n")
        if isinstance(n, int | float) and n < floor:
            return place
        inner = ((f"{place}.{key}", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        inner = ((f"{place}[{i}]", item) for i, item in enumerate(value))
    else:
        return ""
    return next((found for at, item in inner if (found := _too_few(item, floor, at))), "")
