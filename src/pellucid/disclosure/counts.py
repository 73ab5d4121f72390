"""Counts of few people, wherever a report writes them: in JSON, beside their name, in a table under it, in a sentence.

Without the data: a count is recognised by the word that stands with it. Counts of a mechanism's draws, which every
private release publishes, are no counts of people; neither is the least number that a report says it keeps to.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Final

__all__ = ["small_counts"]

_PEOPLE: Final = (
    r"(?:people|persons?|individuals?|patients?|customers?|clients?|applicants?|employees?|respondents?|participants?)"
)
_NAMED: Final = r"(?:n|counts?|size|support|units|samples|rows|" + _PEOPLE + r")"
_NUMBER: Final = r"(\d{1,4})(?:\.0+)?(?![\w]|[.,]\d)"
_BESIDE: Final = re.compile(rf"""(?:"{_NAMED}"\s*:\s*|>\s*{_NAMED}\s*<[^<>]*>\s*<[^<>]*>\s*){_NUMBER}""", re.IGNORECASE)
_LISTED: Final = re.compile(rf'"{_NAMED}"\s*:\s*\[([\d.,\s]*)\]', re.IGNORECASE)
_ITEM: Final = re.compile(rf"(?<![\d.]){_NUMBER}")
# an event of the accountants: how often a mechanism was used
_EVENT: Final = re.compile(
    r'"count"\s*:\s*\d+\s*,\s*(?="events"\s*:|"kind"\s*:\s*"(?:\w*gaussian|laplace|repeat_\w+)")'
)
_CODE: Final = re.compile(r"<(script|style)\b(?![^>]*json).*?</\1\s*>", re.IGNORECASE | re.DOTALL)
# what a report says that it keeps to is no count
_LIMIT: Final = (
    r"(?:(?:fewer|less|more)\s+than|below|under|at\s+(?:least|most)|up\s+to|minimum\s+of|each|per|"
    r"少于|不足|至少|至多|每)"
)
_SAID: Final = re.compile(
    rf"({_LIMIT}\s*)?(?<![\w.,/\u2212-])(\d{{1,4}})(?:\.0+)?(?:\s+{_PEOPLE}\b|\s*人)", re.IGNORECASE
)
_EQUALS: Final = re.compile(rf"(?<![\w.])n\s*=\s*{_NUMBER}", re.IGNORECASE)
_HEADER: Final = re.compile(rf"(?:number of )?{_NAMED}", re.IGNORECASE)
_CELL: Final = re.compile(r"(\d{1,4})(?:\.0+)?")
_MARKS: Final = ("|", "\t", ";", ",")


def small_counts(readable: str, plain: str, minimum: int) -> int:
    """How many counts of people from 1 to below ``minimum`` are in a file.

    Args:
        readable: Its text with the names of tags and how things look taken out
            (:func:`pellucid.disclosure.tokens.texts`).
        plain: Its text as it is.
        minimum: The smallest number of people that may be told.
    """
    json_ = _EVENT.sub("", readable)
    listed = (number for found in _LISTED.findall(json_) for part in found.split(",") for number in _ITEM.findall(part))
    beside = [(found.start(1), found[1]) for found in _BESIDE.finditer(json_)]
    prose = _CODE.sub(" ", plain)
    said = [found[2] for found in _SAID.finditer(prose) if not found[1]]
    cells = (*_tables(plain), *_columns(plain))
    counts = (*(number for _, number in beside), *listed, *said, *_EQUALS.findall(prose), *cells)
    return sum(0 < int(number) < minimum for number in counts)


class _Tables(HTMLParser):
    """Rows of the tables of a page, each as the texts of its cells; an empty row ends a table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("table", "tr"):
            self.rows.append([])
        self.inside = tag in ("td", "th") or (self.inside and tag != "tr")
        if tag in ("td", "th"):
            if not self.rows:
                self.rows.append([])
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self.inside = False
        elif tag == "table":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def _tables(plain: str) -> Iterator[str]:
    """Numbers in the columns of an HTML table whose header names people."""
    if "<td" not in plain.lower():
        return
    parser = _Tables()
    with contextlib.suppress(AssertionError):  # of a broken declaration: what was read before it still counts
        parser.feed(plain)
    yield from _under(parser.rows)


def _columns(plain: str) -> Iterator[str]:
    """The same in tables of text: Markdown, or values apart by commas, semicolons or tabs."""
    for mark in _MARKS:
        if mark in plain:
            yield from _under([line.strip(" |").split(mark) if mark in line else [] for line in plain.splitlines()])


def _under(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    header: list[int] = []
    width = 0
    for row in rows:
        if len(row) != width:
            header, width = [], len(row)
            if width > 1 and not any("noise" in cell.lower() for cell in row):  # draws of a mechanism
                header = [place for place, cell in enumerate(row) if _HEADER.fullmatch(cell.strip(" \"'↕"))]
            continue
        for place in header:
            found = _CELL.fullmatch(row[place].strip(" \"'"))
            if found:
                yield found[1]
