"""Numbers that a policy names once, and that may be others in another environment.

    [parameters]
    epsilon = 3.0
    [environment.production]
    epsilon = 1.0

A rule reads ``parameters.epsilon``; ``--env production`` chooses. A file that includes another has the last word on its
parameters, and may give a value only of the type that the included file declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pellucid.check.operators import type_name
from pellucid.check.tables import Table
from pellucid.errors import BadFile, nearest

__all__ = ["Declared", "choose", "parse_declared"]

_LARGEST: Final = 2**53  # beyond it a double does not hold every whole number


@dataclass(frozen=True, slots=True)
class Declared:
    """What one file says of parameters.

    Attributes:
        values: ``[parameters]``.
        environments: ``[environment.NAME]`` by name.
        where: The file.
    """

    values: Mapping[str, Any]
    environments: Mapping[str, Mapping[str, Any]]
    where: str


def parse_declared(document: Mapping[str, Any], where: str) -> Declared:
    """The parameters and environments of a policy file.

    Raises:
        BadFile: One is no table, or a value is no number, text, truth value or list of them,
            or a whole number beyond 2**53.
    """
    values = _table(document.get("parameters", {}), f"{where}: parameters")
    environments = document.get("environment", {})
    if not isinstance(environments, dict):
        raise BadFile("write an environment as a table [environment.NAME]", where=where)
    by_name = {name: _table(each, f"{where}: environment.{name}") for name, each in environments.items()}
    return Declared(values, by_name, where)


def choose(files: list[Declared], environment: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values in force, and the names of all environments.

    Args:
        files: Included files first, the including one last: what comes later has the last word.
        environment: The name of one, or None for the plain ``[parameters]``.

    Raises:
        BadFile: No file knows the environment (with the nearest), an environment sets a parameter that nobody declared,
            or a value is of another type than the declared one.
    """
    names = tuple(sorted({name for file in files for name in file.environments}))
    if environment is not None and environment not in names:
        known = f"it has {', '.join(names)}" if names else "it has none: leave --env out"
        raise BadFile(
            f'the policy has no environment "{environment}"{nearest(environment, names)}',
            where=files[-1].where,
            fix=known,
        )
    chosen: dict[str, Any] = {}
    types: dict[str, str] = {}
    for file in files:
        for name, value in file.values.items():
            _same_type(name, value, types.setdefault(name, type_name(value)), file.where)
            chosen[name] = value
        for label, values in file.environments.items():
            for name, value in values.items():
                if name not in types:
                    raise BadFile(
                        f'there is no parameter "{name}"{nearest(name, types)}',
                        where=f"{file.where}: environment.{label}",
                        fix="declare it under [parameters] first",
                    )
                _same_type(name, value, types[name], f"{file.where}: environment.{label}")
        chosen |= file.environments.get(environment or "", {})
    return chosen, names


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadFile("write parameters as a table", where=where)
    table = Table(value, where)
    for name, item in value.items():
        table.name(name)
        parts = item if isinstance(item, list) else [item]
        if not all(isinstance(each, bool | int | float | str) for each in parts):
            raise BadFile(f'"{name}" must be a number, a text, true or false, or a list of these', where=where)
        if any(isinstance(each, int) and abs(each) > _LARGEST for each in parts):
            raise BadFile(f'the number of "{name}" is too large: at most 2**53 is exact', where=where)
    return value


def _same_type(name: str, value: Any, declared: str, where: str) -> None:
    if type_name(value) != declared:
        raise BadFile(f'"{name}" is {declared} elsewhere, and {type_name(value)} here', where=where)
