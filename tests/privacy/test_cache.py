"""The cache of what accountants found: what was not written by this user's Pellucid counts as absent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pellucid.privacy import accounting, cache
from pellucid.privacy.cache import cache_folder, remembered
from pellucid.privacy.events import Event
from pellucid.recall import key_path

QUESTION = ["epsilon", [{"kind": "gaussian"}], 1e-5]


class Count:
    def __init__(self, *answer: float) -> None:
        self.answer, self.asked = list(answer), 0

    def __call__(self) -> list[float]:
        self.asked += 1
        return self.answer


def entries():
    return sorted(cache_folder().rglob("*.json"))


def test_what_was_found_is_remembered_to_the_last_bit_and_asked_once(folders):
    count = Count(0.1 + 0.2, float("inf"), 5e-324)
    assert remembered(QUESTION, count) == remembered(QUESTION, count) == count.answer
    assert count.asked == 1
    assert remembered([*QUESTION, 1], count) == count.answer
    assert (count.asked, len(entries())) == (2, 2)


@pytest.mark.parametrize("lie", ["number", "mac", "moved", "empty", "list", "text", "nothing", "deep"])
def test_an_entry_that_was_not_written_here_is_ignored(folders, lie):
    remembered(QUESTION, Count(3.0))
    (path,) = entries()
    entry = json.loads(path.read_text())
    if lie == "moved":  # a true answer to another question
        remembered(["other"], Count(0.5))
        (other,) = [found for found in entries() if found != path]
        path.write_bytes(other.read_bytes())
    else:
        path.write_text(
            {
                "number": json.dumps({**entry, "texts": [(0.5).hex()]}),
                "mac": json.dumps({**entry, "mac": "0" * 64}),
                "empty": "",
                "list": "[]",
                "text": json.dumps({"texts": "3", "mac": entry["mac"]}),
                "nothing": json.dumps({"texts": None, "mac": None}),
                "deep": "[" * 100_000,
            }[lie]
        )
    count = Count(3.0)
    assert remembered(QUESTION, count) == [3.0]
    assert count.asked == 1
    assert remembered(QUESTION, Count(9.0)) == [3.0]  # and what was computed replaces the lie


def test_a_cache_of_another_key_is_ignored(folders):
    """Restored by CI or carried to another machine: the key stays behind."""
    remembered(QUESTION, Count(0.5))
    key_path().unlink()
    assert remembered(QUESTION, Count(3.0)) == [3.0]


def test_a_key_that_others_could_read_or_that_is_not_one_is_not_used(folders):
    remembered(QUESTION, Count(0.5))
    key_path().chmod(0o644)
    assert remembered(QUESTION, Count(3.0)) == [3.0]
    key_path().chmod(0o600)
    assert remembered(QUESTION, Count(3.0)) == [0.5]
    key_path().write_bytes(b"short")
    assert remembered(QUESTION, Count(3.0)) == [3.0]
    key_path().unlink()
    key_path().symlink_to(folders / "elsewhere")
    (folders / "elsewhere").write_bytes(b"k" * 32)
    assert remembered(QUESTION, Count(3.0)) == [3.0]


def test_key_and_entries_are_for_their_owner_only(folders):
    remembered(QUESTION, Count(0.5))
    for path in (key_path(), *entries()):
        assert path.stat().st_mode & 0o077 == 0
    assert cache_folder() not in key_path().parents


def test_another_version_or_another_source_misses(folders, monkeypatch):
    remembered(QUESTION, Count(0.5))
    monkeypatch.setattr(cache, "_environment", lambda: ["another"])
    assert remembered(QUESTION, Count(3.0)) == [3.0]


def test_folders_that_cannot_be_written_only_cost_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    count = Count(3.0)
    assert [remembered(QUESTION, count), remembered(QUESTION, count)] == [[3.0], [3.0]]
    assert count.asked == 2


def test_a_folder_that_grows_is_pruned(folders, monkeypatch):
    monkeypatch.setattr(cache, "_MOST", 256)  # four in a folder
    for number in range(2000):
        remembered(["many", number], Count(1.0))
    assert len(entries()) <= 256 * 5


def test_ten_thousand_steps_of_mixed_events_are_answered_without_the_library_once_cached(folders):
    """Two fresh processes: the second imports no accountant."""
    records = [Event(1 / 100, 2.0 + i / 100, 495).record() for i in range(20)]
    records += [Event(1.0, 40.0, 50).record(), {"kind": "laplace", "noise_multiplier": "200", "count": 50}]
    script = (
        "import json, sys; from pellucid.privacy import accounting;"
        f"r = json.loads({json.dumps(json.dumps(records))});"
        "print(accounting.epsilon(r, 1e-5), accounting.second_opinion(r, 1e-5), accounting.epsilon_at(r, 1e-5),"
        " accounting.curve(r, 1e-5));"
        "print('dp_accounting' in sys.modules, 'numpy' in sys.modules)"
    )
    found = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        found.append(done.stdout.splitlines())
    assert sum(record["count"] for record in records) == 10_000
    assert found[0][0] == found[1][0]
    assert (found[0][1], found[1][1]) == ("True True", "False False")
    assert accounting.epsilon(records, 1e-5) == float(found[0][0].split()[0])
