"""CEL text in, a tree of what was written out: tokens and precedence, and not yet what anything means.

The grammar is that of github.com/google/cel-spec (langdef.md, "Syntax"), without what rules have no use for. It is
written by hand, because every check waits for it: it reads a policy in a few milliseconds, where a general parser's
import and tables cost a fifth of a second, and it knows line and column of everything it refuses. Tests hold it
against celpy's parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from pellucid.errors import BadFile

__all__ = ["MAX_DEPTH", "Tree", "Unreadable", "parse", "place"]

MAX_DEPTH: Final = 100
"""How deep the reader itself goes; what a rule may nest is less (:data:`pellucid.check.cel.MAX_NESTING`)."""

_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\r\n\f]+|//[^\n]*)
      | (?P<float>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
      | (?P<int>0x[0-9a-fA-F]+[uU]?|[0-9]+[uU]?)
      | (?P<raw>[bB]?[rR][bB]?(?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\r\n]*'|"[^"\r\n]*"))
      | (?P<text>[bB]?(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"
                   |'(?:[^\\'\r\n]|\\.)*'|"(?:[^\\"\r\n]|\\.)*"))
      | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
      | (?P<sign>&&|\|\||<=|>=|==|!=|[-<>+*/%!?:()\[\].,{}])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|)"
)
_SHORT: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# from the loosest to the tightest; all lean to the left
_LEVELS: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}


class Unreadable(BadFile):
    """A :class:`~pellucid.errors.BadFile` about one place of an expression; ``offset`` counts characters from 0."""

    def __init__(self, what: str, text: str, offset: int, *, fix: str | None = None) -> None:
        line, column = place(text, offset)
        super().__init__(what, where=f"line {line}, column {column}", fix=fix)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Tree:
    """What was written.

    Attributes:
        kind: ``number``, ``text``, ``truth``, ``name``, ``field``, ``index``, ``call``, ``method``, ``list``, ``not``,
            ``minus``, ``choice``, or the sign of an operator with two sides.
        at: Where it stands in the text, in characters from 0.
        word: The name, the text or the number itself, where there is one.
        parts: What it is made of.
    """

    kind: str
    at: int
    word: str = ""
    parts: tuple[Tree, ...] = ()


class _Token(NamedTuple):
    kind: str  # float, int, text, raw, name, sign, end
    word: str
    at: int


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character, both from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def parse(text: str) -> Tree:
    """The tree of an expression.

    Raises:
        Unreadable: It is not CEL, holds something that is not in the language of rules, or nests too deep.
    """
    return _Reader(text).whole()


class _Reader:
    """Precedence climbing over a list of tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.next = 0
        self.depth = 0

    def _tokens(self) -> list[_Token]:
        found, offset = [], 0
        while offset < len(self.text):
            match = _TOKEN.match(self.text, offset)
            if match is None or match.lastgroup is None:
                raise Unreadable("the expression is not CEL here", self.text, offset)
            if match.lastgroup != "blank":
                found.append(_Token(match.lastgroup, match.group(), offset))
            offset = match.end()
        found.append(_Token("end", "", len(self.text)))
        return found

    # -- small steps --------------------------------------------------------------------------------------------------

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        token = self.token
        self.next += 1
        return token

    def at(self, word: str) -> bool:
        """Whether the next token is this sign (or the word ``in``)."""
        return self.token.word == word and self.token.kind in ("sign", "name")

    def expect(self, word: str) -> _Token:
        if not self.at(word):
            raise self.wrong(f"{word} is missing")
        return self.take()

    def wrong(self, why: str = "") -> Unreadable:
        token = self.token
        where = "before its end" if token.kind == "end" else "here"
        return Unreadable(f"the expression is not CEL {where}{f': {why}' if why else ''}", self.text, token.at)

    def absent(self, what: str, at: int) -> Unreadable:
        return Unreadable(f"{what} not in the language of rules", self.text, at)

    # -- the grammar --------------------------------------------------------------------------------------------------

    def whole(self) -> Tree:
        tree = self.expression()
        if self.token.kind != "end":
            raise self.wrong()
        return tree

    def expression(self, first: Tree | None = None) -> Tree:
        """A choice, or what is tighter; ``first`` is a part that was read already."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("the expression nests deeper than is read", self.text, self.token.at)
        tree = self.operators(1, first)
        if self.at("?"):
            at = self.take().at
            yes = self.operators(1)
            self.expect(":")
            tree = Tree("choice", at, "", (tree, yes, self.expression()))
        self.depth -= 1
        return tree

    def operators(self, level: int, first: Tree | None = None) -> Tree:
        left = self.unary() if first is None else self.members(first)
        while (found := self._level()) >= level:
            sign = self.take()
            left = Tree(sign.word, sign.at, "", (left, self.operators(found + 1)))
        return left

    def _level(self) -> int:
        token = self.token
        return _LEVELS.get(token.word, 0) if token.kind == "sign" or token.word == "in" else 0

    def unary(self) -> Tree:
        signs = []
        while self.at("!") or self.at("-"):
            signs.append(self.take())
        tree = self.members(self.primary())
        for sign in reversed(signs):
            tree = Tree("not" if sign.word == "!" else "minus", sign.at, "", (tree,))
        return tree

    def members(self, tree: Tree) -> Tree:
        while True:
            if self.at("."):
                self.take()
                name = self.name()
                if self.at("("):
                    tree = Tree("method", name.at, name.word, (tree, *self.arguments(")")))
                else:
                    tree = Tree("field", name.at, name.word, (tree,))
            elif self.at("["):
                at = self.take().at
                index = self.expression()
                self.expect("]")
                tree = Tree("index", at, "", (tree, index))
            elif self.at("{"):
                raise self.absent("messages are", self.token.at)
            else:
                return tree

    def primary(self) -> Tree:
        token = self.token
        if token.kind in ("float", "int"):
            return Tree("number", self.take().at, token.word)
        if token.kind in ("text", "raw"):
            self.take()
            return Tree("text", token.at, self.unescaped(token))
        if self.at("("):
            return self.brackets()
        if self.at("["):
            return Tree("list", token.at, "", self.arguments("]"))
        if self.at("{"):
            raise self.absent("maps are", token.at)
        if self.at("."):
            raise self.absent("a leading dot is", token.at)
        if token.word in ("true", "false"):
            return Tree("truth", self.take().at, token.word)
        if token.word == "null":
            raise Unreadable(
                "null is not in the language of rules", self.text, token.at,
                fix="ask has(…) whether something was measured",
            )  # fmt: skip
        name = self.name()
        if self.at("("):
            return Tree("call", name.at, name.word, self.arguments(")"))
        return Tree("name", name.at, name.word)

    def brackets(self) -> Tree:
        """``( … )``. Brackets that open together are counted and not entered: they may be many, and mean nothing."""
        opened = 0
        while self.at("("):
            self.take()
            opened += 1
        tree = self.expression()
        self.expect(")")
        for _ in range(opened - 1):
            tree = self.expression(tree)
            self.expect(")")
        return tree

    def arguments(self, end: str) -> tuple[Tree, ...]:
        """What stands between brackets, commas between; a list may end with a comma."""
        self.take()
        found: list[Tree] = []
        while not self.at(end):
            found.append(self.expression())
            if not self.at(","):
                break
            comma = self.take()
            if self.at(end) and end == ")":
                raise Unreadable("the expression is not CEL here", self.text, comma.at)
        self.expect(end)
        return tuple(found)

    def name(self) -> _Token:
        if self.token.kind != "name" or self.token.word == "in":
            raise self.wrong()
        return self.take()

    def unescaped(self, token: _Token) -> str:
        """The text that a literal stands for."""
        word = token.word
        prefix = word[: min(word.find(quote) for quote in "'\"" if quote in word)].lower()
        if "b" in prefix:
            raise self.absent("bytes are", token.at)
        body = word[len(prefix) :]
        ends = 3 if body[:3] in ("'''", '"""') and len(body) >= 6 else 1
        body = body[ends:-ends]
        return body if "r" in prefix else _ESCAPE.sub(lambda match: self._character(match, token), body)

    def _character(self, match: re.Match[str], token: _Token) -> str:
        short, *digits, octal = match.groups()
        if short:
            return _SHORT.get(short, short)
        code = next((int(number, 16) for number in digits if number), None)
        code = int(octal, 8) if octal else code
        if code is None or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise Unreadable("a text in the expression has an escape that means nothing", self.text, token.at)
        return chr(code)
