"""What is different from another model: its signed numbers, signed again by whoever makes the report.

From the version before; and, of a model that can be read and one that cannot, from the other of the two, if both were
trained on the same data to say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pellucid.evidence import Evidence, Subject

if TYPE_CHECKING:
    from pellucid.project.project import Project

__all__ = ["beside", "compare", "counterpart", "previous", "publish"]

# what is set side by side: a kind of evidence and a path in its values
COMPARED: Final = (
    ("privacy", "epsilon"),
    ("evaluation", "auc"),
    ("evaluation", "accuracy"),
    ("calibration", "ece"),
    ("explanation", "completeness_gap"),
    ("attack", "epsilon_lower"),
    ("training", "parameters"),
    ("training", "steps"),
)


def previous(known: Mapping[str, Sequence[Evidence]], label: str) -> str | None:
    """The newest earlier version of the model ``label`` (``NAME@VERSION``), or None."""
    name, _, version = label.rpartition("@")
    earlier = [int(v) for n, _, v in (other.rpartition("@") for other in known) if n == name and int(v) < int(version)]
    return f"{name}@{max(earlier)}" if earlier else None


def compare(subject: Subject, now: Sequence[Evidence], before: Sequence[Evidence]) -> Evidence:
    """``change`` evidence about ``subject``: numbers of the version ``before``, and what else differs.

    Numbers are copied from signed evidence, so nothing is measured anew and nobody's data is touched.
    """
    from pellucid.project.project import stamp

    new, old = ({item.kind: item.values for item in evidence} for evidence in (now, before))
    training, earlier = new["training"], old["training"]
    since = next(item.subject for item in before if item.kind == "training")
    values: dict[str, Any] = {
        "since": {"name": since.name, "sha256": since.sha256},
        "was": earlier["architecture"],
        "before": {f"{kind}.{key}": old[kind][key] for kind, key in COMPARED if key in old.get(kind, {})},
        "same_data": training["dataset"] == earlier["dataset"],
        "same_recipe": training.get("recipe") == earlier.get("recipe"),
        "features_added": [name for name in training["features"] if name not in earlier["features"]],
        "features_removed": [name for name in earlier["features"] if name not in training["features"]],
    }
    how = stamp({"method": "copied from the signed evidence of the version before"})
    return Evidence("change", subject, values, how, "uncovered", tier="auditor")


def counterpart(known: Mapping[str, Sequence[Evidence]], label: str) -> str | None:
    """The newest other model for the same target on the same data, whatever version, that is explained otherwise.

    One of the two can be read out and the other cannot. None where ``label`` was not explained, or there is no such.
    """
    readable = _readable(known[label])
    found = None
    for other, evidence in known.items():
        if other != label and readable is not None and _readable(evidence) is not readable:
            theirs, ours = (_training(each) for each in (evidence, known[label]))
            alike = theirs["target"] == ours["target"] and theirs["dataset"]["name"] == ours["dataset"]["name"]
            if alike and _readable(evidence) is not None:
                found = other
    return found


def beside(subject: Subject, now: Sequence[Evidence], other: Sequence[Evidence]) -> Evidence:
    """``comparison`` evidence about ``subject``: the numbers of a model that is read otherwise, as they were signed."""
    from pellucid.project.project import stamp

    theirs = {item.kind: item.values for item in other}
    which = next(item.subject for item in other if item.kind == "training")
    values: dict[str, Any] = {
        "with": {"name": which.name, "sha256": which.sha256},
        "architecture": theirs["training"]["architecture"],
        "readable": "readout" in theirs["explanation"],
        "same_data": theirs["training"]["dataset"] == _training(now)["dataset"],
        "numbers": {f"{kind}.{key}": theirs[kind][key] for kind, key in COMPARED if key in theirs.get(kind, {})},
    }
    how = stamp({"method": "copied from the signed evidence of the other model"})
    return Evidence("comparison", subject, values, how, "uncovered", tier="auditor")


def _training(evidence: Sequence[Evidence]) -> Mapping[str, Any]:
    return next(item.values for item in evidence if item.kind == "training")


def _readable(evidence: Sequence[Evidence]) -> bool | None:
    """Whether the model is read out; None where it was not explained."""
    found = [item.values for item in evidence if item.kind == "explanation"]
    return "readout" in found[-1] if found else None


def publish(project: Project, subject: Subject) -> None:
    """Sign how the model differs from others, where there are such and it is not what was signed last."""
    from pellucid.project.lawful import SIGNERS
    from pellucid.project.model import models

    known = models(project)
    if not project.roles() & SIGNERS:
        return
    now, made = known[subject.name], []
    if (earlier := previous(known, subject.name)) is not None:
        made.append(compare(subject, now, known[earlier]))
    if (other := counterpart(known, subject.name)) is not None:
        made.append(beside(subject, now, known[other]))
    signed = {item.kind: dict(item.values) for item in now}
    if new := [item for item in made if dict(item.values) != signed.get(item.kind)]:
        project.publish(new)
