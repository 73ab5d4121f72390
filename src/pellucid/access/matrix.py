"""Who may do what, written out: the readers of each column, the whole table, and how two tables differ.

The domain is finite and declared (roles, actions, sensitivities, purposes), so it is enumerated instead of proved.
What a policy says of one identity by name, or of one data set by name, shows only where that name is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pellucid.access.decide import decide_many
from pellucid.access.policy import AccessPolicy
from pellucid.access.request import Principal, Request, Resource
from pellucid.schema import Schema

__all__ = ["Change", "Row", "difference", "matrix", "readers"]


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One cell of the table: what one role may do to one resource for one purpose (or for none stated)."""

    role: str
    action: str
    resource: str
    purpose: str | None
    allowed: bool
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A right that one table grants and the other does not. ``policies`` are the ids that decide in the new table."""

    role: str
    action: str
    resource: str
    purpose: str | None
    gained: bool
    policies: tuple[str, ...]


def readers(policy: AccessPolicy, schema: Schema, dataset: str, roles: Iterable[str]) -> dict[str, frozenset[str]]:
    """The roles that may read each column for at least one declared purpose: those its key is wrapped to.

    Args:
        policy: The adopted policy.
        schema: The data set's schema.
        dataset: The data set's name.
        roles: The roles that have a key. One that the policy does not know reads nothing.

    Returns:
        Every column of the schema in its order; a column that nobody may read maps to the empty set.
    """
    asked = [
        (column.name, role, Request(Principal("Role", role), "read", Resource.column(dataset, column, schema), purpose))
        for column in schema.columns.values()
        for role in sorted(set(roles))
        for purpose in schema.purposes
    ]
    found: dict[str, set[str]] = {name: set() for name in schema.columns}
    decisions = decide_many(policy, [request for _, _, request in asked])
    for (column_name, role, _), decision in zip(asked, decisions, strict=True):
        if decision.allowed:
            found[column_name].add(role)
    return {name: frozenset(allowed) for name, allowed in found.items()}


def matrix(
    policy: AccessPolicy, schema: Schema, dataset: str, *, project: str = "project", model: str = "model"
) -> tuple[Row, ...]:
    """Every role x action x resource x purpose, decided; about 40 µs a row.

    Args:
        policy: The policy to write out.
        schema: The data set's schema: its columns and purposes are the domain. ``None`` (nothing stated) is one more
            purpose.
        dataset: The data set's name.
        project: What the one project is called.
        model: What the one model trained on the data set is called.
    """
    whole = Resource.dataset(dataset, schema)
    resources = [
        Resource.project(project),
        whole,
        *(Resource.column(dataset, column, schema) for column in schema.columns.values()),
        Resource.model(model, schema.purposes, whole),
    ]
    requests = [
        Request(Principal("Role", role), action, resource, purpose)
        for role in policy.roles
        for action, kinds in policy.engine.actions.items()
        for resource in resources
        if resource.type in kinds
        for purpose in (None, *schema.purposes)
    ]
    return tuple(
        Row(
            decision.request.principal.name,
            decision.request.action,
            str(decision.request.resource),
            decision.request.purpose,
            decision.allowed,
            decision.policies,
        )
        for decision in decide_many(policy, requests)
    )


def difference(before: Iterable[Row], after: Iterable[Row]) -> tuple[Change, ...]:
    """Who gains and who loses what between two tables. A cell that only one table has counts as denied in the other."""
    old = {(row.role, row.action, row.resource, row.purpose): row for row in before}
    new = {(row.role, row.action, row.resource, row.purpose): row for row in after}
    changes = []
    for key in sorted(old.keys() | new.keys(), key=lambda cell: (*cell[:3], cell[3] or "")):
        was = key in old and old[key].allowed
        now = key in new and new[key].allowed
        if was != now:
            changes.append(Change(*key, gained=now, policies=new[key].policies if key in new else ()))
    return tuple(changes)
