"""Evidence: frozen records about a subject, their canonical bytes, and the closed registry of kinds.

One piece of evidence is one in-toto Statement v1 about a subject (a name and a SHA-256). Its predicate holds the
``values``, ``how`` they were made, their ``error``, how they are covered by a privacy guarantee (``coverage``) and the
``tier`` of reader they are for. Bytes are RFC 8785 canonical JSON, and only canonical bytes are ever accepted.

Evolution law, for whoever adds to this file:

1. A kind that was published is never removed, and the meaning of a field never changes.
2. New fields are optional. A field that must be there makes a new version (``privacy@2``).
3. An unknown kind, version or tier is refused, never skipped.
4. Estimates are records ``{value, low, high, n}``; a number that was not measured is absent, never 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import rfc8785

from pellucid.errors import BadFile, Tampered, Unverified, nearest

__all__ = [
    "COVERAGE",
    "KINDS",
    "STATEMENT_TYPE",
    "TIERS",
    "Estimate",
    "Evidence",
    "Finding",
    "Subject",
    "canonical",
    "digest",
    "parse_canonical",
    "round_down",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX: Final = "urn:pellucid:evidence:"

# kind -> version -> the values that must be there
KINDS: Final[Mapping[str, Mapping[int, frozenset[str]]]] = {
    "dataset": {1: frozenset({"name", "version", "units", "unit", "columns", "purposes"})},
    "training": {1: frozenset({"architecture", "parameters", "features", "target", "dataset", "purpose", "status"})},
    "privacy": {
        1: frozenset(
            {
                "epsilon",
                "delta",
                "noise_multiplier",
                "sample_rate",
                "steps",
                "max_grad_norm",
                "adjacency",
                "unit",
                "accountant",
                "events",
            }
        )
    },
    "provenance": {1: frozenset({"identity", "roles", "key_release", "policy", "versions"})},
    "evaluation": {1: frozenset({"auc", "accuracy"})},
    "fairness": {1: frozenset({"columns"})},
    "calibration": {1: frozenset({"ece", "bins"})},
    "slices": {1: frozenset()},
    "explanation": {1: frozenset({"method", "importance", "completeness_gap"})},
    "validity": {1: frozenset()},
    "expectation": {1: frozenset()},
    "robustness": {1: frozenset()},
    "attack": {1: frozenset({"epsilon_lower"})},
    "tuning": {1: frozenset()},
    "review": {1: frozenset({"verdict"})},
    "card": {1: frozenset({"file"})},
    "attachment": {1: frozenset({"file", "sha256", "columns"})},
    "change": {1: frozenset({"since", "before"})},
    "comparison": {1: frozenset({"with", "numbers"})},
    "uncertainty": {1: frozenset({"alpha", "coverage"})},
    "labels": {1: frozenset({"rate"})},
    "counterfactual": {1: frozenset({"person", "status"})},
    "release": {1: frozenset({"statistics", "epsilon", "delta", "events"})},
    "erasure": {1: frozenset()},
    "unsafe": {1: frozenset({"door"})},
}

Tier = Literal["public", "auditor", "steward"]
Coverage = Literal["public", "post-processing", "own-release", "uncovered"]
TIERS: Final[tuple[Tier, ...]] = ("public", "auditor", "steward")
COVERAGE: Final[Mapping[str, str]] = {
    "public": "public knowledge: declared, or made without the data",
    "post-processing": "post-processing of differentially private weights: costs no further privacy",
    "own-release": "a differentially private release of its own, paid from the data set's budget",
    "uncovered": "measured on held-out people; no privacy guarantee covers this number",
}


def canonical(value: Any) -> bytes:
    """RFC 8785 canonical JSON bytes of ``value``.

    Raises:
        BadFile: ``value`` holds NaN, an infinity, a whole number of 2**53 or more, or something that is not JSON.
    """
    try:
        data = rfc8785.dumps(value)
        # 2.0**53 is written as an integer that may not be read again: what cannot be read is never written
        rfc8785.dumps(json.loads(data))
        return data
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise BadFile(
            f"this cannot be written as canonical JSON: {error}", fix="numbers must be finite and integers below 2**53"
        ) from error


def parse_canonical(data: bytes, *, where: str) -> Any:
    """The value in ``data``, accepted only if ``data`` is its canonical form, so that every changed byte shows.

    Raises:
        Tampered: ``data`` is not JSON, or not canonical (a blank, another order of keys, a duplicate key …).
    """
    try:
        value = json.loads(data)
        again = rfc8785.dumps(value)
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as error:
        raise Tampered("not canonical JSON", where=where) from error
    if again != data:
        raise Tampered("JSON is not in canonical form", where=where)
    return value


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def round_down(count: int) -> int:
    """A count of private people as it may be published: rounded down to ten."""
    return count - count % 10


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: a name such as ``credit-risk@1`` and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with its 95 % interval and the public or rounded number of units it rests on."""

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.low) and math.isfinite(self.high)):
            raise BadFile("an estimate must be finite; leave out what was not measured")
        if self.low > self.high:
            raise BadFile("the ends of an interval are the wrong way round")

    def values(self) -> dict[str, float | int]:
        """The record that goes into ``values``, rounded to six decimals; ``n`` is rounded down to ten."""
        return {
            "value": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "n": round_down(self.n),
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """One statement about one subject.

    Attributes:
        kind: A name of :data:`KINDS`.
        subject: What it is about.
        values: JSON values by name. Estimates are ``Estimate.values()``.
        how: How the values were made: method, library and version, parameters, data used. JSON.
        coverage: A name of :data:`COVERAGE`.
        error: How wrong the values may be, by name. JSON; empty where ``values`` carries intervals.
        tier: The least privileged reader who may have it.
        version: Version of the kind.

    Raises:
        Unverified: Unknown kind, version, coverage or tier, a required value is missing, or the ``low`` of an
            interval is above its ``high``. (A point may lie outside: of a biased estimate's bootstrap interval.)
    """

    kind: str
    subject: Subject
    values: Mapping[str, Any]
    how: Mapping[str, Any]
    coverage: Coverage
    error: Mapping[str, Any] = field(default_factory=dict)
    tier: Tier = "public"
    version: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Unverified(f'unknown kind of evidence "{self.kind}"{nearest(self.kind, KINDS)}')
        if self.version not in KINDS[self.kind]:
            raise Unverified(f"evidence {self.kind}@{self.version} is of a version this Pellucid does not know")
        if self.tier not in TIERS:
            raise Unverified(f'unknown tier "{self.tier}"', where=self.kind)
        if self.coverage not in COVERAGE:
            raise Unverified(f'unknown coverage "{self.coverage}"', where=self.kind)
        missing = KINDS[self.kind][self.version] - self.values.keys()
        if missing:
            raise Unverified(f"evidence lacks {', '.join(sorted(missing))}", where=self.kind)
        if (bent := _bent(self.values, self.kind)) is not None:
            raise Unverified("the ends of an interval are the wrong way round", where=bent)

    def statement(self) -> dict[str, Any]:
        """The in-toto Statement v1 as JSON."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.subject.name, "digest": {"sha256": self.subject.sha256}}],
            "predicateType": f"{PREDICATE_PREFIX}{self.kind}:{self.version}",
            "predicate": {
                "values": dict(self.values),
                "how": dict(self.how),
                "error": dict(self.error),
                "coverage": self.coverage,
                "tier": self.tier,
            },
        }

    @classmethod
    def from_statement(cls, statement: Any, *, where: str = "statement") -> Evidence:
        """The evidence in a statement.

        Raises:
            Unverified: The statement is not one of ours, exactly.
        """
        try:
            if statement["_type"] != STATEMENT_TYPE or set(statement) != {
                "_type",
                "subject",
                "predicateType",
                "predicate",
            }:
                raise Unverified("not an in-toto statement of Pellucid", where=where)
            (subject,) = statement["subject"]
            prefix, kind, version = statement["predicateType"].rsplit(":", 2)
            predicate = statement["predicate"]
            if f"{prefix}:" != PREDICATE_PREFIX or set(predicate) != {"values", "how", "error", "coverage", "tier"}:
                raise Unverified("not a predicate of Pellucid", where=where)
            return cls(
                kind=kind,
                version=int(version),
                subject=Subject(subject["name"], subject["digest"]["sha256"]),
                values=predicate["values"],
                how=predicate["how"],
                error=predicate["error"],
                coverage=predicate["coverage"],
                tier=predicate["tier"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unverified("not an in-toto statement of Pellucid", where=where) from error


Status = Literal["pass", "fail", "unmeasured", "waived"]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one requirement.

    Attributes:
        id: The requirement's id.
        status: ``pass``, ``fail``, ``unmeasured`` (never counted as pass) or ``waived``.
        severity: ``error`` or ``warning``.
        that: The CEL expression.
        because: Why the rule is there.
        values: What each path of the expression resolved to; a path that did not resolve maps to None.
        fix: What to do next.
    """

    id: str
    status: Status
    severity: Severity
    that: str
    because: str
    values: Mapping[str, Any]
    fix: str = ""

    def document(self) -> dict[str, Any]:
        """The JSON document of the command line contract."""
        return {
            "id": self.id,
            "status": self.status,
            "severity": self.severity,
            "that": self.that,
            "because": self.because,
            "values": dict(self.values),
            "fix": self.fix,
        }


def _bent(value: Any, path: str) -> str | None:
    """The path of an interval whose ends are the wrong way round, if there is one. No nesting is too deep for it."""
    open_: list[tuple[Any, str]] = [(value, path)]
    while open_:
        value, path = open_.pop()
        if isinstance(value, Mapping):
            low, high = value.get("low"), value.get("high")
            if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
                return path
            inner: Iterable[tuple[str, Any]] = ((f".{name}", each) for name, each in value.items())
        else:
            inner = ((f"[{place}]", each) for place, each in enumerate(value))
        open_ += [(each, path + step) for step, each in inner if isinstance(each, Mapping | list | tuple)]
    return None
