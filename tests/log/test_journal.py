"""The log: what was appended is there, proven and signed; what failed left nothing; who may not write still reads."""

import base64
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from pellucid.errors import BadFile, MissingExtra, Misuse, Tampered, UnknownName
from pellucid.keys import SigningKey
from pellucid.log import Log, leaf_hash, open_checkpoint, root, verify, verify_consistency, verify_inclusion
from pellucid.log.store.database import Store


def test_what_was_appended_is_there_in_order(filled, leaf, url, key):
    log = filled(2, 1, 3)
    leaves = [leaf(i) for i in range(6)]
    for one in (log, Log.open(url)):
        assert one.size == 6
        assert [one.entry(i) for i in range(6)] == leaves
        assert list(one.entries()) == leaves
        assert list(one.entries(2)) == leaves[2:]
        assert list(one.entries(1, 4)) == leaves[1:4]
        assert list(one.entries(6)) == []
        assert one.leaf_hashes() == [leaf_hash(x) for x in leaves]
        assert one.leaf_hashes(2) == [leaf_hash(x) for x in leaves[:2]]


def test_roots_and_proofs_are_those_of_the_tree(filled):
    log = filled(3, 5, 5)
    hashes = log.leaf_hashes()
    for size in range(14):
        assert log.root(size) == root(hashes[:size])
    for size in range(1, 14):
        for index in range(size):
            verify_inclusion(hashes[index], index, size, log.inclusion(index, size), log.root(size), where="test")
        verify_consistency(size, 13, log.root(size), log.root(), log.consistency(size), where="test")
        verify_consistency(1, size, log.root(1), log.root(size), log.consistency(1, size), where="test")
    assert log.inclusion(4) == log.inclusion(4, 13)


def test_each_block_leaves_one_checkpoint_over_everything(filled, key):
    log = filled(2, 1, 3)
    points = [open_checkpoint(note, key.verifier, where="test") for note in log.checkpoints()]
    assert [point.size for point in points] == [2, 3, 6]
    assert [point.root for point in points] == [log.root(size) for size in (2, 3, 6)]
    assert {point.origin for point in points} == {"credit"}
    assert log.checkpoint() == log.checkpoints()[-1]


def test_a_block_that_appends_nothing_leaves_no_checkpoint(filled, key):
    log = filled()
    with log.writing(key, "credit"):
        pass
    assert (log.size, log.checkpoint(), log.checkpoints(), log.root()) == (0, None, [], root([]))


def test_beyond_the_end_is_an_unknown_name(filled):
    log = filled(3)
    for call in (
        lambda: log.entry(3),
        lambda: log.entry(-1),
        lambda: list(log.entries(0, 4)),
        lambda: list(log.entries(4)),
        lambda: list(log.entries(-1)),
        lambda: log.leaf_hashes(4),
        lambda: log.root(4),
        lambda: log.root(-1),
        lambda: log.inclusion(3),
        lambda: log.inclusion(2, 2),
        lambda: log.inclusion(0, 4),
        lambda: log.consistency(1, 4),
    ):
        with pytest.raises(UnknownName):
            call()
    with pytest.raises(Misuse):
        log.consistency(0)


# -- one block is all or nothing -------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, Tampered])
def test_on_an_exception_nothing_is_written(filled, leaf, key, error):
    log = filled(2)
    before = (log.checkpoints(), list(log.entries()))

    def fail():
        with log.writing(key, "credit") as writer:
            assert writer.append(leaf(2)) == 2
            assert list(writer.entries()) == [leaf(0), leaf(1), leaf(2)]
            raise error("stop")

    with pytest.raises(error):
        fail()
    assert (log.checkpoints(), list(log.entries())) == before
    with log.writing(key, "credit") as writer:
        assert writer.append(leaf(9)) == 2
    assert verify(log, key.verifier, "credit").size == 3


def test_readers_see_a_block_only_when_it_has_ended(filled, leaf, key):
    log = filled(2)
    with log.reading() as before:
        with log.writing(key, "credit") as writer:
            writer.append(leaf(2))
            assert (writer.size, log.size, before.size) == (3, 2, 2)
        assert (log.size, before.size, len(list(before.entries()))) == (3, 2, 2)
        assert len(before.checkpoints()) == 1


def test_a_writer_reads_what_it_appended(filled, leaf, key):
    log = filled(3)
    with log.writing(key, "credit") as writer:
        writer.append(leaf(3))
        assert writer.entry(3) == leaf(3)
        assert list(writer.entries(2)) == [leaf(2), leaf(3)]
        assert writer.root() == root([leaf_hash(leaf(i)) for i in range(4)])


def test_a_writer_that_has_ended_appends_nothing(filled, leaf, key):
    log = filled(1)
    with log.writing(key, "credit") as writer:
        pass
    with pytest.raises(Misuse, match="ended"):
        writer.append(leaf(1))
    assert log.size == 1


@pytest.mark.parametrize("wrong", [b"", "text", None, bytearray(b"x")])
def test_an_entry_is_bytes(filled, key, wrong):
    log = filled(1)
    with log.writing(key, "credit") as writer, pytest.raises(Misuse, match="bytes"):
        writer.append(wrong)


# -- a writer signs only what extends what was signed ----------------------------------------------------------------


def write(log, key, leaf, origin="credit"):
    with log.writing(key, origin) as writer:
        writer.append(leaf(writer.size))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE nodes SET hash = zeroblob(32) WHERE level = 2",
        "DELETE FROM checkpoints WHERE size = 5",
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET note = replace(note, 'credit', 'debit')",
        "DELETE FROM entries WHERE number = 4",
        "INSERT INTO entries VALUES (5, x'00')",
        "DELETE FROM nodes",
        "UPDATE checkpoints SET size = 9 WHERE size = 2",
        "DROP TABLE nodes",
    ],
)
def test_a_writer_never_signs_over_a_changed_tree(filled, url, key, leaf, statement):
    log = filled(2, 3)
    notes = log.checkpoints()
    with raw(url) as database:
        database.execute(statement)
    with pytest.raises(Tampered):
        write(log, key, leaf)
    assert set(log.checkpoints()) - set(notes) <= {note.replace("credit", "debit") for note in notes}


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("hide", [False, True])
def test_a_writer_never_reads_a_changed_entry_to_the_end(filled, url, key, leaf, number, hide):
    log = filled(2, 3)
    with raw(url) as database:
        database.execute("UPDATE entries SET leaf = ? WHERE number = ?", (leaf(77), number))
        if hide and number != 4:  # a changed leaf hash too; leaf 4 is a peak, so there the writer does not even begin
            database.execute("UPDATE nodes SET hash = ? WHERE level = 0 AND number = ?", (leaf_hash(leaf(77)), number))
    with log.writing(key, "credit") as writer:
        for start, end in ((0, None), (number, None), (number, number + 1)):
            with pytest.raises(Tampered, match="not what was logged"):
                list(writer.entries(start, end))
            with pytest.raises(Tampered, match="not what was logged"):
                list(log.held(key.verifier, "credit", start, end))
        if not hide:  # what stands before it is what was logged
            assert len(list(writer.entries(0, number))) == number


def test_held_entries_are_those_that_were_signed(filled, url, key, leaf):
    log = filled(2, 3)
    assert list(log.held(key.verifier, "credit")) == [leaf(i) for i in range(5)]
    assert list(log.held(key.verifier, "credit", 1, 3)) == [leaf(1), leaf(2)]
    for verifier, origin in ((SigningKey("credit/log", bytes(32)).verifier, "credit"), (key.verifier, "debit")):
        with pytest.raises(Tampered):
            list(log.held(verifier, origin))
    with raw(url) as database:
        database.execute("DELETE FROM checkpoints WHERE size = 5")
    with pytest.raises(Tampered, match="newest checkpoint"):
        list(log.held(key.verifier, "credit"))


def test_another_key_or_origin_cannot_write(filled, key, leaf):
    log = filled(2)
    for other, origin in ((SigningKey("credit/log", bytes(32)), "credit"), (key, "debit")):
        with pytest.raises(Tampered):
            write(log, other, leaf, origin)
    assert log.size == 2


# -- creating and opening --------------------------------------------------------------------------------------------


def test_a_log_is_made_once(filled, url):
    filled(2)
    with pytest.raises(BadFile, match="already"):
        Log.create(url)
    assert Log.open(url).size == 2


def test_missing_folders_are_made(tmp_path):
    log = Log.create(f"sqlite:///{tmp_path}/a/b/log.sqlite")
    assert log.size == 0


def test_no_file_is_an_unknown_name_and_makes_none(url, tmp_path, key):
    with pytest.raises(UnknownName):
        Log.open(url)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_went_away_is_an_unknown_name(filled, tmp_path):
    log = filled(1)
    (tmp_path / "log.sqlite").unlink()
    with pytest.raises(UnknownName):
        _ = log.size


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, b"SQLite format 3\0" + bytes(2000)])
def test_a_file_that_is_no_log_is_tampered_with(url, tmp_path, content):
    (tmp_path / "log.sqlite").write_bytes(content)
    with pytest.raises(Tampered, match="not a log"):
        Log.open(url)


def test_a_crash_while_making_the_log_is_mended_by_making_it_again(url, tmp_path):
    (tmp_path / "log.sqlite").touch()
    assert Log.create(url).size == 0


@pytest.mark.parametrize(
    "wrong", ["", "log.sqlite", "sqlite://", "sqlite:///:memory:", "mysql://h/d", "sqlite:///x?a=b"]
)
def test_a_url_that_is_no_log_is_a_bad_file(wrong):
    with pytest.raises(BadFile):
        Log.open(wrong)


@pytest.mark.parametrize("driver", ["nodriver", "psycopg2cffi"])
def test_a_log_in_postgresql_needs_its_driver_and_never_shows_the_password(driver):
    url = f"postgresql+{driver}://ana:hunter2@db/credit"
    with pytest.raises(MissingExtra, match="postgresql\\+psycopg") as caught:
        Log.open(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Log(Store(url, wait=1)))


def test_the_file_is_alone_between_transactions_and_never_syncs_less_than_fully(filled, tmp_path):
    log = filled(2)
    assert [path.name for path in tmp_path.iterdir()] == ["log.sqlite"]
    connection = log._store._file.connect()
    try:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        connection.close()


def test_importing_the_log_imports_no_sql():
    code = "import sys, pellucid.log; sys.exit(any(m in sys.modules for m in ('sqlalchemy', 'torch', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_statement_compiles_for_postgresql(filled, monkeypatch):
    """No PostgreSQL here: what is held is that each statement is one that SQLAlchemy can say to it."""
    from sqlalchemy import Connection
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    from pellucid.log.store.rows import tables as all_tables

    said, execute = [], Connection.execute

    def spy(self, statement, *args, **kwargs):
        said.append(str(statement.compile(dialect=postgresql.dialect())))
        return execute(self, statement, *args, **kwargs)

    monkeypatch.setattr(Connection, "execute", spy)
    log = filled(3)
    list(log.entries())
    log.inclusion(1), log.consistency(1), log.checkpoints()
    tables = [
        str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in all_tables().metadata.sorted_tables
    ]
    assert len(set(said)) >= 7
    assert all("BIGINT NOT NULL" in table and "SERIAL" not in table for table in tables)
    assert sum("BYTEA" in table for table in tables) == 2


# -- waiting and rights ----------------------------------------------------------------------------------------------


def test_who_waits_too_long_is_told_that_another_process_is_writing(filled, url, key, leaf):
    log = filled(1)
    impatient = Log.open(url, wait=0.05)
    with log.writing(key, "credit") as writer:
        writer.append(leaf(1))
        with pytest.raises(Misuse, match="another process"):
            write(impatient, key, leaf)
        assert impatient.size == 1
    write(impatient, key, leaf)
    assert log.size == 3


@contextmanager
def nobody():
    """Without the right to write, even for root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readonly(key, leaf):
    """A log in a folder that may be read and not written, and how to write it all the same."""
    folder = Path(tempfile.mkdtemp(prefix="pellucid-log-"))
    url = f"sqlite:///{folder}/log.sqlite"
    log = Log.create(url)
    write(log, key, leaf)
    write(log, key, leaf)
    (folder / "log.sqlite").chmod(0o444)
    folder.chmod(0o555)
    yield url, folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_reading_and_verifying_need_no_right_to_write(readonly, key, leaf):
    url, folder = readonly
    with nobody():
        log = Log.open(url)
        assert verify(log, key.verifier, "credit").size == 2
        assert list(log.entries()) == [leaf(0), leaf(1)]
        with pytest.raises(Misuse, match="may not be opened or changed"):
            write(log, key, leaf)
    assert [path.name for path in folder.iterdir()] == ["log.sqlite"]


@pytest.fixture
def closed():
    """A function that makes an empty folder of a given mode."""
    made = []

    def make(mode):
        made.append(Path(tempfile.mkdtemp(prefix="pellucid-log-")))
        made[-1].chmod(mode)
        return made[-1]

    yield make
    for folder in made:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mode", "path", "what"),
    [
        (0o555, "log.sqlite", "its file or its folder may not be opened or changed"),
        (0o000, "log.sqlite", "its file or its folder may not be opened or changed"),
        (0o555, "log/log.sqlite", "the log's folder cannot be made"),
        (0o000, "log/log.sqlite", "the log's folder cannot be made"),
    ],
)
def test_a_log_that_the_rights_do_not_let_be_made_is_that_and_not_a_log_already(closed, mode, path, what):
    folder = closed(mode)
    url = f"sqlite:///{folder}/{path}"
    with nobody(), pytest.raises(Misuse, match=what) as caught:
        Log.create(url)
    assert "rights" in caught.value.fix
    folder.chmod(0o755)
    assert Log.create(url).size == 0


def test_a_log_in_a_folder_that_may_not_be_looked_into_is_not_called_missing(closed):
    folder = closed(0o755)
    url = f"sqlite:///{folder}/log.sqlite"
    Log.create(url)
    folder.chmod(0o000)
    with nobody(), pytest.raises(Misuse, match="the log's folder cannot be read"):
        Log.open(url)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + bytes(2000)])
def test_a_log_is_not_made_in_a_file_that_is_no_database(url, tmp_path, content):
    (tmp_path / "log.sqlite").write_bytes(content)
    with pytest.raises(Tampered, match="not a log"):
        Log.create(url)
    assert (tmp_path / "log.sqlite").read_bytes() == content


def test_a_reader_without_rights_never_calls_a_log_tampered_with_that_was_just_written(readonly, key):
    url, folder = readonly

    def read():
        with Log.open(url).reading() as snapshot:
            assert snapshot.size == 2
            os.utime(folder / "log.sqlite", ns=(1, 1))  # somebody else writes
            raise Tampered("a page from before and one from after do not fit")

    mode = "euid" if os.geteuid() == 0 else "own"
    if mode == "own":
        with pytest.raises(Misuse, match="while it was read"):
            read()
        return
    os.chown(folder / "log.sqlite", 65534, 65534)
    with nobody(), pytest.raises(Misuse, match="while it was read"):
        read()


@contextmanager
def raw(url):
    """The database itself, behind the log's back."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def test_a_leaf_of_any_size_and_content_comes_back(url, key):
    leaves = [b"\0", bytes(range(256)) * 4000, base64.b64encode(bytes(100)), b"\xff" * 3]
    log = Log.create(url)
    with log.writing(key, "credit") as writer:
        for one in leaves:
            writer.append(one)
    assert list(log.entries()) == leaves
