"""What every export reads: the evidence of one model, and its estimates in one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pellucid.evidence import COVERAGE, Evidence, Subject

__all__ = ["Estimated", "Statements"]

_OVERALL: Final = (("evaluation", "auc"), ("evaluation", "accuracy"), ("calibration", "ece"), ("calibration", "brier"))
_RATES: Final = ("auc", "accuracy", "selection_rate", "true_positive_rate", "false_positive_rate")


class Estimated(NamedTuple):
    """One estimate: its name, its 95 % interval, the group it is about (empty: everybody), and its coverage."""

    name: str
    value: float
    low: float
    high: float
    n: int
    group: str
    coverage: str


@dataclass(frozen=True, slots=True)
class Statements:
    """Verified evidence about one model.

    Attributes:
        project: The project's name.
        subject: The model.
        evidence: In the order of the bundle; the last of a kind counts.
        bundle_sha256: Digest of the bundle that it stands in.
        owner: Verifier-key line of the owner at the root of trust.
    """

    project: str
    subject: Subject
    evidence: Sequence[Evidence]
    bundle_sha256: str
    owner: str

    @property
    def created(self) -> str:
        """The instant of the newest evidence, never the clock; empty where no evidence says one."""
        return max((str(item.how.get("at", "")) for item in self.evidence), default="")

    def of(self, kind: str) -> Mapping[str, Any]:
        """The values of the last evidence of ``kind``; empty where there is none."""
        return next((item.values for item in reversed(self.evidence) if item.kind == kind), {})

    def said(self, section: str, key: str) -> str:
        """What people wrote in a part of ``model.toml``; empty where they wrote nothing."""
        words = self.of("card").get(section)
        return str(words.get(key, "")) if isinstance(words, Mapping) else ""

    def estimates(self) -> Iterator[Estimated]:
        """Every estimate of performance: of everybody, then by group. What was not measured is not there."""
        for kind, name in _OVERALL:
            yield from _estimated(name, self.of(kind).get(name), "", self._coverage(kind))
        columns = self.of("fairness").get("columns", {})
        for column in sorted(columns):
            for group in columns[column]["groups"]:
                for name in _RATES:
                    where = f"{column}: {group['group']}"
                    yield from _estimated(name, group.get(name), where, self._coverage("fairness"))

    def _coverage(self, kind: str) -> str:
        return next((COVERAGE[item.coverage] for item in reversed(self.evidence) if item.kind == kind), "")


def _estimated(name: str, value: Any, group: str, coverage: str) -> Iterator[Estimated]:
    if isinstance(value, Mapping) and value.keys() >= {"value", "low", "high", "n"}:
        yield Estimated(name, value["value"], value["low"], value["high"], int(value["n"]), group, coverage)
