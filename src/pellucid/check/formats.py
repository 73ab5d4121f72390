"""The formats of ``pellucid check -o FORMAT``, each a function from a result to a text. Loaded when asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from pellucid.errors import Invalid, nearest

if TYPE_CHECKING:
    from pellucid.check.results import CheckResult

__all__ = ["FORMATS", "render"]

_HOMES: Final = {
    "text": "text",
    "json": "formats",
    "sarif": "sarif",
    "junit": "junit",
    "markdown": "markdown",
    "github": "github",
}
FORMATS: Final = tuple(_HOMES)
"""The names of all formats."""


def render(result: CheckResult, name: str) -> str:
    """A result in one of :data:`FORMATS`.

    Raises:
        Invalid: There is no such format.
    """
    if name not in _HOMES:
        raise Invalid(f'there is no format "{name}"{nearest(name, FORMATS)}', fix=f"use {', '.join(FORMATS)}")
    made: Callable[[CheckResult], str] = getattr(import_module(f"pellucid.check.{_HOMES[name]}"), f"render_{name}")
    return made(result)


def render_json(result: CheckResult) -> str:
    """The JSON document of the command line contract as text, keys in the contract's order. NaN cannot be in it."""
    return json.dumps(result.document(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
