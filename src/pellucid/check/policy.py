"""The release policy: requirements on evidence, read from TOML and checked whole before anything is judged.

    include = ["baseline.toml"]                # optional: other policies, relative to this file
    [trust]
    owners = ["credit/ana+1a2b3c4d+AbCd…"]     # optional: verifier-key lines of trusted owners
    waivers = ["owner"]                        # optional: roles that may sign a waiver
    [[require]]
    …

An included file's requirements come first and cannot be taken out again: who includes a policy can only ask for more,
or give another value to a parameter that the included file declared. So it is with trust: owners and roles that several
files name are those that all of these files name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pellucid.check.files import Lines, decode, read_bytes
from pellucid.check.parameters import Declared, choose, parse_declared
from pellucid.check.requirements import Requirement, parse_requirement
from pellucid.check.tables import Table, array
from pellucid.errors import BadFile, nearest
from pellucid.evidence import canonical, digest
from pellucid.keys import VerifyKey
from pellucid.schema import parse_toml

__all__ = ["ROLES_THAT_WAIVE", "ReleasePolicy"]

ROLES_THAT_WAIVE: Final[tuple[str, ...]] = ("owner",)
MAX_FILES: Final = 50
SHOWN: Final = 10  # mistakes of a policy beside the first
_KEYS: Final = frozenset({"include", "require", "trust", "parameters", "environment"})
T = TypeVar("T")
_ROLES: Final = ("owner", "steward", "scientist", "auditor", "reader")


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """A release policy.

    Attributes:
        requirements: Those of included files first, then its own; at least one.
        owners: Owners the policy trusts; may be none.
        sha256: Digest of the file's bytes; with includes, of the digests of all files.
        where: The file.
        parameters: The values in force.
        environment: Which environment was chosen, or None.
        environments: Those there are.
        waiving: Roles that may sign a waiver.
        by_id: The requirements by id.
    """

    requirements: tuple[Requirement, ...]
    owners: tuple[VerifyKey, ...]
    sha256: str
    where: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment: str | None = None
    environments: tuple[str, ...] = ()
    waiving: tuple[str, ...] = ROLES_THAT_WAIVE
    by_id: Mapping[str, Requirement] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {each.id: each for each in self.requirements})

    @classmethod
    def read(cls, path: Path | str, *, environment: str | None = None) -> ReleasePolicy:
        """The policy in a file, in one of its environments.

        Raises:
            BadFile: As :meth:`parse`, or there is no such file.
        """
        path = Path(path)
        return cls.parse(read_bytes(path), where=str(path), folder=path.parent, environment=environment)

    @classmethod
    def parse(
        cls,
        data: bytes,
        *,
        where: str = "release policy",
        folder: Path | None = None,
        environment: str | None = None,
    ) -> ReleasePolicy:
        """The policy in TOML bytes.

        Args:
            data: The bytes.
            where: The file's name, for errors.
            folder: Where its includes are looked for; None if it may have none.
            environment: Which environment's parameters count.

        Raises:
            BadFile: Not UTF-8 or TOML; an unknown key (with the nearest known one), kind of evidence, parameter,
                environment or severity; an id twice; an expression that is not one; owners or roles that waive of which
                an included policy names none; an include that is absolute, not there, or leads back to a file that is
                being read; no requirement, because an empty policy passes all. Of several rules that are wrong, all
                are named.
        """
        reading = _Reading()
        sha256 = reading.file(data, where, folder, ())
        parameters, environments = choose([file.declared for file in reading.files], environment)
        requirements: dict[str, Requirement] = {}
        mistakes: list[BadFile] = []
        for file in reading.files:
            lines = Lines(file.text)
            for table in array(file.document, "require", file.text, file.where):
                try:
                    requirement = parse_requirement(table, lines, file.where, parameters.keys())
                    _once(requirement, requirements, table.where)
                except BadFile as error:
                    mistakes.append(error)
                else:
                    requirements[requirement.id] = requirement
        if mistakes:
            raise _together(mistakes)
        if not requirements:
            raise BadFile(
                "a policy without a requirement would pass everything",
                where=where,
                fix="write at least one [[require]]",
            )
        trust = [(file.where, *_trust(file.document, file.where)) for file in reading.files]
        owners = _common([(place, named) for place, named, _ in trust], "owners")
        waiving = _common([(place, roles) for place, _, roles in trust], "waivers") or ROLES_THAT_WAIVE
        return cls(tuple(requirements.values()), owners, sha256, where, parameters, environment, environments, waiving)


@dataclass(frozen=True, slots=True)
class _File:
    document: Mapping[str, Any]
    text: str
    where: str
    declared: Declared


class _Reading:
    """Files in the order in which they count: what is included stands before what includes it, each once."""

    def __init__(self) -> None:
        self.files: list[_File] = []
        self.digests: dict[Path, str] = {}
        self.opened = 0

    def file(self, data: bytes, where: str, folder: Path | None, trail: tuple[Path, ...]) -> str:
        """Read one file and what it includes; returns their common digest."""
        text = decode(data, where)
        document = parse_toml(text, where=where)
        Table(document, where).only(_KEYS)
        names = Table(document, where).texts("include") if "include" in document else ()
        included = [[name, self.include(name, where, folder, trail)] for name in names]
        self.files.append(_File(document, text, where, parse_declared(document, where)))
        own = digest(data)
        return digest(canonical({"policy": own, "include": included})) if included else own

    def include(self, name: str, where: str, folder: Path | None, trail: tuple[Path, ...]) -> str:
        place = f"{where}: include"
        if folder is None or Path(name).is_absolute() or "://" in name or "\\" in name:
            raise BadFile(f'"{name}" is not a path relative to this file', where=place)
        path = (folder / name).resolve()
        shown = os.path.normpath(Path(where).parent / name)
        trail = trail or (Path(where).resolve(),)
        if path in trail:
            around = " → ".join(each.name for each in (*trail[trail.index(path) :], path))
            raise BadFile(f"the policy includes itself: {around}", where=place, fix="take one of these includes out")
        if path in self.digests:
            return self.digests[path]
        self.opened += 1
        if self.opened >= MAX_FILES:
            raise BadFile(f"a policy has at most {MAX_FILES} files", where=place)
        try:
            data = read_bytes(path)
        except BadFile as error:
            near = nearest(path.name, [each.name for each in path.parent.glob("*.toml")])
            raise BadFile(f'there is no file "{name}"{near}', where=place) from error
        self.digests[path] = self.file(data, shown, path.parent, (*trail, path))
        return self.digests[path]


def _once(requirement: Requirement, others: Mapping[str, Requirement], where: str) -> None:
    other = others.get(requirement.id)
    if other is not None:
        first = "" if other.file == requirement.file else f"; first in {other.file}, line {other.line}"
        raise BadFile(f'the id "{requirement.id}" stands twice{first}', where=where)


def _together(mistakes: Sequence[BadFile]) -> BadFile:
    """The first of them, which names the others too: whoever mends a policy sees all that is wrong with its rules."""
    first, *others = mistakes
    if not others:
        return first
    rest = "".join(f"\n  and: {other}" for other in others[:SHOWN])
    if len(others) > SHOWN:
        rest += f"\n  and {len(others) - SHOWN} more"
    found = BadFile(first.what + ("" if first.fix else rest), where=first.where, fix=first.fix and first.fix + rest)
    found.__cause__ = first.__cause__
    return found


def _common(named: Sequence[tuple[str, tuple[T, ...]]], what: str) -> tuple[T, ...]:
    """What all files name that name any; a file that includes others cannot let in whom they did not."""
    found: tuple[T, ...] = ()
    for where, names in named:
        if found and names and not set(found) & set(names):
            raise BadFile(
                f"it names none of the {what} that an included policy lets in",
                where=f"{where}: trust.{what}",
                fix="name some of these, or leave the key out",
            )
        found = tuple(name for name in names if name in found) if found and names else found or names
    return found


def _trust(document: Mapping[str, Any], where: str) -> tuple[tuple[VerifyKey, ...], tuple[str, ...]]:
    """The owners and the roles that waive, as far as this file names any."""
    if "trust" not in document:
        return (), ()
    trust = document["trust"]
    if not isinstance(trust, dict):
        raise BadFile("write trust as a table [trust]", where=where)
    table = Table(trust, f"{where}: trust")
    table.only({"owners", "waivers"})
    roles = tuple(table.texts("waivers")) if "waivers" in trust else ()
    for role in roles:
        if role not in _ROLES:
            raise BadFile(f'there is no role "{role}"{nearest(role, _ROLES)}', where=f"{where}: trust.waivers")
    lines = trust.get("owners", [] if not roles else None)
    if lines is None:
        return (), roles
    if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
        raise BadFile("owners is a list of verifier-key lines, at least one", where=f"{where}: trust.owners")
    keys = (VerifyKey.parse(line, where=f"{where}: trust.owners[{i}]") for i, line in enumerate(lines))
    return tuple(keys), roles
