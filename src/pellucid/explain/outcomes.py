"""What became of the expectations of a file: results, and the evidence that they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from pellucid.evidence import Coverage, Estimate, Evidence, Subject, Tier
from pellucid.explain import proxies
from pellucid.explain.directions import POINTS
from pellucid.explain.expected import About, Expectation, Expectations, Limit, Monotone, Proxy, Sign
from pellucid.explain.intervals import versions

__all__ = ["BACKGROUND", "EXPLAINED", "PUBLIC", "WALKS", "Outcome", "Outcomes", "Status"]

PUBLIC: Final = 2000  # rows made from the schema
EXPLAINED: Final = 1000  # rows whose Shapley values are estimated
BACKGROUND: Final = 100  # rows they are relative to
WALKS: Final = 8  # pairs of walks for each
SHARES: Final = "shares of people like means of what one adds to the whole, over the mean; intervals outwards"
Status = Literal["met", "not met", "unmeasured"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one expectation.

    Attributes:
        expectation: As it was written.
        status: ``met``, ``not met`` or ``unmeasured``.
        measured: What was measured: estimates and numbers by name; empty where nothing was.
        reason: Why there is no measurement or no decision, or what the status rests on without one; may be empty.
        people: Held-out people were looked at.
    """

    expectation: Expectation
    status: Status
    measured: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    people: bool = False

    def values(self) -> dict[str, Any]:
        """The record of one expectation; what is absent has no key."""
        asked = self.expectation
        found: dict[str, Any] = {
            "id": asked.id,
            "kind": asked.kind,
            "about": {name: value for name, value in _fields(asked.about).items() if value is not None},
            "status": self.status,
            "because": asked.because,
        }
        if self.measured:
            found["measured"] = _json(self.measured)
        if self.reason:
            found["reason"] = self.reason
        return found

    def said(self) -> str:
        """What was measured and what was asked for, in one line: for a terminal."""
        parts = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in self.measured.items()]
        return "; ".join([*parts, _asked(self.expectation.about), *([self.reason] if self.reason else [])])


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of every expectation of a file, in its order.

    Attributes:
        items: One an expectation.
        asked: The file.
        seed: Public.
        baseline: What attributions start from, in words.
    """

    items: tuple[Outcome, ...]
    asked: Expectations
    seed: int
    baseline: str

    def count(self, status: Status) -> int:
        """How many have that status."""
        return sum(item.status == status for item in self.items)

    def values(self) -> dict[str, Any]:
        """The values of ``expectation`` evidence, version 1; the counts are of expectations, not of people."""
        return {
            "expectations": [item.values() for item in self.items],
            "status": {item.expectation.id: item.status for item in self.items},
            "met": self.count("met"),
            "not_met": self.count("not met"),
            "unmeasured": self.count("unmeasured"),
            "sha256": self.asked.sha256,
        }

    def how(self) -> Mapping[str, Any]:
        """How each kind that was asked is tested."""
        kinds = {item.expectation.kind for item in self.items}
        found: dict[str, Any] = {
            "method": "each expectation tested by itself",
            "decision": "by the whole 95 % interval; what it does not decide is unmeasured",
            "score": "log-odds, of more than two classes the logit, of " + (self.asked.outcome or "the last class"),
            "public_rows": PUBLIC,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }
        if kinds & {"monotone", "sign"}:
            found["curves"] = (
                "individual conditional expectation (Goldstein et al. 2015) of rows made from the declared schema, at "
                f"every declared category or bin, or at {POINTS} values evenly spaced on the declared scale"
            )
        limits = {item.expectation.about.by for item in self.items if isinstance(item.expectation.about, Limit)}
        if "attribution" in limits:
            found["share"] = "mean |integrated gradients| of the column over that of all columns, ratio estimator"
            found["baseline"] = self.baseline
        if "shapley" in limits:
            found["share_by_shapley"] = (
                f"the same of interventional Shapley values by {WALKS} pairs of walks: at most {EXPLAINED} rows, "
                f"relative to {BACKGROUND} others; the noise of the walks counts as size"
            )
        if limits & {"attribution", "shapley"} and any(item.people for item in self.items):
            found["rounding"] = SHARES
        if "auc" in limits:
            found["drop_in_auc"] = "permutation importance, held-out split"
        if "proxy" in kinds:
            found["proxy"] = dict(proxies.how(self.seed))
        return found

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: of public rows alone post-processing and for anyone, else for auditors."""
        people = any(item.people for item in self.items)
        coverage: Coverage = "uncovered" if people else "post-processing"
        tier: Tier = "auditor" if people else "public"
        return Evidence("expectation", subject, self.values(), self.how(), coverage, tier=tier)


def _fields(about: About) -> dict[str, Any]:
    return {each.name: getattr(about, each.name) for each in fields(about)}


def _asked(about: About) -> str:
    """What an expectation asks for, in words."""
    match about:
        case Monotone():
            slack = f" but for falls of {about.tolerance:g}" if about.tolerance else ""
            return f"{about.direction} in {about.column}{slack}"
        case Sign():
            return f"{about.column} = {about.category} is {about.sign}"
        case Limit():
            return f"{about.column} at most {about.at_most:g} by {about.by}"
        case Proxy():
            limits = (("auc", about.at_most_auc), ("use", about.use_at_most))
            return ", ".join(f"{name} of {about.of} at most {most:g}" for name, most in limits if most is not None)


def _plain(value: Any) -> str:
    if isinstance(value, Estimate):
        return f"{value.value:.3g} ({value.low:.3g} to {value.high:.3g})"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return f"{value:.3g}"


def _json(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.values()
    if isinstance(value, Mapping):
        return {name: _json(part) for name, part in value.items()}
    return round(value, 6)
