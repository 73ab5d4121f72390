r"""Rows for stewards: who a model is surely wrong about, encrypted to those who may read every column of them.

    {"format": "pellucid/rows@1", "model": {"name", "digest": {"sha256"}}, "dataset": "applicants@1", "purpose": "…",
     "columns": ["age", …], "wrapped": {"steward@1": "base64"}, "nonce": "base64", "ciphertext": "base64"}

The content is under AES-256-GCM with a new key for each file, which is wrapped by HPKE to the roles; everything else of
the file is authenticated with it. Its length is padded, so that it does not tell how many people are in it. Opening is
decided by the access policy for each column, and recorded, before the key is unwrapped. Evidence names the file's
SHA-256 only: since its key is random, nobody can guess the content from the digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pellucid.access import readers
from pellucid.errors import BadFile, Denied, Tampered
from pellucid.evidence import Evidence, canonical, digest, parse_canonical
from pellucid.keys import b64, unb64
from pellucid.project import data
from pellucid.project.people import role_key
from pellucid.project.project import Project
from pellucid.project.publish import ROWS, write_whole

if TYPE_CHECKING:
    from pellucid.project.model import Trained

__all__ = ["MOST", "extract", "leave", "open_rows"]

FORMAT: Final = "pellucid/rows@1"
MOST: Final = 200
"""Rows of each kind at most; the surest first."""
_PADDING: Final = 64 << 10
_INFO: Final = "pellucid/rows@1 content key"
_FIELDS: Final = {"format", "model", "dataset", "purpose", "columns", "wrapped", "nonce", "ciphertext"}
_STEWARDS: Final = frozenset({"owner", "steward"})


def leave(trained: Trained, columns: tuple[str, ...], content: Mapping[str, Any]) -> Evidence | None:
    """Encrypt ``content`` beside the weights; the evidence of it, or None if no role may read all of its columns.

    Args:
        trained: The model.
        columns: The columns that the content shows.
        content: JSON. Row numbers and keyed identifiers are private: they stand in the ciphertext only.
    """
    project, sealed = trained.project, trained.sealed
    roles = sorted(_STEWARDS & project.membership.roles())
    allowed = readers(project.policy, sealed.schema, sealed.name, roles)
    may = [role for role in roles if all(role in allowed[column] for column in columns)]
    keys = {role: found for role in may if (found := project.membership.role_key(role)) is not None}
    if not keys:
        return None
    secret, nonce = AESGCM.generate_key(256), os.urandom(12)
    header = {
        "format": FORMAT,
        "model": {"name": trained.subject.name, "digest": {"sha256": trained.subject.sha256}},
        "dataset": sealed.label,
        "purpose": trained.purpose,
        "columns": list(columns),
        "wrapped": {
            f"{role}@{generation}": b64(public.wrap(secret, info=f"{_INFO} {role}@{generation}"))
            for role, (generation, public) in keys.items()
        },
        "nonce": b64(nonce),
    }
    plain = canonical(content)
    plain += b" " * (-len(plain) % _PADDING)
    file = canonical({**header, "ciphertext": b64(AESGCM(secret).encrypt(nonce, plain, canonical(header)))})
    write_whole(project.layout.model(trained.subject.name) / ROWS, file)
    values = {"file": ROWS, "sha256": digest(file), "columns": list(columns), "for": sorted(header["wrapped"])}
    how = {"cipher": "AES-256-GCM, the key wrapped by HPKE (ML-KEM-768 with X25519)", "padding": f"{_PADDING} bytes"}
    return Evidence("attachment", trained.subject, values, how, "uncovered", tier="steward")


def open_rows(project: Project, path: Path, *, purpose: str | None) -> dict[str, Any]:
    """The rows in an attachment: each column is decided and recorded as ``read`` before the key is unwrapped.

    Raises:
        Denied: The policy says no to a column, or whoever acts has no role that the file was encrypted to.
        Tampered: The file is not as it was written.
    """
    where = str(path)
    document = _parse(path)
    sealed = data.dataset(project, document["dataset"])
    for column in document["columns"]:
        if column not in sealed.schema.columns:
            raise Tampered("it names a column that the data set does not have", where=where)
        project.decide("read", sealed.column(column), purpose or document["purpose"])
    header = {name: document[name] for name in sorted(_FIELDS - {"ciphertext"})}
    for label, wrapped in sorted(document["wrapped"].items()):
        role, _, generation = label.rpartition("@")
        key = role_key(project, role, int(generation)) if generation.isdecimal() else None
        if key is None:
            continue
        secret = key.unwrap(unb64(wrapped, where=where), info=f"{_INFO} {label}", where=where)
        try:
            plain = AESGCM(secret).decrypt(
                unb64(document["nonce"], where=where), unb64(document["ciphertext"], where=where), canonical(header)
            )
        except (InvalidTag, ValueError) as error:
            raise Tampered("the rows are not as they were written", where=where) from error
        content: dict[str, Any] = json.loads(plain)
        return content
    raise Denied(
        f"the rows are encrypted to {', '.join(sorted(document['wrapped']))}, and {project.acting} holds none of these",
        where=where,
    )


def extract(project: Project, path: Path, out: Path, *, purpose: str | None) -> None:
    """:func:`open_rows` into a new file that only its owner can read.

    Raises:
        BadFile: The file ``out`` exists.
    """
    if out.exists():
        raise BadFile("the file exists already", where=str(out), fix="choose another name")
    content = open_rows(project, path, purpose=purpose)
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)


def _parse(path: Path) -> dict[str, Any]:
    from pellucid.project.leaks import read_file

    document = parse_canonical(read_file(path), where=str(path))
    if not isinstance(document, dict) or document.keys() != _FIELDS or document["format"] != FORMAT:
        raise Tampered("not an attachment of rows", where=str(path))
    texts = all(isinstance(document[name], str) for name in ("dataset", "purpose", "nonce", "ciphertext"))
    if not texts or not isinstance(document["columns"], list) or not isinstance(document["wrapped"], dict):
        raise Tampered("not an attachment of rows", where=str(path))
    return document
