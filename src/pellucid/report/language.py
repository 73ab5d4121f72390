"""The words of a page in the languages it can be read in, from one catalogue: ``messages/zh.toml``.

A section says its words by :func:`say`, in English; :func:`translate` turns a finished page into another language. Text
of others (names, expressions, evidence, what people wrote) is an ordinary ``str`` and is never translated; numbers,
digests and names that stand inside a sentence are its parts and stay as they are.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, TypeVar

from pellucid.errors import BadFile, nearest
from pellucid.report.figures import plain

__all__ = ["LANGUAGES", "Said", "bring", "catalogue", "check_language", "lines", "say", "several", "tell", "translate"]

LANGUAGES: Final[Mapping[str, str]] = {"en": "en", "zh": "zh-Hans"}  # name -> BCP 47 tag

T = TypeVar("T")


class Said(str):
    """Words of ours: the words, and the template and parts that they were said from, in their ``language``."""

    __slots__ = ("language", "parts", "spoken", "template")
    template: str
    parts: Mapping[str, str]
    language: str
    spoken: Mapping[str, str]  # language to words, where the words bring their own translations


def say(template: str, /, **parts: object) -> Said:
    """Words of ours; ``{name}`` in the template stands for a part: a number, a name of others, or more of our words.

    A part that is no word of ours is written out plainly, so that nothing in it can act on a page or a terminal.
    """
    shown = {name: part if isinstance(part, Said) else plain(str(part)) for name, part in parts.items()}
    words = Said(template.format_map(shown) if shown else template)
    words.template, words.parts, words.language, words.spoken = template, shown, "en", {}
    return words


def bring(spoken: Mapping[str, str]) -> Said:
    """Words of data of ours that bring their translations, such as those of a regulation map: language to words.

    They stand as they are: braces in them are no parts.
    """
    words = Said(spoken["en"])
    words.template, words.parts, words.language, words.spoken = spoken["en"], {}, "en", dict(spoken)
    return words


def several(items: Sequence[Said]) -> Said:
    """Words of ours as a list in a sentence; ``none`` if there are none."""
    if not items:
        return say("none")
    found = items[0]
    for item in items[1:]:
        found = say("{some}, {more}", some=found, more=item)
    return found


def lines(items: Sequence[Said]) -> Said:
    """Words of ours below each other; at least one."""
    found = items[0]
    for item in items[1:]:
        found = say("{first}\n{rest}", first=found, rest=item)
    return found


def tell(words: str, language: str) -> str:
    """``words`` in ``language``; text of others, and words that are in it already, as they are.

    Raises:
        BadFile: The catalogue lacks these words, which is a fault of the package.
    """
    if not isinstance(words, Said) or words.language == language:
        return words
    found = words.spoken.get(language) or catalogue(language).get(words.template)
    if found is None:
        raise BadFile(f"the catalogue of language {language} lacks a message", where=words.template)
    told = say(found, **{name: tell(part, language) for name, part in words.parts.items()})
    told.language = language
    return told


def translate(page: T, language: str) -> T:
    """``page`` (a frozen dataclass, a tuple, a text) with all words of ours in ``language``."""
    if language == "en":
        return page
    found: T = _translated(page, language)
    return found


def check_language(language: str) -> str:
    """``language``, if a page can be read in it.

    Raises:
        BadFile: It cannot.
    """
    if language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise BadFile(f'there is no language "{language}"{nearest(language, LANGUAGES)}', fix=f"one of {known}")
    return language


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """English template to template, for a language other than English."""
    file = resources.files("pellucid.report") / "messages" / f"{language}.toml"
    return {str(key): str(value) for key, value in tomllib.loads(file.read_text(encoding="utf-8")).items()}


def _translated(thing: Any, language: str) -> Any:
    if isinstance(thing, Said):
        return tell(thing, language)
    if isinstance(thing, tuple):
        return tuple(_translated(item, language) for item in thing)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        changed = {}
        for field in dataclasses.fields(thing):
            before = getattr(thing, field.name)
            after = _translated(before, language)
            if after is not before:
                changed[field.name] = after
        return dataclasses.replace(thing, **changed) if changed else thing
    return thing
