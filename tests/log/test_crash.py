"""Several processes, and processes that die: what was acknowledged stays, what was not leaves no trace."""

import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing

import pytest

from pellucid.errors import Misuse, Tampered
from pellucid.log import Log, verify
from pellucid.log.store.sqlite import File

WRITER = """
import datetime as dt, itertools, sys
from pellucid.keys import SigningKey
from pellucid.log import Log, seal_record
url, who, blocks = sys.argv[1], sys.argv[2], int(sys.argv[3])
key, at = SigningKey("credit/log", bytes(range(32))), dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
log = Log.open(url)
for block in itertools.islice(itertools.count(), blocks or None):
    with log.writing(key, "credit") as writer:
        for part in range(1 + block % 3):
            fields = {"what": who, "sha256": f"{block}.{part}"}
            index = writer.append(seal_record("adopt", fields, key, at))
    print(index, block, flush=True)
"""


def start(url, who, blocks=0):
    return subprocess.Popen([sys.executable, "-c", WRITER, url, who, str(blocks)], stdout=subprocess.PIPE, text=True)


def kill_while_writing(url, key, times, seed):
    log, rng, acknowledged = Log.create(url), random.Random(seed), {}
    for time in range(times):
        process = start(url, f"writer {time}")
        try:
            for _ in range(rng.randrange(1, 15)):
                index, block = map(int, process.stdout.readline().split())
                acknowledged[index] = (f"writer {time}", f"{block}.{block % 3}")
        finally:
            process.kill()  # SIGKILL, somewhere in a later block
            rest = process.communicate()[0]
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                index, block = map(int, line.split())
                acknowledged[index] = (f"writer {time}", f"{block}.{block % 3}")
        entries = verify(log, key.verifier, "credit").entries
        for index, said in acknowledged.items():
            assert (entries[index].body["what"], entries[index].body["sha256"]) == said
        # a block is there as a whole or not at all
        ends = {(entry.body["what"], entry.body["sha256"]) for entry in entries}
        for what, part in ends:
            block = int(part.split(".")[0])
            assert (what, f"{block}.{block % 3}") in ends
    assert len(acknowledged) >= times


def test_what_was_acknowledged_survives_sigkill(url, key):
    kill_while_writing(url, key, times=3, seed=1)


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill_many_times(url, key):
    kill_while_writing(url, key, times=40, seed=2)


def test_four_processes_append_at_once_and_nothing_is_lost(url, key):
    log = Log.create(url)
    processes = [start(url, f"writer {number}", blocks=6) for number in range(4)]
    answers = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    entries = verify(log, key.verifier, "credit").entries
    assert len(entries) == 4 * 12
    for number, (out, _) in enumerate(answers):
        mine = [entry.body["sha256"] for entry in entries if entry.body["what"] == f"writer {number}"]
        assert mine == [f"{block}.{part}" for block in range(6) for part in range(1 + block % 3)]
        for line in out.splitlines():
            index, block = map(int, line.split())
            assert entries[index].body == {**entries[index].body, "what": f"writer {number}"}
            assert entries[index].body["sha256"] == f"{block}.{block % 3}"
    assert len(log.checkpoints()) == 24


def test_a_write_ahead_file_cut_anywhere_leaves_a_log_that_verifies(filled, url, key, leaf, tmp_path):
    """What a loss of power leaves of the last writes: every prefix of the write-ahead file."""
    log = filled(2)
    path = tmp_path / "log.sqlite"
    with closing(sqlite3.connect(path)) as reader:  # an open reader keeps the file from being folded in
        reader.execute("SELECT count(*) FROM entries").fetchall()
        for _ in range(4):
            with log.writing(key, "credit") as writer:
                writer.append(leaf(writer.size))
        content, ahead = path.read_bytes(), (tmp_path / "log.sqlite-wal").read_bytes()
    sizes = set()
    frame = 4096 + 24
    cuts = {32 + frame * n + d for n in range(len(ahead) // frame + 1) for d in (-1, 0, 1000)}
    for cut in sorted({0, 1, 31} | {c for c in cuts if 0 <= c <= len(ahead)}):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "log.sqlite").write_bytes(content)
        (folder / "log.sqlite-wal").write_bytes(ahead[:cut])
        after = verify(Log.open(f"sqlite:///{folder}/log.sqlite"), key.verifier, "credit")
        assert [entry.leaf for entry in after.entries] == [leaf(i) for i in range(after.size)]
        sizes.add(after.size)
        shutil.rmtree(folder)
    assert sizes == {2, 3, 4, 5, 6}


FULL = """
import resource, signal, sys
from pellucid.errors import Misuse
from pellucid.keys import SigningKey
from pellucid.log import Log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log, key = Log.open(sys.argv[1]), SigningKey("credit/log", bytes(range(32)))
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
try:
    while True:
        with log.writing(key, "credit") as writer:
            writer.append(b"x" * 9000)
        print(writer.size, flush=True)
except Misuse as error:
    print(error.what)
"""


def test_a_full_disk_is_said_and_loses_nothing(url, key):
    log = Log.create(url)
    out = subprocess.run([sys.executable, "-c", FULL, url], capture_output=True, text=True, check=True).stdout
    *acknowledged, said = out.splitlines()
    assert said == "the log cannot be read or written: the disk is full or failing"
    assert len(acknowledged) > 3
    assert log.size == int(acknowledged[-1])
    with log.writing(key, "credit") as writer:  # and there is space again
        assert list(writer.entries()) == [b"x" * 9000] * log.size
        writer.append(b"y")


FULL_FROM_THE_START = """
import resource, signal, sys
from pellucid.errors import Misuse
from pellucid.log import Log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    Log.create(sys.argv[1])
except Misuse as error:
    print(error.what)
"""


@pytest.mark.parametrize("space", [0, 4096, 20_000])  # for nothing, the empty file, a part of the tables
def test_a_log_for_which_there_is_no_space_is_a_full_disk_and_not_a_log_already(url, space):
    command = [sys.executable, "-c", FULL_FROM_THE_START, url, str(space)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out == "the log cannot be read or written: the disk is full or failing\n"
    assert Log.create(url).size == 0  # and there is space again


def test_a_database_without_a_free_page_is_a_full_disk(tmp_path):
    file = File(tmp_path / "log.sqlite", wait=1)
    file.make()
    with closing(file.connect()) as connection:
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("CREATE TABLE entries (number)")
    meaning = file.meaning(caught.value)
    assert isinstance(meaning, Misuse)
    assert "the disk is full" in meaning.what


MAKERS = """
import multiprocessing, sys
import sqlalchemy.dialects.sqlite
from pellucid.errors import PellucidError
from pellucid.log import Log

def make(together, said, urls):
    for url in urls:
        together.wait()
        try:
            said.put(f"made {Log.create(url).size}")
        except PellucidError as error:
            said.put(f"{type(error).__name__}: {error.what}")

fork = multiprocessing.get_context("fork")
count, urls = int(sys.argv[1]), sys.argv[2:]
together, said = fork.Barrier(count), fork.SimpleQueue()
makers = [fork.Process(target=make, args=(together, said, urls)) for _ in range(count)]
for maker in makers:
    maker.start()
for _ in range(count * len(urls)):
    print(said.get())
for maker in makers:
    maker.join()
"""


@pytest.mark.parametrize("makers", [2, 3])
def test_of_several_that_make_the_log_at_once_one_does_and_the_others_are_told_that_there_is_one(tmp_path, makers):
    urls = [f"sqlite:///{tmp_path}/{number}/log.sqlite" for number in range(100)]
    command = [sys.executable, "-c", MAKERS, str(makers), *urls]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert Counter(said) == {"made 0": len(urls), "BadFile: there is a log already": len(urls) * (makers - 1)}
    assert all(Log.open(url).size == 0 for url in urls)


def test_who_makes_a_log_in_a_file_that_another_holds_waits_and_is_told_so(url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Misuse, match=r"another process has been writing the log for more than 0\.05 seconds"):
            Log.create(url, wait=0.05)
    assert Log.create(url).size == 0


def test_a_lock_that_a_dead_writer_held_is_free(url, key, leaf):
    code = WRITER.replace("    print(index, block, flush=True)", "    pass").replace(
        "        for part", "        print('inside', flush=True); __import__('time').sleep(60)\n        for part"
    )
    log = Log.create(url, wait=0.1)
    process = subprocess.Popen([sys.executable, "-c", code, url, "w", "1"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "inside\n"
        with pytest.raises(Misuse, match="another process"), log.writing(key, "credit"):
            pass
    finally:
        process.kill()
        process.communicate()
    with log.writing(key, "credit") as writer:
        writer.append(leaf(0))
    assert verify(log, key.verifier, "credit").size == 1


def test_an_unreadable_note_is_tampered_with_not_a_crash(filled, url, key, tmp_path):
    filled(1)
    with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as database:
        database.execute("UPDATE checkpoints SET note = CAST(x'ff' AS TEXT)")
    with pytest.raises(Tampered):
        verify(Log.open(url), key.verifier, "credit")
