"""One table of a TOML file that knows where it stands, so that an error says file, line and key."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pellucid.errors import BadFile, nearest

__all__ = ["Table", "array"]

_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table and its place, such as ``release.toml, line 7: require[privacy.epsilon]``.

    Attributes:
        content: What it holds.
        where: Its place, for an error.
        line: The line of its header, from 1; None if it has none of its own.
    """

    content: Mapping[str, Any]
    where: str
    line: int | None = None

    def only(self, known: Iterable[str]) -> None:
        """Refuse every key that is not ``known``, naming the nearest that is.

        Raises:
            BadFile: There is such a key.
        """
        names = sorted(known)
        for key in self.content:
            if key not in names:
                raise BadFile(
                    f'unknown key "{key}"{nearest(key, names)}', where=self.where, fix=f"known are {', '.join(names)}"
                )

    def text(self, key: str, default: str | None = None) -> str:
        """The text under ``key``, not blank.

        Raises:
            BadFile: It is missing without a ``default``, or no text.
        """
        if key not in self.content and default is not None:
            return default
        value = self.content.get(key)
        if not isinstance(value, str) or not value.strip():
            raise BadFile(f'"{key}" is missing or not a text', where=self.where)
        return value

    def texts(self, key: str) -> Sequence[str]:
        """The texts under ``key``, at least one, none blank.

        Raises:
            BadFile: It is missing, or no list of them.
        """
        value = self.content.get(key)
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(item, str) and item.strip() for item in value)
        ):
            raise BadFile(f'"{key}" is a list of texts, at least one', where=self.where)
        return value

    def identifier(self) -> str:
        """The ``id``: lower-case letters, digits, dots, dashes and underscores, at most 100.

        Raises:
            BadFile: There is none, or it is not made of these.
        """
        name = self.text("id")
        if not _ID.fullmatch(name):
            raise BadFile("an id is made of a-z, 0-9, dots, dashes and underscores", where=self.where)
        return name

    def name(self, key: str) -> None:
        """Refuse a key that an expression could not name.

        Raises:
            BadFile: It holds something else than letters, digits and underscores.
        """
        if not _NAME.fullmatch(key):
            raise BadFile(f'"{key:.40}" cannot be named in a rule', where=self.where, fix="use a-z, 0-9 and _")

    def date(self, key: str) -> dt.date:
        """The date under ``key``.

        Raises:
            BadFile: It is missing or not a date.
        """
        value = self.content.get(key)
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            raise BadFile(f'"{key}" must be a date, such as 2026-12-31 (without quotes)', where=self.where)
        return value


def array(document: Mapping[str, Any], name: str, text: str, where: str) -> Sequence[Table]:
    """The tables of ``[[name]]``, each with the line it starts on and its id in its place.

    Args:
        document: The parsed file.
        name: The array's name.
        text: The file's text, to find lines.
        where: The file.

    Raises:
        BadFile: ``name`` is there and is not an array of tables.
    """
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadFile(f"write each entry as a table [[{name}]]", where=where)
    header = re.compile(rf"\s*\[\[\s*{re.escape(name)}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if header.match(line)]
    tables = []
    for number, item in enumerate(found):
        # inline arrays and headers inside multi-line texts have no line of their own to name
        line = lines[number] if len(lines) == len(found) else None
        label = item["id"] if isinstance(item.get("id"), str) and _ID.fullmatch(item["id"]) else number + 1
        place = "" if line is None else f", line {line}"
        tables.append(Table(item, f"{where}{place}: {name}[{label}]", line))
    return tables
