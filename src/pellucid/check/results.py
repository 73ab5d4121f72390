"""What a check found, as every format of output gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pellucid.check.comparisons import Comparison
from pellucid.check.policy import ReleasePolicy
from pellucid.check.requirements import Requirement
from pellucid.check.verify import VerifyResult
from pellucid.evidence import Finding

__all__ = ["Change", "CheckResult", "Level", "Notice", "Source"]

Level = Literal["warning", "note"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know that decides nothing by itself.

    Attributes:
        level: ``warning`` or ``note``.
        about: The requirement it is about; empty if none.
        says: What.
    """

    level: Level
    about: str
    says: str

    def document(self) -> dict[str, str]:
        """As JSON."""
        return {"level": self.level, "about": self.about, "says": self.says}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a kind of evidence stands.

    Attributes:
        kind: The kind.
        index: The log entry.
        signer: Who signed it.
    """

    kind: str
    index: int
    signer: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is other than in another bundle, for one requirement.

    Attributes:
        id: The requirement.
        before: Its status there; None if it was not for that model.
        after: Its status here; None if it is not for this one.
        values: Path -> its value there and here, where they differ.
    """

    id: str
    before: str | None
    after: str | None
    values: Mapping[str, tuple[Any, Any]]

    @property
    def course(self) -> str:
        """``pass → fail``; empty if the status is the same."""
        return "" if self.before == self.after else f"{self.before or 'not asked'} → {self.after or 'not asked'}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "before": self.before,
            "after": self.after,
            "values": {path: list(pair) for path, pair in self.values.items()},
        }


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        verdict: ``pass``, ``fail``, ``unmeasured``, or ``unverified`` if the bundle does not verify.
        exit: 0, 1 or 3.
        findings: One for each requirement that is for this model, in the order of the policy.
        verification: What verifying the bundle found.
        policy: The policy it was held against.
        model: The model's name; empty if the bundle could not be read.
        notices: What else there is to know.
        comparisons: Requirement -> what it rests on.
        unread: Requirements of which something that may have failed is not among the comparisons.
        sources: Kind of evidence -> where it stands.
        known: Failures that the baseline has too, no better: they do not count. Empty without a baseline.
        against: The model of the baseline, or None.
        changes: What is other than in the bundle of ``--diff``; None without one.
    """

    verdict: str
    exit: int
    findings: tuple[Finding, ...]
    verification: VerifyResult
    policy: ReleasePolicy
    model: str = ""
    notices: tuple[Notice, ...] = ()
    comparisons: Mapping[str, tuple[Comparison, ...]] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    sources: Mapping[str, Source] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    against: str | None = None
    changes: tuple[Change, ...] | None = None

    @property
    def policy_sha256(self) -> str:
        """Digest of the policy."""
        return self.policy.sha256

    def reasons(self, finding: Finding) -> tuple[Comparison, ...]:
        """What a finding rests on: of a requirement that is met, no alternative that does not hold."""
        parts = self.comparisons.get(finding.id, ())
        return tuple(p for p in parts if p.choice is None or p.holds) if finding.status == "pass" else parts

    def requirement(self, name: str) -> Requirement | None:
        """The requirement of that id; None for a finding that no requirement of the policy asked for."""
        return self.policy.by_id.get(name)

    def document(self) -> dict[str, Any]:
        """The JSON document of the command line contract, with what else there is to know after it."""
        document: dict[str, Any] = {
            "verdict": self.verdict,
            "exit": self.exit,
            "findings": [finding.document() for finding in self.findings],
            "notices": [notice.document() for notice in self.notices],
            "policy": {"sha256": self.policy.sha256, "environment": self.policy.environment},
        }
        if self.against is not None:
            document["baseline"] = {"model": self.against, "known": sorted(self.known)}
        if self.changes is not None:
            document["changes"] = [change.document() for change in self.changes]
        return document
