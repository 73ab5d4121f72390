"""One evaluation of a rule: its paths first, and only then its values.

Every path is resolved before anything is evaluated, so that what is missing shows whatever the rest of the expression
says (:mod:`pellucid.check.program` states the law).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pellucid.check.operators import binary, call, is_list, is_number, measured, number, type_name
from pellucid.check.syntax import (
    Binary,
    Bound,
    Call,
    Choice,
    Has,
    Index,
    Junction,
    ListOf,
    Literal,
    Macro,
    Node,
    Path,
    Select,
    Unary,
    Variable,
    children,
    join,
    path_text,
)
from pellucid.errors import BadFile

__all__ = ["MAX_WORK", "Evaluation", "Scope", "Unmeasured"]

MAX_WORK: Final = 200_000
"""How many parts of an expression one evaluation may visit."""

_NAMES: Final = ("column", "group", "field", "name", "id", "where", "metric")
"""What items of a list call themselves by, in evidence."""
_ABSENT: Final = object()
Scope = Mapping[str, tuple[str, Any]]  # a macro's variable -> the path and the value of the item at hand


class Unmeasured(Exception):  # a third value on its way up, not an error
    """A path that has() excused is needed after all."""


class Evaluation:
    """One evaluation. Lists are dictionaries without values, to keep order and drop doubles."""

    def __init__(self, values: Mapping[str, Any], guards: frozenset[str]) -> None:
        self.evidence = values
        self.guards = guards
        self.values: dict[str, Any] = {}
        self.absent: dict[str, None] = {}
        self.empty: dict[str, None] = {}
        self.work = 0
        self.lists: dict[int, tuple[Sequence[Any], Sequence[str | int]]] = {}  # by identity, kept alive

    # -- paths --------------------------------------------------------------------------------------------------------

    def resolve(self, node: Node, scope: Scope) -> None:
        """Find every path of ``node`` before anything of it is evaluated."""
        self._count()
        match node:
            case Macro():
                self._resolve_macro(node, scope)
                return
            case Has():
                text, value = self.locate(node.path, scope)
                self.values[text] = _shown(value)
            case Variable() | Select() | Index():
                self._resolve_path(node, scope)
                return
            case Bound(path=path, end=end):
                self._resolve_path(path, scope)
                text, value = self.locate(path, scope)
                if isinstance(value, Mapping) and "value" in value and not measured(value.get(end)):
                    self.absent[join(text, end)] = None
                return
            case _:
                pass
        for child in children(node):
            self.resolve(child, scope)

    def _resolve_path(self, path: Path, scope: Scope) -> None:
        for index in children(path):
            self.resolve(index, scope)
        text, value = self.locate(path, scope)
        self._count(len(value) if isinstance(value, Mapping) or is_list(value) else 1)
        if not text:
            return  # a key of a map, or an item of a list written out: known, not read from evidence
        self.values[text] = _shown(value)
        needed = not self._excused(path, scope) if value is _ABSENT else not measured(value)
        if needed:
            self.absent[text] = None

    def _resolve_macro(self, node: Macro, scope: Scope) -> None:
        source = node.range
        if isinstance(source, Variable | Select | Index):
            for index in children(source):
                self.resolve(index, scope)
            text, value = self.locate(source, scope)
            broken = is_number(value) and not measured(value)  # NaN where a list should be: no list, and no number
            if value is _ABSENT or broken:
                self.values[text] = None
                if broken or not self._excused(source, scope):
                    self.absent[text] = None
                return
        else:
            text = f"the range of {node.name}({node.variable}, …)"
            before = len(self.absent) + len(self.empty)
            self.resolve(source, scope)
            if len(self.absent) + len(self.empty) > before:
                return
        try:
            items = self.items(source, scope)
        except Unmeasured:
            return  # evaluation meets it again, if it is needed at all
        if not items:
            self.empty[text] = None
        for item in items:
            self.resolve(node.body, {**scope, node.variable: item})

    def _excused(self, path: Path, scope: Scope) -> bool:
        """Whether has() asks for ``path`` or a path on the way to it, and that one is absent."""
        step: Path = path
        while not isinstance(step, Variable):
            if path_text(step) in self.guards and self.locate(step, scope)[1] is _ABSENT:
                return True
            step = step.operand
        return False

    def locate(self, path: Path, scope: Scope) -> tuple[str, Any]:
        """The path as it stands for this item, and its value or ``_ABSENT``. Null is absent."""
        self._count()
        match path:
            case Variable(name=name, bound=True):
                text, value = scope[name]
            case Variable(name=name):
                text, value = name, self.evidence.get(name)
            case Select(operand=operand, field=name):
                text, value = self.locate(operand, scope)
                text, value = join(text, name), value.get(name) if isinstance(value, Mapping) else None
            case Index(operand=operand, index=index):
                text, value = self.locate(operand, scope)
                try:
                    key = self.value(index, scope)
                except Unmeasured:
                    return path_text(path), _ABSENT
                if isinstance(key, float) and key.is_integer():
                    key = int(key)
                known = isinstance(key, str | int) and not isinstance(key, bool)
                if isinstance(value, Mapping) and isinstance(key, str):
                    value = value.get(key)
                elif is_list(value) and known and not isinstance(key, str) and 0 <= key < len(value):
                    value, key = value[key], self._keys(value)[key]
                else:
                    value = None
                text = join(text, key) if known else path_text(path)
        return text, _ABSENT if value is None else value

    # -- values -------------------------------------------------------------------------------------------------------

    def value(self, node: Node, scope: Scope) -> Any:
        """The value of ``node``: a double, a text, a truth value, a list or a map."""
        self._count()
        match node:
            case Literal(value=literal):
                return literal
            case Variable() | Select() | Index():
                text, found = self.locate(node, scope)
                if found is _ABSENT:
                    raise Unmeasured(text)
                return float(found) if is_number(found) else found
            case Bound(path=path, end=end):
                found = self.value(path, scope)
                estimated = isinstance(found, Mapping) and "value" in found and is_number(found.get(end))
                return float(found[end]) if estimated else found
            case Has(path=path):
                return self.locate(path, scope)[1] is not _ABSENT
            case Macro():
                return self._macro(node, scope)
            case Call(function=function, arguments=arguments):
                return call(function, [self.value(a, scope) for a in arguments])
            case Unary(operator="!", operand=operand):
                return not self.truth(operand, scope)
            case Unary(operand=operand):
                return -number(self.value(operand, scope), "-")
            case Binary(operator=operator, left=left, right=right):
                return binary(operator, self.value(left, scope), self.value(right, scope))
            case Junction(operator="&&", operands=operands):
                return all(self.truth(operand, scope) for operand in operands)
            case Junction(operands=operands):
                return any(self.truth(operand, scope) for operand in operands)
            case Choice(condition=condition, yes=yes, no=no):
                return self.value(yes if self.truth(condition, scope) else no, scope)
            case ListOf(items=items):
                return [self.value(item, scope) for item in items]

    def truth(self, node: Node, scope: Scope) -> bool:
        """The value of ``node`` where yes or no is asked for."""
        value = self.value(node, scope)
        if not isinstance(value, bool):
            raise BadFile(f"yes or no is needed here, and this is {type_name(value)}")
        return value

    def _macro(self, node: Macro, scope: Scope) -> Any:
        items = self.items(node.range, scope)
        inner = [{**scope, node.variable: item} for item in items]
        if node.name == "map":
            return [self.value(node.body, each) for each in inner]
        held = [self.truth(node.body, each) for each in inner]  # all of them: nothing hides behind a first answer
        match node.name:
            case "all":
                return all(held)
            case "exists":
                return any(held)
            case "exists_one":
                return sum(held) == 1
            case _:
                return [value for (_, value), kept in zip(items, held, strict=True) if kept]

    def items(self, source: Node, scope: Scope) -> list[tuple[str, Any]]:
        """The items of a range, each with its path; a key or an item that was written out has none."""
        if isinstance(source, Macro) and source.name == "filter":
            items = self.items(source.range, scope)
            return [item for item in items if self.truth(source.body, {**scope, source.variable: item})]
        if isinstance(source, Macro) and source.name == "map" and isinstance(source.body, Variable | Select | Index):
            inner = [{**scope, source.variable: item} for item in self.items(source.range, scope)]
            return [(self.locate(source.body, each)[0], self.value(source.body, each)) for each in inner]
        if isinstance(source, Variable | Select | Index):
            text, value = self.locate(source, scope)
            if value is _ABSENT:
                raise Unmeasured(text)
            if is_list(value):
                return [(join(text, key), item) for key, item in zip(self._keys(value), value, strict=True)]
        else:
            value = self.value(source, scope)
        if isinstance(value, Mapping):
            return [("", key) for key in value]
        if not is_list(value):
            raise BadFile(f"a range must be a list or a map, and this is {type_name(value)}")
        return [("", item) for item in value]

    def _keys(self, items: Sequence[Any]) -> Sequence[str | int]:
        """What a path calls the items of a list: their names, where each has one of its own; else their places.

        An item that was moved to another place is so found again, and never taken for the one that stands there now.
        """
        if id(items) not in self.lists:
            self._count(len(items))
            names = [_name(item) for item in items]
            apart = all(names) and len(set(names)) == len(names)
            self.lists[id(items)] = items, names if apart else range(len(items))
        return self.lists[id(items)][1]

    def _count(self, parts: int = 1) -> None:
        self.work += parts
        if self.work > MAX_WORK:
            raise BadFile(f"the expression visits more than {MAX_WORK} parts of the evidence")


def _name(item: Any) -> str:
    said = (item.get(key) for key in _NAMES) if isinstance(item, Mapping) else ()
    return ", ".join(each for each in said if isinstance(each, str))


def _shown(value: Any) -> Any:
    return value if value is not _ABSENT and measured(value) else None
