"""What a valid access policy may still get wrong. Remarks, never errors: what cannot be meant is refused at loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pellucid.access.decide import Decision, decide_many
from pellucid.access.matrix import matrix
from pellucid.access.policy import AccessPolicy
from pellucid.access.request import Principal, Request, Resource
from pellucid.schema import SENSITIVITIES, Schema

__all__ = ["Remark", "lint"]

# one column of each sensitivity and two purposes: enough to reach any policy that names no one person or thing
_PROBE: Final = Schema.from_document(
    {
        "dataset": {"target": "public", "units": 10, "purposes": ["first", "second"]},
        "columns": {
            name: {"type": "identifier" if name == "identifier" else "boolean", "sensitivity": name}
            for name in SENSITIVITIES
        },
    },
    where="probe",
)


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark.

    Attributes:
        id: ``open-permit``, ``open-principal``, ``unused-action`` or ``never-decides``.
        policy: The ``@id`` it is about, or None where it is about the whole set.
        line: Line of the policy in its file, or None.
        says: One sentence.
    """

    id: str
    policy: str | None
    line: int | None
    says: str


def lint(policy: AccessPolicy) -> list[Remark]:
    """The remarks about ``policy``, in the order of the file, then about the whole set.

    * ``open-permit``: a ``permit`` with no scope and no condition allows everyone everything.
    * ``open-principal``: a ``permit`` that names no identity and no role, neither in scope nor in condition.
    * ``never-decides``: a policy that names no single person or thing and decides nothing for any role, action, kind of
      resource, sensitivity and purpose.
    * ``unused-action``: an action of the schema that no role may ever do.
    """
    rows = matrix(policy, _PROBE, "probe")
    decided = {name for row in rows for name in row.policies}
    decided |= {name for decision in _undeclared(policy) for name in decision.policies}
    remarks = []
    for rule in policy.engine.rules:
        kinds = {kind for kind, _ in rule.names}
        if rule.effect == "permit" and len(rule.open) == 3 and not rule.conditional:
            remarks.append(Remark("open-permit", rule.id, rule.line, "allows everyone everything"))
        elif rule.effect == "permit" and "principal" in rule.open and not kinds & {"Role", "Identity"}:
            remarks.append(Remark("open-principal", rule.id, rule.line, "names neither a role nor an identity"))
        elif rule.id not in decided and not kinds - {"Role", "Action"}:
            says = f"this {rule.effect} decides nothing for any role, action, sensitivity and purpose"
            remarks.append(Remark("never-decides", rule.id, rule.line, says))
    possible = {row.action for row in rows if row.allowed}
    remarks.extend(
        Remark("unused-action", None, None, f'no role may ever "{action}"')
        for action in policy.actions
        if action not in possible
    )
    return remarks


def _undeclared(policy: AccessPolicy) -> list[Decision]:
    """Requests for a purpose that is not declared, which the table leaves out, so that forbids about it are reached."""
    whole = Resource.dataset("probe", _PROBE)
    resources = [
        whole,
        *(Resource.column("probe", column, _PROBE) for column in _PROBE.columns.values()),
        Resource.model("model", _PROBE.purposes, whole),
    ]
    return decide_many(
        policy,
        [
            Request(Principal("Role", role), action, resource, "undeclared")
            for role in policy.roles
            for action, kinds in policy.engine.actions.items()
            for resource in resources
            if resource.type in kinds
        ],
    )
