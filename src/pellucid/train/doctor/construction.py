"""Where in the user's file a layer was made, and that file with another layer made there."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from torch import nn

__all__ = ["Edit", "Site", "made_at", "rewrite", "unified", "watching"]

_MARK: Final = "_pellucid_made_at"  # an attribute of the instance, so that a deep copy of a layer still knows
CONTEXT: Final = 2  # lines around a change


@dataclass(frozen=True, slots=True)
class Site:
    """A call in a source file: lines from 1, columns in bytes from 0, as :mod:`ast` counts them."""

    line: int
    end_line: int
    column: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Edit:
    """What a call that makes a layer is to become.

    Attributes:
        was: Names of the classes that the call may name; any other call is left alone.
        name: The class that it names then; empty for the same.
        leading: Arguments that are put first, as source.
        first: The name of the first parameter, if only that argument of the call stays; empty if none stays; None if
            all stay.
        keywords: Arguments by name that are set, as source.
    """

    was: tuple[str, ...]
    name: str = ""
    leading: tuple[str, ...] = ()
    first: str | None = None
    keywords: tuple[tuple[str, str], ...] = ()


@contextmanager
def watching(file: str) -> Iterator[None]:
    """Modules made inside remember the innermost call in the source ``file`` that made them."""
    original = nn.Module.__init__

    def remember(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        site = _innermost(sys._getframe(1), file)
        if site is not None:
            vars(self)[_MARK] = site

    nn.Module.__init__ = remember  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        nn.Module.__init__ = original  # type: ignore[method-assign]  # what it was


def made_at(module: nn.Module) -> Site | None:
    """Where ``module`` was made; None if nobody watched, or no line of the watched file was under way."""
    site = vars(module).get(_MARK)
    return site if isinstance(site, Site) else None


def _innermost(frame: FrameType | None, file: str) -> Site | None:
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    if frame is None:
        return None
    place = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    line, end_line, column, end_column = place
    if line is None or end_line is None or column is None or end_column is None:
        return None  # Python was told to keep no columns
    return Site(line, end_line, column, end_column)


def rewrite(source: str, edits: Iterable[tuple[Site, Edit]]) -> str | None:
    """``source`` with other layers made at some sites; None if one of the calls cannot be rewritten."""
    calls = {_site(node): node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    pieces: list[tuple[int, int, str]] = []
    for site, edit in edits:
        call = calls.get(site)
        text = None if call is None else _rewritten(call, source, edit)
        if text is None:
            return None
        pieces.append((starts[site.line - 1] + site.column, starts[site.end_line - 1] + site.end_column, text))
    whole = b"".join(lines)
    last = len(whole) + 1
    for start, end, text in sorted(pieces, reverse=True):
        if end > last:
            return None  # one call within another
        whole, last = whole[:start] + text.encode() + whole[end:], start
    return whole.decode()


def _site(node: ast.Call) -> Site:
    return Site(node.lineno, node.end_lineno or node.lineno, node.col_offset, node.end_col_offset or node.col_offset)


def _rewritten(call: ast.Call, source: str, edit: Edit) -> str | None:
    def text(node: ast.AST) -> str:
        return ast.get_source_segment(source, node) or ""

    callee = text(call.func)
    prefix, dot, name = callee.rpartition(".")
    if name not in edit.was or (edit.name and not dot):  # a bare name would have to be imported
        return None
    keywords = {each.arg: text(each.value) for each in call.keywords if each.arg is not None}
    if len(keywords) != len(call.keywords) or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    arguments = [text(each) for each in call.args]
    if edit.first is not None:
        arguments = (arguments[:1] or [keywords.get(edit.first, "")]) if edit.first else []
        keywords = {}
        if "" in arguments:
            return None
    keywords.update(edit.keywords)
    arguments = [*edit.leading, *arguments, *(f"{key}={value}" for key, value in keywords.items())]
    return f"{prefix}{dot}{edit.name or name}({', '.join(arguments)})"


def unified(before: str, after: str, old: str, new: str) -> str:
    """A unified diff as ``patch`` and ``git apply`` read it, empty if nothing changes.

    Args:
        before: Text, or a module as it prints.
        after: The same, mended.
        old: What ``before`` is called.
        new: What ``after`` is called.
    """
    lines = difflib.unified_diff(_lines(before), _lines(after), old, new, n=CONTEXT)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """As ``patch`` counts them: other characters that end a line to Python end none."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
