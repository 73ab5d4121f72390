"""Tests of a policy as data: ``access.tests.toml`` beside the policy, run by ``pellucid access test``.

[resources."applicants/age"]
type = "Column"
in = ["applicants"]           # other resources of this file, by name
sensitivity = "personal"      # every other key is an attribute
purposes = ["credit scoring"]

[[case]]
identity = "ana"
roles = ["scientist"]
action = "read"
resource = "applicants/age"
purpose = "credit scoring"    # left out: none is stated
allowed = true
because = "scientist-reads"   # the id of a policy that decides, or "nothing allows it"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pellucid.access.decide import Decision, decide_many
from pellucid.access.policy import AccessPolicy
from pellucid.access.request import Kind, Principal, Request, Resource
from pellucid.errors import BadFile, nearest
from pellucid.schema import read_toml

__all__ = ["NOTHING", "Case", "Failure", "read_cases", "run", "untested"]

NOTHING: Final = "nothing allows it"
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_NEEDED: Final[Mapping[str, type]] = {
    "identity": str,
    "roles": list,
    "action": str,
    "resource": str,
    "allowed": bool,
    "because": str,
}
_KNOWN: Final = {*_NEEDED, "purpose"}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: a request, what must come of it, and the policy that must decide (or :data:`NOTHING`)."""

    number: int
    request: Request
    allowed: bool
    because: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that came out otherwise, with the decision and one sentence."""

    case: Case
    decision: Decision
    says: str


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a file.

    Raises:
        BadFile: It does not parse, a key is missing or unknown, a resource is not declared, or there is no case.
    """
    document = read_toml(path)
    for key in document:
        if key not in ("resources", "case"):
            raise BadFile(f"unknown key{nearest(key, ('resources', 'case'))}", where=f"{path}: {key}")
    tables = document.get("resources", {})
    cases = document.get("case", [])
    if not isinstance(tables, dict) or not isinstance(cases, list) or not cases:
        raise BadFile("a test file needs [resources] and at least one [[case]]", where=str(path))
    return tuple(_case(number, case, tables, f"{path}: case {number}") for number, case in enumerate(cases, 1))


def run(policy: AccessPolicy, path: Path) -> list[Failure]:
    """The cases of the file at ``path`` that do not hold under ``policy``; none if all do.

    Raises:
        BadFile: The file is not a test file, or a case names a policy that there is not.
    """
    cases = read_cases(path)
    for case in cases:
        if case.because != NOTHING and case.because not in policy.ids:
            raise BadFile(
                f'there is no policy "{case.because}"{nearest(case.because, policy.ids)}',
                where=f"{path}: case {case.number}.because",
                fix=f'name a policy by its @id, or write "{NOTHING}"',
            )
    failures = []
    for case, decision in zip(cases, decide_many(policy, [case.request for case in cases]), strict=True):
        says = _wrong(case, decision)
        if says:
            failures.append(Failure(case, decision, f"case {case.number}: {says}"))
    return failures


def untested(policy: AccessPolicy, path: Path) -> list[str]:
    """The ids of the policies that no case of the file names, in the order of the policy."""
    named = {case.because for case in read_cases(path)}
    return [name for name in policy.ids if name not in named]


def _wrong(case: Case, decision: Decision) -> str:
    request = case.request
    if decision.allowed != case.allowed:
        told = "allowed" if decision.allowed else "denied"
        return f"{request.principal.name} {request.action} {request.resource} is {told}: {decision.reason}"
    deciding = decision.policies or (NOTHING,)
    if decision.reason != NOTHING and not decision.policies:
        return f"nothing was decided: {decision.reason}"
    if case.because not in deciding:
        return f"decided by {', '.join(deciding)}, not by {case.because}"
    return ""


def _case(number: int, case: Any, tables: Mapping[str, Any], where: str) -> Case:
    if not isinstance(case, dict):
        raise BadFile("a case is a table", where=where)
    for key in case:
        if key not in _KNOWN:
            raise BadFile(f"unknown key{nearest(key, _KNOWN)}", where=f"{where}.{key}")
    for key, kind in _NEEDED.items():
        if not isinstance(case.get(key), kind):
            raise BadFile(f"this key is missing or not of type {kind.__name__}", where=f"{where}.{key}")
    roles, purpose = case["roles"], case.get("purpose")
    if not all(isinstance(role, str) for role in roles):
        raise BadFile("roles must be a list of texts", where=f"{where}.roles")
    if purpose is not None and not isinstance(purpose, str):
        raise BadFile("purpose must be a text", where=f"{where}.purpose")
    request = Request(
        Principal("Identity", case["identity"], frozenset(roles)),
        case["action"],
        _resource(case["resource"], tables, f"{where}.resource", ()),
        purpose,
    )
    return Case(number, request, case["allowed"], case["because"])


def _resource(name: Any, tables: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Resource:
    if name in inside:
        raise BadFile(f'"{name}" is part of itself', where=where)
    table = tables.get(name) if isinstance(name, str) else None
    if not isinstance(table, dict):
        raise BadFile(f'"{name}" is not declared under [resources]{nearest(str(name), tables)}', where=where)
    parents = table.get("in", [])
    kind = next((kind for kind in _KINDS if kind == table.get("type")), None)
    if kind is None:
        raise BadFile(f"type must be one of {', '.join(_KINDS)}", where=f'{where}: resources."{name}".type')
    if not isinstance(parents, list):
        raise BadFile("in must be a list of resources", where=f'{where}: resources."{name}".in')
    return Resource(
        kind,
        str(name),
        {key: value for key, value in table.items() if key not in ("type", "in")},
        tuple(_resource(parent, tables, where, (*inside, str(name))) for parent in parents),
    )
