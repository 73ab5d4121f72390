"""Drawing primitives for inline SVG: strings in, a string out, the same for the same input.

Colours come from classes that the page's style sheet fills from its variables; without the sheet everything is drawn
in ``currentColor``. A drawing is 360 units wide, so that its letters stay readable on a narrow screen.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from pellucid.report.figures import fixed, plain
from pellucid.report.language import tell

__all__ = ["LINE", "WIDTH", "Drawing", "Scale", "ticks", "wrapped"]

WIDTH: Final = 360.0
LINE: Final = 12.0
"""From one line of a label to the next."""
_MOST_LINES: Final = 6


class Scale:
    """A linear map from values to drawing units."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low = low
        self.high = high if high > low else low + 1.0
        self.start = start
        self.end = end

    def __call__(self, value: float) -> float:
        """Where ``value`` lies; a value outside the scale is drawn at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, about: int = 4) -> tuple[list[float], int]:
    """Round numbers from ``low`` to ``high`` (inside both) and the decimals they need.

    Args:
        low: Least value.
        high: Greatest value.
        about: How many steps are wanted.
    """
    raw = (high - low) / about if high > low else 1.0
    exponent = math.floor(math.log10(raw))
    step = next(m for m in (1, 2, 5, 10) if m * 10.0**exponent >= raw * (1 - 1e-9))
    size = step * 10.0**exponent
    places = max(0, -exponent if step < 10 else -exponent - 1)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [round(i * size, 12) for i in range(first, last + 1)], places


def wrapped(words: str, language: str, limit: int) -> tuple[str, ...]:
    """A label in lines of at most ``limit`` letters: broken at spaces, a long word after a hyphen, else where it must.

    At most six lines; the last of more than six ends in an ellipsis, and the table has the label whole.
    """
    lines = [""]
    for word in plain(tell(words, language)).split() or [""]:
        for number, piece in enumerate(_pieces(word, limit)):
            gap = " " if number == 0 and lines[-1] else ""
            if lines[-1] and _letters(lines[-1] + gap + piece) > limit:
                lines.append(piece)
            else:
                lines[-1] += gap + piece
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], _cut(" ".join(lines[_MOST_LINES - 1 :]), limit)]
    return tuple(lines)


class Drawing:
    """One SVG image with an accessible name and description; words of ours are drawn in ``language``."""

    def __init__(self, key: str, title: str, description: str, height: float, language: str = "en") -> None:
        self.key = key
        self.language = language
        title, description = tell(title, language), tell(description, language)
        self._head = (
            f'<svg class="chart" id="chart-{key}" viewBox="0 0 {_n(WIDTH)} {_n(height)}" role="img" '
            f'aria-labelledby="chart-{key}-title chart-{key}-desc" xmlns="http://www.w3.org/2000/svg">'
            f'<title id="chart-{key}-title">{_e(title)}</title><desc id="chart-{key}-desc">{_e(description)}</desc>'
        )
        self._parts: list[str] = []

    def hatch(self) -> str:
        """Define a hatch and give the value of ``fill`` that uses it: a difference without colour."""
        name = f"chart-{self.key}-hatch"
        self._parts.append(
            f'<defs><pattern id="{name}" width="5" height="5" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><rect width="5" height="5" class="c-hatch-ground" fill="none"/>'
            '<line x1="0" y1="0" x2="0" y2="5" class="c-hatch" stroke="currentColor" stroke-width="2.4"/>'
            "</pattern></defs>"
        )
        return f"url(#{name})"

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line of class ``c-<kind>``."""
        self._parts.append(
            f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="c-{kind}" stroke="currentColor"/>'
        )

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str, fill: str = "currentColor", says: str = ""
    ) -> None:
        """A rectangle of class ``c-<kind>``; ``says`` is shown under the pointer."""
        end = f"><title>{_e(tell(says, self.language))}</title></rect>" if says else "/>"
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0.0))}" height="{_n(height)}" '
            f'class="c-{kind}" fill="{fill}"{end}'
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> None:
        """A line through ``points``, or the area they enclose."""
        steps = " ".join(f"{'M' if i == 0 else 'L'}{_n(x)} {_n(y)}" for i, (x, y) in enumerate(points))
        fill = "currentColor" if closed else "none"
        self._parts.append(f'<path d="{steps}{"Z" if closed else ""}" class="c-{kind}" fill="{fill}"/>')

    def mark(self, x: float, y: float, shape: int) -> None:
        """A data point; ``shape`` counts circle, square, triangle, diamond, so that groups differ without colour."""
        r = 4.2
        shape %= 4
        if shape == 0:
            self._parts.append(
                f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" class="c-mark c-mark-0" fill="currentColor"/>'
            )
        elif shape == 1:
            self.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76, "mark c-mark-1")
        elif shape == 2:
            self.path(
                [(x, y - r * 1.2), (x + r * 1.1, y + r * 0.8), (x - r * 1.1, y + r * 0.8)], "mark c-mark-2", closed=True
            )
        else:
            self.path(
                [(x, y - r * 1.2), (x + r * 1.2, y), (x, y + r * 1.2), (x - r * 1.2, y)], "mark c-mark-3", closed=True
            )

    def text(self, x: float, y: float, words: str, kind: str = "label", anchor: str = "start", limit: int = 0) -> None:
        """Words with their baseline at ``y``; longer than ``limit`` letters they are cut, the table has them whole."""
        shown = _cut(plain(tell(words, self.language)).replace("\n", " "), limit)
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" class="c-{kind}" text-anchor="{anchor}" font-size="11" '
            f'fill="currentColor">{html.escape(shown)}</text>'
        )

    def label(self, x: float, middle: float, lines: Sequence[str]) -> None:
        """A label of one line or more (:func:`wrapped`) that ends at ``x``, around ``middle``."""
        first = middle + 4 - LINE * (len(lines) - 1) / 2
        for number, line in enumerate(lines):
            self.text(x, first + LINE * number, line, "label", "end")

    def dots(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Many small round dots as one path: subpaths of no length, whose round caps the style sheet gives a width."""
        steps = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in points)
        if steps:
            self._parts.append(
                f'<path d="{steps}" class="c-{kind}" fill="none" stroke="currentColor" stroke-width="3.4" '
                'stroke-linecap="round"/>'
            )

    def axis_below(self, scale: Scale, top: float, bottom: float, label: str) -> None:
        """A horizontal axis under the plot: faint lines, round numbers, a label."""
        values, places = ticks(scale.low, scale.high)
        for value in values:
            x = scale(value)
            self.line(x, top, x, bottom, "grid")
            self.text(x, bottom + 13, fixed(value, places), "tick", "middle")
        self.text((scale.start + scale.end) / 2, bottom + 28, label, "axis", "middle")

    def svg(self) -> str:
        """The image."""
        return f"{self._head}{''.join(self._parts)}</svg>"


def _letters(words: str) -> int:
    """How many letters wide; a wide one (Chinese, Japanese, Korean) counts as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in words)


def _pieces(word: str, limit: int) -> list[str]:
    """A word in pieces that fit ``limit``: the whole of it, or what ends with a hyphen, or as many letters as fit."""
    if _letters(word) <= limit:
        return [word]
    found: list[str] = []
    for part in re.findall(r"[^-_/]*[-_/]+|[^-_/]+", word):
        rest = part
        while _letters(rest) > limit:
            end = next(n for n in range(len(rest), 0, -1) if _letters(rest[:n]) <= limit)
            found.append(rest[:end])
            rest = rest[end:]
        if found and _letters(found[-1] + rest) <= limit:
            found[-1] += rest
        else:
            found.append(rest)
    return found


def _cut(words: str, limit: int) -> str:
    """``words`` in at most ``limit`` letters."""
    if not limit or _letters(words) <= limit:
        return words
    end = next(n for n in range(len(words), 0, -1) if n == 1 or _letters(words[:n]) < limit)
    return words[:end] + "…"


def _n(value: float) -> str:
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def _e(words: str) -> str:
    return html.escape(plain(words))
