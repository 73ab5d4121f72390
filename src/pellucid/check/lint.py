"""What is doubtful in a release policy although it can be evaluated. Pure: a policy in, remarks out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from pellucid.check.estimates import ENDS, relations
from pellucid.check.policy import ReleasePolicy
from pellucid.check.requirements import Requirement
from pellucid.check.rules import UNSAFE
from pellucid.check.syntax import Bound, Select, path_text
from pellucid.evidence import KINDS

__all__ = ["Remark", "lint"]


@dataclass(frozen=True, slots=True)
class Remark:
    """One doubt, and where.

    Attributes:
        id: The requirement, or the parameter as ``parameters.NAME``.
        file: The file.
        line: The line in it, from 1.
        says: What is doubtful, and what would be better.
    """

    id: str
    file: str
    line: int
    says: str

    def document(self) -> dict[str, str | int]:
        """As JSON."""
        return {"id": self.id, "file": self.file, "line": self.line, "says": self.says}


def lint(policy: ReleasePolicy) -> tuple[Remark, ...]:
    """Every remark on a policy, in its order.

    * A bare ``.value`` in a comparison where an estimate has an interval, or the end of it that is favourable.
    * A field that no evidence of the kind has to have, and that is nearly the name of one that it has.
    * A path that ``has()`` excuses and that nothing requires: leaving the evidence out meets the rule.
    * A parameter that no rule reads.
    * A policy that does not speak of unsafe evidence: such evidence then fails it, which is right, and better said.
    """
    remarks: list[Remark] = []
    needed = {path for each in policy.requirements for path in each.program.paths if path not in each.program.guarded}
    for requirement in policy.requirements:
        said = (*_bounds(requirement), *_fields(requirement), *_guards(requirement, needed))
        remarks += [Remark(requirement.id, requirement.file, requirement.line, says) for says in said]
    read = {name for each in policy.requirements for name in each.program.parameters}
    unread = [name for name in policy.parameters if name not in read]
    remarks += [Remark(f"parameters.{name}", policy.where, 1, "no rule reads it") for name in unread]
    if not any(UNSAFE in each.program.kinds for each in policy.requirements):
        says = "no rule speaks of unsafe evidence: add !has(unsafe.door), so that a reader sees it is refused"
        remarks.append(Remark(UNSAFE, policy.where, 1, says))
    return tuple(remarks)


def _bounds(requirement: Requirement) -> Iterator[str]:
    for side, end in relations(requirement.program.root):
        path = side.path if isinstance(side, Bound) else side
        if not isinstance(path, Select):
            continue
        text = path_text(path)
        if path.field == "value":
            better = f".{end}" if end else ".low or .high"
            yield f"{text} is the middle of an interval: compare the unfavourable {path_text(path.operand)}{better}"
        elif path.field in ENDS and end and path.field != end:
            yield f"{text} is the favourable end of the interval: compare {path_text(path.operand)}.{end}"


def _fields(requirement: Requirement) -> Iterator[str]:
    for path in requirement.program.paths:
        kind, _, rest = path.partition(".")
        name = rest.partition(".")[0].partition("[")[0]
        known = KINDS[kind][max(KINDS[kind])] if kind in KINDS else frozenset()
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85) if name and name not in known else []
        if near:
            yield f"{kind}.{name} is in no definition of {kind} evidence; did you mean {kind}.{near[0]}?"


def _guards(requirement: Requirement, needed: set[str]) -> Iterator[str]:
    for path in sorted(requirement.program.guarded):
        if path.partition(".")[0] != UNSAFE and path not in needed and "[]" not in path and "[" not in path:
            yield f"has({path}) lets it pass where that was left out, and no rule requires it"
