"""One requirement for somebody who has to meet it: what it asks, on what it rests, and what change would pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pellucid.check.comparisons import Comparison
from pellucid.check.policy import ReleasePolicy
from pellucid.check.requirements import Requirement
from pellucid.check.results import CheckResult
from pellucid.check.rules import LEFT_BY
from pellucid.check.text import estimated, figure, near, origin, shown, stands, wrapped
from pellucid.errors import UnknownName, nearest
from pellucid.evidence import Finding

__all__ = ["explanation", "find", "render_explanation"]

_WIDTH: Final = 12  # with the two before it, where the lines that follow begin


def find(policy: ReleasePolicy, name: str) -> Requirement:
    """The requirement of that id.

    Raises:
        UnknownName: There is none; the nearest is named.
    """
    ids = [each.id for each in policy.requirements]
    if name not in ids:
        raise UnknownName(
            f'the policy has no requirement "{name}"{nearest(name, ids)}',
            where=policy.where,
            fix=f"it has {', '.join(ids)}",
        )
    return policy.requirements[ids.index(name)]


def explanation(policy: ReleasePolicy, name: str, result: CheckResult | None) -> dict[str, Any]:
    """Everything about a requirement as JSON; of a bundle if there is a result.

    Raises:
        UnknownName: There is no such requirement.
    """
    requirement = find(policy, name)
    document: dict[str, Any] = {
        "id": name,
        "that": requirement.that,
        "because": requirement.because,
        "severity": requirement.severity,
        "clause": requirement.clause,
        "fix": requirement.fix,
        "applies_to": requirement.scope.text(),
        "rule": {"file": requirement.file, "line": requirement.line, "column": requirement.column},
        "paths": [path for path in requirement.program.paths if not path.startswith("parameters")],
        "parameters": {each: policy.parameters[each] for each in sorted(requirement.program.parameters)},
        "left_by": {kind: LEFT_BY.get(kind) for kind in sorted(requirement.program.kinds)},
    }
    if result is not None:
        found = next((each for each in result.findings if each.id == name), None)
        parts = result.comparisons.get(name, ())
        document["model"] = result.model
        document["status"] = found.status if found else "not asked"
        document["comparisons"] = [_part(part) for part in parts]
        document["evidence"] = [
            {"kind": each.kind, "index": each.index, "signer": each.signer} for each in origin(result, name)
        ]
        document["change"] = _changes(found, parts)
    return document


def render_explanation(policy: ReleasePolicy, name: str, result: CheckResult | None) -> str:
    """:func:`explanation` as text of 80 columns.

    Raises:
        UnknownName: There is no such requirement.
    """
    said = explanation(policy, name, result)
    requirement = find(policy, name)
    lines = wrapped(f"{name} ({said['severity']})", 0)
    facts = [
        ("that", said["that"]),
        ("because", said["because"]),
        ("clause", said["clause"]),
        ("for", said["applies_to"]),
        ("rule", f"{near(requirement.file)}, line {requirement.line}"),
        ("reads", ", ".join(said["paths"])),
    ]
    facts += [("with", f"parameters.{each} = {shown(value)}") for each, value in said["parameters"].items()]
    for kind, verb in said["left_by"].items():
        facts.append(("evidence", _where(result, kind) or f"{kind}: {verb or 'no verb'} leaves it"))
    if result is not None:
        facts.append(("status", f"{said['status'].upper()} for {said['model']}"))
        parts = [part for each in result.findings if each.id == name for part in result.reasons(each)]
        facts += [("value", stands(part)) for part in parts[:20]]
        facts += [("change", each) for each in said["change"]]
    facts.append(("fix", said["fix"]))
    for label, text in facts:
        lines += wrapped(f"  {label:<{_WIDTH}}{text}", 0) if text else []
    return "\n".join(lines) + "\n"


def _where(result: CheckResult | None, kind: str) -> str:
    source = result.sources.get(kind) if result is not None else None
    return f"{kind}: log entry {source.index}, signed by {source.signer}" if source else ""


def _part(part: Comparison) -> dict[str, Any]:
    return {
        "path": part.path,
        "operator": part.operator,
        "threshold": part.threshold,
        "value": part.value,
        "bound": part.bound,
        "holds": part.holds,
        "slack": part.slack,
        "estimate": dict(part.estimate) if part.estimate else None,
        "choice": part.choice,
    }


def _changes(finding: Finding | None, parts: Sequence[Comparison]) -> list[str]:
    """What would have to be other, one sentence each; nothing if it passes."""
    if finding is None or finding.status == "pass":
        return []
    if finding.status == "unmeasured":
        kinds = dict.fromkeys(path.partition(".")[0] for path, value in finding.values.items() if value is None)
        verbs = [f"`{LEFT_BY[kind]}` leaves evidence of kind {kind}" for kind in kinds if kind in LEFT_BY]
        return [finding.fix, *verbs]
    open_ = [part for part in parts if not part.holds]
    needed = [_need(part) for part in open_ if part.choice is None]
    met = {part.choice for part in parts if part.holds}
    choices = dict.fromkeys(part.choice for part in open_ if part.choice is not None and part.choice not in met)
    return needed + ["one of: " + "; ".join(_need(p) for p in open_ if p.choice == choice) for choice in choices]


def _need(part: Comparison) -> str:
    words = {"<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "equal to", "!=": "other than"}
    number = isinstance(part.bound, int | float) and not isinstance(part.bound, bool)
    bound = figure(part.bound) if number else part.threshold
    text = f"{part.path} {words.get(part.operator, part.operator)} {bound}, and it is {shown(part.value)}"
    if part.slack:
        text += f" ({abs(part.slack):.6g} away)"
    return f"{text}; the estimate is {estimated(part.estimate)}" if part.estimate else text
