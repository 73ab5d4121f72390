"""What is different from the version before: its signed numbers, signed again by whoever makes the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pellucid.evidence import Evidence, Subject

if TYPE_CHECKING:
    from pellucid.project.project import Project

__all__ = ["compare", "previous", "publish"]

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
        **({"was_readable": "readout" in old["explanation"]} if "explanation" in old else {}),
        "before": {f"{kind}.{key}": old[kind][key] for kind, key in COMPARED if key in old.get(kind, {})},
        "same_data": training["dataset"] == earlier["dataset"],
        "same_recipe": training.get("recipe") == earlier.get("recipe"),
        "features_added": [name for name in training["features"] if name not in earlier["features"]],
        "features_removed": [name for name in earlier["features"] if name not in training["features"]],
    }
    how = stamp({"method": "copied from the signed evidence of the version before"})
    return Evidence("change", subject, values, how, "uncovered", tier="auditor")


def publish(project: Project, subject: Subject) -> None:
    """Sign what changed since the version before, if there is one and it is not what was signed last."""
    from pellucid.project.lawful import SIGNERS
    from pellucid.project.model import models

    known = models(project)
    earlier = previous(known, subject.name)
    if earlier is None or not project.roles() & SIGNERS:
        return
    made = compare(subject, known[subject.name], known[earlier])
    signed = [item for item in known[subject.name] if item.kind == "change"]
    if not signed or dict(signed[-1].values) != dict(made.values):
        project.publish([made])
