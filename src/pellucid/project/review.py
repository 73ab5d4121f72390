"""The expert's judgement: what was expected of a model, tested; and what a person says after reading about it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadData, BadFile, Misuse, nearest
from pellucid.evidence import Evidence, Subject, digest
from pellucid.log.entries import Entry
from pellucid.project import data
from pellucid.project.model import Trained, model_resource, models, resolve, trained_on
from pellucid.project.project import Project, stamp
from pellucid.schema import MISSING

if TYPE_CHECKING:
    from pellucid.explain.expectations import HeldOut
    from pellucid.explain.expected import Expectations
    from pellucid.explain.outcomes import Outcomes

__all__ = ["VERDICTS", "Reviewed", "expect", "review"]

VERDICTS: Final = ("approve", "reject")
LONGEST: Final = 10_000  # characters of a note: a page or two


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review that was signed and recorded.

    Attributes:
        model: What was judged.
        digest: Of its weights.
        verdict: ``approve`` or ``reject``.
        reviewer: Who judged.
        roles: What the reviewer may act as.
        independent: The reviewer did not train the model.
        read: Name and SHA-256 of the file that was read.
        index: Of the entry in the log.
    """

    model: str
    digest: str
    verdict: str
    reviewer: str
    roles: tuple[str, ...]
    independent: bool
    read: Mapping[str, str]
    index: int

    def document(self) -> dict[str, Any]:
        """The ``--json`` document of ``pellucid review``."""
        return {
            "model": self.model,
            "digest": self.digest,
            "verdict": self.verdict,
            "reviewer": self.reviewer,
            "roles": list(self.roles),
            "independent": self.independent,
            "read": dict(self.read),
            "index": self.index,
        }


def expect(trained: Trained, path: Path) -> Outcomes:
    """Test the expectations in a file on a model, and leave ``expectation`` evidence.

    The file is read before anything is decided. Held-out people are read only if an expectation is about people, and
    a special column only if one is about it and whoever acts may read it; else that one is unmeasured.

    Raises:
        BadFile: The file does not parse, or does not fit the schema of the data.
        Denied: Who acts may not explain the model, or not read its columns.
        UnsupportedModel: The model cannot be asked.
    """
    from pellucid.explain.expectations import hold
    from pellucid.explain.expected import Expectations

    asked = Expectations.read(path, trained.sealed.schema)
    trained.project.decide("explain", trained.resource, trained.purpose)
    found = hold(trained.module, asked, trained.encoding, _held_out(trained, asked))
    made = found.evidence(trained.subject)
    made = Evidence(made.kind, made.subject, made.values, stamp(made.how), made.coverage, tier=made.tier)
    trained.project.publish([made])
    return found


def review(
    project: Project,
    model: str,
    *,
    verdict: str,
    note: str,
    reasons: Sequence[str] = (),
    report: Path | None = None,
) -> Reviewed:
    """Sign a judgement of a model and record it as ``review`` evidence; of several, the last one counts.

    Args:
        project: Where; whoever acts is the reviewer.
        model: A model, with or without version.
        verdict: ``approve`` or ``reject``.
        note: What the reviewer has to say.
        reasons: Single reasons, each by itself.
        report: The report or bundle that was read; by default the one that ``pellucid report`` wrote last into the
            project's own folder.

    Raises:
        UnknownName: There is no such model.
        BadData: Another verdict, a note or reason that is blank, too long or holds control characters.
        BadFile: The file that was read is not there, or does not speak of this model.
        Misuse: Nothing was named, and the project holds no report of the model.
        Denied: Who acts may not review; the denial is in the log.
    """
    if verdict not in VERDICTS:
        raise BadData(f'a verdict is "approve" or "reject"{nearest(verdict, VERDICTS)}', where="verdict")
    note, told = _words("note", note), [_words("reason", reason) for reason in reasons]
    label = resolve(project, model)
    training = next(item for item in models(project)[label] if item.kind == "training")
    subject = training.subject
    sealed = data.dataset(project, trained_on(training)[0])
    read = _read(report or _newest(project, label), subject)
    project.decide("review", model_resource(label, sealed), training.values["purpose"])
    independent = _maker(project, subject).signer != project.identity.signing.verifier
    roles = tuple(sorted(project.roles()))
    values: dict[str, Any] = {
        "verdict": verdict,
        "note": note,
        "reviewer": project.acting,
        "roles": list(roles),
        "independent": independent,
        "read": read,
    }
    if told:
        values["reasons"] = told
    how = stamp({"method": "a person's judgement, signed with that person's key after reading the file named"})
    (index,) = project.publish([Evidence("review", subject, values, how, "public", tier="auditor")])
    return Reviewed(label, subject.sha256, verdict, project.acting, roles, independent, read, index)


def _held_out(trained: Trained, asked: Expectations) -> HeldOut | None:
    """The people that the expectations are about, with the special columns that whoever acts may read."""
    from pellucid.explain.expectations import HeldOut
    from pellucid.explain.expected import Limit, Proxy

    about = [item.about for item in asked.items]
    guessed = {each.of for each in about if isinstance(each, Proxy)}
    if not guessed and not any(isinstance(each, Limit) and each.rows == "held-out" for each in about):
        return None
    x, y = trained.held_out()
    sealed, project, purpose = trained.sealed, trained.project, trained.purpose
    allowed = [c for c in sorted(guessed) if project.ask("read", sealed.column(c), purpose).allowed]
    if not allowed:
        return HeldOut(x, y)
    table = data.read(project, sealed.label, allowed, purpose=purpose)
    # as the schema writes it: true and false in lower case, and a missing value by its name
    texts = {name: table.column(name).cast("string").fill_null(MISSING).to_numpy() for name in allowed}
    return HeldOut(x, y, {name: trained.load().of_held_out(values.astype(str)) for name, values in texts.items()})


def _words(what: str, text: str) -> str:
    """A text that a person signs: something, not a book, and without characters that no reader sees."""
    if not text.strip():
        raise BadData("say why: a judgement without a word is none", where=what, fix=f"--{what} TEXT")
    if len(text) > LONGEST:
        raise BadData(f"at most {LONGEST} characters", where=what, fix="sign the core, and point to the rest")
    hidden = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") and c not in "\n\t"]
    if hidden:
        raise BadData("there are characters in it that a reader does not see", where=what, fix="type it anew")
    return text.strip()


def _newest(project: Project, label: str) -> Path:
    """The report of a model in the project's own folder: of the version, or where only the name was given to one."""
    reports = project.layout.root / "reports"
    for name in (label, label.rpartition("@")[0]):
        for path in (reports / name / "report.html", reports / name / "bundle.json"):
            if path.is_file():
                return path
    raise Misuse(
        "a judgement says what it is based on, and there is no report of this model",
        where=label,
        fix=f"pellucid report {label}, read it, and review again; or name what you read with --report FILE",
    )


def _read(path: Path, subject: Subject) -> dict[str, str]:
    """Name and digest of the file that was read, which must speak of the very weights that are judged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile("there is no such file, or it cannot be read", where=str(path)) from error
    if subject.sha256.encode("ascii") not in content:
        raise BadFile(
            f"this does not speak of {subject.name}: its digest is not in it",
            where=str(path),
            fix="name the report.html, report.json or bundle.json of this very model",
        )
    return {"name": path.name, "sha256": digest(content)}


def _maker(project: Project, subject: Subject) -> Entry:
    """The entry by which a model was trained; its signer is who trained it."""
    return next(
        entry
        for entry in project.counted()
        if entry.kind == "evidence" and entry.evidence.kind == "training" and entry.evidence.subject == subject
    )
