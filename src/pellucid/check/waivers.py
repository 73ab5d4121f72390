"""Waivers: a failure that a named person answers for until a date.

    [[waive]]
    id = "fairness.selection"
    reason = "the new threshold ships with 2.4; tracked in CR-118"
    owner = "ana"
    expires = 2026-09-30

A waiver is narrow. It turns a failure of one requirement into *waived*, never an unmeasured one, never two, never
longer than its last day; and it counts only if an owner adopted the file's digest, so that whoever may edit a file
may not thereby release a model.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pellucid.check.requirements import ReleasePolicy, decode, read_bytes
from pellucid.check.tables import Table, array
from pellucid.errors import BadFile, nearest
from pellucid.evidence import digest
from pellucid.schema import parse_toml

__all__ = ["Waiver", "parse_waivers", "read_waivers", "waivers_digest"]


@dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver.

    Attributes:
        id: The requirement it is about.
        reason: Why it is tolerable.
        owner: Who answers for it.
        expires: The last day on which it counts.
        adopted: Whether an owner adopted the file it stands in.
    """

    id: str
    reason: str
    owner: str
    expires: dt.date
    adopted: bool


def waivers_digest(path: Path | str) -> str:
    """SHA-256 of a waivers file: what an owner adopts.

    Raises:
        BadFile: It cannot be read.
    """
    return digest(read_bytes(Path(path)))


def read_waivers(path: Path | str, policy: ReleasePolicy, *, adopted: bool) -> tuple[Waiver, ...]:
    """The waivers in a file. An empty file holds none.

    Args:
        path: The file.
        policy: The policy whose requirements it may name.
        adopted: Whether an owner adopted exactly these bytes (:func:`waivers_digest`).

    Raises:
        BadFile: As :func:`parse_waivers`, or there is no such file.
    """
    ids = [requirement.id for requirement in policy.requirements]
    return parse_waivers(read_bytes(Path(path)), ids, adopted=adopted, where=str(path))


def parse_waivers(data: bytes, known: Iterable[str], *, adopted: bool, where: str = "waivers") -> tuple[Waiver, ...]:
    """The waivers in TOML bytes; ``known`` are the ids of the policy's requirements.

    Raises:
        BadFile: Not TOML; an unknown key or id (with the nearest known one); an id twice; no reason, owner or expiry.
    """
    text = decode(data, where)
    document = parse_toml(text, where=where)
    Table(document, where).only({"waive"})
    ids = list(known)
    found: dict[str, Waiver] = {}
    for table in array(document, "waive", text, where):
        table.only({"id", "reason", "owner", "expires"})
        name = table.identifier()
        if name not in ids:
            raise BadFile(f'the policy has no requirement "{name}"{nearest(name, ids)}', where=table.where)
        if name in found:
            raise BadFile(f'"{name}" is waived twice', where=table.where)
        found[name] = Waiver(name, table.text("reason"), table.text("owner"), table.date("expires"), adopted)
    return tuple(found.values())
