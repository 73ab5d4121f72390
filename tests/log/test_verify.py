"""Verifying: what is whole verifies; every column of every row, changed in any way, is found and named."""

# ruff: noqa: S608 tables and columns are named in this file

import dataclasses
import datetime as dt
import random
import shutil
import sqlite3
from contextlib import closing

import pytest

from pellucid.errors import PellucidError, Tampered
from pellucid.evidence import Evidence, Subject
from pellucid.keys import SigningKey, VerifyKey
from pellucid.log import (
    Checkpoint,
    Log,
    leaf_hash,
    parse,
    root,
    seal_evidence,
    seal_record,
    sign_checkpoint,
    verify,
)
from pellucid.log.tree import complete_nodes

BLOCKS = (2, 1, 3)
NODES = [(level, number) for level in range(3) for number in range(6 >> level)]


@pytest.fixture
def whole(filled, tmp_path):
    filled(*BLOCKS)
    return tmp_path / "log.sqlite"


@pytest.fixture
def database(whole):
    with closing(sqlite3.connect(whole, isolation_level=None)) as connection:
        yield connection


def verified(path, key, origin="credit"):
    return verify(Log.open(f"sqlite:///{path}"), key.verifier, origin)


def found(path, key, where=None):
    with pytest.raises(Tampered) as caught:
        verified(path, key)
    if where:
        assert where in str(caught.value)


def test_a_whole_log_verifies_with_its_entries(whole, key, leaf):
    result = verified(whole, key)
    hashes = [leaf_hash(leaf(i)) for i in range(6)]
    assert (result.size, result.root) == (6, root(hashes))
    assert result.entries == tuple(parse(i, leaf(i)) for i in range(6))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.size = 5


def test_evidence_and_records_of_several_signers_verify(url, key):
    ana = SigningKey("credit/ana", bytes(32))
    evidence = Evidence("attack", Subject("m@1", "0" * 64), {"epsilon_lower": 0.1}, {}, "uncovered")
    log = Log.create(url)
    with log.writing(key, "credit") as writer:
        writer.append(seal_evidence(evidence, ana))
        writer.append(
            seal_record("revoke", {"role": "reader", "identity": "bo"}, key, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        )
    first, second = verify(log, key.verifier, "credit").entries
    assert (first.evidence, first.signer, second.signer) == (evidence, ana.verifier, key.verifier)


def changed_bytes(value):
    """Other values for a column of bytes or text: a bit here and there, shorter, longer, empty, another type."""
    raw = value if isinstance(value, bytes) else value.encode()
    for at in {0, len(raw) // 2, len(raw) - 1}:
        for bit in (1, 64):
            wrong = raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
            yield wrong if isinstance(value, bytes) else wrong.decode(errors="replace")
    yield value[:-1]
    yield value + (b"\0" if isinstance(value, bytes) else "\n")
    yield value[:0]
    yield raw.decode(errors="replace") if isinstance(value, bytes) else raw  # text for bytes, bytes for text
    yield 7


@pytest.mark.parametrize(
    ("table", "column", "key_columns"),
    [("entries", "leaf", "number"), ("nodes", "hash", "level, number"), ("checkpoints", "note", "size")],
)
def test_every_changed_value_is_found(whole, database, key, table, column, key_columns):
    rows = database.execute(f"SELECT {key_columns}, {column} FROM {table}").fetchall()
    assert len(rows) == {"entries": 6, "nodes": len(NODES), "checkpoints": 3}[table]
    condition = " AND ".join(f"{name} = ?" for name in key_columns.split(", "))
    update = f"UPDATE {table} SET {column} = ? WHERE {condition}"
    for *place, value in rows:
        for wrong in changed_bytes(value):
            database.execute(update, (wrong, *place))
            found(whole, key)
        database.execute(update, (value, *place))
    assert verified(whole, key).size == 6


def test_every_changed_key_is_found(whole, database, key):
    before = list(database.iterdump())
    for table, column, rows in (
        ("entries", "number", range(6)),
        ("checkpoints", "size", (2, 3, 6)),
    ):
        for place in rows:
            for other in (-1, 7, 99, 2**40):
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (other, place))
                found(whole, key)
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (place, other))
    for level, number in NODES:
        for other in (
            (level + 7, number),
            (level, number + 7),
            (-1, number),
            ("x", number),
            (level, "x"),
            (level, 0.5),
        ):
            database.execute(
                "UPDATE nodes SET level = ?, number = ? WHERE level = ? AND number = ?", (*other, level, number)
            )
            found(whole, key)
            database.execute(
                "UPDATE nodes SET level = ?, number = ? WHERE level = ? AND number = ?", (level, number, *other)
            )
    assert list(database.iterdump()) == before
    assert verified(whole, key).size == 6


def test_every_row_missing_is_found(whole, database, key, tmp_path):
    rows = [("entries", f"number = {n}") for n in range(6)]
    rows += [("nodes", f"level = {level} AND number = {number}") for level, number in NODES]
    rows += [("checkpoints", "size = 6")]
    for at, (table, condition) in enumerate(rows):
        copy = tmp_path / f"copy{at}.sqlite"
        shutil.copyfile(whole, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute(f"DELETE FROM {table} WHERE {condition}")
        found(copy, key)


def test_every_row_too_many_is_found(whole, database, key, leaf):
    hash_ = leaf_hash(leaf(6))
    for table, row in (
        ("entries", (6, leaf(6))),
        ("entries", (-1, leaf(6))),
        ("entries", (60, leaf(6))),
        ("nodes", (0, 6, hash_)),
        ("nodes", (0, -1, hash_)),
        ("nodes", (9, 0, hash_)),
        ("checkpoints", (7, "x")),
        ("checkpoints", (0, sign_checkpoint(Checkpoint("credit", 0, root([])), key))),
    ):
        marks = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        found(whole, key)
        column = {"entries": "number", "checkpoints": "size"}.get(table, "level")
        extra = f"{column} = {row[0]}" + (f" AND number = {row[1]}" if table == "nodes" else "")
        database.execute(f"DELETE FROM {table} WHERE {extra}")
    assert verified(whole, key).size == 6


def test_the_error_names_the_entry_or_checkpoint(whole, database, key, leaf):
    database.execute("UPDATE entries SET leaf = ? WHERE number = 4", (leaf(77),))
    found(whole, key, "log entry 4")
    database.execute("UPDATE entries SET leaf = ? WHERE number = 4", (leaf(4),))
    database.execute("UPDATE checkpoints SET note = note || 'x' WHERE size = 3")
    found(whole, key, "checkpoint of size 3")


# -- who owns the store can rewrite all of it, but not sign it ---------------------------------------------------------


def rewrite(database, leaves):
    """Make the store consistent with other leaves, as far as that can be done without the log's key."""
    hashes = [leaf_hash(one) for one in leaves]
    node = complete_nodes(hashes)
    database.execute("DELETE FROM entries")
    database.execute("DELETE FROM nodes")
    database.executemany("INSERT INTO entries VALUES (?, ?)", enumerate(leaves))
    database.executemany(
        "INSERT INTO nodes VALUES (?, ?, ?)",
        [
            (level, number, node(level, number))
            for level in range(len(leaves).bit_length())
            for number in range(len(leaves) >> level)
        ],
    )
    return hashes


def test_a_rewritten_past_is_found(whole, database, key, leaf):
    leaves = [leaf(i) for i in range(6)]
    rewrite(database, leaves)
    assert verified(whole, key).size == 6
    swapped = [leaves[1], leaves[0], *leaves[2:]]
    rewrite(database, swapped)
    found(whole, key, "log entry 1")  # the checkpoint of size 2 is the first that does not fit
    rewrite(database, [*leaves[:3], leaf(77), *leaves[4:]])
    found(whole, key, "log entry 5")


def test_a_removed_tail_and_an_unsigned_one_are_found(whole, database, key, leaf):
    leaves = [leaf(i) for i in range(7)]
    rewrite(database, leaves[:5])
    found(whole, key, "covers 6 of 5")
    rewrite(database, leaves)
    found(whole, key, "covers 6 of 7")


def test_a_fork_signed_with_the_key_itself_is_found_while_an_older_checkpoint_is_kept(whole, database, key, leaf):
    hashes = rewrite(database, [leaf(i + 50) for i in range(6)])
    note = sign_checkpoint(Checkpoint("credit", 6, root(hashes)), key)
    database.execute("UPDATE checkpoints SET note = ? WHERE size = 6", (note,))
    found(whole, key, "log entry 1")


def test_a_checkpoint_filed_under_another_size_is_found(whole, database, key):
    database.execute("UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 3) WHERE size = 2")
    found(whole, key, "not filed under its own size")


def test_an_entry_that_does_not_parse_is_found_even_if_it_is_signed_into_the_tree(url, key, leaf):
    log = Log.create(url)
    with log.writing(key, "credit") as writer:
        writer.append(leaf(0))
        writer.append(b"{}")
    with pytest.raises(Tampered, match="log entry 1"):
        verify(log, key.verifier, "credit")


def test_a_log_without_a_checkpoint_is_not_verified(url, key):
    with pytest.raises(Tampered, match="nothing in it is signed"):
        verify(Log.create(url), key.verifier, "credit")


def test_an_emptied_log_is_not_verified(whole, database, key):
    for table in ("entries", "nodes", "checkpoints"):
        database.execute(f"DELETE FROM {table}")
    found(whole, key, "nothing in it is signed")


def test_another_key_and_another_origin_do_not_verify(whole, key):
    for other in (VerifyKey("credit/log", bytes(32)), VerifyKey("other/log", key.verifier.public)):
        with pytest.raises(Tampered):
            verify(Log.open(f"sqlite:///{whole}"), other, "credit")
    with pytest.raises(Tampered, match="another log"):
        verified(whole, key, "debit")


def test_verifying_writes_nothing(whole, key):
    before, stat = whole.read_bytes(), whole.stat()
    verified(whole, key)
    assert (whole.read_bytes(), whole.stat().st_mtime_ns) == (before, stat.st_mtime_ns)


def flip(whole, key, copy, places, rng):
    """Slack of the database is not the log: a byte there may change, what is read may not. How many were found."""
    content, expected, caught = whole.read_bytes(), verified(whole, key), 0
    for at in places(len(content)):
        copy.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
        try:
            assert verified(copy, key) == expected
        except PellucidError:
            caught += 1
        for more in copy.parent.glob("copy.sqlite-*"):
            more.unlink()
    return caught


def test_a_changed_byte_of_the_file_is_found_or_changes_nothing(whole, key, tmp_path):
    rng = random.Random(20260301)
    places = lambda size: [*range(0, 100, 5), *rng.sample(range(100, size), 100)]  # noqa: E731 the shortest name for it
    assert flip(whole, key, tmp_path / "copy.sqlite", places, rng) > 10


@pytest.mark.slow
def test_every_seventh_byte_of_the_file_is_found_or_changes_nothing(whole, key, tmp_path):
    places = lambda size: range(0, size, 7)  # noqa: E731 as above
    assert flip(whole, key, tmp_path / "copy.sqlite", places, random.Random(1)) > 400


def test_a_file_cut_short_is_found_or_changes_nothing(whole, key, tmp_path):
    content, copy = whole.read_bytes(), tmp_path / "copy.sqlite"
    for size in range(0, len(content), 1024):
        copy.write_bytes(content[:size])
        found(copy, key)
        for more in tmp_path.glob("copy.sqlite-*"):
            more.unlink()


def test_a_log_of_several_pages_of_rows_verifies(url, key, leaf):
    log = Log.create(url)
    with log.writing(key, "credit") as writer:
        for number in range(1203):
            writer.append(leaf(number % 7))
    assert verify(log, key.verifier, "credit").size == 1203
    assert list(log.entries(990, 1010)) == [leaf(number % 7) for number in range(990, 1010)]
    assert log.root() == root(log.leaf_hashes())
