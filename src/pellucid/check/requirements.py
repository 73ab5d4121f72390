"""The release policy: requirements on evidence, read from TOML and checked whole before anything is judged.

[trust]
owners = ["credit/ana+1a2b3c4d+AbCd…"]     # optional: verifier-key lines of trusted owners

[[require]]
id = "privacy.epsilon"
that = "privacy.epsilon <= 3.0 && privacy.delta <= 1e-5"     # CEL over evidence
because = "decision of the data protection officer, 2026-03"
severity = "error"                         # or "warning"; error if left out
fix = "train with a smaller epsilon"       # optional: what to do when it fails
clause = "GDPR Art. 25"                    # optional: what it rests on
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pellucid.check import cel
from pellucid.check.program import Program
from pellucid.check.tables import Table, array
from pellucid.errors import BadFile, nearest
from pellucid.evidence import Severity, digest
from pellucid.keys import VerifyKey
from pellucid.schema import parse_toml

__all__ = ["SEVERITIES", "ReleasePolicy", "Requirement"]

SEVERITIES: Final[tuple[Literal["error", "warning"], ...]] = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule of the release policy.

    Attributes:
        id: Its name, unique in the policy.
        that: The CEL expression that must hold.
        because: Why it is there.
        severity: ``error`` decides the exit code; ``warning`` only speaks.
        fix: What to do when it fails; may be empty.
        clause: What it rests on (a law, a decision); may be empty.
        program: ``that``, compiled.
    """

    id: str
    that: str
    because: str
    severity: Severity
    fix: str
    clause: str
    program: Program = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """A release policy.

    Attributes:
        requirements: In the order of the file, at least one.
        owners: Owners the policy trusts; may be none.
        sha256: Digest of the file's bytes.
        where: The file.
    """

    requirements: tuple[Requirement, ...]
    owners: tuple[VerifyKey, ...]
    sha256: str
    where: str

    @classmethod
    def read(cls, path: Path | str) -> ReleasePolicy:
        """The policy in a file.

        Raises:
            BadFile: As :meth:`parse`, or there is no such file.
        """
        return cls.parse(read_bytes(Path(path)), where=str(path))

    @classmethod
    def parse(cls, data: bytes, *, where: str = "release policy") -> ReleasePolicy:
        """The policy in TOML bytes.

        Raises:
            BadFile: Not UTF-8 or TOML; an unknown key (with the nearest known one), kind of evidence or severity; an id
                twice; an expression that is not one; no requirement at all, because an empty policy passes everything.
        """
        text = decode(data, where)
        document = parse_toml(text, where=where)
        Table(document, where).only({"require", "trust"})
        requirements: dict[str, Requirement] = {}
        for table in array(document, "require", text, where):
            requirement = _requirement(table)
            if requirement.id in requirements:
                raise BadFile(f'the id "{requirement.id}" stands twice', where=table.where)
            requirements[requirement.id] = requirement
        if not requirements:
            raise BadFile(
                "a policy without a requirement would pass everything",
                where=where,
                fix="write at least one [[require]]",
            )
        return cls(tuple(requirements.values()), _owners(document, where), digest(data), where)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that a user named.

    Raises:
        BadFile: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile("there is no such file, or it cannot be read", where=str(path)) from error


def decode(data: bytes, where: str) -> str:
    """UTF-8 text.

    Raises:
        BadFile: It is not.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile("the file is not UTF-8 text", where=where) from error


def _requirement(table: Table) -> Requirement:
    table.only({"id", "that", "because", "severity", "fix", "clause"})
    name, that, because = table.identifier(), table.text("that"), table.text("because")
    severity = table.text("severity", "error")
    if severity not in SEVERITIES:
        raise BadFile(f'severity is "error" or "warning"{nearest(severity, SEVERITIES)}', where=table.where)
    try:
        program = cel.compile(that)
    except BadFile as error:
        raise BadFile(error.what, where=f"{table.where}.that", fix=error.fix) from error
    return Requirement(name, that, because, severity, table.text("fix", ""), table.text("clause", ""), program)


def _owners(document: Mapping[str, Any], where: str) -> tuple[VerifyKey, ...]:
    if "trust" not in document:
        return ()
    trust = document["trust"]
    if not isinstance(trust, dict):
        raise BadFile("write trust as a table [trust]", where=where)
    Table(trust, f"{where}: trust").only({"owners"})
    lines = trust.get("owners")
    if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
        raise BadFile("owners is a list of verifier-key lines, at least one", where=f"{where}: trust.owners")
    return tuple(VerifyKey.parse(line, where=f"{where}: trust.owners[{i}]") for i, line in enumerate(lines))
