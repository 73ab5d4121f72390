"""Whose word a waiver is: its signature, and the chain of grants that lets the signer waive. Offline.

``signed`` is base64 of canonical JSON ``{"envelope": …, "grants": [envelope, …]}``. The envelope is DSSE over the
waiver's fields, the rule as it stood, the project and the moment of signing. The grants are the entries of the
project's log that gave the signer a role or took it away, each signed by the owner: so the waiver file and the owner's
key are all that a verifier needs. A revocation that was left out of the file and stands in the bundle counts too; one
that stands in neither cannot be known offline (docs/threat-model.md).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pellucid.bundle import Bundle, Verified, role_holder
from pellucid.check.policy import ReleasePolicy
from pellucid.check.waivers import Waiver
from pellucid.errors import PellucidError
from pellucid.evidence import canonical, parse_canonical
from pellucid.keys import SigningKey, VerifyKey, b64, open_envelope, seal_envelope, unb64
from pellucid.log.entries import Entry, parse

__all__ = ["PAYLOAD", "look_at", "sign"]

PAYLOAD: Final = "application/vnd.pellucid.waiver+json"


def sign(
    waiver: Waiver,
    project: str,
    policy: ReleasePolicy,
    signer: SigningKey,
    grants: Sequence[Entry],
    at: dt.datetime,
) -> str:
    """The text for ``signed``.

    Args:
        waiver: What is signed.
        project: The project's name.
        policy: The policy whose requirement it is.
        signer: Whose word it is.
        grants: Entries that granted the signer a role or revoked one; none for the owner.
        at: The moment, in UTC.
    """
    statement = {**waiver.statement(project, policy), "at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    envelope = seal_envelope(PAYLOAD, canonical(statement), signer)
    carried = [{"index": entry.index, "envelope": parse_canonical(entry.leaf, where="log")} for entry in grants]
    return b64(canonical({"envelope": envelope, "grants": carried}))


def look_at(waiver: Waiver, verified: Verified, bundle: Bundle, policy: ReleasePolicy, now: dt.datetime) -> Waiver:
    """The waiver with ``refused`` set: empty if somebody who may has signed exactly this.

    Args:
        waiver: As read.
        verified: What the bundle proves: the project and its trusted owner.
        bundle: The bundle, whose own grants and revocations count too.
        policy: The policy in force: its requirement is the one that was waived, and it names the roles that may waive.
        now: The moment of the check, in UTC.
    """
    if not waiver.signed:
        return waiver.looked_at(f"nobody signed it: pellucid waive {waiver.id} does")
    roles = policy.waiving
    try:
        said, signer, carried = _opened(waiver.signed)
        expected = {**waiver.statement(verified.project, policy), "at": said.get("at")}
        if expected != said:
            rule = ("that", "parameters")
            if {**expected, **{name: said.get(name) for name in rule}} == said:
                return waiver.looked_at(f"the requirement was another when it was signed: {_rule(said)}")
            return waiver.looked_at("it is not what was signed, or was signed for another project")
        at = dt.datetime.strptime(str(said["at"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
        if at > now + dt.timedelta(hours=1):
            return waiver.looked_at(f"it was signed at {said['at']}, which is still to come by this clock")
        if signer == verified.owner:
            mine = signer.person
            return waiver.looked_at("" if "owner" in roles else f"{mine} is owner, and {_who(roles)} waives here", mine)
        # by the owner's own time: the place in the log of what the file carries is nobody's word
        known = {entry.leaf: entry for entry in [*carried, *(parse(i.index, i.leaf) for i in bundle.grants)]}
        ordered = sorted(known.values(), key=lambda entry: (str(entry.body["at"]), entry.kind == "revoke"))
        numbered = [replace(entry, index=place) for place, entry in enumerate(ordered)]
        # held then, by the signer's word, and still held by this clock: nobody waives for an earlier day
        name = role_holder(numbered, verified.owner, signer, roles, at)
        name = name and role_holder(numbered, verified.owner, signer, roles, now)
    except (PellucidError, ValueError, KeyError, TypeError, AttributeError):
        return waiver.looked_at("its signature does not hold")
    if name is None:
        return waiver.looked_at(f"{signer.name} holds no role that may waive ({_who(roles)}), or held none then")
    return waiver.looked_at("", name)


def _opened(signed: str) -> tuple[dict[str, Any], VerifyKey, list[Entry]]:
    where = "signed"
    document = parse_canonical(unb64(signed, where=where), where=where)
    payload, signer = open_envelope(document["envelope"], PAYLOAD, where=where)
    carried = [parse(item["index"], canonical(item["envelope"])) for item in document["grants"]]
    return parse_canonical(payload, where=where), signer, carried


def _rule(said: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name} = {value}" for name, value in dict(said.get("parameters") or {}).items())
    return f"{said.get('that')}" + (f" with {values}" if values else "")


def _who(roles: Collection[str]) -> str:
    return " or ".join(sorted(roles))
