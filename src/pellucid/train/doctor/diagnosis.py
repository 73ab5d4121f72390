"""What the doctor found, for a person in 80 columns and for a program."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, Final

from pellucid.errors import PellucidError
from pellucid.train.doctor.construction import unified
from pellucid.train.doctor.fixes import Fix

__all__ = ["Diagnosis", "Note", "render"]

WIDTH: Final = 80
_COLUMN: Final = 12


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is sound, and worth knowing.

    Attributes:
        topic: ``size``, ``mode``, ``memory``, ``slow``, ``idle``, ``erased`` or ``output``.
        what: What there is to know.
        where: The layer or parameter, if it is about one.
        fix: What may be done, if anything.
    """

    topic: str
    what: str
    where: str | None = None
    fix: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"topic": self.topic, "what": self.what, "where": self.where, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What would make a model unsound or slow under DP-SGD.

    Attributes:
        problems: What makes it unsound; each names the layer and the remedy.
        notes: What else there is to know.
        fixes: What could be mended without a person.
        before: The model as it prints.
        after: The mended model as it prints.
        left: What is still unsound when all fixes are applied.
        diff: Of the source file, for ``patch -p1`` or ``git apply`` in the working directory, or in the root directory
            if the file is not below it; empty where layers were not made literally there.
    """

    problems: tuple[PellucidError, ...]
    notes: tuple[Note, ...]
    fixes: tuple[Fix, ...]
    before: str
    after: str
    left: int
    diff: str = ""

    @property
    def sound(self) -> bool:
        """Whether the model can be trained privately as it is."""
        return not self.problems

    @property
    def exit(self) -> int:
        """0 sound, 2 not."""
        return 0 if self.sound else 2

    @property
    def printed(self) -> str:
        """A unified diff of the model as it prints; empty if nothing that prints was mended."""
        return unified(f"{self.before}\n", f"{self.after}\n", "the model as it is", "the model mended")

    def document(self) -> dict[str, Any]:
        """The ``--json`` document of ``pellucid doctor``."""
        return {
            "sound": self.sound,
            "exit": self.exit,
            "problems": [{"what": error.what, "where": error.where, "fix": error.fix} for error in self.problems],
            "notes": [note.document() for note in self.notes],
            "fixes": [fix.document() for fix in self.fixes],
            "left": self.left,
            "diff": self.diff or self.printed,
        }


def render(diagnosis: Diagnosis) -> str:
    """Everything for a reader: problems, notes, the diff of what can be mended, and the verdict last."""
    lines: list[str] = []
    lines += _items([("✗ UNSOUND", error.where, error.what, error.fix) for error in diagnosis.problems])
    lines += _items([(f"- {note.topic.upper()}", note.where, note.what, note.fix) for note in diagnosis.notes])
    if diagnosis.fixes:
        lines += ["", "what can be mended:"]
        for fix in diagnosis.fixes:
            why = f" ({fix.why})" if fix.why else ""
            lines += _wrap(f"  {fix.layer}: {fix.before} becomes {fix.after}{why}", 4)
        lines += ["", *(_plain(line) for line in (diagnosis.diff or diagnosis.printed).splitlines())]
    count = len(diagnosis.problems)
    verdict = "sound (exit 0)"
    if count:
        mended = f"; {diagnosis.left} left when that is mended" if diagnosis.fixes else ""
        verdict = f"not sound (exit 2): {count} problem{'s' if count > 1 else ''}{mended}"
    return "\n".join([*lines, *([""] if lines else []), f"verdict: {verdict}"]) + "\n"


def _items(found: list[tuple[str, str | None, str, str | None]]) -> list[str]:
    """One item for all places of which the same is to be said."""
    places: dict[tuple[str, str, str | None], list[str]] = {}
    for mark, where, what, fix in found:
        places.setdefault((mark, what, fix), []).extend([where] if where else [])
    lines: list[str] = []
    for (mark, what, fix), names in places.items():
        lines += _wrap(f"{mark:<{_COLUMN}}{_named(names)}{what}", _COLUMN)
        lines += _wrap(f"{'':<{_COLUMN}}→ {fix}", _COLUMN + 2) if fix else []
    return lines


def _named(places: list[str]) -> str:
    return f"{', '.join(places)}: " if places else ""


def _wrap(text: str, hang: int) -> list[str]:
    return textwrap.wrap(_plain(text), WIDTH, subsequent_indent=" " * hang, break_on_hyphens=False)


def _plain(text: str) -> str:
    """Without control characters, so that no name in a file moves a terminal's cursor or forges a line."""
    return "".join(character if character.isprintable() else " " for character in text)
