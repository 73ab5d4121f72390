"""How one number is covered, where the evidence that it stands in is covered otherwise as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pellucid.evidence import Coverage, Evidence
from pellucid.report.inputs import ReportInput

__all__ = ["covered", "setting"]

# Set before anybody is looked at, and no measurement: kind -> its values of that sort.
_SET: Final[Mapping[str, frozenset[str]]] = {"attack": frozenset({"delta", "confidence"})}
_HOW: Final = frozenset({"seed", "classes", "delta", "confidence"})


def covered(report: ReportInput, evidence: Evidence, path: str) -> Coverage:
    """The coverage of the number at the dotted ``path`` of the values of ``evidence``.

    The weights are private; the recipe that they were trained by was written before anybody was looked at, and so are
    the sizes that follow from it: public. What a private tuning chose of it was chosen by looking: post-processing.
    """
    if evidence.kind == "training":
        return "post-processing" if _chosen(report, path) else "public"
    return "public" if path in _SET.get(evidence.kind, ()) else evidence.coverage


def setting(name: str) -> bool:
    """Whether ``name`` (dotted) in how something was measured is a constant of the method, and never of the data."""
    return name.rpartition(".")[2] in _HOW


def _chosen(report: ReportInput, path: str) -> bool:
    """Whether a tuning may have chosen the number at ``path`` of the training evidence."""
    tuning, privacy = report.last("tuning"), report.last("privacy")
    if tuning is None and (privacy is None or "tuning" not in privacy.values):
        return False
    space = None if tuning is None else tuning.values.get("space")
    if not isinstance(space, Mapping):
        return True  # tuned, and what varied is not said
    head, _, rest = path.partition(".")
    key = {"optimizer": f"train.{rest}", "recipe": rest}.get(head, path)
    return any(str(name).startswith("model.") if key == "parameters" else key == name for name in space)
