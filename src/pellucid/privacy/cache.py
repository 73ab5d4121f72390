"""What the accountants found before, in the user's cache folder; what this user's Pellucid did not write is absent.

An entry's name is the digest of what was asked and of everything the answer depends on: the versions of the libraries
that compute and the sources of the accounting itself. A change to either misses. How entries are kept from whoever can
write into the folder: :mod:`pellucid.recall`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pellucid import recall

__all__ = ["cache_folder", "remembered"]

_LIBRARIES: Final = ("dp-accounting", "numpy", "scipy")
_MOST: Final = 4096  # entries of some hundred bytes


def remembered(question: Any, compute: Callable[[], list[float]]) -> list[float]:
    """What ``compute`` gives for ``question``, or what it gave before.

    Args:
        question: All that the answer depends on but code and libraries, as JSON.
        compute: Numbers; they may be inf.
    """
    body = json.dumps([question, _environment()], sort_keys=True, allow_nan=False)
    name = hashlib.sha256(body.encode()).hexdigest()
    path = cache_folder() / name[:2] / f"{name[2:]}.json"
    texts = recall.read(path, name)
    if texts is not None:
        return [float.fromhex(text) for text in texts]
    found = compute()
    if recall.write(path, name, [float(number).hex() for number in found]):
        recall.forget_oldest(path.parent, _MOST // 256 * 4)  # a folder is of one first byte
    return found


def cache_folder() -> Path:
    """Where entries are, below :func:`pellucid.recall.cache_folder`."""
    return recall.cache_folder("epsilon")


@cache
def _environment() -> list[str]:
    """What the answers depend on: Python, the libraries, and every module of this room."""
    libraries = []
    for name in _LIBRARIES:
        try:
            libraries.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            libraries.append(f"{name} none")
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return [".".join(map(str, sys.version_info[:2])), *libraries, code.hexdigest()]
