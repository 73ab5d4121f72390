"""A waiver: decided, recorded in the log, signed, and written beside the release policy."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pellucid.check.explain import find
from pellucid.check.policy import ReleasePolicy
from pellucid.check.signatures import sign
from pellucid.check.waivers import WAIVERS_FILE, Waiver, read_waivers
from pellucid.errors import BadData, Denied, Misuse
from pellucid.log.entries import Entry
from pellucid.project import data
from pellucid.project.model import model_resource, models, resolve, trained_on
from pellucid.project.project import Project, now, today
from pellucid.project.publish import policy_path, write_whole

__all__ = ["Waived", "waive"]

LONGEST = 1000  # characters of a reason: it is read in every check


@dataclass(frozen=True, slots=True)
class Waived:
    """A waiver that was signed.

    Attributes:
        waiver: It.
        file: Where it was written.
        index: The log entry of the decision that allowed it.
    """

    waiver: Waiver
    file: Path
    index: int

    def document(self) -> dict[str, Any]:
        """The ``--json`` document of ``pellucid waive``."""
        return {
            "id": self.waiver.id,
            "scope": self.waiver.scope,
            "owner": self.waiver.owner,
            "expires": self.waiver.expires.isoformat(),
            "file": str(self.file),
            "index": self.index,
        }


def waive(
    project: Project,
    requirement: str,
    model: str,
    *,
    reason: str,
    expires: dt.date,
    owner: str | None = None,
    policy: Path | None = None,
) -> Waived:
    """Sign that a model may be released although it fails a requirement, until a day.

    The access policy decides (action ``release`` on the model, the purpose naming the requirement), and the decision is
    in the log before anything is written. Beyond that, the release policy names the roles whose signature counts.

    Args:
        project: Where; whoever acts signs.
        requirement: The id of the requirement.
        model: A model; without a version, every version of it.
        reason: Why it is tolerable.
        expires: The last day on which it counts.
        owner: Who answers for it; whoever acts if left out.
        policy: The release policy; the project's if left out. The waiver is written beside it.

    Raises:
        UnknownName: There is no such requirement or model.
        BadData: The reason is blank or too long, or the day has passed.
        Misuse: It is waived already.
        Denied: Who acts may not release the model, or holds no role that the release policy lets waive.
    """
    path = policy_path(project, policy)
    rulebook = ReleasePolicy.read(path)
    find(rulebook, requirement)
    label = resolve(project, model)
    scope = label if "@" in model else label.partition("@")[0]
    if not reason.strip() or len(reason) > LONGEST or not reason.isprintable():
        raise BadData(f"one line of at most {LONGEST} characters, and not blank", where="reason", fix="--reason TEXT")
    if expires < today():
        raise BadData("this day has passed", where="expires", fix="--expires YYYY-MM-DD, today or later")
    file = path.with_name(WAIVERS_FILE)
    _not_yet(file, rulebook, requirement, scope)
    made = Waiver(requirement, scope, owner or project.acting, reason.strip(), expires)
    training = next(item for item in models(project)[label] if item.kind == "training")
    sealed = data.dataset(project, trained_on(training)[0])
    project.decide("release", model_resource(label, sealed), f"waive {requirement} until {expires.isoformat()}")
    index = project.entries()[-1].index
    roles = project.roles()
    if not roles & set(rulebook.waiving):
        raise Denied(
            f"{project.acting} holds {', '.join(sorted(roles)) or 'no role'}, and the release policy lets"
            f" {' or '.join(rulebook.waiving)} waive",
            where=str(path),
            fix="ask somebody who may, or name the role under [trust] waivers in the policy",
        )
    signed = sign(made, project.name, rulebook, project.identity.signing, _grants(project), now())
    made = replace(made, signed=signed)
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    write_whole(file, (before + ("\n" if before else "") + _block(made)).encode("utf-8"))
    return Waived(made, file, index)


def _not_yet(file: Path, policy: ReleasePolicy, requirement: str, scope: str) -> None:
    if not file.is_file():
        return
    for other in read_waivers(file, policy):
        if (other.id, other.scope) == (requirement, scope):
            raise Misuse(
                f"{requirement} is waived for {scope} already, until {other.expires.isoformat()}",
                where=other.where,
                fix="take that entry out of the file first",
            )


def _grants(project: Project) -> list[Entry]:
    """What the log says of the roles of whoever acts; nothing for the owner, whose key is the root of trust."""
    if project.identity.signing.verifier == project.owner:
        return []

    def mine(entry: Entry) -> bool:
        if entry.kind == "grant":
            return bool(entry.body["identity"]["name"] == project.acting)
        return entry.kind == "revoke" and bool(entry.body["identity"] == project.acting)

    return [entry for entry in project.counted() if mine(entry)]


def _block(waiver: Waiver) -> str:
    """The entry as TOML. A JSON text without control characters is a TOML text too."""
    texts = {"id": waiver.id, "scope": waiver.scope, "owner": waiver.owner, "reason": waiver.reason}
    lines = [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in texts.items()]
    return "\n".join(
        ["[[waive]]", *lines, f"expires = {waiver.expires.isoformat()}", f'signed = "{waiver.signed}"', ""]
    )
