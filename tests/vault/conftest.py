"""A small data set that holds every type, sealed to three roles."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pellucid import vault
from pellucid.errors import Denied
from pellucid.keys import SigningKey, WrapKey
from pellucid.schema import Schema

EVERY_TYPE = """
[dataset]
target = "approved"
unit = "person"
units = 100
purposes = ["credit scoring"]
[columns.person]
type = "identifier"
sensitivity = "identifier"
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns."income, yearly: net.eur;"]
type = "number"
bounds = [-1000, 1e6]
sensitivity = "personal"
missing = "category"
[columns.job]
type = "category"
categories = ["teacher", "?", "nurse"]
sensitivity = "personal"
missing = "category"
[columns.approved]
type = "boolean"
sensitivity = "personal"
[columns.ethnicity]
type = "category"
categories = ["MARKER_CATEGORY", "B"]
sensitivity = "special"
[columns.note]
type = "text"
sensitivity = "personal"
missing = "category"
[columns.photo]
type = "image"
sensitivity = "personal"
[columns.voice]
type = "audio"
sensitivity = "personal"
missing = "category"
[columns.since]
type = "timestamp"
sensitivity = "personal"
"""
INCOME = "income, yearly: net.eur;"
ROLES = ("owner", "scientist", "auditor")
MARKERS = (b"MARKER_PERSON", b"MARKER_NOTE", b"MARKER_PHOTO", b"MARKER_CATEGORY")


def rows() -> pa.Table:
    """Four rows of three people, with a marker in each kind of text."""
    day = dt.datetime(2024, 2, 28, 12, 30, 15, 123456, tzinfo=dt.UTC)
    return pa.table(
        {
            "person": ["MARKER_PERSON", "p2", "MARKER_PERSON", "p3"],
            "age": [17, 90, 44, 45],
            INCOME: [-1000.0, None, 1e6, 0.1],
            "job": ["nurse", None, "?", "teacher"],
            "approved": [True, False, True, True],
            "ethnicity": ["MARKER_CATEGORY", "B", "B", "MARKER_CATEGORY"],
            "note": ["MARKER_NOTE", None, "", "é\n\"'"],
            "photo": [b"MARKER_PHOTO", b"", b"\x00\xff", b"x"],
            "voice": [None, b"\x00", b"MARKER_PHOTO", None],
            "since": [day, day.replace(year=1), day.replace(year=9999), day.replace(microsecond=0)],
        }
    )


@dataclass
class Sealed:
    """A sealed data set with every private key, as no one person has them."""

    folder: Path
    manifest: vault.Manifest
    sha256: str
    role_keys: dict[str, WrapKey]
    signer: SigningKey
    table: pa.Table

    def release(self, role: str, asked: list[str] | None = None) -> Any:
        """The release by the book: unwraps with the role's key, or is denied."""

        def release(group: vault.Group, wrapped: Any) -> bytes:
            if asked is not None:
                asked.append(group.id)
            if role not in group.readers:
                raise Denied(f"{role} may not read {group.id}")
            assert f"{role}@1" in wrapped
            return vault.unwrap_group_key(self.manifest, group.id, role, 1, self.role_keys[role])

        return release


def readers(schema: Schema, *, special: tuple[str, ...] = ("ethnicity",)) -> dict[str, frozenset[str]]:
    return {name: frozenset({"owner", "auditor"}) if name in special else frozenset(ROLES) for name in schema.columns}


def seal_rows(folder: Path, *, table: pa.Table | None = None, schema: str = EVERY_TYPE, **over: Any) -> Sealed:
    parsed = Schema.parse(schema)
    table = rows() if table is None else table
    keys = over.pop("keys", None) or {role: WrapKey.generate() for role in ROLES}
    signer = SigningKey.generate("credit/ana")
    how: dict[str, Any] = {
        "name": "applicants",
        "version": 1,
        "readers": readers(parsed),
        "role_keys": {role: (1, key.public) for role, key in keys.items()},
        "signer": signer,
        "max_rows_per_file": 3,
    }
    manifest, sha256 = vault.seal(table, parsed, folder, **{**how, **over})
    return Sealed(folder, manifest, sha256, keys, signer, table)


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return seal_rows(tmp_path / "applicants" / "1")


@pytest.fixture(scope="session")
def sealed_once(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The same, for tests that only read it."""
    return seal_rows(tmp_path_factory.mktemp("once") / "1")


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """What tests build their own data sets with."""
    return SimpleNamespace(
        EVERY_TYPE=EVERY_TYPE, INCOME=INCOME, MARKERS=MARKERS, ROLES=ROLES, readers=readers, rows=rows, seal=seal_rows
    )
