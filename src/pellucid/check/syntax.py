"""The expressions of a release policy, as a tree: what :mod:`pellucid.check.cel` makes of CEL text.

A *path* is a variable followed by fields and indices: ``evaluation.auc.low``, ``explanation.importance["age"]``,
``g.n`` where ``g`` is the variable of a macro. Paths have one way of being written (:func:`path_text`), so that
``privacy["epsilon"]`` and ``privacy.epsilon`` are the same path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias
from typing import Literal as OneOf

__all__ = [
    "Binary",
    "Bound",
    "Call",
    "Choice",
    "End",
    "Has",
    "Index",
    "Junction",
    "ListOf",
    "Literal",
    "Macro",
    "Node",
    "Path",
    "Select",
    "Unary",
    "Variable",
    "children",
    "join",
    "path_text",
    "result_kind",
    "walk",
    "written",
]

_FIELD: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


End: TypeAlias = OneOf["low", "high"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, text or truth value."""

    value: float | str | bool


@dataclass(frozen=True, slots=True)
class Variable:
    """A kind of evidence, or (``bound``) the variable of a macro; ``text`` is how paths through it are written."""

    name: str
    text: str
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``."""

    operand: Path
    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """``operand[index]``."""

    operand: Path
    index: Node


@dataclass(frozen=True, slots=True)
class Bound:
    """A path in a comparison: of an estimate, the ``end`` of its interval that makes the rule harder to meet."""

    path: Path
    end: End


@dataclass(frozen=True, slots=True)
class Has:
    """``has(path)``."""

    path: Select


@dataclass(frozen=True, slots=True)
class Macro:
    """``range.name(variable, body)``: ``all``, ``exists``, ``exists_one``, ``filter`` or ``map``."""

    name: str
    range: Node
    variable: str
    body: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or a method with its object as first argument."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """``!`` or ``-``."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """A relation or a calculation."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """``a && b && …`` or ``a || b || …``."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """``condition ? yes : no``."""

    condition: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class ListOf:
    """``[a, b, …]``."""

    items: tuple[Node, ...]


Path: TypeAlias = Variable | Select | Index
Node: TypeAlias = Path | Literal | Bound | Has | Macro | Call | Unary | Binary | Junction | Choice | ListOf


def children(node: Node) -> tuple[Node, ...]:
    """The parts of ``node``, in reading order. A path's parts are the expressions in its indices."""
    match node:
        case Literal() | Variable():
            return ()
        case Select(operand=operand):
            return children(operand)
        case Index(operand=operand, index=index):
            return (*children(operand), index)
        case Has(path=path):
            return children(path)
        case Bound(path=path):
            return (path,)
        case Macro(range=items, body=body):
            return (items, body)
        case Call(arguments=arguments):
            return arguments
        case Unary(operand=inner):
            return (inner,)
        case Binary(left=left, right=right):
            return (left, right)
        case Junction(operands=operands):
            return operands
        case Choice(condition=condition, yes=yes, no=no):
            return (condition, yes, no)
        case ListOf(items=parts):
            return parts


def walk(node: Node) -> Iterator[Node]:
    """``node`` and everything in it, in reading order."""
    yield node
    for child in children(node):
        yield from walk(child)


def join(text: str, key: str | int) -> str:
    """The path ``text`` one step further: ``.field``, ``["a field"]`` or ``[0]``."""
    if isinstance(key, str) and _FIELD.fullmatch(key):
        return f"{text}.{key}"
    return f"{text}[{json.dumps(key, ensure_ascii=False)}]"


def path_text(path: Path) -> str:
    """The one way ``path`` is written; an index that is only known when evaluated is written as it stands."""
    match path:
        case Variable(text=text):
            return text
        case Select(operand=operand, field=field):
            return join(path_text(operand), field)
        case Index(operand=operand, index=Literal(value=value)) if isinstance(value, float) and value.is_integer():
            return join(path_text(operand), int(value))
        case Index(operand=operand, index=Literal(value=value)) if isinstance(value, str):
            return join(path_text(operand), value)
        case Index(operand=operand, index=Variable(name=name, bound=True)):
            return f"{path_text(operand)}[{name}]"
        case Index(operand=operand, index=Variable() | Select() | Index() as index):
            return f"{path_text(operand)}[{path_text(index)}]"
        case Index(operand=operand):
            return f"{path_text(operand)}[…]"


def result_kind(node: Node) -> str:
    """What ``node`` can give: ``truth``, ``other``, or ``unknown`` before the evidence is there."""
    match node:
        case Variable() | Select() | Index() | Bound():
            return "unknown"
        case Literal(value=value):
            return "truth" if isinstance(value, bool) else "other"
        case Has() | Junction() | Unary(operator="!"):
            return "truth"
        case Binary(operator=operator):
            return "other" if operator in "+-*/" else "truth"
        case Macro(name=name):
            return "other" if name in ("map", "filter") else "truth"
        case Call(function=function):
            return "other" if function in ("size", "double") else "truth"
        case Choice(yes=yes, no=no):
            kinds = {result_kind(yes), result_kind(no)}
            return "other" if "other" in kinds else "unknown" if "unknown" in kinds else "truth"
        case _:
            return "other"


def written(node: Node) -> str:
    """``node`` as text again, for a reader; brackets only where they mean something."""
    match node:
        case Variable() | Select() | Index():
            return path_text(node)
        case Bound(path=path):
            return path_text(path)
        case Literal(value=bool() as value):
            return "true" if value else "false"
        case Literal(value=str() as value):
            return json.dumps(value, ensure_ascii=False)
        case Literal(value=value):
            return f"{value:.15g}"
        case Has(path=path):
            return f"has({path_text(path)})"
        case Macro(name=name, range=items, variable=variable, body=body):
            return f"{written(items)}.{name}({variable}, {written(body)})"
        case Call(function=function, arguments=arguments):
            return f"{function}({', '.join(map(written, arguments))})"
        case Unary(operator=operator, operand=operand):
            return f"{operator}{_inner(operand)}"
        case Binary(operator=operator, left=left, right=right):
            return f"{_inner(left)} {operator} {_inner(right)}"
        case Junction(operator=operator, operands=operands):
            return f" {operator} ".join(map(_inner, operands))
        case Choice(condition=condition, yes=yes, no=no):
            return f"{_inner(condition)} ? {_inner(yes)} : {_inner(no)}"
        case ListOf(items=parts):
            return f"[{', '.join(map(written, parts))}]"


def _inner(node: Node) -> str:
    text = written(node)
    return f"({text})" if isinstance(node, Binary | Junction | Choice) else text
