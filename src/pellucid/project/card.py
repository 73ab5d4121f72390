"""``model.toml``: what only people can say of a model. The tool writes it once, empty, and never fills in a word.

``pellucid report`` signs the words as they stand, as ``card`` evidence in the name of whoever makes the report. The
signature says that these words stood in this file, not that they are true; who wrote them is what the file says itself.
A part without words stays absent: it is *missing*, and a release policy can ask for it (``card.legal.basis``).
The parts follow Model Cards (Mitchell et al. 2019), Datasheets for Datasets (Gebru et al. 2021) and what Annex IV of
the EU AI Act leaves to people.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid import maps
from pellucid.errors import BadFile, nearest
from pellucid.evidence import Evidence, Subject, digest
from pellucid.schema import parse_toml

if TYPE_CHECKING:
    from pellucid.project.project import Project

__all__ = ["FILE", "PARTS", "Card", "find", "parts", "publish", "template"]

FILE: Final = "model.toml"
LONGEST: Final = 10_000  # characters of one part: a page or two
# section -> key -> what belongs there
PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "author": {
        "name": "who wrote these words",
        "role": "in which capacity",
        "date": "when, such as 2026-11-29",
    },
    "intended_use": {
        "purpose": "what the model is for",
        "users": "who uses its answers, and how",
        "people": "whom it is used on",
        "ruled_out": "what it must not be used for, and foreseeable misuse",
    },
    "owner": {
        "accountable": "who answers for the model",
        "contact": "where questions and complaints go",
    },
    "legal": {
        "basis": "the legal basis of the processing, with its article",
        "necessity": "why it is necessary and proportionate",
        "assessment": "the impact assessment: where it is, who was asked, what was found",
        "automated": "whether answers alone decide about people, and what they may do about it",
    },
    "data": {
        "origin": "how and from whom the data was collected",
        "labels": "who decided the labels, and how",
        "gaps": "who is missing, or described wrongly",
    },
    "choices": {
        "measures": "why the measures that the policy asks for fit the harm",
        "thresholds": "why the thresholds are where they are",
        "alternatives": "what else was tried or considered, and why not",
    },
    "oversight": {
        "people": "who may stop or overrule the model, and how they were trained",
        "how": "what they see, and what they can do",
        "appeal": "how a person can object to an answer",
    },
    "limits": {
        "known": "where the model is known to fail",
        "accepted": "which risks remain, and who accepted them",
        "review": "what is watched after release, and when the model is looked at again",
    },
    "change": {
        "reason": "why this version was made",
    },
}
NOT_APPLICABLE: Final = "not_applicable"
_ABOUT: Final = "model"
_EXAMPLE: Final = "example"
_SEEN: Final = "\n\t\u200c\u200d"  # the last two join letters in Persian, Hindi and others
_METHOD: Final = (
    "typed by a person into model.toml, signed as it stood when a report was made; "
    "the signature says that these words were there, not that they are true"
)


@dataclass(frozen=True, slots=True)
class Card:
    """The words of one file.

    Attributes:
        model: The model that they are about, with or without version; empty where the file does not say.
        parts: By section and key, without the empty ones.
        example: A made-up person, by column, whose answer is explained.
        name: Of the file.
        sha256: Of its bytes.
    """

    model: str
    parts: Mapping[str, Mapping[str, str]]
    example: Mapping[str, Any]
    name: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card in a file.

        Raises:
            BadFile: It does not parse, has a key that nobody knows, or a part is not a text, is too long, or holds
                characters that no reader sees.
        """
        try:
            content = path.read_bytes()
            document = parse_toml(content.decode("utf-8"), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile("the file cannot be read as UTF-8 text", where=str(path)) from error
        model = _words(document.pop(_ABOUT, ""), f"{path}: {_ABOUT}")
        example = document.pop(_EXAMPLE, {})
        if not isinstance(example, dict):
            raise BadFile("this must be a section: [example]", where=f"{path}: {_EXAMPLE}")
        known: Mapping[str, Collection[str]] = {**parts(), NOT_APPLICABLE: maps.rows()}
        found: dict[str, dict[str, str]] = {}
        for section, content_of in document.items():
            if section not in known:
                raise BadFile(f"unknown key{nearest(section, (*known, _ABOUT, _EXAMPLE))}", where=f"{path}: {section}")
            if not isinstance(content_of, dict):
                raise BadFile(f"this must be a section: [{section}]", where=f"{path}: {section}")
            for key, value in content_of.items():
                where = f"{path}: {section}.{key}"
                if key not in known[section]:
                    raise BadFile(f"unknown key{nearest(key, known[section])}", where=where)
                if words := _words(value, where):
                    found.setdefault(section, {})[key] = words
        return cls(model, found, example, path.name, digest(content))

    def about(self, label: str) -> bool:
        """Whether the words are about the model ``label`` (``NAME@VERSION``)."""
        return self.model in (label, label.rpartition("@")[0])

    def evidence(self, subject: Subject) -> Evidence:
        """The words as ``card`` evidence about ``subject``; every reader may have them."""
        from pellucid.project.project import stamp

        file = {"name": self.name, "sha256": self.sha256}
        values: dict[str, Any] = {"file": file, **{name: dict(keys) for name, keys in self.parts.items()}}
        return Evidence("card", subject, values, stamp({"method": _METHOD}), "public")


@cache
def parts() -> Mapping[str, Mapping[str, str]]:
    """Section to key to what belongs there: :data:`PARTS`, and what else the regulation maps ask people for."""
    every = {section: dict(keys) for section, keys in PARTS.items()}
    for name, term in maps.terms().human.items():
        section, _, key = name.partition(".")
        words = term.words["en"]
        every.setdefault(section, {}).setdefault(key, words[0].lower() + words[1:])
    return every


def template() -> str:
    """The file as ``pellucid init`` writes it: every part, with what belongs there, and no word in any."""
    lines = [
        "# What only people can say of a model. Fill in what you know; what stays empty is shown as missing.",
        "# Every reader of a report sees these words. They are signed with the report as they stand, as your words.",
        "# For several models keep one file each: model.NAME.toml comes before model.toml.",
        "",
        f'{_ABOUT} = ""   # the model that this is about, such as "credit-risk"',
    ]
    for section, keys in parts().items():
        lines += ["", f"[{section}]"]
        lines += [f'{key} = ""   # {means}' for key, means in keys.items()]
    lines += [
        "",
        '# What a regulation map asks for and does not apply here, with the reason: "gdpr/art-22.automated" = "…"',
        f"[{NOT_APPLICABLE}]",
        "",
        "# A made-up person, never a real one, whose answer pellucid explain explains in full: one line a column.",
        f"[{_EXAMPLE}]",
    ]
    return "\n".join(lines) + "\n"


def find(root: Path, label: str) -> Card | None:
    """The card of the model ``label`` in the project folder ``root``; None where there is no word about it.

    Raises:
        BadFile: The file is not of its form, or has words and does not say which model they are about.
    """
    for path in (root / f"model.{label.rpartition('@')[0]}.toml", root / FILE):
        if not path.is_file():
            continue
        card = Card.read(path)
        if (card.parts or card.example) and not card.model:
            name = label.rpartition("@")[0]
            raise BadFile(
                "there are words in this file, and it does not say which model they are about",
                where=f"{path}: {_ABOUT}",
                fix=f'{_ABOUT} = "{name}"',
            )
        if (card.parts or card.example) and card.about(label):
            return card
    return None


def publish(project: Project, subject: Subject) -> str | None:
    """Sign the words about a model if they are not the ones that were signed last.

    Returns:
        What whoever makes the report should know, or None: the words changed and this role signs no evidence, or they
        are about a model that there is not.

    Raises:
        BadFile: The file is not of its form.
    """
    from pellucid.project.lawful import SIGNERS
    from pellucid.project.model import models

    card = find(project.layout.root, subject.name)
    if card is None:
        return _about_nobody(project.layout.root / FILE, models(project))
    if not card.parts:
        return None
    signed = [item for item in models(project)[subject.name] if item.kind == "card"]
    if signed and signed[-1].values["file"]["sha256"] == card.sha256:
        return None
    if not project.roles() & SIGNERS:
        return f"{card.name} was changed since it was signed, and {project.acting} signs no evidence: it is left out"
    project.publish([card.evidence(subject)])
    return None


def _about_nobody(path: Path, known: Iterable[str]) -> str | None:
    """A notice if the words in a file are about a model that there is not, which a slip of the pen makes them."""
    card = Card.read(path) if path.is_file() else None
    labels = list(known)
    if card is None or not card.model or any(card.about(label) for label in labels):
        return None
    hint = nearest(card.model, {name for label in labels for name in (label, label.rpartition("@")[0])})
    rest = f"{hint} Its words are left out" if hint else "; its words are left out"
    return f'{card.name} is about "{card.model}", and there is no such model{rest}'


def _words(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadFile("this must be a text", where=where)
    words = value.strip()
    if len(words) > LONGEST:
        raise BadFile(f"at most {LONGEST} characters", where=where, fix="say the core, and point to the rest")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") and c not in _SEEN for c in words):
        raise BadFile("there are characters in it that a reader does not see", where=where, fix="type it anew")
    return words
