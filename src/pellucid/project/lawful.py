"""Which entries of the log count: those whose signer held a fitting role when signing.

The log holds whatever a holder of the log key appended, and nothing can be taken out of it. So what is read from it, a
budget, a sealed version, a reservation, evidence, counts only by these rules; everything else is shown by ``log show``
and believed by nobody. The access policy may allow less than this, never more: what would not count is never written.
So it is with steps that are given back to the budget: never those that a model or a release was made of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from pellucid.errors import Tampered
from pellucid.keys import VerifyKey
from pellucid.log.entries import Entry

__all__ = ["SIGNERS", "TRUST", "Standing"]

_MAKES: Final = frozenset({"dataset", "training", "privacy", "provenance", "tuning", "unsafe"})
_PAID: Final = frozenset({"training", "tuning", "release"})  # what steps are taken for
_MAKERS: Final = frozenset({"owner", "scientist"})
_KEEPERS: Final = frozenset({"owner", "steward"})
SIGNERS: Final = frozenset({"owner", "steward", "scientist", "auditor"})
_MEMBER: Final = frozenset({"plan", "events", "epsilon", "delta", "purpose"})  # of a pre-registered set
TRUST: Final = frozenset({"genesis", "role-key", "grant", "revoke", "adopt"})


class Standing:
    """The fold that tells which entries count. Feed it every entry in order."""

    def __init__(self, owner: VerifyKey) -> None:
        self._owner = owner
        self._held: dict[tuple[str, str], tuple[str, str | None]] = {}
        self._adopted: dict[str, set[str]] = {}
        self._sealed: set[tuple[str, int]] = set()
        self._reserved: dict[str, tuple[str, int]] = {}
        self._settled: dict[str, tuple[str, int]] = {}
        self._registered: set[str] = set()
        self._runs: dict[str, str] = {}
        self._reservations: dict[str, str] = {}  # by run
        self._made: dict[str, str] = {}  # the digest of a run's model
        self._shown: dict[str, int] = {}  # reservation -> the steps without which its evidence could not be
        self.size = 0
        self.counted: list[Entry] = []
        self.ignored: list[tuple[int, str]] = []

    def copy(self) -> Standing:
        """An independent fold at the same place, to try entries on."""
        other = Standing(self._owner)
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, dict | set | list) else value)
        other._adopted = {what: digests.copy() for what, digests in self._adopted.items()}
        return other

    def feed(self, entries: Sequence[Entry]) -> None:
        """Fold the next entries."""
        for entry in entries:
            try:
                why = self._why_not(entry)
            except (KeyError, TypeError, ValueError, AttributeError):
                why = "its values are not of their form"
            if why is None:
                self._take(entry)
                self.counted.append(entry)
            else:
                self.ignored.append((entry.index, why))
            self.size += 1

    def require(self, entries: Sequence[Entry]) -> None:
        """Refuse entries that would not count, before they are written.

        Raises:
            Tampered: One of them would not count.
        """
        trial = self.copy()
        before = len(trial.ignored)
        trial.feed(entries)
        for index, why in trial.ignored[before:]:
            raise Tampered(f"this would not count and is not written: {why}", where=f"log entry {index}")

    # -- the rules ----------------------------------------------------------------------------------------------------

    def _roles(self, entry: Entry) -> frozenset[str]:
        """The roles that the signer held on the day of signing."""
        if entry.signer == self._owner:
            return frozenset({"owner"})
        day = _day(entry)
        return frozenset(
            role
            for (_, role), (key, expires) in self._held.items()
            if key == entry.signer.line and (expires is None or day <= expires)
        )

    def _why_not(self, entry: Entry) -> str | None:
        body: Any = entry.body
        if entry.kind in TRUST:
            return None if entry.signer == self._owner else "only the owner signs for trust"
        roles = self._roles(entry)
        if not roles:
            return f"{entry.signer.name} held no role"
        if entry.kind == "evidence":
            return self._evidence(entry, roles)
        if entry.kind == "decision":
            return None
        if entry.kind in ("budget", "purpose-budget"):
            return None if roles & _KEEPERS else "budgets are set by owner or steward"
        if entry.kind == "register":
            return self._register(body, roles)
        if entry.kind == "halt":
            if not roles & _KEEPERS:
                return "runs are halted by owner or steward"
            return None if body["reservation"] in self._reserved else "there is no such reservation"
        if entry.kind == "lineage":
            return self._lineage(body, roles)
        if entry.kind == "seal":
            return self._seal(body, roles)
        if entry.kind == "reserve":
            if not roles & _MAKERS:
                return "runs are reserved by owner or scientist"
            taken = body["reservation"] in self._reserved or body["run"] in self._runs
            return "this run or reservation exists already" if taken else None
        return self._settle(entry)

    def _seal(self, body: Any, roles: frozenset[str]) -> str | None:
        if not roles & _KEEPERS:
            return "data is sealed by owner or steward"
        if (body["dataset"], body["version"]) in self._sealed:
            return "this version is sealed already"
        if body["schema_sha256"] not in self._adopted.get(f"schema/{body['dataset']}", ()):
            return "no owner adopted this schema"
        return None

    def _register(self, body: Any, roles: frozenset[str]) -> str | None:
        if not roles & _MAKERS:
            return "plans are registered by owner or scientist"
        if body["registration"] in self._registered:
            return "this registration exists already"
        members = body["plans"]
        if not isinstance(members, list) or not members or any(set(member) != _MEMBER for member in members):
            return "a registration is a list of plans"
        return None

    def _lineage(self, body: Any, roles: frozenset[str]) -> str | None:
        if not roles & _KEEPERS:
            return "where data comes from is said by owner or steward"
        known = [(body["dataset"], body["version"]), *((p["dataset"], p["version"]) for p in body["parents"])]
        return None if all(version in self._sealed for version in known) else "this version was never sealed"

    def _settle(self, entry: Entry) -> str | None:
        body: Any = entry.body
        if body["reservation"] not in self._reserved:
            return "there is no such reservation"
        signer, planned = self._reserved[body["reservation"]]
        if body["reservation"] in self._settled and body["status"] != "abandoned":
            return "this run is settled already"
        if not 0 <= body["steps"] <= planned:
            return "more steps than were reserved"
        if body["status"] == "abandoned":
            return None if body["steps"] == planned else "an abandoned run counts whole"
        if body["steps"] < self._shown.get(body["reservation"], 0):
            return "fewer steps than what it made took"
        return None if entry.signer.line == signer else "a run is settled by whoever reserved it"

    def _evidence(self, entry: Entry, roles: frozenset[str]) -> str | None:
        evidence = entry.evidence
        if evidence.kind == "dataset":
            return None if roles & _MAKERS else "not from owner or scientist"
        if evidence.kind == "release":
            paid = self._runs.get(str(evidence.values.get("name"))) == entry.signer.line
            return self._refunded(entry) if paid else "not signed by whoever reserved the release"
        maker = self._runs.get(evidence.subject.name)
        if maker is None:
            return "there is no such run"
        made = self._made.get(evidence.subject.name)
        if made is not None and (evidence.kind == "training" or evidence.subject.sha256 != made):
            return "a run makes one model, and this one's has other weights or is trained already"
        if evidence.kind in _MAKES:
            return self._refunded(entry) if entry.signer.line == maker else "not signed by whoever reserved the run"
        return None if roles & SIGNERS else "this role signs no evidence"

    def _refunded(self, entry: Entry) -> str | None:
        """Nobody takes steps back that something was made of: the ledger would no longer count them."""
        reservation, took = self._took(entry)
        status, steps = self._settled.get(reservation, ("", took))
        return "its run was settled with fewer steps" if status != "abandoned" and steps < took else None

    def _took(self, entry: Entry) -> tuple[str, int]:
        """The reservation that a statement rests on, and how many of its steps it took to make it."""
        evidence = entry.evidence
        run = str(evidence.values.get("name")) if evidence.kind == "release" else evidence.subject.name
        reservation = self._reservations[run]
        planned = self._reserved[reservation][1]
        if evidence.kind in ("release", "tuning"):
            return reservation, planned
        # of a tuning, the steps of its best trial are others than those that were reserved
        return reservation, min(evidence.values["steps"], planned) if evidence.kind == "training" else 0

    def _take(self, entry: Entry) -> None:
        body: Any = entry.body
        if entry.kind == "grant":
            # by name, so that a revocation finds it, and with the key, so that a name's old key holds nothing
            person = body["identity"]
            self._held[person["name"], body["role"]] = (person["verifier"], body["expires"])
        elif entry.kind == "revoke":
            self._held.pop((body["identity"], body["role"]), None)
        elif entry.kind == "adopt":
            # the newest adoption of a name is the one in force
            self._adopted[body["what"]] = {body["sha256"]}
        elif entry.kind == "seal":
            self._sealed.add((body["dataset"], body["version"]))
        elif entry.kind == "reserve":
            self._reserved[body["reservation"]] = (entry.signer.line, planned_steps(entry))
            self._runs[body["run"]] = entry.signer.line
            self._reservations[body["run"]] = body["reservation"]
        elif entry.kind == "register":
            self._registered.add(body["registration"])
        elif entry.kind == "settle":
            self._settled[body["reservation"]] = (body["status"], body["steps"])
        elif entry.kind == "evidence" and entry.evidence.kind in _PAID:
            reservation, took = self._took(entry)
            self._shown[reservation] = max(took, self._shown.get(reservation, 0))
            if entry.evidence.kind == "training":
                self._made[entry.evidence.subject.name] = entry.evidence.subject.sha256


def planned_steps(entry: Entry) -> int:
    """All steps of a reservation."""
    return sum(int(event["count"]) for event in entry.body["events"])


def _day(entry: Entry) -> str:
    at = entry.evidence.how["at"] if entry.kind == "evidence" else entry.body["at"]
    return dt.datetime.strptime(str(at), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC).date().isoformat()
