"""A sealed data set held against its manifest, byte for byte. Needs no pyarrow, so that anyone can do it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pellucid.errors import Tampered
from pellucid.evidence import digest
from pellucid.keys import VerifyKey
from pellucid.vault.manifest import MANIFEST, Manifest, manifest_bytes, parse_manifest

__all__ = ["file_digest", "verify", "verify_files"]


def verify(folder: Path, expected_sha256: str) -> tuple[Manifest, VerifyKey]:
    """The manifest in ``folder``, if it is the one with this digest and every file is as it says.

    Args:
        folder: The sealed data set.
        expected_sha256: What the log recorded at sealing.

    Raises:
        UnknownName: There is no sealed data set in the folder.
        Tampered: The manifest is another one, a file was changed, or is missing, or does not belong there.
    """
    data, where = manifest_bytes(folder), f"{folder.name}/{MANIFEST}"
    if digest(data) != expected_sha256:
        raise Tampered(
            "this is not the manifest that was recorded at sealing",
            where=where,
            fix="restore this version from a backup; an older version does not pass for it",
        )
    manifest, signer, _ = parse_manifest(data, where=where)
    verify_files(folder, manifest)
    return manifest, signer


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Return if the folder holds exactly the files of ``manifest``, byte for byte.

    Raises:
        Tampered: It does not; the error names the file.
    """
    if not folder.is_dir():
        raise Tampered("the sealed data set is missing", where=str(folder), fix="restore it from a backup")
    known = {file.path for file in manifest.files} | {MANIFEST}
    for entry in sorted(folder.iterdir()):
        if entry.name not in known:
            raise Tampered(
                "this file does not belong to the data set", where=f"{folder.name}/{entry.name}", fix="move it away"
            )
    for file in manifest.files:
        path, where = folder / file.path, f"{folder.name}/{file.path}"
        if path.is_symlink() or not path.is_file():
            raise Tampered("this sealed file is missing", where=where, fix="restore it from a backup")
        if path.stat().st_size != file.size or file_digest(path) != file.sha256:
            raise Tampered("this sealed file was changed", where=where, fix="restore it from a backup")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
