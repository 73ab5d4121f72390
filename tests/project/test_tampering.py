"""A changed byte in every covered file of the project, one after the other, and every bend of a bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.project.conftest import PASSPHRASE, PURPOSE, Place, found

from pellucid import bundle as bundles
from pellucid.bundle import Bundle
from pellucid.errors import NotTrusted, PellucidError, Tampered, Unverified
from pellucid.evidence import Evidence, Subject, canonical
from pellucid.keys import b64
from pellucid.log import parse, seal_evidence
from pellucid.project import publish

COVERED = [
    "data/applicants/1/manifest.json",
    "data/applicants/1/part-00000.parquet",
    "models/tiny@1/weights.safetensors",
    "models/tiny@1/bundle.json",
    "models/tiny@1/rows.pellucid.json",
    "policies/access.cedar",
    "policies/access.cedarschema",
]


def noticed(place: Place) -> list[str]:
    """The names of the checks that fail, or of the error if the project does not even open."""
    try:
        results = publish.verify_project(place.open())
    except Unverified as error:
        return [type(error).__name__]
    return [check["name"] for check in results if check["status"] != "pass"]


def positions(length: int, count: int = 5) -> list[int]:
    return sorted({0, length - 1, *(length * i // count for i in range(1, count))})


@contextlib.contextmanager
def changed(path: Path, position: int) -> Iterator[None]:
    kept = path.read_bytes()
    data = bytearray(kept)
    data[position] ^= 0x01
    path.write_bytes(bytes(data))
    try:
        yield
    finally:
        path.write_bytes(kept)


def test_an_untouched_project_verifies(trained: Place) -> None:
    assert noticed(trained) == []
    assert trained.verified() > 0


@pytest.mark.parametrize("name", COVERED)
def test_a_changed_byte_in_a_covered_file_is_noticed(trained: Place, name: str) -> None:
    path = trained.root / name
    for position in positions(path.stat().st_size):
        with changed(path, position):
            assert noticed(trained), f"byte {position} of {name}"
    assert noticed(trained) == []


@pytest.mark.parametrize("name", COVERED)
def test_a_covered_file_that_is_gone_or_cut_is_noticed(trained: Place, name: str) -> None:
    path = trained.root / name
    kept = path.read_bytes()
    path.write_bytes(kept[:-1])
    assert noticed(trained), "cut"
    path.write_bytes(kept + b"\n")
    assert noticed(trained), "longer"
    path.unlink()
    if path.name != "bundle.json":  # made anew from the log at any time
        with contextlib.suppress(PellucidError):
            assert noticed(trained), "gone"


def test_the_list_of_covered_files_is_complete(trained: Place) -> None:
    """Nothing lies in data/, models/ or the adopted policies that this test does not change."""
    there = {
        str(path.relative_to(trained.root))
        for folder in ("data", "models")
        for path in (trained.root / folder).rglob("*")
        if path.is_file()
    }
    assert there | {"policies/access.cedar", "policies/access.cedarschema"} == set(COVERED)


COLUMNS = [
    (table, column)
    for table, columns in {
        "entries": ("number", "leaf"),
        "nodes": ("level", "number", "hash"),
        "checkpoints": ("size", "note"),
    }.items()
    for column in columns
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_changed_column_of_a_row_of_the_log_is_noticed(trained: Place, table: str, column: str) -> None:
    keys = ["level", "number"] if table == "nodes" else [COLUMNS[[t for t, _ in COLUMNS].index(table)][1]]
    with contextlib.closing(sqlite3.connect(trained.database)) as database:
        rows = list(database.execute(f"SELECT {', '.join(keys)} FROM {table}"))  # noqa: S608 - names from above
        kept = trained.database.read_bytes()
    where = f"FROM {table} WHERE {' AND '.join(f'{key} = ?' for key in keys)}"
    for row in {rows[0], rows[len(rows) // 3], rows[len(rows) // 2], rows[-1]}:
        with contextlib.closing(sqlite3.connect(trained.database)) as database, database:
            (value,) = database.execute(f"SELECT {column} {where}", row).fetchone()
            changed = f"UPDATE {table} SET {column} = ? {where.partition(table)[2]}"  # noqa: S608
            assert database.execute(changed, (another(value), *row)).rowcount == 1
        assert noticed(trained), f"row {row}"
        trained.database.write_bytes(kept)
        if table == "checkpoints" and row != rows[-1]:
            continue  # an older checkpoint says nothing that the newest does not
        with contextlib.closing(sqlite3.connect(trained.database)) as database, database:
            assert database.execute(f"DELETE {where}", row).rowcount == 1
        assert noticed(trained), f"row {row} deleted"
        trained.database.write_bytes(kept)
    assert noticed(trained) == []


def another(value: Any) -> Any:
    if isinstance(value, int):
        return value + 100_000
    if isinstance(value, str):
        return value[:-2] + chr(ord(value[-2]) ^ 1) + value[-1]
    return bytes([*value[:-1], value[-1] ^ 1])


def test_the_tables_are_the_ones_that_are_changed(trained: Place) -> None:
    with contextlib.closing(sqlite3.connect(trained.database)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(t, row[1]) for t in tables for row in database.execute(f"PRAGMA table_info({t})")]
    assert sorted(columns) == sorted(COLUMNS)


def test_a_tampered_data_set_is_not_read(trained: Place) -> None:
    for name in ("manifest.json", "part-00000.parquet"):
        path = trained.root / "data" / "applicants" / "1" / name
        with changed(path, path.stat().st_size // 2), pytest.raises(Unverified) as caught:
            trained.open("kim").read("applicants", ["age", "gender"], purpose=PURPOSE)
        assert caught.value.exit_code == 3


def test_tampered_weights_are_not_used(trained: Place) -> None:
    from pellucid.project.model import load

    path = trained.root / "models" / "tiny@1" / "weights.safetensors"
    with changed(path, path.stat().st_size - 1), pytest.raises(Tampered) as caught:
        load(trained.open("kim"), "tiny")
    assert caught.value.exit_code == 3


# -- bundles ----------------------------------------------------------------------------------------------------------


def refused(data: bytes, place: Place) -> PellucidError | None:
    """The error of reading and verifying, None if all holds. Another exception than ours comes through."""
    try:
        bundles.verify(Bundle.from_bytes(data), [place.open().owner])
    except PellucidError as error:
        return error
    return None


def test_every_changed_byte_of_a_bundle_is_refused(trained: Place) -> None:
    data = (trained.root / "models" / "tiny@1" / "bundle.json").read_bytes()
    owner = trained.open().owner
    bundles.verify(Bundle.from_bytes(data), [owner])
    for position in range(0, len(data), 97):
        for flip in (0x01, 0x20):
            bent = bytearray(data)
            bent[position] ^= flip
            with pytest.raises(Unverified) as caught:
                bundles.verify(Bundle.from_bytes(bytes(bent)), [owner])
            assert caught.value.exit_code == 3


def drop(part: str, which: int) -> Callable[[Any], None]:
    return lambda document: document[part].pop(which)


def swap_proofs(document: Any) -> None:
    one, other = document["evidence"][:2]
    one["proof"], other["proof"] = other["proof"], one["proof"]


def swap_order(document: Any) -> None:
    document["evidence"].reverse()


def twice(document: Any) -> None:
    document["evidence"].append(document["evidence"][-1])


def as_grant(document: Any) -> None:
    document["evidence"].insert(0, document["grants"][-1])


def put(*path: Any) -> Callable[[Any], None]:
    *steps, last, value = path

    def act(document: Any) -> None:
        for step in steps:
            document = document[step]
        document[last] = value

    return act


BENDS: dict[str, Callable[[Any], None]] = {
    "no entry 0": drop("grants", 0),
    "a grant dropped": drop("grants", 1),
    "the last grant dropped": drop("grants", -1),
    "training dropped": drop("evidence", 1),
    "proofs swapped": swap_proofs,
    "order swapped": swap_order,
    "an entry twice": twice,
    "a grant as evidence": as_grant,
    "no evidence": put("evidence", []),
    "no grants": put("grants", []),
    "an empty proof": put("evidence", 0, "proof", []),
    "a longer proof": lambda d: d["evidence"][0]["proof"].append(b64(bytes(32))),
    "another index": put("evidence", 0, "index", 3),
    "a negative index": put("evidence", 0, "index", -1),
    "a huge index": put("evidence", 0, "index", 2**40),
    "index true": put("evidence", 0, "index", True),
    "another name": put("subject", "name", "tiny@2"),
    "another digest": put("subject", "digest", "sha256", "0" * 64),
    "subject no table": put("subject", "tiny@1"),
    "subject without digest": put("subject", {"name": "tiny@1"}),
    "evidence no list": put("evidence", 7),
    "evidence of text": put("evidence", ["text"]),
    "grants null": put("grants", None),
    "proof no list": put("evidence", 0, "proof", 7),
    "proof of numbers": put("evidence", 0, "proof", [1, 2]),
    "envelope empty": put("evidence", 0, "envelope", {}),
    "envelope of a list": put("evidence", 0, "envelope", []),
    "signatures empty": put("evidence", 0, "envelope", "signatures", []),
    "signature null": put("evidence", 0, "envelope", "signatures", [None]),
    "payload null": put("evidence", 0, "envelope", "payload", None),
    "checkpoint null": put("checkpoint", None),
    "checkpoint empty": put("checkpoint", ""),
    "checkpoint of nothing": put("checkpoint", "tiny\n0\n\n"),
    "another format": put("format", "pellucid/bundle@2"),
    "format null": put("format", None),
    "one more key": put("more", 1),
}


@pytest.mark.parametrize("bend", BENDS)
def test_a_bent_bundle_is_refused_with_exit_3(trained_once: Place, bend: str) -> None:
    document = json.loads((trained_once.root / "models" / "tiny@1" / "bundle.json").read_bytes())
    BENDS[bend](document)
    error = refused(canonical(document), trained_once)
    assert isinstance(error, Unverified), bend
    assert error.exit_code == 3


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"7", b"\xff", b"{", b'{"format":"pellucid/bundle@1"}'])
def test_what_is_no_bundle_is_refused_with_exit_3(trained_once: Place, data: bytes) -> None:
    error = refused(data, trained_once)
    assert isinstance(error, Unverified)


def test_a_checkpoint_of_another_project_is_refused(
    trained_once: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = found(tmp_path_factory.mktemp("other") / "tiny").open()
    document = json.loads((trained_once.root / "models" / "tiny@1" / "bundle.json").read_bytes())
    document["checkpoint"] = other.log.checkpoint()
    assert isinstance(refused(canonical(document), trained_once), Tampered)
    whole = (trained_once.root / "models" / "tiny@1" / "bundle.json").read_bytes()
    with pytest.raises(NotTrusted):
        bundles.verify(Bundle.from_bytes(whole), [other.owner])


def published(place: Place, who: str, *, kind: str, **changed: Any) -> Bundle:
    """The bundle after ``who`` has signed and logged a copy of the statement ``kind``, changed."""
    project = place.open(who)
    real = next(e.evidence for e in project.entries() if e.kind == "evidence" and e.evidence.kind == kind)
    item = dataclasses.replace(real, **changed)
    made = place.open().bundle("tiny")
    with project.log.writing(project.log_key, "tiny") as writer:  # past the project, which would refuse to write it
        index = writer.append(seal_evidence(item, project.identity.signing))
    everything = [entry.index for entry in made.evidence]
    grants = [entry.index for entry in project.entries() if entry.kind in ("grant", "revoke")]
    return bundles.build(project.log, made.subject, {*everything, index}, grants)


def values(place: Place, kind: str) -> dict[str, Any]:
    return dict(
        next(e.evidence for e in place.open().entries() if e.kind == "evidence" and e.evidence.kind == kind).values
    )


def test_evidence_signed_by_a_reader_is_refused(trained: Place) -> None:
    made = published(trained, "rea", kind="evaluation")
    with pytest.raises(NotTrusted, match="tiny/rea"):
        bundles.verify(made, [trained.open().owner])


def test_evidence_about_another_model_is_refused(trained: Place) -> None:
    made = published(trained, "sid", kind="evaluation", subject=Subject("tiny@1", "0" * 64))
    with pytest.raises(Tampered, match="is about"):
        bundles.verify(made, [trained.open().owner])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("training", "dataset", "x"),
        ("training", "dataset", None),
        ("training", "dataset", {}),
        ("training", "dataset", ["sha256"]),
        ("evaluation", "how", {"at": "yesterday"}),
        ("evaluation", "how", {"at": 7}),
        ("evaluation", "how", {"at": ["2026"]}),
    ],
)
def test_signed_evidence_of_a_wrong_shape_is_tampered_and_no_other_error(
    trained: Place, kind: str, field: str, value: Any
) -> None:
    if field == "how":
        made = published(trained, "sid", kind=kind, how=value)
    else:
        made = published(trained, "sid", kind=kind, values={**values(trained, kind), field: value})
    with pytest.raises(Tampered) as caught:
        bundles.verify(made, [trained.open().owner])
    assert caught.value.exit_code == 3


def test_evidence_signed_after_a_revocation_is_refused(trained: Place) -> None:
    """Also by a key that still has the log's key: what the revocation says stands before the statement in the log."""
    from pellucid.project import people

    scientist = trained.open("sid")
    log_key, signing = scientist.log_key, scientist.identity.signing
    people.revoke(trained.open(), "scientist", "sid")
    real = next(e.evidence for e in scientist.entries() if e.kind == "evidence" and e.evidence.kind == "evaluation")
    with scientist.log.writing(log_key, "tiny") as writer:
        index = writer.append(seal_evidence(real, signing))
    project = trained.open()
    others = [item.index for item in project.bundle("tiny").evidence]
    trusting = [e.index for e in project.entries() if e.kind in ("grant", "revoke")]
    made = bundles.build(project.log, real.subject, {*others, index}, trusting)
    with pytest.raises(NotTrusted, match="tiny/sid"):
        bundles.verify(made, [trained.open().owner])


def test_the_old_key_of_a_name_that_was_granted_anew_is_refused(trained: Place) -> None:
    from tests.project.conftest import COST

    from pellucid.project import people

    scientist = trained.open("sid")
    log_key, signing = scientist.log_key, scientist.identity.signing
    owner = trained.open()
    people.revoke(owner, "scientist", "sid")
    (trained.root / "identities" / "sid.json").unlink()
    people.new_identity(owner, "sid", PASSPHRASE, cost=COST)
    people.grant(owner, "scientist", "sid")
    real = next(e.evidence for e in owner.entries() if e.kind == "evidence" and e.evidence.kind == "evaluation")
    with scientist.log.writing(log_key, "tiny") as writer:
        index = writer.append(seal_evidence(real, signing))
    trusting = [e.index for e in trained.open().entries() if e.kind in ("grant", "revoke")]
    others = [e.index for e in trained.open().bundle("tiny").evidence]
    made = bundles.build(trained.open().log, real.subject, {*others, index}, trusting)
    with pytest.raises(NotTrusted):
        bundles.verify(made, [trained.open().owner])


def test_a_public_bundle_holds_no_statement_of_a_higher_tier(trained: Place) -> None:
    project = trained.open()
    tiers = {
        tier: {parse(item.index, item.leaf).evidence.tier for item in project.bundle("tiny", tier=tier).evidence}
        for tier in ("public", "auditor", "steward")
    }
    assert tiers == {
        "public": {"public"},
        "auditor": {"public", "auditor"},
        "steward": {"public", "auditor", "steward"},
    }
    assert noticed(trained) == []


def test_a_bundle_carried_elsewhere_verifies_with_the_owner_key_alone(trained_once: Place, tmp_path: Path) -> None:
    from pellucid.keys import VerifyKey

    for name in ("models/tiny@1/bundle.json", "owner.pub"):
        shutil.copyfile(trained_once.root / name, tmp_path / Path(name).name)
    owner = VerifyKey.parse((tmp_path / "owner.pub").read_text(encoding="ascii"))
    verified = bundles.verify(bundles.read(tmp_path / "bundle.json"), [owner])
    assert verified.subject.name == "tiny@1"
    assert {"training", "privacy", "evaluation", "fairness", "attack"} <= {e.kind for e in verified.evidence}
    assert all(isinstance(e, Evidence) for e in verified.evidence)
