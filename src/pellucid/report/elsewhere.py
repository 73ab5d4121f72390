"""Sentences that other rooms say in English, recognised so that a page in another language can say them too.

Verification, the check and explanations hand over finished sentences. Each that a page shows is a pattern here; what
no pattern fits stays as it was said, marked as English. The statement of the privacy guarantee keeps its parts apart,
and is said again from them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from pellucid.privacy.sentences import Words
from pellucid.report.figures import exact, plain
from pellucid.report.language import LANGUAGES, Said, bring, say

__all__ = ["PHRASES", "elsewhere", "measured", "methods", "retold", "shipped"]

_PART: Final = dict.fromkeys("knmq", r"-?[0-9][0-9.,e+-]*")

PHRASES: Final = (
    # checks of pellucid verify
    "canonical",
    "owner",
    "checkpoint",
    "inclusion",
    "signatures",
    "grants",
    "subject",
    "epsilon",
    "weights",
    "RFC 8785 bytes, strict base64",
    "{log}, {count} entries, signed by {signer}",
    "{count} entries proved to be in the log",
    "{count} signatures hold",
    "every signer was granted a role by {owner}: {names}",
    "every statement is about {name} or the data it was trained on",
    "claimed {claimed}, recomputed {pld} (PLD) and {rdp} (RDP)",
    "claimed {claimed}, recomputed {value} ({accountant}); no second accountant can compose these events: no second"
    " opinion",
    "no weights file was given (--weights FILE)",
    "the file is {name}, sha256 {digest}",
    "an earlier check failed",
    "the bundle could not be read",
    "the bundle holds no privacy evidence",
    # the method of pellucid attack
    "score threshold, Clopper-Pearson on the half that did not choose it (Jagielski et al. 2020)",
    # the baseline of an attribution
    "declared reference: {values}; of other columns the encoded midpoint: zeros",
    "declared reference: {values}",
    # whether a ranking may be read
    "they agree: the leading columns may be read",
    "they disagree here: do not read the ranking",
    "interpret",
    "do not interpret",
    # findings of pellucid check
    "{path} was not measured (the bundle holds no evidence of kind {kind}: {command} leaves it)",
    "{path} were not measured (the bundle holds no evidence of kind {kind}: {command} leaves it)",
    "{path} was not measured (the bundle holds no evidence of kind {kind})",
    "{path} were not measured (the bundle holds no evidence of kind {kind})",
    '{path} was not measured; did you mean "{name}"?',
    "{path} was not measured",
    "{path} holds nothing to hold the rule against",
    "{fix}; its waiver by {owner} does not count: {why}",
    "{fix}; its waiver by {owner} expired on {day}",
    "waived by {owner} until {day}, in {days} days: {reason}",
    "waived by {owner} until {day}, tomorrow: {reason}",
    "waived by {owner} until {day}, today: {reason}",
    "waived by {owner} until {day}: {reason}",
)


def elsewhere(words: str) -> str:
    """``words`` as words of ours if they are one of the sentences that are known; else as they are."""
    parts = [_known(part) for part in words.split("; ")]
    if len(parts) < 2 or None in parts:
        return _known(words) or words
    said = parts[0]
    for part in parts[1:]:
        said = say("{some}; {more}", some=said, more=part)
    return said or words


def _known(words: str) -> Said | None:
    if words in shipped("zh"):
        return bring(
            {"en": words, **{language: shipped(language)[words] for language in LANGUAGES if language != "en"}}
        )
    for template, pattern in _patterns():
        found = pattern.fullmatch(words)
        if found is not None:
            parts = found.groupdict()
            return say(template, **parts | {name: elsewhere(part) for name, part in parts.items() if name == "fix"})
    return None


def measured(words: str) -> str:
    """``words`` of evidence on how a value was measured, as words of ours if they are known; else as they are.

    Evidence is somebody else's: only numbers, and names written out plainly, are taken over into another language.
    """
    spoken = {language: _measured(words, language) for language in LANGUAGES if language != "en"}
    if isinstance(words, Said) or None in spoken.values():
        return words if isinstance(words, Said) else elsewhere(words)
    return bring({"en": words} | {language: str(told) for language, told in spoken.items()})


def _measured(words: str, language: str) -> str | None:
    for pattern, template in _methods(language):
        found = pattern.fullmatch(words)
        if found is None:
            continue
        parts = {
            name: _measured(part, language) if name == "rest" else plain(part)
            for name, part in found.groupdict().items()
        }
        if None not in parts.values():
            return template.format_map(parts)
    return None


@cache
def shipped(language: str) -> Mapping[str, str]:
    """Reasons and remedies of the policies that come with the package, in ``language``."""
    return _messages("policies", language)


@cache
def methods(language: str) -> Mapping[str, str]:
    """Sentences of evidence on how a value was measured, with their parts in braces, in ``language``."""
    return _messages("methods", language)


def _messages(which: str, language: str) -> Mapping[str, str]:
    file = resources.files("pellucid.report") / "messages" / f"{which}.{language}.toml"
    return {str(key): str(value) for key, value in tomllib.loads(file.read_text(encoding="utf-8")).items()}


@cache
def _methods(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_pattern(template, _PART), told) for template, told in methods(language).items())


def retold(words: Words) -> Said:
    """Words of the statement of the guarantee as words of ours, with all digits of their numbers."""
    parts = {
        name: retold(part) if isinstance(part, Words) else part if isinstance(part, str) else exact(part)
        for name, part in words.parts.items()
    }
    return say(words.template, **parts)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((template, _pattern(template)) for template in PHRASES)


def _pattern(template: str, kinds: Mapping[str, str] = MappingProxyType({})) -> re.Pattern[str]:
    """What a template fits; a part is any text, or what ``kinds`` says."""
    parts = re.split(r"\{(\w+)\}", template)
    pattern = "".join(
        f"(?P<{part}>{kinds.get(part, '.+?')})" if i % 2 else re.escape(part) for i, part in enumerate(parts)
    )
    return re.compile(pattern, re.DOTALL)
