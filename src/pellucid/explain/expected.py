"""What somebody who knows the field expects of a model: ``expectations.toml``, read before the model is looked at.

An expectation is one sentence about one column: which way the answer goes with it, that it hardly matters, or that a
special column must not be guessed and used. Whether it holds is asked in :mod:`pellucid.explain.expectations`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from pellucid.errors import BadFile, nearest
from pellucid.evidence import canonical, digest
from pellucid.schema import ENCODED, Column, Schema, parse_toml, read_toml

__all__ = ["KINDS", "Expectation", "Expectations", "Limit", "Monotone", "Proxy", "Sign"]

DIRECTIONS: Final = ("increasing", "decreasing")
SIGNS: Final = ("positive", "negative")
SHARES: Final = ("attribution", "shapley")
MEASURES: Final = (*SHARES, "auc")
PLACES: Final = ("held-out", "public")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Monotone:
    """The score never goes against ``direction`` as the column grows.

    Attributes:
        column: A number, integer or boolean.
        direction: ``increasing`` or ``decreasing``.
        tolerance: The largest fall against it that is put up with, in units of the score (log-odds).
    """

    column: str
    direction: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class Sign:
    """A category of the column raises (``positive``) or lowers the score on average, against the other categories."""

    column: str
    category: str
    sign: str


@dataclass(frozen=True, slots=True)
class Limit:
    """The column matters at most so much.

    Attributes:
        column: The column.
        at_most: In [0, 1].
        by: ``attribution``, the share of all attribution; ``shapley``, the share of all Shapley values; or ``auc``, the
            drop in AUC when the column is permuted.
        rows: ``held-out`` people, or ``public`` rows made from the schema.
    """

    column: str
    at_most: float
    by: str
    rows: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A column is not both guessed from the features and, by that guess, used.

    Attributes:
        of: The column, a category or boolean, as a rule special and no feature.
        category: The only category that is guessed against the rest, or None for each.
        at_most_auc: How well it may be guessed, in [0.5, 1]; None for no limit.
        use_at_most: How much the model may use the guess, a correlation in [0, 1]; None for no limit.
    """

    of: str
    category: str | None
    at_most_auc: float | None
    use_at_most: float | None


About: TypeAlias = Monotone | Sign | Limit | Proxy


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation: ``id`` is its name in the file, ``kind`` one of :data:`KINDS`, ``because`` why it is held."""

    id: str
    kind: str
    because: str
    about: About


@dataclass(frozen=True, slots=True)
class Expectations:
    """The expectations of one file, held against the schema of the data. Made by :meth:`read` or :meth:`parse`.

    Attributes:
        items: In the order of the file, at least one; no id twice.
        outcome: The class whose score is meant; None for the last one of two.
        sha256: Digest of the document in canonical JSON: what was expected, whatever its comments and blanks.
    """

    items: tuple[Expectation, ...]
    outcome: str | None
    sha256: str

    @classmethod
    def read(cls, path: Path, schema: Schema) -> Expectations:
        """:meth:`parse` of a file."""
        return cls._of(read_toml(path), schema, str(path))

    @classmethod
    def parse(cls, text: str, schema: Schema, *, where: str = "expectations") -> Expectations:
        """The expectations in TOML ``text``, about the columns of ``schema``.

        Raises:
            BadFile: Not TOML; an unknown key, kind, column, category or class (names the nearest); a value of another
                type or out of its range, such as a number written as text; an id twice; no expectation at all, since
                an empty file would say that everything expected is met.
        """
        return cls._of(parse_toml(text, where=where), schema, where)

    @classmethod
    def _of(cls, document: Mapping[str, Any], schema: Schema, where: str) -> Expectations:
        top = _Part(document, where, schema)
        top.only({"expect", "class"})
        found = document.get("expect", [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise BadFile("write each expectation as a table [[expect]]", where=f"{where}: expect")
        if not found:
            raise BadFile(
                "a file that expects nothing would say that all expectations are met",
                where=where,
                fix="write at least one [[expect]]",
            )
        items: dict[str, Expectation] = {}
        for number, item in enumerate(found, 1):
            label = item["id"] if isinstance(item.get("id"), str) else number
            one = _expectation(_Part(item, f"{where}: expect[{label}]", schema))
            if one.id in items:
                raise BadFile(f'the id "{one.id}" stands twice', where=f"{where}: expect[{label}]")
            items[one.id] = one
        outcome = top.choice("class", schema.classes()) if "class" in document else None
        return cls(tuple(items.values()), outcome, digest(canonical(dict(document))))


@dataclass(frozen=True, slots=True)
class _Part:
    """A table that knows its place and the schema, so that whatever is wrong is named by its key."""

    content: Mapping[str, Any]
    where: str
    schema: Schema

    def bad(self, key: str, what: str, fix: str | None = None) -> BadFile:
        return BadFile(what, where=f"{self.where}.{key}" if "[" in self.where else f"{self.where}: {key}", fix=fix)

    def only(self, known: set[str]) -> None:
        for key in self.content:
            if key not in known:
                raise self.bad(key, f"unknown key{nearest(key, known)}", f"known are {', '.join(sorted(known))}")

    def text(self, key: str) -> str:
        value = self.content.get(key)
        if value is None:
            raise self.bad(key, "this is missing")
        if not isinstance(value, str) or not value.strip():
            raise self.bad(key, "this must be a text, and not an empty one")
        return value

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        if default is not None and key not in self.content:
            return default
        value = self.text(key)
        if value not in known:
            raise self.bad(key, f'"{value}" is not one of {", ".join(known)}{nearest(value, known)}')
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self.content.get(key, default)
        if value is None:
            raise self.bad(key, "this number is missing", f"write {key} = a number from {low:g} to {high:g}")
        if isinstance(value, str):
            raise self.bad(key, "this is a text, and a number is needed", f"write {key} = … without quotes")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(key, "this is no number")
        if not low <= value <= high:
            raise self.bad(key, f"this must be from {low:g} to {high:g}")
        return float(value)

    def column(self, key: str, types: tuple[str, ...] = ENCODED, fix: str | None = None) -> Column:
        name = self.text(key)
        if name not in self.schema.columns:
            raise self.bad(key, f'the schema has no column "{name}"{nearest(name, self.schema.columns)}')
        column = self.schema.columns[name]
        if name == self.schema.target:
            raise self.bad(key, f'"{name}" is the target: what is predicted is no reason for the prediction')
        if column.type not in types:
            raise self.bad(key, f'"{name}" is {column.type}, and this is asked of {", ".join(types)}', fix)
        return column

    def category(self, key: str, column: Column) -> str:
        return self.choice(key, column.categories or ("false", "true"))


def _monotone(part: _Part) -> Monotone:
    fix = 'categories have no order: use sign = { column = "…", category = "…", is = "positive" }'
    column = part.column("column", ("number", "integer", "boolean"), fix)
    return Monotone(column.name, part.choice("direction", DIRECTIONS), part.number("tolerance", 0, 1e6, 0.0))


def _sign(part: _Part) -> Sign:
    fix = 'for numbers use monotone = { column = "…", direction = "increasing" }'
    column = part.column("column", ("category", "boolean"), fix)
    return Sign(column.name, part.category("category", column), part.choice("is", SIGNS))


def _irrelevant(part: _Part) -> Limit:
    by, rows = part.choice("by", MEASURES, "attribution"), part.choice("rows", PLACES, "held-out")
    if by == "auc" and rows == "public":
        raise part.bad("rows", "a drop in AUC needs people and their outcomes, which public rows have not")
    return Limit(part.column("column").name, part.number("at_most", 0, 1), by, rows)


def _bounded(part: _Part) -> Limit:
    by, rows = part.choice("by", SHARES, "attribution"), part.choice("rows", PLACES, "held-out")
    return Limit(part.column("column").name, part.number("at_most", 0, 1), by, rows)


def _proxy(part: _Part) -> Proxy:
    column = part.column("of", ("category", "boolean"))
    found = Proxy(
        column.name,
        part.category("category", column) if "category" in part.content else None,
        part.number("at_most_auc", 0.5, 1) if "at_most_auc" in part.content else None,
        part.number("use_at_most", 0, 1) if "use_at_most" in part.content else None,
    )
    if found.at_most_auc is None and found.use_at_most is None:
        fix = "give at_most_auc, use_at_most or both"
        raise part.bad("at_most_auc", "a proxy without a limit forbids nothing", fix)
    return found


KINDS: Final[Mapping[str, tuple[set[str], Callable[[_Part], About]]]] = {
    "monotone": ({"column", "direction", "tolerance"}, _monotone),
    "irrelevant": ({"column", "at_most", "by", "rows"}, _irrelevant),
    "bounded": ({"column", "at_most", "by", "rows"}, _bounded),
    "sign": ({"column", "category", "is"}, _sign),
    "proxy": ({"of", "category", "at_most_auc", "use_at_most"}, _proxy),
}
"""By kind, the keys of its table, and what reads it."""


def _expectation(part: _Part) -> Expectation:
    part.only({"id", "because", *KINDS})
    name, because = part.text("id"), part.text("because")
    if not _ID.fullmatch(name):
        raise part.bad("id", "an id is made of a-z, 0-9, dots, dashes and underscores, at most 100")
    kinds = [kind for kind in KINDS if kind in part.content]
    if len(kinds) != 1:
        raise BadFile(f"an expectation is exactly one of {', '.join(KINDS)}", where=part.where)
    (kind,) = kinds
    if not isinstance(part.content[kind], dict):
        raise part.bad(kind, "this must be a table, such as { column = … }")
    table = _Part(part.content[kind], f"{part.where}.{kind}", part.schema)
    keys, read = KINDS[kind]
    table.only(keys)
    return Expectation(name, kind, because, read(table))
