"""What a report says, as words and numbers in a row: of HTML, JSON or any text, whatever tool wrote it.

Numbers are compared as numbers: ``39``, ``39.0`` and ``3.9e1`` are one token. Text of tags and attributes, escapes,
base64 and the binary arrays that plotting libraries embed are read too, since a reader can.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator
from typing import Final

import numpy as np

__all__ = ["Token", "key", "texts", "tokens"]

Token = str | float
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_ARRAY: Final = re.compile(r'"dtype"\s*:\s*"([fiu][1248])"\s*,\s*"bdata"\s*:\s*"([A-Za-z0-9+/=\\u]+)"')
_PIECE: Final = re.compile(
    r'"((?:[^"\\\n]|\\.){0,200})"|([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\w)|>([^<>\n]{1,200})<|([^\W\d][\w-]*)'
)
_PART: Final = re.compile(r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[^\W\d][\w-]*")
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TAG: Final = re.compile(r"</?[A-Za-z][\w-]*")
# how things look and where they are drawn: places on a page are not what a chart says
_LOOKS: Final = re.compile(
    r"""(?<=[\w"'\s])\s(?:class|id|style|d|points|transform|viewBox|width|height|c?[xy]|[xy][12]|d[xy]|r|rx|ry)="[^"]*\""""
)
_LONG: Final = re.compile(r"[A-Za-z0-9+/]{64,}={0,2}")
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def texts(content: bytes) -> Iterator[str]:
    """The text of a file, and what is written in base64 within it."""
    plain = content.decode("utf-8", "replace")
    yield _readable(plain)
    for found in _BASE64.finditer(plain):
        try:
            hidden = base64.b64decode(found.group() + "=" * (-len(found.group()) % 4))
        except (binascii.Error, ValueError):
            continue
        yield hidden.decode("utf-8", "replace")


def tokens(content: bytes) -> list[Token]:
    """The words and numbers of a file, in order; quoted texts and the text between tags also stay whole."""
    plain = content.decode("utf-8", "replace")
    found: list[Token] = []
    for piece in _PIECE.finditer(_readable(_LONG.sub("", plain))):
        quoted, number, between, word = piece.groups()
        whole = quoted if quoted is not None else between
        if whole is None:
            found.append(key(number if number is not None else word))
            continue
        found.append(key(whole))
        if key(whole) == whole.strip() and re.search(r"[\s,:=|<>]", whole.strip()):
            found += [key(part) for part in _PART.findall(whole)]
    for kind, data in _ARRAY.findall(plain):
        try:
            raw = base64.b64decode(_ESCAPE.sub(lambda m: chr(int(m[1], 16)), data))
            found += [float(each) for each in np.frombuffer(raw, dtype=np.dtype(f"<{kind}")).tolist()]
        except (binascii.Error, ValueError):
            continue
    return found


def key(value: object) -> Token:
    """``value`` as a token: a number where it reads as one, else its text without blanks around it."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return float(value)
    text = str(value).strip()
    digits = _THOUSANDS.sub("", text.replace("\u2212", "-"))
    return float(digits) if _NUMBER.fullmatch(digits) else text


def _readable(text: str) -> str:
    return html.unescape(_ESCAPE.sub(lambda m: chr(int(m[1], 16)), _TAG.sub("<", _LOOKS.sub("", text))))
