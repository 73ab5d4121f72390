"""Which end of an interval a rule is held against: the one that makes the rule harder to meet.

``evaluation.auc >= 0.85`` compares an estimate, and what counts is its lower end; in ``fairness.gap <= 0.1`` it is the
upper one, and in ``!(evaluation.auc < 0.85)`` the lower again. Where a comparison may serve either answer (the
condition of a choice, inside ``filter`` and ``exists_one``, ``==``), no end is unfavourable by itself, and the rule has
to name ``.low`` or ``.high``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pellucid.check.syntax import Binary, Bound, Choice, End, Index, Junction, Macro, Node, Select, Unary, Variable

__all__ = ["ENDS", "estimate", "relations", "unfavourable"]

ENDS: Final = frozenset({"low", "high"})
_FIELDS: Final = frozenset({"value", "low", "high"})
_RISING: Final = (">", ">=")  # the more on the left, the sooner it holds
_RELATIONS: Final = ("<", "<=", *_RISING)


def estimate(value: Any) -> bool:
    """Whether a value is an estimate: a record with a value and both ends of its interval."""
    return isinstance(value, Mapping) and value.keys() >= _FIELDS


def unfavourable(root: Node) -> Node:
    """The rule with every bare path of a comparison bound to its unfavourable end, should it hold an estimate."""
    return _bound(root, True)


def relations(root: Node) -> Iterator[tuple[Node, End | None]]:
    """Both sides of every comparison of a rule, each with its unfavourable end; None where either may serve."""
    yield from _relations(root, True)


def _ends(operator: str, wanted: bool) -> tuple[End, End]:
    """The unfavourable ends of left and right; ``wanted`` is the answer that serves the rule."""
    return ("low", "high") if (operator in _RISING) == wanted else ("high", "low")


def _parts(node: Node, wanted: bool | None) -> list[tuple[Node, bool | None]]:
    """The parts of a node that say yes or no, each with the answer that serves the rule."""
    match node:
        case Junction(operands=operands):
            return [(each, wanted) for each in operands]
        case Unary(operator="!", operand=operand):
            return [(operand, None if wanted is None else not wanted)]
        case Choice(condition=condition, yes=yes, no=no):
            return [(condition, None), (yes, wanted), (no, wanted)]
        case Macro(name=name, range=items, body=body):
            return [(items, None), (body, wanted if name in ("all", "exists") else None)]
        case _:
            return []


def _relations(node: Node, wanted: bool | None) -> Iterator[tuple[Node, End | None]]:
    if isinstance(node, Binary) and node.operator in _RELATIONS:
        left, right = (None, None) if wanted is None else _ends(node.operator, wanted)
        yield node.left, left
        yield node.right, right
    for part, serves in _parts(node, wanted):
        yield from _relations(part, serves)


def _bound(node: Node, wanted: bool | None) -> Node:
    parts = [_bound(part, serves) for part, serves in _parts(node, wanted)]
    match node:
        case Binary(operator=operator, left=left, right=right) if operator in _RELATIONS and wanted is not None:
            ends = _ends(operator, wanted)
            return Binary(operator, _at(left, ends[0]), _at(right, ends[1]))
        case Junction():
            return replace(node, operands=tuple(parts))
        case Unary(operator="!"):
            return replace(node, operand=parts[0])
        case Choice():
            return Choice(*parts)
        case Macro():
            return replace(node, range=parts[0], body=parts[1])
        case _:
            return node


def _at(side: Node, end: End) -> Node:
    """The side of a comparison, at its end if it is a path that may hold an estimate."""
    if isinstance(side, Select) and side.field in {*_FIELDS, "n"}:
        return side
    if isinstance(side, Select | Index) or (isinstance(side, Variable) and side.bound):
        return Bound(side, end)
    return side
