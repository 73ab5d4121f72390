"""The decision: who may do what to what, for which purpose. Anything but an error-free Allow is a Deny."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.access.cedar import Answer
from pellucid.access.policy import AccessPolicy
from pellucid.access.request import Kind, Principal, Request, Resource
from pellucid.errors import Denied, nearest

__all__ = ["Decision", "Kind", "Principal", "Request", "Resource", "decide", "decide_many", "require"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and all that is needed to see later why it was so.

    Attributes:
        request: The question.
        allowed: True only for an error-free Allow under the schema.
        policies: The ``@id`` of each policy that decided; none where nothing allows it, or where Cedar met an error.
        policy_sha256: Digest of the policy file that was asked.
        schema_sha256: Digest of the Cedar schema it was asked under.
        reason: One plain sentence.
    """

    request: Request
    allowed: bool
    policies: tuple[str, ...]
    policy_sha256: str
    schema_sha256: str
    reason: str

    def record(self) -> dict[str, Any]:
        """The fields of a ``decision`` record of the log, as JSON. A role asking for itself has no identity."""
        principal = self.request.principal
        own = principal.type == "Role"
        return {
            "identity": None if own else principal.name,
            "roles": [principal.name] if own else sorted(principal.roles),
            "action": self.request.action,
            "resource": {"type": self.request.resource.type, "name": self.request.resource.name},
            "purpose": self.request.purpose,
            "allowed": self.allowed,
            "policies": list(self.policies),
            "policy_sha256": self.policy_sha256,
            "schema_sha256": self.schema_sha256,
            "reason": self.reason,
        }


def decide(policy: AccessPolicy, request: Request) -> Decision:
    """What ``policy`` says to ``request``. Never raises for a deny: see :func:`require`.

    An unknown action or role, a resource that does not fit the schema, a policy that errors: each is a Deny whose
    ``reason`` says so.
    """
    return decide_many(policy, [request])[0]


def decide_many(policy: AccessPolicy, requests: Sequence[Request]) -> list[Decision]:
    """:func:`decide` for each request, in order; one call of Cedar where the requests agree about their entities."""
    decisions: list[Decision | None] = [_unknown(policy, request) for request in requests]
    open_ = [i for i, decision in enumerate(decisions) if decision is None]
    for batch in _batches(requests, open_):
        answers = _ask(policy, [requests[i] for i in batch])
        if len(batch) > 1 and any(answer.unfit for answer in answers):
            # one resource that does not fit the schema must not decide for the others
            answers = [_ask(policy, [requests[i]])[0] for i in batch]
        for i, answer in zip(batch, answers, strict=True):
            decisions[i] = _decision(policy, requests[i], answer)
    return [decision for decision in decisions if decision is not None]


def require(decision: Decision, *, what: str | None = None) -> Decision:
    """``decision`` itself if it allows.

    Args:
        decision: The decision.
        what: What to call the resource in the error, where one decision stands for several (columns, say).

    Raises:
        Denied: It does not. Says who, what, for which purpose, which policies decided, and what to do next.
    """
    if decision.allowed:
        return decision
    request = decision.request
    purpose = f'for "{request.purpose}"' if request.purpose is not None else "without a purpose"
    raise Denied(
        f"{_who(request.principal)} may not {request.action} {what or request.resource} {purpose}: {decision.reason}",
        where=f"access policy {decision.policy_sha256[:12]}",
        fix=_next(decision),
    )


def _who(principal: Principal) -> str:
    if principal.type == "Role":
        return f"the role {principal.name}"
    held = ", ".join(sorted(principal.roles)) or "no role"
    return f"{principal.name} ({held})"


def _next(decision: Decision) -> str:
    request = decision.request
    purposes = request.resource.attributes.get("purposes", ())
    if decision.policies and purposes and request.purpose not in purposes:
        return "state a declared purpose: " + ", ".join(f'"{purpose}"' for purpose in sorted(purposes))
    if decision.policies:
        return "no role changes this; an owner may change the policy and adopt it (`pellucid access adopt`)"
    return "ask an owner for a role that may (`pellucid access explain` shows which), or act as another identity"


def _unknown(policy: AccessPolicy, request: Request) -> Decision | None:
    principal, reason = request.principal, ""
    roles = principal.roles if principal.type == "Identity" else frozenset({principal.name})
    strangers = sorted(role for role in roles if role not in policy.roles)
    if request.action not in policy.actions:
        reason = f'there is no action "{request.action}"{nearest(request.action, policy.actions)}'
    elif strangers:
        reason = f'there is no role "{strangers[0]}"{nearest(strangers[0], policy.roles)}'
    return _decision(policy, request, Answer(False, (), (reason,)), reason) if reason else None


def _decision(policy: AccessPolicy, request: Request, answer: Answer, reason: str = "") -> Decision:
    ids = () if answer.errors else tuple(policy.ids[position] for position in answer.rules)
    return Decision(
        request,
        answer.allowed,
        ids,
        policy.sha256,
        policy.schema_sha256,
        reason or _reason(policy, answer, ids),
    )


def _reason(policy: AccessPolicy, answer: Answer, ids: tuple[str, ...]) -> str:
    if answer.errors:
        return f"it could not be decided without an error, so it is denied: {answer.errors[0]}"
    if not ids:
        return "nothing allows it"
    verb = "allows" if answer.allowed else "forbids"
    because = policy.because
    return "; ".join(f'"{name}" {verb} it' + (f": {because[name]}" if name in because else "") for name in ids)


def _ask(policy: AccessPolicy, requests: Sequence[Request]) -> list[Answer]:
    entities: dict[tuple[str, ...], dict[str, Any]] = {}
    for request in requests:
        entities.update(_entities(request))
    return list(policy.engine.evaluate(list(entities.values()), [_question(request) for request in requests]))


def _batches(requests: Sequence[Request], indices: Sequence[int]) -> Iterator[list[int]]:
    """Runs of requests in which no entity is described in two ways (an identity with other roles, say)."""
    batch: list[int] = []
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    for i in indices:
        own = _entities(requests[i])
        if any(known.get(uid, entity) != entity for uid, entity in own.items()):
            yield batch
            batch, known = [], {}
        batch.append(i)
        known.update(own)
    if batch:
        yield batch


def _question(request: Request) -> dict[str, Any]:
    return {
        "principal": {"type": request.principal.type, "id": request.principal.name},
        "action": {"type": "Action", "id": request.action},
        "resource": {"type": request.resource.type, "id": request.resource.name},
        "context": {} if request.purpose is None else {"purpose": request.purpose},
    }


def _entities(request: Request) -> dict[tuple[str, ...], dict[str, Any]]:
    principal = request.principal
    found: dict[tuple[str, ...], dict[str, Any]] = {
        (principal.type, principal.name): {
            "uid": {"type": principal.type, "id": principal.name},
            "attrs": {},
            "parents": [{"type": "Role", "id": role} for role in sorted(principal.roles)],
        }
    }
    waiting = [request.resource]
    while waiting:
        resource = waiting.pop()
        entity = {
            "uid": {"type": resource.type, "id": resource.name},
            "attrs": {name: _plain(value) for name, value in resource.attributes.items()},
            "parents": [{"type": parent.type, "id": parent.name} for parent in resource.parents],
        }
        # one thing described in two ways stands twice, so that Cedar refuses both instead of us choosing one
        twice = ("again",) if found.get((resource.type, resource.name), entity) != entity else ()
        found[resource.type, resource.name, *twice] = entity
        waiting.extend(resource.parents)
    return found


def _plain(value: Any) -> Any:
    return sorted(value, key=repr) if isinstance(value, set | frozenset | tuple | list) else value
