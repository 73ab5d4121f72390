"""Files that a user wrote: their bytes, their text, and where in the text a value stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final

from pellucid.errors import BadFile

__all__ = ["Lines", "decode", "read_bytes"]

MAX_FILE: Final = 1 << 20
_HEADER: Final = re.compile(r"\s*\[")
_OPENINGS: Final = ("'''", '"""', "'", '"')


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that a user named, at most 1 MiB of them and one more, which is refused when it is parsed.

    Raises:
        BadFile: It cannot be read, or is no regular file.
    """
    try:
        if not path.is_file():
            raise BadFile("there is no such file, or it cannot be read", where=str(path))
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise BadFile("there is no such file, or it cannot be read", where=str(path)) from error


def decode(data: bytes, where: str) -> str:
    """UTF-8 text.

    Raises:
        BadFile: It is not.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile("the file is not UTF-8 text", where=where) from error


@dataclass(frozen=True, slots=True)
class Lines:
    """A text and where its lines begin, to find places in it.

    Attributes:
        text: The whole file.
        rows: Its lines, ends included.
        starts: Where each begins, in characters from 0.
    """

    text: str
    rows: Sequence[str] = field(init=False, repr=False)
    starts: Sequence[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = self.text.splitlines(keepends=True)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "starts", [0, *accumulate(map(len, rows))])

    def find(self, line: int, key: str, value: str) -> int | None:
        """Where the text under ``key`` begins, in characters from 0; None if it is written otherwise than it reads.

        Args:
            line: The line, from 1, on which the table's header stands.
            key: The key.
            value: What it holds.
        """
        wanted = re.compile(rf"""\s*(["']?){re.escape(key)}\1\s*=\s*""")
        for number in range(line, len(self.rows)):
            found = wanted.match(self.rows[number])
            if found:
                start = self.starts[number] + found.end()
                opening = next((sign for sign in _OPENINGS if self.text.startswith(sign, start)), "")
                start += len(opening)
                if len(opening) == 3 and self.text.startswith(("\n", "\r\n"), start):
                    start += 2 if self.text[start] == "\r" else 1
                return start if opening and self.text.startswith(value, start) else None
            if _HEADER.match(self.rows[number]):
                return None
        return None

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, both from 1."""
        number = bisect_right(self.starts, offset, hi=max(len(self.rows), 1))
        return number, offset - self.starts[number - 1] + 1
