"""What a report gives away of the people behind it: planted markers, rows, values, exact counts, extremes. Pure.

The data is what the one who asks may read anyway. A leak says which columns and how many, and never shows the value.
A row is found where values of several of its columns stand so close together that chance does not explain it: with
``F_c`` the share of rows whose value of column ``c`` is in the window, ``rows × Π F_c`` rows would match by chance.
Values that were scaled or encoded before they were written are not recognised.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pellucid.disclosure.counts import small_counts
from pellucid.disclosure.suppression import MINIMUM_CELL
from pellucid.disclosure.tokens import Token, key, texts, tokens

__all__ = ["Column", "Leak", "lint"]

Kind = Literal["marker", "row", "value", "count", "small cell", "extreme"]
_CHANCE: Final = 1e-2  # matches that would be there by chance, below which one is a leak
_RARE: Final = 50  # rows that share a value, above which it does not begin a search
_NEAR: Final = 4  # tokens
_LETTERS: Final = 6
_DIGITS: Final = 5
_RUN: Final = 5
_MANY: Final = 100
_NOTHING: Final = "\0"  # in no file
_EXTREMES: Final = frozenset({"min", "max", "minimum", "maximum", "least", "greatest", "smallest", "largest"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the data: its values by row; ``public`` is what is declared for everybody."""

    name: str
    values: Sequence[object]
    public: frozenset[Token] = frozenset()

    def __repr__(self) -> str:
        """The name alone."""
        return f"Column({self.name})"


@dataclass(frozen=True, slots=True)
class Leak:
    """What was found, without the value.

    Attributes:
        kind: ``marker``, ``row``, ``value``, ``count``, ``small cell`` or ``extreme``.
        what: One line for a person who may read the data.
        times: How often.
    """

    kind: Kind
    what: str
    times: int = 1


def lint(
    content: bytes,
    columns: Sequence[Column] = (),
    markers: Sequence[str] = (),
    *,
    sizes: Sequence[int] = (),
    minimum_cell: int = MINIMUM_CELL,
) -> tuple[Leak, ...]:
    """Every leak found in a file, the gravest kind first.

    Args:
        content: The file: HTML, JSON or text, of whatever tool.
        columns: The data it must not give away, every column with as many values; none: only what needs no data.
        markers: Texts that were planted in the data, or must not be in the file for another reason.
        sizes: Exact numbers of people in parts of the data, such as the held-out ones.
        minimum_cell: Counts of people below this are leaks.
    """
    said = list(texts(content))
    found = [
        Leak("marker", f"marker {place} is in the file", times)
        for place, marker in enumerate(markers, 1)
        if (times := sum(text.count(marker) for text in said))
    ]
    words = tokens(content)
    if columns:
        index = _Index(columns)
        found += [
            *index.rows(words),
            *index.orders(words),
            *index.values(words),
            *index.counts(words, sizes),
            *index.extremes(words),
        ]
    few = small_counts(said[0], content.decode("utf-8", "replace"), minimum_cell)
    if few:
        found.append(Leak("small cell", f"counts below {minimum_cell} are in the file", few))
    return tuple(found)


class _Index:
    """The data by value."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.table = [[_NOTHING if value is None else key(value) for value in column.values] for column in columns]
        self.size = len(self.table[0])
        self.counts_of = [Counter(values) for values in self.table]
        self.places: dict[Token, list[int]] = defaultdict(list)  # token -> columns that hold it
        for place, counter in enumerate(self.counts_of):
            for token in counter:
                self.places[token].append(place)
        self.holders: list[dict[Token, list[int]]] = []
        for values, counter in zip(self.table, self.counts_of, strict=True):
            rare: dict[Token, list[int]] = defaultdict(list)
            for row, token in enumerate(values):
                if counter[token] <= _RARE:
                    rare[token].append(row)
            self.holders.append(rare)

    def rows(self, words: Sequence[Token]) -> list[Leak]:
        """Rows whose values stand together."""
        near = [word for word in words if word in self.places]
        width, seen = len(self.columns), set[int]()
        for middle, word in enumerate(near):
            candidates = {row for place in self.places[word] for row in self.holders[place].get(word, ())} - seen
            # a row that was written out fills one of these windows and nothing else is in it
            for start in range(max(0, middle - width + 1), middle + 1) if candidates else ():
                window = set(near[start : start + width])
                seen |= {row for row in candidates if self._together(row, window)}
        if not seen:
            return []
        return [Leak("row", f"values of {len(self.columns)} columns stand together as they do in a row", len(seen))]

    def _together(self, row: int, window: set[Token]) -> bool:
        """Whether more of the row's values are in the window than chance explains, each token used for one column."""
        matched: dict[Token, float] = {}
        for values, counter in zip(self.table, self.counts_of, strict=True):
            token = values[row]
            if token in window and token not in matched:
                matched[token] = sum(counter[each] for each in window) / self.size
        return len(matched) >= 3 and self.size * math.prod(matched.values()) < _CHANCE

    def orders(self, words: Sequence[Token]) -> list[Leak]:
        """Columns that stand in the file value after value, in the order of the rows.

        ``L`` values agree with ``L`` rows at some of ``N × M`` places by chance with about ``N × M × (Σ f²)^L``.
        """
        found: list[Leak] = []
        for column, values, counter in zip(self.columns, self.table, self.counts_of, strict=True):
            near = [word for word in words if word in counter]
            same = sum((n / self.size) ** 2 for n in counter.values())
            if len(counter) < 2 or not near:
                continue
            length = max(_RUN, math.ceil(math.log(_CHANCE / (self.size * len(near))) / math.log(same)))
            runs = {tuple(values[at : at + length]) for at in range(self.size - length + 1)}
            if any(tuple(near[at : at + length]) in runs for at in range(len(near) - length + 1)):
                found.append(Leak("row", f"{length} or more values of {column.name} stand in the order of the rows"))
        return found

    def values(self, words: Sequence[Token]) -> list[Leak]:
        """Single values that only the data can have given: long texts, and numbers of many digits.

        A number of d digits is one of the data's by chance with about (distinct values) / 10^d.
        """
        numbers = [word for word in set(words) if isinstance(word, float)]
        found: list[Leak] = []
        for column, counter in zip(self.columns, self.counts_of, strict=True):
            rare = {word for word, n in counter.items() if n < MINIMUM_CELL} - column.public
            named = sum(isinstance(word, str) and len(word) >= _LETTERS and word in rare for word in set(words))
            long = [word for word in numbers if _digits(word) >= _DIGITS]
            chance = sum(len(rare) / 10.0 ** _digits(word) for word in long)
            hits = sum(word in rare for word in long)
            told = named + (hits if chance < _CHANCE or hits > max(2, 20 * chance) else 0)
            if told:
                found.append(Leak("value", f"values of {column.name} are in the file", told))
        return found

    def counts(self, words: Sequence[Token], sizes: Sequence[int]) -> list[Leak]:
        """Exact numbers of people: of all or of a part, or beside the name of a group."""
        exact = [n for n in {self.size, *sizes} if n >= _MANY and n % MINIMUM_CELL]
        times = sum(words.count(float(n)) for n in exact)
        found = [Leak("count", "the exact number of rows is in the file", times)] if times else []
        for column, counter in zip(self.columns, self.counts_of, strict=True):
            groups = {token: n for token, n in counter.items() if isinstance(token, str) and n % MINIMUM_CELL}
            if len(counter) > _RARE:
                continue
            times = sum(
                float(groups[word]) in words[max(0, at - _NEAR) : at + _NEAR + 1]
                for at, word in enumerate(words)
                if word in groups and groups[word] >= MINIMUM_CELL
            )
            if times:
                found.append(Leak("count", f"exact numbers of people by {column.name} are in the file", times))
        return found

    def extremes(self, words: Sequence[Token]) -> list[Leak]:
        """Least and greatest values of a column beside a word that says so."""
        found: list[Leak] = []
        for column, counter in zip(self.columns, self.counts_of, strict=True):
            numbers = [token for token in counter if isinstance(token, float)]
            ends = {min(numbers), max(numbers)} - column.public if numbers else set()
            times = sum(
                bool(ends & set(words[max(0, at - _NEAR) : at + _NEAR + 1]))
                for at, word in enumerate(words)
                if isinstance(word, str) and word.lower() in _EXTREMES
            )
            if times:
                found.append(Leak("extreme", f"the least or greatest {column.name} is in the file", times))
        return found


def _digits(number: float) -> int:
    """How many significant digits a number is written with."""
    return len(repr(abs(number)).partition("e")[0].replace(".", "").strip("0"))
