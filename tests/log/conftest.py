"""What the log's tests share: a fixed key, a fixed clock, logs in a folder of their own."""

import datetime as dt
import json
from pathlib import Path

import pytest

from pellucid.keys import SigningKey
from pellucid.log import Log, seal_record

AT = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="session")
def key():
    return SigningKey("credit/log", bytes(range(32)))


@pytest.fixture(scope="session")
def leaf(key):
    """A function from a number to a leaf that parses."""
    return lambda number: seal_record("adopt", {"what": "access policy", "sha256": f"{number:064x}"}, key, AT)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/log.sqlite"


@pytest.fixture
def filled(url, key, leaf):
    """A function that makes a log with entries in blocks, such as ``filled(2, 1, 3)``."""

    def fill(*blocks):
        log = Log.create(url)
        for block in blocks:
            with log.writing(key, "credit") as writer:
                for _ in range(block):
                    writer.append(leaf(writer.size))
        return log

    return fill


@pytest.fixture(scope="session")
def vectors():
    """A function that reads a file of tests/vectors."""
    folder = Path(__file__).parent.parent / "vectors"
    return lambda name: json.loads((folder / name).read_text(encoding="utf-8"))
