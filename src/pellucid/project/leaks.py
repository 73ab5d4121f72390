"""Does a report, of whatever tool, give away people of a sealed data set? Asked of those who may read its columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pellucid.disclosure import Column, Leak, Token, key, lint
from pellucid.errors import BadFile, Denied
from pellucid.project import data
from pellucid.project.model import models, trained_on
from pellucid.project.project import Project
from pellucid.schema import Column as Declared

__all__ = ["find", "read_file"]

MAX_BYTES: Final = 256 << 20
_PACKED: Final = (b"%PDF-", b"PK\x03\x04", b"\x1f\x8b")


def read_file(path: Path) -> bytes:
    """The bytes of a report.

    Raises:
        BadFile: There is no such file, it is larger than 256 MiB, or its text cannot be read as it stands there (a PDF,
            an archive, a picture): to say that nothing was found in it would be untrue.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadFile("there is no such file", where=str(path)) from error
    if len(content) > MAX_BYTES:
        raise BadFile(f"a file of more than {MAX_BYTES >> 20} MiB is not looked at", where=str(path))
    if content.startswith(_PACKED) or b"\0" in content:
        raise BadFile(
            "this file is no plain text, so what it says cannot be read",
            where=str(path),
            fix="name the HTML, JSON, CSV or text that it was made from",
        )
    return content


def find(
    project: Project, path: Path, *, dataset: str, purpose: str | None, markers: Sequence[str] = ()
) -> tuple[tuple[Leak, ...], tuple[str, ...]]:
    """What the file ``path`` gives away of a data set, and the columns that it was held against.

    Every column that whoever acts may read is read: decided and recorded like any other reading.

    Args:
        project: Where the data is sealed.
        path: The report.
        dataset: The data set, with or without version.
        purpose: What the data is read for.
        markers: Texts that must not be in the file.

    Raises:
        Denied: Whoever acts may read none of the columns.
        BadFile: The file cannot be read.
    """
    from pellucid.vault import in_test

    content = read_file(path)
    sealed = data.dataset(project, dataset)
    readable = [c.name for c in sealed.schema.columns.values() if c.type not in ("image", "audio")]
    allowed = [c for c in readable if project.ask("read", sealed.column(c), purpose).allowed]
    if not allowed:
        raise Denied(
            f"{project.acting} may read no column of {sealed.label} for this purpose",
            fix="leave --data out to look for markers and small counts only",
        )
    table = data.read(project, sealed.label, allowed, purpose=purpose, tags=True)
    tags = table.column(data.TAG).to_numpy()
    trained = [e for about in models(project).values() for e in about if e.kind == "training"]
    shares = {float(e.values["test"]) for e in trained if trained_on(e)[1] == sealed.manifest_sha256}
    held_out = [int(in_test(tags, share).sum()) for share in sorted(shares)]
    columns = [Column(name, table.column(name).to_pylist(), _public(sealed.schema.columns[name])) for name in allowed]
    sizes = [*held_out, *(len(tags) - n for n in held_out)]
    return lint(content, columns, markers, sizes=sizes), tuple(allowed)


def _public(column: Declared) -> frozenset[Token]:
    """What the schema tells everybody about a column: bounds, bins, categories and what stands for a missing value."""
    declared: list[object] = [*(column.bounds or ()), *column.categories, "True", "False"]
    declared += column.scale if isinstance(column.scale, tuple) else ()
    declared += column.missing.values() if not isinstance(column.missing, str) else ()
    return frozenset(key(value) for value in declared)
