"""The maps as data: read once, held against the closed vocabulary of ``terms.toml``."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pellucid.errors import BadFile, UnknownName, nearest

__all__ = ["MAPS", "RegulationMap", "Row", "Term", "Terms", "read", "rows", "terms"]

MAPS: Final = ("eu-ai-act", "gdpr", "nist-ai-rmf", "sr-26-2", "iso-42001")
"""The maps in the package, in the order in which a report shows them."""
Language = Literal["en", "zh"]
_DATA: Final = Path(__file__).parent / "data"
_ROW: Final = {"id", "clause", "source", "evidence", "human", "when"}
_CONDITIONS: Final = {"special"}


@dataclass(frozen=True, slots=True)
class Term:
    """What a path of the evidence shows, or what a part of ``model.toml`` holds, in each language.

    Attributes:
        words: Language to text.
        section: The anchor of the report's section that shows it; ``regulation`` for what people wrote.
    """

    words: Mapping[str, str]
    section: str


@dataclass(frozen=True, slots=True)
class Terms:
    """The vocabulary: paths of evidence, and parts of ``model.toml`` (``section.key``) that people write."""

    evidence: Mapping[str, Term]
    human: Mapping[str, Term]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that a clause asks for: evidence, or the word of a person, never both.

    Attributes:
        id: Stable within its map.
        clause: Article and paragraph, as lawyers cite it.
        source: Where in the map's source it stands.
        evidence: Paths into a model's evidence, all of which must be there; empty where a person has to speak.
        human: The part of ``model.toml``, as ``section.key``; empty where evidence speaks.
        when: ``special`` if the row is asked only of data with special categories; else empty.
    """

    id: str
    clause: str
    source: str
    evidence: tuple[str, ...]
    human: str
    when: str


@dataclass(frozen=True, slots=True)
class RegulationMap:
    """A map: which rule book, in which version of ours, of which day, after which source; ``note`` may be empty."""

    id: str
    version: int
    dated: dt.date
    title: Mapping[str, str]
    note: Mapping[str, str]
    source: str
    note_source: str
    rows: tuple[Row, ...]


@cache
def terms() -> Terms:
    """The vocabulary of the maps."""
    document = _load("terms")
    return Terms(
        {
            path: Term({"en": term["shows"], "zh": term["zh"]}, term["section"])
            for path, term in document["evidence"].items()
        },
        {name: Term({"en": term["asks"], "zh": term["zh"]}, "regulation") for name, term in document["human"].items()},
    )


def rows() -> frozenset[str]:
    """Every row of every map as ``map/row``: what ``[not_applicable]`` of ``model.toml`` may name."""
    return frozenset(f"{name}/{row.id}" for name in MAPS for row in read(name).rows)


@cache
def read(name: str) -> RegulationMap:
    """The map of that name.

    Raises:
        UnknownName: There is no such map.
    """
    if name not in MAPS:
        raise UnknownName(f'there is no regulation map "{name}"{nearest(name, MAPS)}', fix=f"maps: {', '.join(MAPS)}")
    document = _load(name)
    rows = tuple(_row(row, f"{name}.toml") for row in document["row"])
    if len({row.id for row in rows}) < len(rows):
        raise BadFile("two rows have one id", where=f"{name}.toml")
    return RegulationMap(
        id=document["id"],
        version=document["version"],
        dated=document["dated"],
        title={"en": document["title"], "zh": document["title_zh"]},
        note={"en": document.get("note", ""), "zh": document.get("note_zh", "")},
        source=document["source"],
        note_source=document.get("note_source", ""),
        rows=rows,
    )


def _row(row: Mapping[str, Any], where: str) -> Row:
    known = terms()
    made = Row(
        row["id"],
        row["clause"],
        row["source"],
        tuple(row.get("evidence", ())),
        row.get("human", ""),
        row.get("when", ""),
    )
    wrong = [f'no evidence "{path}"' for path in made.evidence if path not in known.evidence]
    wrong += [f'no part "{made.human}"'] if made.human and made.human not in known.human else []
    wrong += [f'unknown key "{key}"' for key in sorted(row.keys() - _ROW)]
    wrong += ["evidence and human, or neither"] if bool(made.evidence) == bool(made.human) else []
    wrong += [f'no condition "{made.when}"'] if made.when and made.when not in _CONDITIONS else []
    if wrong:
        raise BadFile("; ".join(wrong), where=f"{where}: {made.id}")
    return made


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))
