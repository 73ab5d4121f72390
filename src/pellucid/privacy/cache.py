"""What the accountants found before, in the user's cache folder; what this user's Pellucid did not write is absent.

Whoever can write into the folder (a shared runner, a restored CI cache, a project that brings one along) must not be
able to lower an epsilon. So every entry carries an HMAC-SHA256 under a key that is made on first use and lies outside
the cache folder, in the user's state folder, readable by its owner only; a cache that is moved to another machine or
restored by CI is ignored there. Whoever can read that key can run code as this user, and needs no cache to lie.

An entry's name is the digest of what was asked and of everything the answer depends on: the versions of the libraries
that compute and the sources of the accounting itself. A change to either misses. Failing to read or write is no error:
then it is computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

__all__ = ["cache_folder", "key_path", "remembered"]

_LIBRARIES: Final = ("dp-accounting", "numpy", "scipy")
_MOST: Final = 4096  # entries of some hundred bytes
_KEY_BYTES: Final = 32


def remembered(question: Any, compute: Callable[[], list[float]]) -> list[float]:
    """What ``compute`` gives for ``question``, or what it gave before.

    Args:
        question: All that the answer depends on but code and libraries, as JSON.
        compute: Numbers; they may be inf.
    """
    key = _key()
    if key is None:
        return compute()
    body = json.dumps([question, _environment()], sort_keys=True, allow_nan=False)
    name = hashlib.sha256(body.encode()).hexdigest()
    path = cache_folder() / name[:2] / f"{name[2:]}.json"
    found = _read(path, name, key)
    if found is None:
        found = compute()
        _write(path, name, key, found)
    return found


def cache_folder() -> Path:
    """Where entries are: ``$XDG_CACHE_HOME/pellucid/epsilon``, by default below ``~/.cache``."""
    return _user("XDG_CACHE_HOME", ".cache") / "pellucid" / "epsilon"


def key_path() -> Path:
    """Where the key is: ``$XDG_STATE_HOME/pellucid/cache.key``, by default below ``~/.local/state``."""
    return _user("XDG_STATE_HOME", ".local/state") / "pellucid" / "cache.key"


def _user(variable: str, below: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path(os.path.expanduser("~")) / below  # noqa: PTH111 - never raises


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


def _key() -> bytes | None:
    """The key, made if there is none; None if none can be kept, or others could have read or placed it."""
    path = key_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _place(path, secrets.token_bytes(_KEY_BYTES), replacing=False)
        about = path.lstat()
        mine = stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077
        key = path.read_bytes() if mine else b""
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _mac(name: str, numbers: list[str], key: bytes) -> str:
    return hmac.new(key, json.dumps([name, numbers]).encode(), hashlib.sha256).hexdigest()


def _read(path: Path, name: str, key: bytes) -> list[float] | None:
    try:
        entry = json.loads(path.read_bytes())
        numbers, mac = entry["numbers"], entry["mac"]
        if not hmac.compare_digest(mac, _mac(name, numbers, key)):
            return None
        return [float.fromhex(number) for number in numbers]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _write(path: Path, name: str, key: bytes, found: list[float]) -> None:
    numbers = [float(number).hex() for number in found]
    text = json.dumps({"numbers": numbers, "mac": _mac(name, numbers, key)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _place(path, text.encode(), replacing=True)
        _prune(path)
    except OSError:
        return


def _place(path: Path, content: bytes, *, replacing: bool) -> None:
    """Write whole or not at all, for the owner's eyes; a file that is there already stays, unless ``replacing``."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if replacing:
            Path(name).replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _prune(path: Path) -> None:
    """Keep a folder of one first byte below its share: the oldest go."""
    entries = list(path.parent.iterdir())
    if len(entries) > _MOST // 256 * 4:
        for old in sorted(entries, key=lambda entry: entry.stat().st_mtime)[: len(entries) // 2]:
            old.unlink(missing_ok=True)
