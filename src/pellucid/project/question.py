"""What the policy would say: for ``access can`` and ``access explain``, without an attempt."""

from __future__ import annotations

from pellucid.access import Decision, Resource
from pellucid.errors import UnknownName
from pellucid.project import data
from pellucid.project.model import model_resource, models, resolve, trained_on
from pellucid.project.project import Project, unknown

__all__ = ["ask", "named"]


def ask(project: Project, identity: str, action: str, resource: str, purpose: str | None) -> Decision:
    """What the adopted policy says to a question about somebody.

    Raises:
        UnknownName: No such identity, action or resource.
    """
    names = sorted({*project.layout.identities(), *project.membership.names()})
    if identity not in names:
        raise unknown("identity", identity, names, "pellucid identity show lists them")
    if action not in project.policy.actions:
        known = sorted(project.policy.actions)
        raise unknown("action", action, known, f"use one of {', '.join(known)}")
    return project.ask(action, named(project, resource), purpose, name=identity)


def named(project: Project, name: str) -> Resource:
    """The project, data set, column (``dataset/column``) or model of that name.

    Raises:
        UnknownName: There is none.
    """
    if name == project.name:
        return project.resource()
    plain, _, column = name.partition("/")
    sealed = {n for n, _ in data.datasets(project)}
    if plain.partition("@")[0] in sealed:
        found = data.dataset(project, plain)
        if not column:
            return found.resource()
        if column not in found.schema.columns:
            raise unknown("column", column, list(found.schema.columns), "pellucid data show lists the columns")
        return found.column(column)
    try:
        label = resolve(project, name)
    except UnknownName as error:
        known = sorted({project.name, *sealed, *models(project)})
        raise unknown("resource", name, known, f"use one of {', '.join(known)}, or dataset/column") from error
    training = next(e for e in models(project)[label] if e.kind == "training")
    return model_resource(label, data.dataset(project, trained_on(training)[0]))
