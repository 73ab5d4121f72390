"""One requirement of a release policy.

[[require]]
id = "privacy.epsilon"
that = "privacy.epsilon <= parameters.epsilon"         # CEL over evidence
because = "decision of the data protection officer, 2026-03"
severity = "error"                         # or "warning"; error if left out
fix = "train with a smaller epsilon"       # optional: what to do when it fails
clause = "GDPR Art. 25"                    # optional: what it rests on
applies-to = { models = ["credit-*"] }     # optional: for which models; all if left out
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from pellucid.check import cel
from pellucid.check.files import Lines
from pellucid.check.grammar import Unreadable
from pellucid.check.program import Program
from pellucid.check.scope import Scope, parse_scope
from pellucid.check.tables import Table
from pellucid.errors import BadFile, nearest
from pellucid.evidence import Severity

__all__ = ["SEVERITIES", "Requirement", "parse_requirement"]

SEVERITIES: Final[tuple[Literal["error", "warning"], ...]] = ("error", "warning")
_KEYS: Final = frozenset({"id", "that", "because", "severity", "fix", "clause", "applies-to"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule of the release policy.

    Attributes:
        id: Its name, unique in the policy.
        that: The CEL expression that must hold.
        because: Why it is there.
        severity: ``error`` decides the exit code; ``warning`` only speaks.
        fix: What to do when it fails; may be empty.
        clause: What it rests on (a law, a decision); may be empty.
        scope: For which models it is.
        file: The file it stands in.
        line: The line of ``that`` in it, from 1; else of the table's header; 1 if neither is known.
        column: The column of the expression, from 1; None if it is not known.
        program: ``that``, compiled.
    """

    id: str
    that: str
    because: str
    severity: Severity
    fix: str
    clause: str
    scope: Scope
    file: str
    line: int
    column: int | None
    program: Program = field(repr=False, compare=False)


def parse_requirement(table: Table, lines: Lines, file: str, parameters: Collection[str]) -> Requirement:
    """The requirement in a table.

    Args:
        table: The table.
        lines: The file's text, to find lines and columns.
        file: The file's name.
        parameters: The names that ``parameters.…`` may have.

    Raises:
        BadFile: An unknown key (with the nearest known one), a missing one, another severity, or an expression that is
            none (with its line and column in the file).
    """
    table.only(_KEYS)
    name, that, because = table.identifier(), table.text("that"), table.text("because")
    severity = table.text("severity", "error")
    if severity not in SEVERITIES:
        raise BadFile(f'severity is "error" or "warning"{nearest(severity, SEVERITIES)}', where=table.where)
    start = lines.find(table.line, "that", that) if table.line else None
    try:
        program = cel.compile(that, parameters)
    except Unreadable as error:
        if start is None:
            raise BadFile(f"{error.what} ({error.where} of it)", where=f"{table.where}.that", fix=error.fix) from error
        line, column = lines.place(start + error.offset)
        where = f"{file}, line {line}, column {column}: require[{name}].that"
        raise BadFile(error.what, where=where, fix=error.fix) from error
    except BadFile as error:
        raise BadFile(error.what, where=f"{table.where}.that", fix=error.fix) from error
    at = None if start is None else lines.place(start)
    return Requirement(
        name,
        that,
        because,
        severity,
        table.text("fix", ""),
        table.text("clause", ""),
        parse_scope(table),
        file,
        at[0] if at else table.line or 1,
        at[1] if at else None,
        program,
    )
