"""What this user's Pellucid found before, under a MAC: what it did not write is absent.

Whoever can write into a cache folder (a shared runner, a restored CI cache, a project that brings one along) must not
be able to change a finding. So every entry carries an HMAC-SHA256 under a key that is made on first use and lies
outside the cache folder, in the user's state folder, readable by its owner only; a cache that is moved to another
machine or restored by CI is ignored there. Whoever can read that key can run code as this user, and needs no cache to
lie. Failing to read or write is no error: then it is found anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["cache_folder", "forget_oldest", "key_path", "read", "write"]

_KEY_BYTES: Final = 32


def cache_folder(kind: str) -> Path:
    """Where entries of a kind are: ``$XDG_CACHE_HOME/pellucid/KIND``, by default below ``~/.cache``."""
    return _user("XDG_CACHE_HOME", ".cache") / "pellucid" / kind


def key_path() -> Path:
    """Where the key is: ``$XDG_STATE_HOME/pellucid/cache.key``, by default below ``~/.local/state``."""
    return _user("XDG_STATE_HOME", ".local/state") / "pellucid" / "cache.key"


def read(path: Path, name: str) -> list[str] | None:
    """What :func:`write` wrote there under this name; None of anything else."""
    key = _key()
    if key is None:
        return None
    try:
        entry = json.loads(path.read_bytes())
        texts, mac = entry["texts"], entry["mac"]
        if not hmac.compare_digest(mac, _mac(name, texts, key)):
            return None
        return [str(text) for text in texts]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def write(path: Path, name: str, texts: Sequence[str]) -> bool:
    """Keep some texts, for their owner's eyes, whole or not at all; whether that was possible."""
    key = _key()
    if key is None:
        return False
    content = json.dumps({"texts": list(texts), "mac": _mac(name, list(texts), key)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _place(path, content.encode(), replacing=True)
    except OSError:
        return False
    return True


def forget_oldest(folder: Path, most: int) -> None:
    """Of more than ``most`` entries, the older half goes."""
    with contextlib.suppress(OSError):
        entries = list(folder.iterdir())
        if len(entries) > most:
            for old in sorted(entries, key=lambda entry: entry.stat().st_mtime)[: len(entries) // 2]:
                old.unlink(missing_ok=True)


def _user(variable: str, below: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path(os.path.expanduser("~")) / below  # noqa: PTH111 - never raises


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


def _mac(name: str, texts: list[str], key: bytes) -> str:
    return hmac.new(key, json.dumps([name, texts]).encode(), hashlib.sha256).hexdigest()


def _place(path: Path, content: bytes, *, replacing: bool) -> None:
    """Write whole or not at all; a file that is there already stays, unless ``replacing``."""
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
