"""Whom a verifier trusts: the keys named, else the owner of the project it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pellucid.errors import BadFile, UnknownName
from pellucid.keys import VerifyKey


def owners(project: Path | None, keys: Sequence[Path] = ()) -> list[VerifyKey]:
    """The owners in the key files, or the owner of the project in or above this folder, or nobody.

    Raises:
        BadFile: A key file is not there, or holds no verifier key.
    """
    if keys:
        return [_read(path) for path in keys]
    from pellucid.project.layout import find

    try:
        return [_read(find(project) / "owner.pub")]
    except UnknownName:
        if project is not None:
            raise
        return []


def _read(path: Path) -> VerifyKey:
    try:
        return VerifyKey.parse(path.read_text(encoding="ascii"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("there is no such key file", where=str(path)) from error
