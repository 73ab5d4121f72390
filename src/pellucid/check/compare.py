"""One model held against another: what got worse, and what changed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from pellucid.check.comparisons import Comparison
from pellucid.check.results import Change
from pellucid.evidence import Finding

__all__ = ["changes", "no_worse"]

Comparisons = Mapping[str, tuple[Comparison, ...]]
_FAILED = ("fail", "waived")  # a baseline's waivers are its own affair


def no_worse(
    old: Sequence[Finding],
    old_parts: Comparisons,
    new: Sequence[Finding],
    new_parts: Comparisons,
    unread: Collection[str] = (),
) -> frozenset[str]:
    """The failures of ``new`` that ``old`` has too, in every comparison at least as badly.

    What was not measured is never among them: absence is excused by nobody. Nor is a failure whose comparisons do not
    show all that failed (``unread``), or none of which failed: what cannot be compared may be worse.
    """
    before = {finding.id: finding for finding in old}
    return frozenset(
        finding.id
        for finding in new
        if finding.status == "fail"
        and finding.id in before
        and before[finding.id].status in _FAILED
        and finding.id not in unread
        and not _worse(old_parts.get(finding.id, ()), new_parts.get(finding.id, ()))
    )


def _worse(old: Sequence[Comparison], new: Sequence[Comparison]) -> bool:
    if not any(part.holds is False for part in new):
        return True
    there = {(part.written, part.nth): part for part in old}
    before, after = (Counter(part.written for part in parts) for parts in (old, new))
    for part in new:
        if part.holds:
            continue
        other = there.get((part.written, part.nth))
        if other is None or other.holds or before[part.written] != after[part.written]:
            return True  # where one of those that read alike is gone, nobody knows which
        if part.slack is None or other.slack is None:
            if (part.value, part.bound) != (other.value, other.bound):
                return True
        elif part.slack < other.slack:
            return True
    return False


def changes(old: Sequence[Finding], new: Sequence[Finding]) -> tuple[Change, ...]:
    """Every requirement whose status or values are other than before, in the order of the policy."""
    before = {finding.id: finding for finding in old}
    after = {finding.id: finding for finding in new}
    found = []
    for name in dict.fromkeys([*after, *before]):
        one, other = before.get(name), after.get(name)
        left, right = (one.values if one else {}), (other.values if other else {})
        moved = {
            path: (left.get(path), right.get(path))
            for path in dict.fromkeys([*right, *left])
            if left.get(path) != right.get(path)
        }
        status = one.status if one else None, other.status if other else None
        if moved or status[0] != status[1]:
            found.append(Change(name, *status, moved))
    return tuple(found)
