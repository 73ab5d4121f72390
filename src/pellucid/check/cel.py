"""CEL text in, :class:`~pellucid.check.program.Program` out: what the words of a rule mean.

The language is the part of CEL (github.com/google/cel-spec, langdef.md) that a rule over evidence needs, and it is
stricter where CEL would let a doubtful rule pass:

* Numbers are doubles, as in JSON: ``privacy.steps >= 10`` and ``privacy.epsilon <= 3`` mean what they say.
* Types never mix: a truth value is not a number, and comparing a number with a text is an error, not ``false``.
* ``&&``, ``||`` and ``? :`` go from left to right and stop when decided; they never swallow an error.
* Fields and indices apply to evidence, not to something computed; ``null``, maps, bytes, times and regular
  expressions are not in the language.

:mod:`pellucid.check.grammar` reads, :mod:`pellucid.check.estimates` chooses bounds, :mod:`pellucid.check.program`
evaluates, because absence is a third value here; tests hold all of it against celpy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Final

from pellucid.check.estimates import unfavourable
from pellucid.check.grammar import Tree, Unreadable, parse
from pellucid.check.operators import FUNCTIONS
from pellucid.check.program import MACROS, Program
from pellucid.check.syntax import (
    Binary,
    Call,
    Choice,
    Has,
    Index,
    Junction,
    ListOf,
    Literal,
    Macro,
    Node,
    Select,
    Unary,
    Variable,
    path_text,
    result_kind,
)
from pellucid.errors import BadFile, nearest
from pellucid.evidence import KINDS
from pellucid.maps import MAPS

__all__ = ["MAX_LENGTH", "MAX_NESTING", "compile"]

MAX_LENGTH: Final = 2000
"""The longest expression, in characters."""
MAX_NESTING: Final = 40
"""How deep an expression may nest."""
MAX_MACROS: Final = 3
"""How deep macros may nest in each other."""

PARAMETERS: Final = "parameters"
"""The variable under which a policy's own numbers stand."""

MAPS_VARIABLE: Final = "maps"
"""The variable under which the regulation maps stand: ``maps["eu-ai-act"].missing``."""

_IDENTIFIER: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_BINARY: Final = frozenset({"<", "<=", ">", ">=", "==", "!=", "in", "+", "-", "*", "/"})
_NO_YES_OR_NO: Final = "the expression must say yes or no"
_Scope = Mapping[str, Variable]


def compile(expression: str, parameters: Collection[str] | None = None) -> Program:  # CEL's own word for this step
    """The program of a CEL expression over evidence.

    Args:
        expression: CEL, at most :data:`MAX_LENGTH` characters. Each kind of evidence is a variable.
        parameters: Names that stand under :data:`PARAMETERS`; None if the rule is of no policy.

    Raises:
        BadFile: It does not parse, names an unknown kind, parameter or function (with the nearest known one), reads no
            evidence at all, cannot say yes or no, or is longer or deeper than the limits. Where it is about one place
            of the expression, it is an :class:`~pellucid.check.grammar.Unreadable` that knows line and column.
    """
    if len(expression) > MAX_LENGTH:
        raise BadFile(f"the expression is longer than {MAX_LENGTH} characters", fix="split it into several rules")
    if not expression.strip():
        raise BadFile("the expression is empty")
    root = _Translation(expression, parameters).node(parse(expression), {}, 0)
    if result_kind(root) not in ("truth", "unknown"):
        raise BadFile(_NO_YES_OR_NO, fix="compare what it computes with something")
    program = Program(expression, unfavourable(root))
    if not program.kinds:
        raise BadFile("the expression reads no evidence, so it would say the same of every model")
    return program


class _Translation:
    """From what was written to what it means."""

    def __init__(self, text: str, parameters: Collection[str] | None) -> None:
        self.text = text
        self.parameters = parameters

    def bad(self, tree: Tree, what: str, fix: str | None = None) -> Unreadable:
        return Unreadable(what, self.text, tree.at, fix=fix)

    def node(self, tree: Tree, scope: _Scope, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise self.bad(
                tree, f"the expression nests deeper than {MAX_NESTING} levels", "split it into several rules"
            )
        depth += 1
        parts = tree.parts
        match tree.kind:
            case "number":
                return Literal(self.number(tree))
            case "text":
                return Literal(tree.word)
            case "truth":
                return Literal(tree.word == "true")
            case "name":
                return self.name(tree, scope)
            case "field":
                return self.field(tree, scope, depth)
            case "index":
                return self.index(tree, scope, depth)
            case "call":
                return self.call(tree, scope, depth)
            case "method" if tree.word in MACROS:
                return self.macro(tree, scope, depth)
            case "method":
                return self.function(tree, scope, depth)
            case "list":
                return ListOf(tuple(self.node(part, scope, depth) for part in parts))
            case "choice":
                condition, yes, no = (self.node(part, scope, depth) for part in parts)
                return Choice(condition, yes, no)
            case "&&" | "||":
                return Junction(tree.kind, tuple(self.node(part, scope, depth) for part in _row(tree)))
            case "not":
                return Unary("!", self.node(parts[0], scope, depth))
            case "minus":
                operand = self.node(parts[0], scope, depth)
                if isinstance(operand, Literal) and isinstance(operand.value, float):
                    return Literal(-operand.value)
                return Unary("-", operand)
            case sign if sign in _BINARY:
                return Binary(sign, self.node(parts[0], scope, depth), self.node(parts[1], scope, depth))
            case _:
                raise self.bad(tree, "% is not in the language of rules: numbers are doubles")

    def number(self, tree: Tree) -> float:
        digits = tree.word.rstrip("uU")
        whole = digits.isdigit() or "x" in digits
        number = int(digits, 16 if "x" in digits else 10) if whole else float(digits)
        if abs(number) > 2**53 if whole else not math.isfinite(number):
            raise self.bad(tree, f"the number {tree.word} is too large")
        return float(number)

    def name(self, tree: Tree, scope: _Scope) -> Variable:
        if tree.word in scope:
            return scope[tree.word]
        if tree.word in (PARAMETERS, MAPS_VARIABLE):
            return Variable(tree.word, tree.word)
        if tree.word not in KINDS:
            raise self.bad(
                tree,
                f'"{tree.word}" is not a kind of evidence{nearest(tree.word, {*KINDS, PARAMETERS, MAPS_VARIABLE})}',
                f"known are {', '.join(sorted(KINDS))}",
            )
        return Variable(tree.word, tree.word)

    def field(self, tree: Tree, scope: _Scope, depth: int) -> Select:
        operand = self.evidence(tree.parts[0], scope, depth)
        if operand == Variable(PARAMETERS, PARAMETERS):
            known = self.parameters or ()
            if tree.word not in known:
                raise self.bad(
                    tree,
                    f'the policy has no parameter "{tree.word}"{nearest(tree.word, known)}',
                    f"give it a value under [parameters]: {tree.word} = …",
                )
        return Select(operand, tree.word)

    def index(self, tree: Tree, scope: _Scope, depth: int) -> Select | Index:
        operand = self.evidence(tree.parts[0], scope, depth)
        index = self.node(tree.parts[1], scope, depth)
        if operand == Variable(MAPS_VARIABLE, MAPS_VARIABLE) and isinstance(index, Literal) and index.value not in MAPS:
            raise self.bad(tree.parts[1], f"there is no map {index.value}{nearest(str(index.value), MAPS)}")
        if isinstance(index, Literal) and isinstance(index.value, str) and _IDENTIFIER.fullmatch(index.value):
            return Select(operand, index.value)
        return Index(operand, index)

    def call(self, tree: Tree, scope: _Scope, depth: int) -> Node:
        if tree.word != "has":
            return self.function(tree, scope, depth)
        path = self.node(tree.parts[0], scope, depth) if len(tree.parts) == 1 else None
        if not isinstance(path, Select):
            raise self.bad(tree, "has() takes one path, such as has(attack.epsilon_lower)")
        return Has(path)

    def function(self, tree: Tree, scope: _Scope, depth: int) -> Node:
        name, given = tree.word, len(tree.parts)
        if name not in FUNCTIONS:
            known = {*FUNCTIONS, *MACROS, "has"}
            raise self.bad(
                tree,
                f'"{name}" is not a function of rules{nearest(name, known)}',
                f"known are {', '.join(sorted(known))}",
            )
        if given != FUNCTIONS[name]:
            raise self.bad(tree, f"{name}() is given {given} values and takes {FUNCTIONS[name]}")
        return Call(name, tuple(self.node(part, scope, depth) for part in tree.parts))

    def macro(self, tree: Tree, scope: _Scope, depth: int) -> Node:
        name, (items, *arguments) = tree.word, tree.parts
        if len(arguments) != 2:
            example = f"groups.{name}(g, g.n >= 100)"
            raise self.bad(tree, f"{name}() takes a variable and an expression, such as {example}")
        place, body = arguments
        variable = place.word if place.kind == "name" else ""
        if not variable or variable in KINDS or variable in scope or variable in (PARAMETERS, MAPS_VARIABLE):
            raise self.bad(place, f"the first argument of {name}() must be a new name, and no kind of evidence")
        if len(scope) >= MAX_MACROS:
            raise self.bad(tree, f"macros nest deeper than {MAX_MACROS} levels")
        source = self.node(items, scope, depth)
        base = source
        while isinstance(base, Macro) and base.name == "filter":  # what is left of a range is still of that range
            base = base.range
        text = f"{path_text(base)}[]" if isinstance(base, Variable | Select | Index) else variable
        inner = self.node(body, {**scope, variable: Variable(variable, text, bound=True)}, depth)
        if name != "map" and result_kind(inner) not in ("truth", "unknown"):
            raise self.bad(body, f"the expression of {name}() must say yes or no")
        return Macro(name, source, variable, inner)

    def evidence(self, tree: Tree, scope: _Scope, depth: int) -> Variable | Select | Index:
        node = self.node(tree, scope, depth)
        if not isinstance(node, Variable | Select | Index):
            raise self.bad(tree, "fields and indices apply to evidence, not to something computed")
        return node


def _row(tree: Tree) -> list[Tree]:
    """The operands of ``a && b && c``, which leans to the left: as one flat list, a long rule is not a deep one."""
    operands, rest = [], tree
    while rest.kind == tree.kind:
        operands.append(rest.parts[1])
        rest = rest.parts[0]
    return [rest, *reversed(operands)]
