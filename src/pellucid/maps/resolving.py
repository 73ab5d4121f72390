"""What there is for each row of a map. Pure: evidence in, one status a row out.

What people wrote is evidence too (kind ``card``, made from ``model.toml``): a part of it is their word, signed as it
stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pellucid.evidence import Evidence
from pellucid.maps.reading import MAPS, RegulationMap, Row, read

__all__ = ["STATUSES", "Resolved", "Status", "resolve", "standing"]

Status = Literal["evidence", "human-provided", "not applicable", "missing"]
STATUSES: Final[tuple[Status, ...]] = ("evidence", "human-provided", "not applicable", "missing")
_NO_SPECIAL: Final = "the data set declares no column of a special category"


@dataclass(frozen=True, slots=True)
class Resolved:
    """One row and what there is for it.

    Attributes:
        row: The row.
        status: ``evidence``, ``human-provided``, ``not applicable`` or ``missing``.
        found: The paths that are there.
        absent: The paths that are not.
        words: The person's text or reason; empty otherwise.
    """

    row: Row
    status: Status
    found: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    words: str = ""


def resolve(which: RegulationMap, evidence: Sequence[Evidence]) -> tuple[Resolved, ...]:
    """Every row of a map with its status, in the order of the map.

    A row of evidence has its status only if all of its paths are there, in the last evidence of their kind: absent,
    null and empty are missing. What every verified bundle proves (``bundle.log``, ``bundle.signatures``) is there as
    soon as there is any evidence.

    Args:
        which: The map.
        evidence: Verified evidence about the model and its data, in the order of the bundle.
    """
    last = {item.kind: item for item in evidence}
    card: Mapping[str, Any] = last["card"].values if "card" in last else {}
    return tuple(_resolve(which.id, row, last, card) for row in which.rows)


def _resolve(name: str, row: Row, last: Mapping[str, Evidence], card: Mapping[str, Any]) -> Resolved:
    found = tuple(path for path in row.evidence if _there(path, last))
    absent = tuple(path for path in row.evidence if path not in found)
    if found and not absent:
        return Resolved(row, "evidence", found)  # what is shown is shown, whatever anybody says of it
    reason = _said(card, "not_applicable", f"{name}/{row.id}")
    if reason:
        return Resolved(row, "not applicable", absent=absent, words=reason)
    if row.when == "special" and _no_special(last.get("dataset")):
        return Resolved(row, "not applicable", words=_NO_SPECIAL)
    if row.human:
        words = _said(card, *row.human.split("."))
        return Resolved(row, "human-provided" if words else "missing", words=words)
    return Resolved(row, "missing", found, absent)


def standing(evidence: Sequence[Evidence]) -> dict[str, dict[str, Any]]:
    """How many rows of every map have which status, and which rows are missing: the form that a policy reads.

    ``{"gdpr": {"version": 1, "evidence": 14, "human_provided": 0, "not_applicable": 0, "missing": 16, "excused": 0,
    "missing_rows": ["art-5.lawful", …]}, …}``. ``excused`` are those of the not applicable that evidence would have to
    speak to, and that only a person's word takes out: a policy that trusts no such word asks for none.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in MAPS:
        which = read(name)
        rows = resolve(which, evidence)
        counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
        found[name] = {
            "version": which.version,
            **{status.replace("-", "_").replace(" ", "_"): number for status, number in counts.items()},
            "excused": sum(row.status == "not applicable" and bool(row.absent) for row in rows),
            "missing_rows": [row.row.id for row in rows if row.status == "missing"],
        }
    return found


def _there(path: str, last: Mapping[str, Evidence]) -> bool:
    kind, *steps = path.split(".")
    if kind == "bundle":
        return bool(last)
    if kind not in last:
        return False
    value: Any = last[kind].values
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value is not None and value not in ("", [], {})


def _said(card: Mapping[str, Any], section: str, key: str) -> str:
    """What people wrote in one part of ``model.toml``; empty where they wrote nothing."""
    words = card.get(section)
    found = words.get(key) if isinstance(words, Mapping) else None
    return found.strip() if isinstance(found, str) else ""


def _no_special(dataset: Evidence | None) -> bool:
    """Whether the schema declares that no column is of a special category; unknown counts as no."""
    if dataset is None:
        return False
    columns = dataset.values.get("columns")
    return isinstance(columns, list) and all(
        isinstance(column, Mapping) and column.get("sensitivity") not in (None, "special") for column in columns
    )
