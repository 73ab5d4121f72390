"""Cases beside a release policy: evidence in, the findings that are then no pass, and the exit code.

base-from = "baseline.tests.toml"      # optional: start from the evidence of another file of cases
[base.privacy]                         # evidence that meets every requirement
epsilon = 2.98
[[case]]
name = "epsilon above the decision"
set = { "privacy.epsilon" = 3.1 }      # change some of it; `drop` takes paths away
expect = { "privacy.epsilon" = "fail" }
exit = 1
env = "production"                     # optional: the environment
model = "credit-risk@1"                # optional: the model's name, for applies-to
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pellucid.check.cel import MAPS_VARIABLE
from pellucid.check.policy import ReleasePolicy
from pellucid.check.rules import judge_values, verdict
from pellucid.check.tables import Table, array
from pellucid.errors import BadFile, nearest
from pellucid.evidence import KINDS
from pellucid.schema import read_toml

__all__ = ["Case", "Failure", "cases_file", "read_cases", "run_cases"]

_KEYS: Final = frozenset({"name", "set", "drop", "expect", "exit", "env", "model"})
_STATUSES: Final = ("fail", "unmeasured", "waived")


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: What it is about.
        values: Kind of evidence -> its values.
        expect: Requirement -> status, of every finding that is no pass.
        exit: The exit code.
        environment: The environment, or None.
        model: The model's name.
    """

    name: str
    values: Mapping[str, Mapping[str, Any]]
    expect: Mapping[str, str]
    exit: int
    environment: str | None
    model: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that came out otherwise."""

    name: str
    says: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.name}: {self.says}"


def cases_file(policy: Path) -> Path:
    """``release.tests.toml`` beside ``release.toml``."""
    return policy.with_name(f"{policy.stem}.tests.toml")


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases in a file.

    Raises:
        BadFile: No such file, not TOML, an unknown key, kind of evidence or status (with the nearest known one), a
            value of another type than it has to be, or a case that says nothing.
    """
    where = str(path)
    if not path.exists():
        raise BadFile(
            "the cases of a policy stand beside it, and there is no such file",
            where=where,
            fix="write a [[case]] for each rule into it (docs/formats/release-policy.md), or leave --test out",
        )
    document = read_toml(path)
    Table(document, where).only({"base", "base-from", "case"})
    base = _base(document, path)
    found = []
    for table in array(document, "case", path.read_text(encoding="utf-8"), where):
        table.only(_KEYS)
        expect = _table(table.content.get("expect", {}), "expect", table.where)
        for status in expect.values():
            if status not in _STATUSES:
                raise BadFile(f'there is no status "{status}"{nearest(str(status), _STATUSES)}', where=table.where)
        code = table.content.get("exit")
        if type(code) is not int or code not in (0, 1, 2, 3):
            raise BadFile("exit is 0, 1, 2 or 3", where=table.where)
        environment = table.text("env") if "env" in table.content else None
        found.append(
            Case(table.text("name"), _changed(base, table), expect, code, environment, table.text("model", "model@1"))
        )
    if not found:
        raise BadFile("there is no case", where=where, fix="write at least one [[case]]")
    return tuple(found)


def run_cases(policy: Path, cases: tuple[Case, ...]) -> tuple[Failure, ...]:
    """The cases that come out otherwise under the policy in a file.

    Raises:
        BadFile: The policy is invalid.
    """
    rulebooks = {each: ReleasePolicy.read(policy, environment=each) for each in {case.environment for case in cases}}
    failures = []
    for case in cases:
        statuses, code, why = _outcome(rulebooks[case.environment], case)
        wrong = [
            f"{name} is {statuses.get(name, 'pass')} and not {case.expect.get(name, 'pass')}"
            for name in dict.fromkeys([*case.expect, *statuses])
            if statuses.get(name) != case.expect.get(name)
        ]
        if code != case.exit:
            wrong.append(f"exit is {code} and not {case.exit}{why}")
        if wrong:
            failures.append(Failure(case.name, "; ".join(wrong)))
    return tuple(failures)


def _outcome(policy: ReleasePolicy, case: Case) -> tuple[dict[str, str], int, str]:
    try:
        findings = judge_values(policy, case.values, dt.date.max, model=case.model)
        return {each.id: each.status for each in findings if each.status != "pass"}, verdict(findings).exit, ""
    except BadFile as error:
        return {}, error.exit_code, f" ({error.what})"


def _base(document: Mapping[str, Any], path: Path, depth: int = 0) -> dict[str, Any]:
    if depth > 8:
        raise BadFile("base-from leads round in a circle, or too far", where=str(path))
    base: dict[str, Any] = {}
    if "base-from" in document:
        name = Table(document, str(path)).text("base-from")
        other = path.parent / name
        base = _base(read_toml(other), other, depth + 1)
    for kind, values in _table(document.get("base", {}), "base", str(path)).items():
        _known(kind, str(path))
        _table(values, f"base.{kind}", str(path))
        base[kind] = {**base.get(kind, {}), **values}
    return base


def _changed(base: Mapping[str, Any], table: Table) -> dict[str, Any]:
    values: dict[str, Any] = copy.deepcopy(dict(base))
    for path, value in _table(table.content.get("set", {}), "set", table.where).items():
        holder, last = _holder(values, path, table.where, make=True)
        holder[last] = value
    for path in table.texts("drop") if table.content.get("drop") else ():
        holder, last = _holder(values, path, table.where, make=False)
        if last not in holder:
            raise BadFile(f"there is no {path} to drop", where=table.where)
        del holder[last]
    for kind, content in values.items():
        _table(content, kind, table.where)
    return values


def _holder(values: dict[str, Any], path: str, where: str, *, make: bool) -> tuple[dict[str, Any], str]:
    """The table that a path ends in, and its last key."""
    *steps, last = path.split(".")
    _known((*steps, last)[0], where)
    holder: Any = values
    for step in steps:
        holder = holder.setdefault(step, {}) if make else holder.get(step, {})
        if not isinstance(holder, dict):
            raise BadFile(f"{path} goes through {step}, which is no table", where=where)
    return holder, last


def _known(kind: str, where: str) -> None:
    known = (*KINDS, MAPS_VARIABLE)
    if kind not in known:
        raise BadFile(f'"{kind}" is not a kind of evidence{nearest(kind, known)}', where=where)


def _table(value: Any, name: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadFile(f'"{name}" must be a table', where=where)
    return value
