"""What a check tells beside its findings: rules for nobody, waivers that end, a wrong clock.

Pure, like the rules: it gets the day, and reads no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.check.policy import ReleasePolicy
from pellucid.check.results import Notice
from pellucid.check.waivers import SOON, Waiver, when
from pellucid.evidence import Evidence, Finding

__all__ = ["clock", "latest", "matched_nothing", "waived"]


def latest(evidence: Sequence[Evidence]) -> dt.datetime | None:
    """The last moment that verified evidence names: the checkpoint over it cannot be older. None if none names one."""
    found = [str(piece.how["at"]) for piece in evidence if "at" in piece.how]
    if not found:
        return None
    return dt.datetime.strptime(max(found), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)


def clock(today: dt.date, last: dt.datetime | None) -> list[Notice]:
    """A warning if this machine's day lies before the bundle's last entry: waivers are then held to the latter."""
    if last is None or today >= last.date():
        return []
    says = (
        f"this machine's clock says {today.isoformat()}, and the bundle's checkpoint is of {last.date().isoformat()}"
        " or later: waivers are held to that day"
    )
    return [Notice("warning", "", says)]


def matched_nothing(
    policy: ReleasePolicy, model: str, values: Mapping[str, Mapping[str, Any]], findings: Sequence[Finding]
) -> list[Notice]:
    """A warning for each requirement that was not for this model, so that nobody takes it for a pass."""
    found = {finding.id for finding in findings}
    return [
        Notice("warning", each.id, f"matched nothing: it is for {each.scope.text()}, and not for {model}")
        for each in policy.requirements
        if each.id not in found and not each.scope.fits(model, values)
    ]


def waived(waivers: Sequence[Waiver], model: str, findings: Sequence[Finding], today: dt.date) -> list[Notice]:
    """Warnings about waivers for this model: they end soon, have ended, do not count, or are not needed."""
    status = {finding.id: finding.status for finding in findings}
    found = []
    for waiver in waivers:
        if not waiver.covers(model) or waiver.id not in status:
            continue
        days = (waiver.expires - today).days
        if waiver.refused or waiver.refused is None:
            says = f"the waiver by {waiver.owner} does not count: {waiver.refused or 'its signature was not looked at'}"
        elif days < 0:
            says = f"the waiver by {waiver.owner} expired on {waiver.expires.isoformat()}: renew it or take it out"
        elif status[waiver.id] in ("pass", "unmeasured"):
            why = "is met" if status[waiver.id] == "pass" else "was not measured, which no waiver excuses"
            says = f"the waiver by {waiver.owner} has no effect: the requirement {why}"
        elif waiver.expires - today <= SOON:
            says = f"the waiver by {waiver.owner} ends on {waiver.expires.isoformat()}, {when(days)}"
        else:
            continue
        found.append(Notice("warning", waiver.id, says))
    return found
