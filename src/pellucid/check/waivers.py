"""Waivers: a failure that a named person answers for until a date.

    [[waive]]
    id = "fairness.gap"
    scope = "credit-risk@1"              # a model's name, with or without version; * stands for any part
    owner = "ana"                        # who answers for it
    reason = "the new threshold ships with 2.4; tracked in CR-118"
    expires = 2026-12-31                 # the last day on which it counts
    signed = "eyJ…"                      # by `pellucid waive`

A waiver is narrow. It turns a failure of one requirement, as that stood when it was signed, into *waived*, never an
unmeasured one, for the models in its scope, never longer than its last day; and it counts only under the signature of
somebody who held a role that the policy lets waive, so that whoever may edit a file may not thereby release a model.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pellucid.check.files import decode, read_bytes
from pellucid.check.policy import ReleasePolicy
from pellucid.check.scope import named
from pellucid.check.tables import Table, array
from pellucid.errors import BadFile, nearest
from pellucid.schema import parse_toml

__all__ = ["SOON", "WAIVERS_FILE", "Waiver", "fitting", "parse_waivers", "read_waivers", "when"]

WAIVERS_FILE: Final = "waivers.toml"
"""Stands beside the release policy."""
SOON: Final = dt.timedelta(days=30)
"""A waiver that ends within this time is warned of."""
_KEYS: Final = frozenset({"id", "scope", "owner", "reason", "expires", "signed"})


@dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver.

    Attributes:
        id: The requirement it is about.
        scope: Pattern of the models it is for.
        owner: Who answers for it.
        reason: Why it is tolerable.
        expires: The last day on which it counts.
        signed: The signature with what is needed to believe it (:mod:`pellucid.check.signatures`); may be empty.
        where: The file, line and entry.
        line: Its line in the file, from 1.
        refused: Why it does not count; empty if it was looked at and counts. ``None`` before it was looked at.
        signer: Who signed it, once that was looked at.
    """

    id: str
    scope: str
    owner: str
    reason: str
    expires: dt.date
    signed: str = ""
    where: str = "waivers"
    line: int = 1
    refused: str | None = None
    signer: str = ""

    def covers(self, model: str) -> bool:
        """Whether a model, such as ``credit-risk@1``, is in its scope."""
        return named((self.scope,), model)

    def looked_at(self, refused: str, signer: str = "") -> Waiver:
        """The same waiver with the outcome of looking at its signature."""
        return replace(self, refused=refused, signer=signer)

    def statement(self, project: str, policy: ReleasePolicy) -> dict[str, Any]:
        """What is signed, but for the moment: every field that a reader sees, the project, and the rule as it stood.

        The rule is its expression with the values of the parameters it reads: whoever waived ``ece <= 0.05`` has not
        waived what stands under that id a year later.
        """
        rule = policy.by_id[self.id]
        return {
            "format": "pellucid/waiver@1",
            "project": project,
            "that": rule.that,
            "parameters": {name: policy.parameters[name] for name in sorted(rule.program.parameters)},
            "id": self.id,
            "scope": self.scope,
            "owner": self.owner,
            "reason": self.reason,
            "expires": self.expires.isoformat(),
        }


def read_waivers(path: Path | str, policy: ReleasePolicy) -> tuple[Waiver, ...]:
    """The waivers in a file, their signatures not yet looked at. An empty file holds none.

    Raises:
        BadFile: As :func:`parse_waivers`, or there is no such file.
    """
    ids = [requirement.id for requirement in policy.requirements]
    return parse_waivers(read_bytes(Path(path)), ids, where=str(path))


def parse_waivers(data: bytes, known: Iterable[str], *, where: str = WAIVERS_FILE) -> tuple[Waiver, ...]:
    """The waivers in TOML bytes; ``known`` are the ids of the policy's requirements.

    Raises:
        BadFile: Not TOML; an unknown key or id (with the nearest known one); an id twice for one scope; no scope,
            reason, owner or expiry.
    """
    text = decode(data, where)
    document = parse_toml(text, where=where)
    Table(document, where).only({"waive"})
    ids = list(known)
    found: dict[tuple[str, str], Waiver] = {}
    for table in array(document, "waive", text, where):
        table.only(_KEYS)
        name, scope = table.identifier(), table.text("scope")
        if name not in ids:
            raise BadFile(f'the policy has no requirement "{name}"{nearest(name, ids)}', where=table.where)
        if (name, scope) in found:
            raise BadFile(f'"{name}" is waived twice for {scope}', where=table.where)
        found[name, scope] = Waiver(
            name,
            scope,
            table.text("owner"),
            table.text("reason"),
            table.date("expires"),
            table.text("signed", ""),
            table.where,
            table.line or 1,
        )
    return tuple(found.values())


def fitting(waivers: Sequence[Waiver], requirement: str, model: str) -> Waiver | None:
    """The waiver of a requirement for a model: of several, one that counts, and of these the one that ends last."""
    found = [waiver for waiver in waivers if waiver.id == requirement and waiver.covers(model)]
    return max(found, key=lambda waiver: (not waiver.refused, waiver.expires), default=None)


def when(days: int) -> str:
    """How far off a day is that is not past: ``today``, ``tomorrow``, ``in 12 days``."""
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
