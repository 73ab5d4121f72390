"""The part of a log that this user's Pellucid has read before, so that a long log is not verified anew at every act.

Parsing an entry verifies its signature and its form, some hundred microseconds. Whether the leaves are those of the
signed tree is looked at every time (:meth:`pellucid.log.Log.held`); and leaves of which every byte is as it was when
this very code parsed them would parse to the same. What is remembered of a log is therefore one digest over its first
entries. ``pellucid log verify``, ``pellucid verify`` and every bundle take nothing from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from pellucid import evidence, keys, recall
from pellucid.keys import VerifyKey
from pellucid.log import entries

__all__ = ["known", "remember"]

LEAST: Final = 256
"""Entries that are new since the last time before a digest is kept again; so many are read in a blink."""
_MOST: Final = 200  # logs


def known(log: VerifyKey, leaves: Sequence[bytes]) -> int:
    """How many of the first leaves were parsed before, by this code, for this user; 0 if it is not known.

    Args:
        log: The log's key.
        leaves: Of the log from entry 0 on.
    """
    name = _name(log)
    texts = recall.read(_path(name), name)
    if texts is None or len(texts) != 2 or not texts[0].isdecimal():
        return 0
    size = int(texts[0])
    return size if size <= len(leaves) and _digest(leaves[:size]) == texts[1] else 0


def remember(log: VerifyKey, leaves: Sequence[bytes]) -> None:
    """That these first leaves of a log were parsed. Failing to keep it is no error."""
    name = _name(log)
    if recall.write(_path(name), name, [str(len(leaves)), _digest(leaves)]):
        recall.forget_oldest(_path(name).parent, _MOST)


def _path(name: str) -> Path:
    return recall.cache_folder("log") / f"{name}.json"


def _name(log: VerifyKey) -> str:
    return hashlib.sha256(f"{log.line}\n{_code()}".encode()).hexdigest()


@cache
def _code() -> str:
    """Digest of what decides whether an entry is one."""
    found = hashlib.sha256()
    for module in (entries, keys, evidence):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()


def _digest(leaves: Sequence[bytes]) -> str:
    found = hashlib.sha256()
    for leaf in leaves:
        found.update(len(leaf).to_bytes(8, "big") + leaf)
    return found.hexdigest()
