"""A long log is not verified anew at every act; what changes in it is noticed all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.project.conftest import Place

from pellucid import recall
from pellucid.errors import Tampered
from pellucid.keys import SigningKey, VerifyKey
from pellucid.log import Log
from pellucid.log.entries import parse, seal_record
from pellucid.project import known as prefix
from pellucid.project import publish
from pellucid.project.known import known, remember
from pellucid.project.layout import Layout
from pellucid.project.project import now

LOG = SigningKey("tiny/log", b"\1" * 32).verifier
LEAVES = [b"one", b"two", b"three"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache and state of nobody else, and logs that are remembered however short."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(prefix, "LEAST", 1)


def forged(place: Place) -> bytes:
    """Append an entry whose signature does not fit to a tree that does; only who has the log's key can."""
    with place.open() as project:
        leaf = seal_record("halt", {"reservation": "0" * 16}, project.identity.signing, now())
        start = leaf.index(b'"sig":"') + 7
        leaf = leaf[:start] + (b"A" if leaf[start : start + 1] != b"A" else b"B") + leaf[start + 1 :]
        with project.log.writing(project.log_key, project.name) as writer:
            writer.append(leaf)
    return leaf


def test_what_was_parsed_before_is_known_and_nothing_else_is() -> None:
    assert known(LOG, LEAVES) == 0
    remember(LOG, LEAVES)
    assert known(LOG, LEAVES) == known(LOG, [*LEAVES, b"four"]) == 3
    for others in ([], LEAVES[:2], [b"one", b"twO", b"three"], [b"onet", b"wo", b"three"], [b"two", b"one", b"three"]):
        assert known(LOG, others) == 0, others
    assert known(SigningKey("other/log", b"\2" * 32).verifier, LEAVES) == 0


def test_what_another_wrote_into_the_cache_is_not_believed() -> None:
    """Restored by CI, brought along by a project, or written by whoever may write there: the key is elsewhere."""
    remember(LOG, LEAVES)
    recall.key_path().unlink()
    assert known(LOG, LEAVES) == 0


def test_another_code_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(LOG, LEAVES)
    monkeypatch.setattr(prefix, "_code", lambda: "another")
    assert known(LOG, LEAVES) == 0


def test_entries_that_are_known_are_the_ones_that_were_parsed(trained: Place) -> None:
    first = trained.open()
    whole = [parse(index, leaf) for index, leaf in enumerate(first.log.entries())]
    assert known(first.membership.log_key, list(first.log.entries())) == len(whole)
    assert {entry.kind for entry in whole} > {"genesis", "grant", "evidence", "reserve", "settle", "decision"}
    assert trained.open().entries() == whole == [parse(e.index, e.leaf, known=True) for e in whole]


def test_a_changed_entry_is_noticed_in_a_log_that_is_known(trained: Place) -> None:
    """The tree is held at every reading; and a tree that was signed anew is not what was remembered."""
    size = trained.open().log.size
    forged(trained)
    with pytest.raises(Tampered, match="signature"):
        trained.open()
    leaves = list(log_of(trained).entries())
    assert known(VerifyKey.parse(parse(0, leaves[0]).body["log"]), leaves) == size == len(leaves) - 1


def test_verifying_a_log_takes_nothing_from_what_is_known(trained: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    forged(trained)
    monkeypatch.setattr(prefix, "known", lambda _, leaves: len(leaves))
    with trained.open() as project:
        failed = [check["name"] for check in publish.verify_project(project) if check["status"] == "fail"]
    assert "log" in failed


def log_of(place: Place) -> Log:
    """The log, without opening the project."""
    return Log.open(Layout.read(place.root).log_url)
