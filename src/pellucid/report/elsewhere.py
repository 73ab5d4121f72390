"""Sentences that other rooms say in English, recognised so that a page in another language can say them too.

Verification and the check hand over finished sentences. Each that a page shows is a pattern here; what no pattern fits
stays as it was said, marked as English.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from pellucid.report.language import say

__all__ = ["PHRASES", "elsewhere"]

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
    "no weights file was given (--weights FILE)",
    "the file is {name}, sha256 {digest}",
    "an earlier check failed",
    "the bundle could not be read",
    "the bundle holds no privacy evidence",
    # the method of pellucid attack
    "score threshold, Clopper-Pearson on the half that did not choose it (Jagielski et al. 2020)",
    # findings of pellucid check
    "{path} was not measured",
    "waived by {owner} until {day}: {reason}",
    "waived by {owner} until {day}, {days} days from now: {reason}",
)


def elsewhere(words: str) -> str:
    """``words`` as words of ours if they are one of the sentences that are known; else as they are."""
    for template, pattern in _patterns():
        found = pattern.fullmatch(words)
        if found is not None:
            return say(template, **found.groupdict())
    return words


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = []
    for template in PHRASES:
        parts = re.split(r"\{(\w+)\}", template)
        pattern = "".join(f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
        found.append((template, re.compile(pattern, re.DOTALL)))
    return tuple(found)
