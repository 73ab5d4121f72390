"""What the leaves of the log mean.

A leaf is the canonical JSON bytes of a DSSE envelope with one signature. Its payload is canonical JSON too, of one of
two types: evidence (an in-toto statement) or a record, ``{"kind": …, "at": "2026-03-01T12:00:00Z", …}``. What a record
does (who holds a role, what a budget has left) is a fold that belongs to the room it is about; here stands which
records there are and which fields each has.

Evolution law, for whoever adds to :data:`RECORDS`:

1. A kind that was published is never removed, and neither its fields nor their meaning ever change.
2. A record has exactly the fields its kind names: none is missing, none is added. What needs another field is
   another kind.
3. An unknown kind is refused, never skipped: a verifier that cannot read an entry cannot vouch for the log.
4. Numbers are JSON numbers; epsilon and noise inside ``events`` are decimal strings. A number that is not known is
   ``null``, never 0.
"""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from pellucid.errors import Misuse, Tampered, Unverified, nearest
from pellucid.evidence import Evidence, canonical, parse_canonical
from pellucid.keys import SigningKey, VerifyKey, open_envelope, seal_envelope

__all__ = ["PAYLOAD_EVIDENCE", "PAYLOAD_RECORD", "RECORDS", "Entry", "parse", "seal_evidence", "seal_record"]

PAYLOAD_EVIDENCE: Final = "application/vnd.in-toto+json"
PAYLOAD_RECORD: Final = "application/vnd.pellucid.record+json"

# kind -> the fields it has beside kind and at
RECORDS: Final[Mapping[str, frozenset[str]]] = {
    # trust: who owns the project, who is who
    "genesis": frozenset({"project", "owner", "log"}),
    "role-key": frozenset({"role", "generation", "public", "wrapped"}),
    "grant": frozenset({"role", "generation", "identity", "wrapped", "log_key", "expires"}),
    "revoke": frozenset({"role", "identity"}),
    # rules: what an owner put into force, what was decided by it
    "adopt": frozenset({"what", "sha256"}),
    "decision": frozenset(
        {
            "identity",
            "roles",
            "action",
            "resource",
            "purpose",
            "allowed",
            "policies",
            "policy_sha256",
            "schema_sha256",
            "reason",
        }
    ),
    # data
    "seal": frozenset({"dataset", "version", "manifest_sha256", "schema_sha256"}),
    # the ledger: a budget, what is reserved before the first step, what was spent after the last
    "budget": frozenset({"dataset", "epsilon", "delta", "order"}),
    "purpose-budget": frozenset({"dataset", "purpose", "epsilon", "delta", "order"}),
    "reserve": frozenset({"reservation", "dataset", "run", "plan", "events", "epsilon", "delta", "purpose"}),
    "settle": frozenset({"reservation", "status", "steps"}),
    # plans that are all fixed, and reserved, before the first of them runs: a reservation of one of them takes it up
    "register": frozenset({"registration", "dataset", "plans", "epsilon", "delta"}),
    # a steward ends a run that is under way: it stops before its next step and settles what it took
    "halt": frozenset({"reservation"}),
    # this version was made of people of those: they share a budget
    "lineage": frozenset({"dataset", "version", "parents"}),
}

# fields that are themselves a public identity
_IDENTITIES: Final = {"genesis": "owner", "grant": "identity"}
_IDENTITY: Final = {"name", "verifier", "wrapping"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log, its envelope verified. Whether its signer is trusted is the caller's question.

    Attributes:
        index: Its place, from 0.
        kind: ``evidence``, or a name of :data:`RECORDS`.
        body: The payload as JSON: the statement, or the record with its ``kind`` and ``at``.
        signer: The key that signed it.
        leaf: The bytes in the log.
    """

    index: int
    kind: str
    body: Mapping[str, Any] = field(hash=False)
    signer: VerifyKey
    leaf: bytes = field(repr=False)

    @property
    def evidence(self) -> Evidence:
        """The evidence in this entry.

        Raises:
            Misuse: It holds a record.
        """
        if self.kind != "evidence":
            raise Misuse(f"this entry is a {self.kind}, not evidence", where=f"log entry {self.index}")
        return Evidence.from_statement(self.body, where=f"log entry {self.index}")


def seal_record(kind: str, fields: Mapping[str, Any], signer: SigningKey, at: dt.datetime) -> bytes:
    """The leaf of a record.

    Args:
        kind: A name of :data:`RECORDS`.
        fields: Exactly the fields of that kind, as JSON.
        signer: Who says so.
        at: When, with a time zone; written in UTC, to the second.

    Raises:
        Misuse: Unknown kind, a field missing or too many, or a time without a zone.
        BadFile: A value is not JSON.
    """
    if kind not in RECORDS:
        raise Misuse(f'there is no record of kind "{kind}"{nearest(kind, RECORDS)}')
    if at.tzinfo is None:
        raise Misuse("a record's time needs a time zone", where=kind)
    record = {**fields, "kind": kind, "at": f"{at.astimezone(dt.UTC).replace(tzinfo=None).isoformat('T', 'seconds')}Z"}
    wrong = "kind or at among the fields" if {"kind", "at"} & fields.keys() else _wrong(record)
    if wrong:
        raise Misuse(f"this is not a record: {wrong}", where=kind)
    return canonical(seal_envelope(PAYLOAD_RECORD, canonical(record), signer))


def seal_evidence(evidence: Evidence, signer: SigningKey) -> bytes:
    """The leaf of a piece of evidence.

    Raises:
        BadFile: A value is not JSON.
    """
    return canonical(seal_envelope(PAYLOAD_EVIDENCE, canonical(evidence.statement()), signer))


def parse(index: int, leaf: bytes, *, known: bool = False) -> Entry:
    """The entry in a leaf: canonical bytes, one envelope, one fitting signature, known kind, exact fields.

    Args:
        index: The leaf's place in the log, for the entry and for errors.
        leaf: The bytes in the log.
        known: These very bytes were parsed before, by this code: nothing of this is looked at again.

    Raises:
        Tampered: Anything else; ``where`` names the entry.
    """
    if known:
        return _again(index, leaf)
    where = f"log entry {index}"
    envelope = parse_canonical(leaf, where=where)
    evidence = isinstance(envelope, dict) and envelope.get("payloadType") == PAYLOAD_EVIDENCE
    payload, signer = open_envelope(envelope, PAYLOAD_EVIDENCE if evidence else PAYLOAD_RECORD, where=where)
    body = parse_canonical(payload, where=where)
    if not isinstance(body, dict):
        raise Tampered("the payload is not a JSON object", where=where)
    if evidence:
        _check_statement(body, payload, where=where)
        return Entry(index, "evidence", body, signer, leaf)
    wrong = _wrong(body)
    if wrong:
        raise Tampered(f"not a record: {wrong}", where=where, fix="if a newer Pellucid wrote this log, upgrade")
    return Entry(index, body["kind"], body, signer, leaf)


def _again(index: int, leaf: bytes) -> Entry:
    envelope = json.loads(leaf)
    body = json.loads(b64decode(envelope["payload"]))
    kind = "evidence" if envelope["payloadType"] == PAYLOAD_EVIDENCE else body["kind"]
    return Entry(index, kind, body, _key(envelope["signatures"][0]["keyid"]), leaf)


@lru_cache(maxsize=256)
def _key(line: str) -> VerifyKey:
    return VerifyKey.parse(line)


def _check_statement(body: dict[str, Any], payload: bytes, *, where: str) -> None:
    try:
        again = canonical(Evidence.from_statement(body, where=where).statement())
    except Unverified as error:
        fix = "if a newer Pellucid wrote this log, upgrade"
        raise Tampered(f"not evidence: {error.what}", where=where, fix=fix) from error
    if again != payload:  # a field that nobody reads could say anything
        raise Tampered("the statement says more than evidence can", where=where)


def _wrong(record: Mapping[str, Any]) -> str | None:
    """What keeps ``record`` from being one, or None."""
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in RECORDS:
        return f"unknown kind {kind!r:.60}"
    fields = RECORDS[kind] | {"kind", "at"}
    if record.keys() != fields:
        missing, more = sorted(fields - record.keys()), sorted(record.keys() - fields)
        return "; ".join(
            f"{what} {', '.join(map(repr, names))}" for what, names in (("lacks", missing), ("has", more)) if names
        )
    if not _is_time(record["at"]):
        return "at is not a UTC time to the second, such as 2026-03-01T12:00:00Z"
    person = record[_IDENTITIES[kind]] if kind in _IDENTITIES else None
    if kind in _IDENTITIES and not (
        isinstance(person, Mapping) and person.keys() == _IDENTITY and all(isinstance(v, str) for v in person.values())
    ):
        return f"{_IDENTITIES[kind]} is not an identity (name, verifier, wrapping)"
    return None


def _is_time(text: Any) -> bool:
    try:
        moment = dt.datetime.fromisoformat(text.removesuffix("Z"))
    except (AttributeError, TypeError, ValueError):
        return False
    return moment.tzinfo is None and f"{moment.isoformat('T', 'seconds')}Z" == text
