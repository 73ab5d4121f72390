"""A parsed document read by dotted keys, so that whatever is wrong is named by its key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pellucid.errors import BadFile, nearest

__all__ = ["Dotted"]

_REQUIRED: Final = object()


class Dotted:
    """The document's sections and keys, of which every one must be known.

    Args:
        document: Tables of keys, as TOML gives them.
        keys: By section, the keys there may be.
        where: What the document is, for errors.

    Raises:
        BadFile: A section or key is unknown (names the nearest), or a section is no table.
    """

    def __init__(self, document: Mapping[str, Any], keys: Mapping[str, frozenset[str]], where: str) -> None:
        self._document = document
        self._where = where
        for section, content in document.items():
            if section not in keys:
                raise self.bad(section, f"unknown key{nearest(section, keys)}")
            if not isinstance(content, Mapping):
                raise self.bad(section, "this must be a table")
            for key in content:
                if key not in keys[section]:
                    raise self.bad(f"{section}.{key}", f"unknown key{nearest(key, keys[section])}")

    def bad(self, key: str, what: str) -> BadFile:
        """The error that names ``key``."""
        return BadFile(what, where=f"{self._where}: {key}")

    def get(self, dotted: str, default: Any = _REQUIRED, *, optional: bool = False) -> Any:
        """The value of a key.

        Raises:
            BadFile: It is missing and has no default, or is None and not ``optional``.
        """
        section, _, key = dotted.partition(".")
        value = self._document.get(section, {}).get(key, default)
        if value is _REQUIRED or (value is None and not optional):
            raise self.bad(dotted, "this key is missing")
        return value

    def has(self, dotted: str) -> bool:
        """Whether the key is there."""
        section, _, key = dotted.partition(".")
        return key in self._document.get(section, {})

    def number(
        self, dotted: str, default: Any = _REQUIRED, *, least: float | None = None, below: float | None = None
    ) -> float:
        """A finite number: at least ``least``, or above 0 without; below ``below``, if given.

        Raises:
            BadFile: It is not.
        """
        value = self.get(dotted, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.bad(dotted, "this must be a finite number")
        if value < least if least is not None else value <= 0:
            raise self.bad(dotted, "this must be above 0" if least is None else f"this must be at least {least:g}")
        if below is not None and value >= below:
            raise self.bad(dotted, f"this must be below {below:g}")
        return float(value)

    def count(self, dotted: str, default: Any = _REQUIRED) -> int:
        """A positive whole number.

        Raises:
            BadFile: It is not.
        """
        value = self.get(dotted, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.bad(dotted, "this must be a positive whole number")
        return value

    def choice(self, dotted: str, known: tuple[str, ...], default: Any = _REQUIRED) -> str:
        """One of the ``known`` names.

        Raises:
            BadFile: It is not (names the nearest).
        """
        value = self.get(dotted, default)
        if value not in known:
            near = nearest(value, known) if isinstance(value, str) else ""
            raise self.bad(dotted, f"this must be one of {', '.join(known)}{near}")
        return str(value)
