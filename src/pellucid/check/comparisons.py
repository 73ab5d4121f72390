"""What a rule rests on: each comparison in it, with the value, the threshold, and how far apart they are.

Evaluation stops when a rule is decided; a person wants to see all of it, and what would have to change. So the
comparisons are read off the rule's tree once more, turned such that the evidence stands on the left and the operator
says what has to hold: ``!(attack.auc.low > 0.6)`` is shown as ``attack.auc.low <= 0.6``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pellucid.check.estimates import estimate
from pellucid.check.evaluation import Evaluation, Scope, Unmeasured
from pellucid.check.operators import binary, is_number
from pellucid.check.program import Program
from pellucid.check.syntax import (
    Binary,
    Bound,
    Choice,
    Has,
    Index,
    Junction,
    Macro,
    Node,
    Select,
    Unary,
    Variable,
    join,
    walk,
    written,
)
from pellucid.errors import BadFile

__all__ = ["Comparison", "Reading", "comparisons"]

_NEGATED: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "==", "in": "not in"}
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a rule on one piece of evidence.

    Attributes:
        path: The side that the evidence decides, as a path or as it is written.
        operator: How it has to stand to ``threshold``.
        threshold: The other side, as it is written.
        value: What ``path`` resolved to; None if it was not measured.
        bound: What ``threshold`` resolved to; None if it was not measured.
        holds: Whether it holds; None if it could not be said.
        estimate: The whole estimate if ``path`` is one end of it.
        choice: Of comparisons with the same number one is enough; None if this one has to hold.
        nth: Where a side reads alike for every item (an item written out, arithmetic on one): which of them, from 0;
            None where the paths say it.
    """

    path: str
    operator: str
    threshold: str
    value: Any
    bound: Any
    holds: bool | None
    estimate: Mapping[str, Any] | None = None
    choice: int | None = None
    nth: int | None = None

    @property
    def written(self) -> tuple[str, str, str]:
        """As it reads; with :attr:`nth` no other of the rule is the same."""
        return self.path, self.operator, self.threshold

    @property
    def slack(self) -> float | None:
        """How far the value is on the right side (below zero: on the wrong side); None if that has no measure."""
        if not is_number(self.value) or not is_number(self.bound):
            return None
        distance = float(self.bound) - float(self.value)
        if self.operator in ("<", "<="):
            return distance
        if self.operator in (">", ">="):
            return -distance
        return -abs(distance) if self.operator == "==" else None


@dataclass(frozen=True, slots=True)
class Reading:
    """The comparisons of a rule, and whether they are all that decides it.

    Attributes:
        parts: In reading order, at most 1000.
        whole: False if something that may have failed is not among them: there were more, one could not be evaluated,
            or a part of the rule that is no comparison (such as ``startsWith``) has not the answer that it needs.
    """

    parts: tuple[Comparison, ...]
    whole: bool


def comparisons(program: Program, values: Mapping[str, Any]) -> Reading:
    """Every comparison of a rule on ``values`` (kind of evidence -> its values)."""
    reader = _Reader(Evaluation(values, program.guarded))
    try:
        reader.read(program.root, {}, True, None)
    except BadFile:  # what cannot be evaluated is an error elsewhere; here it is what was read so far
        reader.whole = False
    alike: Counter[tuple[str, str, str]] = Counter()
    parts: dict[tuple[Any, ...], Comparison] = {}
    for part in reader.found:
        if part.nth is not None:
            part = replace(part, nth=alike[part.written])
            alike[part.written] += 1
        parts[(*part.written, part.nth)] = part
    return Reading(tuple(parts.values()), reader.whole)


class _Reader:
    def __init__(self, run: Evaluation) -> None:
        self.run = run
        self.found: list[Comparison] = []
        self.whole = True
        self.choices = 0

    def read(self, node: Node, scope: Scope, wanted: bool, choice: int | None) -> None:
        """``wanted`` is the answer of ``node`` that the rule needs."""
        if len(self.found) >= _MOST:
            self.whole = False
            return
        match node:
            case Junction(operator=operator, operands=operands):
                inner = choice if (operator == "&&") == wanted else self._choice(choice)
                for operand in operands:
                    self.read(operand, scope, wanted, inner)
            case Unary(operator="!", operand=operand):
                self.read(operand, scope, not wanted, choice)
            case Macro(name=name, range=source, variable=variable, body=body) if name in ("all", "exists"):
                inner = choice if (name == "all") == wanted else self._choice(choice)
                try:
                    items = self.run.items(source, scope)
                except Unmeasured:
                    self.whole = False
                    return
                for item in items:
                    self.read(body, {**scope, variable: item}, wanted, inner)
            case Choice(condition=condition, yes=yes, no=no):
                try:
                    branch = yes if self.run.truth(condition, scope) else no
                except Unmeasured:
                    self.whole = False
                    return
                self.read(branch, scope, wanted, choice)
            case Binary(operator=operator, left=left, right=right) if operator in _NEGATED:
                self.found.append(self._comparison(operator, left, right, scope, wanted, choice))
            case Variable() | Select() | Index() | Has():
                value = self._value(node, scope)
                holds = value == wanted if isinstance(value, bool) else None
                if isinstance(node, Has) and holds:
                    return  # it is there, or not there, as it has to be: nothing to show
                path, said = self._text(node, scope)[0], "true" if wanted else "false"
                nth = None if self._located(node, scope) else 0
                self.found.append(Comparison(path, "==", said, value, wanted, holds, None, choice, nth))
            case _:
                self.whole = self.whole and self._value(node, scope) == wanted

    def _choice(self, outer: int | None) -> int:
        """A new number, or the one that a choice around this one has: one of all these is enough to go on with."""
        if outer is not None:
            return outer
        self.choices += 1
        return self.choices

    def _comparison(
        self, operator: str, left: Node, right: Node, scope: Scope, wanted: bool, choice: int | None
    ) -> Comparison:
        if operator in _TURNED and _fixed(left) and not _fixed(right):
            left, right, operator = right, left, _TURNED[operator]
        value, bound = self._value(left, scope), self._value(right, scope)
        holds: bool | None = None
        if value is not None and bound is not None:
            holds = bool(binary(operator, value, bound)) == wanted
        path, whole = self._text(left, scope)
        threshold = self._text(right, scope)[0]
        operator = operator if wanted else _NEGATED[operator]
        nth = None if self._located(left, scope) and self._located(right, scope) else 0
        return Comparison(path, operator, threshold, value, bound, holds, whole, choice, nth)

    def _located(self, node: Node, scope: Scope) -> bool:
        """Whether the text of a side says which item it is of."""
        if isinstance(node, Bound):
            node = node.path
        if isinstance(node, Variable | Select | Index) and self.run.locate(node, scope)[0]:
            return True
        return not any(isinstance(each, Variable) and each.bound for each in walk(node))

    def _value(self, node: Node, scope: Scope) -> Any:
        try:
            return self.run.value(node, scope)
        except Unmeasured:
            return None

    def _text(self, node: Node, scope: Scope) -> tuple[str, Mapping[str, Any] | None]:
        """How a side is shown, and the estimate that it is one end of."""
        match node:
            case Bound(path=path, end=end):
                text, value = self.run.locate(path, scope)
                if estimate(value):
                    return join(text, end), value
                node = path
            case Select(operand=operand, field="low" | "high" | "value"):
                text, value = self.run.locate(operand, scope)
                if estimate(value):
                    return self.run.locate(node, scope)[0], value
            case _:
                pass
        text = self.run.locate(node, scope)[0] if isinstance(node, Variable | Select | Index) else ""
        return text or written(node), None


def _fixed(node: Node) -> bool:
    """Whether a side is the policy's own: numbers and parameters, no evidence."""
    found = [each for each in walk(node) if isinstance(each, Variable | Select | Index | Has)]
    return all(written(each).startswith("parameters.") for each in found)
