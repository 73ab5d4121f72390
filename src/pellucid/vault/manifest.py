"""The manifest of a sealed data set: what belongs to it, under which keys, signed. Needs no pyarrow.

``manifest.json`` is a DSSE envelope in canonical JSON. Its digest is what the log records, so a manifest of another
version, or of nobody, does not pass; and it holds the digest of every other file, so they do not either. Nothing in it
is exact about people: no row count, no value, no statistic. (The sizes of the files, which whoever holds them sees
anyway, do tell roughly how many rows there are.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pellucid.errors import BadFile, Denied, Tampered, UnknownName, nearest
from pellucid.evidence import canonical, digest, parse_canonical
from pellucid.keys import SigningKey, VerifyKey, WrapKey, identity_name, open_envelope, seal_envelope, unb64
from pellucid.schema import Schema
from pellucid.vault.groups import TAG, TAGS_GROUP, Group

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Manifest",
    "SealedFile",
    "key_info",
    "manifest_bytes",
    "parse_manifest",
    "read_manifest",
    "unwrap_group_key",
]

FORMAT: Final = "pellucid/dataset@1"
MANIFEST: Final = "manifest.json"
PAYLOAD_TYPE: Final = "application/vnd.pellucid.dataset+json"
_FIELDS: Final = {"format", "name", "version", "schema", "schema_sha256", "columns", "groups", "files", "sealed_by"}
_GROUP_ID: Final = re.compile(r"tags|g[1-9][0-9]{0,5}")
_PART: Final = re.compile(r"part-[0-9]{5}\.parquet")
_HOLDER: Final = re.compile(r"([a-z][a-z0-9_-]{0,62})@([1-9][0-9]{0,8})")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file of the data set: its name in the folder, the SHA-256 and the size of its bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one version of a data set consists of.

    Attributes:
        name: The data set's name.
        version: 1, 2, 3 …; a version never changes.
        schema: The declared schema.
        groups: Columns by who may read them; the last is that of the split tags.
        wrapped: For each group id, the group's key for each holder: ``role@generation`` to base64.
        files: The encrypted files in order.
        sealed_by: Verifier-key line of the identity that sealed it.
    """

    name: str
    version: int
    schema: Schema
    groups: tuple[Group, ...]
    wrapped: Mapping[str, Mapping[str, str]]
    files: tuple[SealedFile, ...]
    sealed_by: str

    @property
    def title(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def group_of(self, column: str) -> Group:
        """The group that ``column`` (or the split tag) is in.

        Raises:
            UnknownName: There is no such column.
        """
        for group in self.groups:
            if column in group.columns:
                return group
        raise UnknownName(f'no column "{column}"{nearest(column, self.schema.columns)}', where=self.title)

    def document(self) -> dict[str, Any]:
        """The manifest as JSON."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "schema": self.schema.document(),
            "schema_sha256": self.schema.digest,
            # Canonical JSON sorts the keys of the schema, and features stand in its order.
            "columns": list(self.schema.columns),
            "groups": [
                {
                    "id": group.id,
                    "columns": list(group.columns),
                    "readers": sorted(group.readers),
                    "wrapped": dict(self.wrapped[group.id]),
                }
                for group in self.groups
            ],
            "files": [{"path": file.path, "sha256": file.sha256, "size": file.size} for file in self.files],
            "sealed_by": self.sealed_by,
        }

    def sealed(self, signer: SigningKey) -> bytes:
        """The bytes of ``manifest.json``."""
        return canonical(seal_envelope(PAYLOAD_TYPE, canonical(self.document()), signer))


def read_manifest(folder: Path) -> tuple[Manifest, VerifyKey, str]:
    """The manifest in ``folder``, who signed it, and the SHA-256 of its bytes.

    That the signer may seal, and that the digest is the one in the log, are the caller's questions.

    Raises:
        UnknownName: There is no sealed data set in the folder.
        Tampered: The manifest is not canonical, not signed, or means nothing.
    """
    return parse_manifest(manifest_bytes(folder), where=f"{folder.name}/{MANIFEST}")


def key_info(title: str, group: str, holder: str) -> str:
    """What a wrapped group key is bound to: data set, version, group, role and the role key's generation."""
    return f"pellucid/column-key@1|{title}|{group}|{holder}"


def unwrap_group_key(manifest: Manifest, group_id: str, role: str, generation: int, role_key: WrapKey) -> bytes:
    """The 32-byte key of a group, by the private half of a role's key.

    Raises:
        UnknownName: There is no such group.
        Denied: The group's key is not wrapped to this role, or not to this generation of its key.
        Tampered: The wrapped key does not open.
    """
    if group_id not in manifest.wrapped:
        raise UnknownName(f'no column group "{group_id}"', where=manifest.title)
    holder = f"{role}@{generation}"
    wrapped = manifest.wrapped[group_id].get(holder)
    where = f"{manifest.title} group {group_id}"
    if wrapped is None:
        raise Denied(
            f'the columns of this group are not sealed to role "{role}" (key generation {generation})',
            where=where,
            fix="ask an owner for a role that may read them, or for a new version sealed to this role",
        )
    key = role_key.unwrap(
        unb64(wrapped, where=where), info=key_info(manifest.title, group_id, holder), where=f"{where} for {holder}"
    )
    if len(key) != 32:
        raise Tampered("this is not the key of a column group", where=where)
    return key


def manifest_bytes(folder: Path) -> bytes:
    """The bytes of the manifest in ``folder``. Raises ``UnknownName`` if there is none."""
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise UnknownName("there is no sealed data set here", where=str(folder), fix="see `pellucid data list`")
    return path.read_bytes()


def parse_manifest(data: bytes, *, where: str) -> tuple[Manifest, VerifyKey, str]:
    """What :func:`read_manifest` gives, from bytes."""
    payload, signer = open_envelope(parse_canonical(data, where=where), PAYLOAD_TYPE, where=where)
    document = parse_canonical(payload, where=where)
    try:
        manifest = _from_document(document, where)
        if manifest.sealed_by != signer.line:
            raise Tampered("the manifest names another sealer than the one who signed it", where=where)
        if canonical(manifest.document()) != payload:  # whatever else is in there, we did not write it
            raise Tampered("not a manifest of Pellucid", where=where)
    except (KeyError, TypeError, ValueError, AttributeError, BadFile) as error:
        raise Tampered("not a manifest of Pellucid", where=where) from error
    return manifest, signer, digest(data)


def _from_document(document: Any, where: str) -> Manifest:
    if set(document) != _FIELDS or document["format"] != FORMAT:
        raise Tampered(f"not a manifest of format {FORMAT}", where=where)
    schema = Schema.from_document(document["schema"], where=where)
    if sorted(document["columns"]) != sorted(schema.columns):
        raise Tampered("the manifest contradicts itself", where=where)
    schema = replace(schema, columns={name: schema.columns[name] for name in document["columns"]})
    groups = tuple(
        Group(group["id"], tuple(group["columns"]), frozenset(group["readers"])) for group in document["groups"]
    )
    wrapped = {group["id"]: dict(group["wrapped"]) for group in document["groups"]}
    files = tuple(SealedFile(file["path"], file["sha256"], file["size"]) for file in document["files"])
    manifest = Manifest(
        identity_name(document["name"]), document["version"], schema, groups, wrapped, files, document["sealed_by"]
    )
    columns = [column for group in groups for column in group.columns]
    holders = {
        group.id: {_HOLDER.fullmatch(holder).group(1) for holder in wrapped[group.id]}  # type: ignore[union-attr]  # None is caught as AttributeError
        for group in groups
    }
    sound = (
        type(manifest.version) is int
        and manifest.version >= 1
        and len(wrapped) == len(groups)
        and all(_GROUP_ID.fullmatch(group.id) for group in groups)
        and sorted(columns) == sorted([*schema.columns, TAG])
        and groups[-1].id == TAGS_GROUP
        and groups[-1].columns == (TAG,)
        and all(holders[group.id] == group.readers for group in groups)
        and len(files) > 0
        and len({file.path for file in files}) == len(files)
        and all(_PART.fullmatch(file.path) and _SHA256.fullmatch(file.sha256) for file in files)
        and all(type(file.size) is int and file.size > 0 for file in files)
    )
    if not sound:
        raise Tampered("the manifest contradicts itself", where=where)
    return manifest
