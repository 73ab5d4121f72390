"""An access policy: two files, their digests, and the engine made from exactly those bytes."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pellucid.access import cedar
from pellucid.errors import BadFile
from pellucid.evidence import digest

if TYPE_CHECKING:
    from pellucid.access.lint import Remark

__all__ = ["POLICY_FILE", "SCHEMA_FILE", "TESTS_FILE", "AccessPolicy", "shipped"]

POLICY_FILE: Final = "access.cedar"
SCHEMA_FILE: Final = "access.cedarschema"
TESTS_FILE: Final = "access.tests.toml"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """A policy set that parses, fits its schema, and whose every policy has an ``@id`` of its own.

    Whether an owner adopted it is not asked here: compare :attr:`sha256` and :attr:`schema_sha256` with the log.

    Attributes:
        sha256: SHA-256 of the bytes of ``access.cedar``.
        schema_sha256: SHA-256 of the bytes of ``access.cedarschema``.
        engine: The parsed policies under the parsed schema.
    """

    sha256: str
    schema_sha256: str
    engine: cedar.Engine = field(repr=False)

    @classmethod
    def load(cls, folder: Path | str) -> AccessPolicy:
        """The policy in ``folder``: ``access.cedar`` under ``access.cedarschema``.

        Raises:
            BadFile: A file is missing, empty, not UTF-8 or does not parse; the policies do not fit the schema; a
                policy has no ``@id``, or one that another policy has too.
            MissingExtra: cedarpy is not installed.
        """
        folder = Path(folder)
        return cls.parse(
            _read(folder / POLICY_FILE),
            _read(folder / SCHEMA_FILE),
            policies_at=str(folder / POLICY_FILE),
            schema_at=str(folder / SCHEMA_FILE),
        )

    @classmethod
    def parse(
        cls, policies: bytes, schema: bytes, *, policies_at: str = POLICY_FILE, schema_at: str = SCHEMA_FILE
    ) -> AccessPolicy:
        """:meth:`load` of bytes in hand. The digests are those of exactly these bytes."""
        engine = cedar.parse(
            _text(policies, policies_at), _text(schema, schema_at), policies_at=policies_at, schema_at=schema_at
        )
        if not engine.actions:
            raise BadFile("the schema declares no action outside a namespace that applies to anything", where=schema_at)
        if not engine.rules:
            raise BadFile("an empty policy is invalid: it would deny everything", where=policies_at)
        _check_ids(engine.rules, policies_at)
        return cls(digest(policies), digest(schema), engine)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ``@id`` of every policy, in the order of the file."""
        return tuple(rule.id for rule in self.engine.rules if rule.id is not None)

    @property
    def because(self) -> Mapping[str, str]:
        """The ``@because`` of every policy that has one, by ``@id``."""
        return {rule.id: rule.because for rule in self.engine.rules if rule.id is not None and rule.because}

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the schema lists, else those that the policies name."""
        return self.engine.roles

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that can be asked for (an action that only groups others is not among them)."""
        return tuple(self.engine.actions)

    def lint(self) -> list[Remark]:
        """What is allowed but hardly meant; see :func:`pellucid.access.lint.lint`."""
        from pellucid.access.lint import lint  # lint asks decide, which needs this file

        return lint(self)


def _check_ids(rules: Sequence[cedar.Rule], where: str) -> None:
    seen: dict[str, int] = {}
    for rule in rules:
        at = f"{where}:{rule.line}"
        if rule.id is None:
            raise BadFile("this policy has no @id", where=at, fix='write @id("…") above it: the log records it')
        if not _ID.fullmatch(rule.id):
            raise BadFile(f"@id {rule.id!r} cannot be a name", where=at, fix="use a-z, 0-9 and . _ - in it, no blanks")
        if rule.id in seen:
            raise BadFile(f'@id "{rule.id}" stands twice', where=at, fix=f"the other is on line {seen[rule.id]}")
        seen[rule.id] = rule.line


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadFile("there is no such file", where=str(path), fix="`pellucid init` writes one") from error
    except OSError as error:
        raise BadFile("the file cannot be read", where=str(path)) from error


def _text(data: bytes, where: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile("not UTF-8 text", where=where) from error
    if not text.strip():
        raise BadFile("the file is empty", where=where)
    return text


def shipped() -> Path:
    """The folder of the shipped policies: inside the package if it was installed from a wheel, else the checkout's.

    Raises:
        BadFile: Neither is there.
    """
    package = Path(str(importlib.resources.files("pellucid")))
    for folder in (package / "_shipped" / "policies", package.parent.parent / "policies"):
        if (folder / POLICY_FILE).is_file():
            return folder
    raise BadFile("the shipped policies are missing", where=str(package), fix="install pellucid again")
