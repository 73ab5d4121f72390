"""The reader of expressions, beside celpy's parser, and where it says that something is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.check import cel
from pellucid.check.grammar import Tree, Unreadable, parse, place
from pellucid.errors import BadFile

NAMES = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}


def ours(tree: Tree) -> Any:
    """Our tree as nested tuples, minus folded into numbers as celpy's lexer does."""
    parts = tuple(ours(part) for part in tree.parts)
    if tree.kind == "minus" and parts[0][0] == "number":
        return ("number", f"-{parts[0][1]}")
    return (tree.kind, tree.word, *parts) if tree.word else (tree.kind, *parts)


def theirs(tree: Any) -> Any:
    """celpy's tree, one level a precedence, as the same tuples."""
    passing = {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary"}
    while tree.data in {"member", "primary", "paren_expr"} or (tree.data in passing and len(tree.children) == 1):
        tree = tree.children[0]
    parts = tree.children
    match tree.data:
        case "expr":
            return ("choice", *map(theirs, parts))
        case "conditionalor" | "conditionaland":
            return ("||" if tree.data.endswith("or") else "&&", *map(theirs, parts))
        case "relation" | "addition" | "multiplication":
            return (NAMES[parts[0].data], theirs(parts[0].children[0]), theirs(parts[1]))
        case "unary":
            return ("not" if parts[0].data == "unary_not" else "minus", theirs(parts[1]))
        case "member_dot":
            return ("field", str(parts[1]), theirs(parts[0]))
        case "member_index":
            return ("index", *map(theirs, parts))
        case "member_dot_arg":
            arguments = parts[2].children if len(parts) > 2 else []
            return ("method", str(parts[1]), theirs(parts[0]), *map(theirs, arguments))
        case "ident_arg":
            return ("call", str(parts[0]), *map(theirs, parts[1].children if len(parts) > 1 else []))
        case "ident":
            return ("name", str(parts[0]))
        case "list_lit":
            return ("list", *map(theirs, parts[0].children if parts else []))
        case "literal" if parts[0].type in ("INT_LIT", "UINT_LIT", "FLOAT_LIT"):
            return ("number", str(parts[0]))
        case "literal" if parts[0].type == "BOOL_LIT":
            return ("truth", str(parts[0]))
        case "literal":
            from celpy.evaluation import celstr

            text = str(celstr(parts[0]))
            return ("text", text) if text else ("text",)
    raise AssertionError(tree.data)


@pytest.fixture(scope="module")
def celpy_parser() -> Any:
    from celpy.celparser import CELParser

    return CELParser()


names = st.sampled_from(["privacy", "a", "x_1", "inner"])
numbers = st.sampled_from(["1", "2.5", ".5", "1e3", "1.5e-7", "0x1F", "3u"])
texts = st.sampled_from(
    [
        "'a'",
        '"b"',
        "''",
        r"'it\'s'",
        '"\\n\\t"',
        "'\\x41\\u00e9\\U0001F600\\101'",
        "r'\\d'",
        "'''ab'''",
        '"""c"d"""',
        "'ü中'",
    ]
)
leaves = st.one_of(names, numbers, texts, st.sampled_from(["true", "false"]))


def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "<", "<=", "==", "!=", ">", ">=", "in", "&&", "||"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda e: f"({e})"),
        inner.map(lambda e: f"!({e})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) ? ({t[1]}) : {t[2]}"),
        st.tuples(names, names).map(".".join),
        st.tuples(names, inner).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.tuples(names, st.lists(inner, max_size=3)).map(lambda t: f"{t[0]}({', '.join(t[1])})"),
        st.tuples(names, names, inner).map(lambda t: f"{t[0]}.{t[1]}(g, {t[2]})"),
    )


@given(expression=st.recursive(leaves, wider, max_leaves=10))
def test_what_is_read_is_what_celpy_reads(celpy_parser: Any, expression: str) -> None:
    assert ours(parse(expression)) == theirs(celpy_parser.parse(expression))


@pytest.mark.parametrize(
    ("expression", "line", "column"),
    [
        ("privacy.epsilon <= 3)", 1, 21),
        ("privacy.epsilon <=\n  3 3", 2, 5),
        ("privacy.epsilon <=", 1, 19),
        ("`privacy`", 1, 1),
        ("privacy.epsilon < 1 &&\n  privcy.delta < 1", 2, 3),
        ("privacy.accountant == 'a", 1, 23),
        ("size(privacy.accountant, 1) > 1", 1, 1),
        ("privacy.steps\n% 2 == 0", 2, 1),
        ("parameters.epsilom > privacy.epsilon", 1, 12),
        ("a b", 1, 3),
        ("f(1,)", 1, 4),
    ],
)
def test_an_error_names_line_and_column(expression: str, line: int, column: int) -> None:
    with pytest.raises(BadFile) as error:
        cel.compile(expression, ["epsilon"])
    assert error.value.where == f"line {line}, column {column}"
    assert isinstance(error.value, Unreadable)
    assert place(expression, error.value.offset) == (line, column)


@given(st.text(alphabet="ab.<>=!&|?:()[]{}'\"0123456789,+-*/% \n\\xuUrR/", max_size=40))
def test_any_text_is_read_or_refused(expression: str) -> None:
    offset = 0
    try:
        parse(expression)
    except Unreadable as error:
        offset = error.offset
    assert 0 <= offset <= len(expression)


@pytest.mark.parametrize("opening", ["(", "[", "!", "-", "f(", "a[", "a ? b : ", "1 + ("])
def test_depth_is_bounded_and_never_a_crash(opening: str) -> None:
    with pytest.raises(Unreadable):
        parse(opening * 2000)


def test_a_text_of_several_lines_keeps_them() -> None:  # celpy 0.5 drops the line break, which langdef.md does not
    assert parse("'''a\nb'''").word == "a\nb"
