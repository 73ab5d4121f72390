"""CEL text in, :class:`~pellucid.check.program.Program` out: the only door to ``celpy``, which parses.

The language is the part of CEL (github.com/google/cel-spec, langdef.md) that a rule over evidence needs, and it is
stricter where CEL would let a doubtful rule pass:

* Numbers are doubles, as in JSON: ``privacy.steps >= 10`` and ``privacy.epsilon <= 3`` mean what they say.
* Types never mix: a truth value is not a number, and comparing a number with a text is an error, not ``false``.
* ``&&``, ``||`` and ``? :`` go from left to right and stop when decided; they never swallow an error.
* Fields and indices apply to evidence, not to something computed; ``null``, maps, bytes, times and regular
  expressions are not in the language.

Evaluation is ours (:mod:`pellucid.check.program`), because absence is a third value here; tests hold it against
celpy's own evaluator.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

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

__all__ = ["MAX_LENGTH", "MAX_NESTING", "compile"]

MAX_LENGTH: Final = 2000
"""The longest expression, in characters."""
MAX_NESTING: Final = 40
"""How deep an expression may nest."""
MAX_MACROS: Final = 3
"""How deep macros may nest in each other."""

_IDENTIFIER: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RELATIONS: Final = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
}
_CALCULATIONS: Final = {
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_UNARY: Final = {"unary_not": "!", "unary_neg": "-"}
_ABSENT_FROM_THE_LANGUAGE: Final = {
    "map_lit": "maps are",
    "member_object": "messages are",
    "dot_ident": "a leading dot is",
    "dot_ident_arg": "a leading dot is",
}
_NO_YES_OR_NO: Final = "the expression must say yes or no"
_Scope = Mapping[str, Variable]


def compile(expression: str) -> Program:  # CEL's own word for this step
    """The program of a CEL expression over evidence.

    Args:
        expression: CEL, at most :data:`MAX_LENGTH` characters. Each kind of evidence is a variable.

    Raises:
        BadFile: It does not parse (with line and column), names an unknown kind or function (with the nearest known
            one), reads no evidence at all, cannot say yes or no, or is longer or deeper than the limits.
    """
    if len(expression) > MAX_LENGTH:
        raise BadFile(f"the expression is longer than {MAX_LENGTH} characters", fix="split it into several rules")
    tree = _parse(expression)
    root = _Translation().node(tree, {}, 0)
    if result_kind(root) not in ("truth", "unknown"):
        raise BadFile(_NO_YES_OR_NO, fix="compare what it computes with something")
    program = Program(expression, root)
    if not program.paths:
        raise BadFile("the expression reads no evidence, so it would say the same of every model")
    return program


@functools.cache
def _parser() -> tuple[Callable[[str], Any], type[Exception], Callable[[Any], str]]:
    """Parse, its error, and the reader of text literals. Here, because importing celpy takes a fifth of a second."""
    from celpy.celparser import CELParseError, CELParser
    from celpy.evaluation import celstr

    return CELParser().parse, CELParseError, lambda token: str(celstr(token))


def _parse(expression: str) -> Any:
    parse, parse_error, _ = _parser()
    if not expression.strip():
        raise BadFile("the expression is empty")
    try:
        return parse(expression)
    except parse_error as error:
        line, column = getattr(error, "line", None), getattr(error, "column", None)
        at = f" at line {line}, column {column}" if line and line > 0 else " before its end"
        raise BadFile(f"the expression is not CEL{at}") from error


class _Translation:
    """From the parser's tree, one level a precedence, to ours."""

    def node(self, tree: Any, scope: _Scope, depth: int) -> Node:
        tree = _essence(tree)
        if depth > MAX_NESTING:
            raise BadFile(f"the expression nests deeper than {MAX_NESTING} levels", fix="split it into several rules")
        if tree.data in _ABSENT_FROM_THE_LANGUAGE:
            raise BadFile(f"{_ABSENT_FROM_THE_LANGUAGE[tree.data]} not in the language of rules")
        method: Callable[[Any, _Scope, int], Node] = getattr(self, f"_{tree.data}")
        return method(tree, scope, depth + 1)

    def _expr(self, tree: Any, scope: _Scope, depth: int) -> Node:
        condition, yes, no = (self.node(part, scope, depth) for part in tree.children)
        return Choice(condition, yes, no)

    def _junction(self, tree: Any, operator: str, scope: _Scope, depth: int) -> Node:
        # "a && b && c" leans to the left; as one flat list, a long rule does not count as a deep one
        parts, rest = [], tree
        while rest.data == tree.data and len(rest.children) == 2:
            parts.append(rest.children[1])
            rest = rest.children[0]
        parts.append(rest)
        return Junction(operator, tuple(self.node(part, scope, depth) for part in reversed(parts)))

    def _conditionalor(self, tree: Any, scope: _Scope, depth: int) -> Node:
        return self._junction(tree, "||", scope, depth)

    def _conditionaland(self, tree: Any, scope: _Scope, depth: int) -> Node:
        return self._junction(tree, "&&", scope, depth)

    def _relation(self, tree: Any, scope: _Scope, depth: int) -> Node:
        head, right = tree.children
        operator = (_RELATIONS | _CALCULATIONS)[head.data]
        if operator == "%":
            raise BadFile("% is not in the language of rules: numbers are doubles")
        return Binary(operator, self.node(head.children[0], scope, depth), self.node(right, scope, depth))

    _addition = _multiplication = _relation

    def _unary(self, tree: Any, scope: _Scope, depth: int) -> Node:
        operator, operand = tree.children
        return Unary(_UNARY[operator.data], self.node(operand, scope, depth))

    def _ident(self, tree: Any, scope: _Scope, depth: int) -> Node:
        name = str(tree.children[0])
        if name in scope:
            return scope[name]
        if name not in KINDS:
            raise BadFile(
                f'"{name}" is not a kind of evidence{nearest(name, KINDS)}', fix=f"known are {', '.join(sorted(KINDS))}"
            )
        return Variable(name, name)

    def _member_dot(self, tree: Any, scope: _Scope, depth: int) -> Node:
        operand = self.node(tree.children[0], scope, depth)
        return Select(_evidence(operand), str(tree.children[1]))

    def _member_index(self, tree: Any, scope: _Scope, depth: int) -> Node:
        operand = _evidence(self.node(tree.children[0], scope, depth))
        index = self.node(tree.children[1], scope, depth)
        if isinstance(index, Literal) and isinstance(index.value, str) and _IDENTIFIER.fullmatch(index.value):
            return Select(operand, index.value)
        return Index(operand, index)

    def _member_dot_arg(self, tree: Any, scope: _Scope, depth: int) -> Node:
        name = str(tree.children[1])
        arguments = tree.children[2].children if len(tree.children) > 2 else []
        if name in MACROS:
            return self._macro(name, tree.children[0], arguments, scope, depth)
        return self._call(name, [tree.children[0], *arguments], scope, depth)

    def _ident_arg(self, tree: Any, scope: _Scope, depth: int) -> Node:
        name = str(tree.children[0])
        arguments = tree.children[1].children if len(tree.children) > 1 else []
        if name == "has":
            path = self.node(arguments[0], scope, depth) if len(arguments) == 1 else None
            if not isinstance(path, Select):
                raise BadFile("has() takes one path, such as has(attack.epsilon_lower)")
            return Has(path)
        return self._call(name, arguments, scope, depth)

    def _call(self, name: str, arguments: list[Any], scope: _Scope, depth: int) -> Node:
        if name not in FUNCTIONS:
            known = {*FUNCTIONS, *MACROS, "has"}
            raise BadFile(
                f'"{name}" is not a function of rules{nearest(name, known)}',
                fix=f"known are {', '.join(sorted(known))}",
            )
        if len(arguments) != FUNCTIONS[name]:
            raise BadFile(f"{name}() is given {len(arguments)} values and takes {FUNCTIONS[name]}")
        return Call(name, tuple(self.node(argument, scope, depth) for argument in arguments))

    def _macro(self, name: str, items: Any, arguments: list[Any], scope: _Scope, depth: int) -> Node:
        if len(arguments) != 2:
            raise BadFile(f"{name}() takes a variable and an expression, such as groups.{name}(g, g.n >= 100)")
        place = _essence(arguments[0])
        variable = str(place.children[0]) if place.data == "ident" else ""
        if not variable or variable in KINDS or variable in scope:
            raise BadFile(f"the first argument of {name}() must be a new name, and no kind of evidence")
        if len(scope) >= MAX_MACROS:
            raise BadFile(f"macros nest deeper than {MAX_MACROS} levels")
        source = self.node(items, scope, depth)
        base = source
        while isinstance(base, Macro) and base.name == "filter":  # what is left of a range is still of that range
            base = base.range
        text = f"{path_text(base)}[]" if isinstance(base, Variable | Select | Index) else variable
        inner = {**scope, variable: Variable(variable, text, bound=True)}
        body = self.node(arguments[1], inner, depth)
        if name != "map" and result_kind(body) not in ("truth", "unknown"):
            raise BadFile(f"the expression of {name}() must say yes or no")
        return Macro(name, source, variable, body)

    def _list_lit(self, tree: Any, scope: _Scope, depth: int) -> Node:
        items = tree.children[0].children if tree.children else []
        return ListOf(tuple(self.node(item, scope, depth) for item in items))

    def _literal(self, tree: Any, scope: _Scope, depth: int) -> Node:
        return Literal(_literal(tree.children[0]))


def _essence(tree: Any) -> Any:
    """Through levels of precedence that do nothing, and through brackets (iteratively: brackets may nest deep)."""
    passing = {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary"}
    while tree.data in {"member", "primary", "paren_expr"} or (tree.data in passing and len(tree.children) == 1):
        tree = tree.children[0]
    return tree


def _literal(token: Any) -> float | str | bool:
    text = str(token)
    match token.type:
        case "BOOL_LIT":
            return text == "true"
        case "STRING_LIT" | "MLSTRING_LIT":
            try:
                return _parser()[2](token)
            except (ValueError, OverflowError) as error:
                raise BadFile("a text in the expression has an escape that means nothing") from error
        case "INT_LIT" | "UINT_LIT" | "FLOAT_LIT":
            digits = text.rstrip("uU")
            whole = token.type != "FLOAT_LIT"
            number = int(digits, 16 if "0x" in digits else 10) if whole else float(digits)
            if abs(number) > 2**53 if whole else not math.isfinite(number):
                raise BadFile(f"the number {text} is too large")
            return float(number)
        case _:
            what = "null is" if token.type == "NULL_LIT" else "bytes are"
            raise BadFile(f"{what} not in the language of rules", fix="ask has(…) whether something was measured")


def _evidence(node: Node) -> Variable | Select | Index:
    if not isinstance(node, Variable | Select | Index):
        raise BadFile("fields and indices apply to evidence, not to something computed")
    return node
