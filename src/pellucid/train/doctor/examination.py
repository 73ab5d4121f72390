"""A factory in a file: what can be mended in its model is a diff of the file, if layers are made literally there."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from pellucid.errors import PellucidError
from pellucid.schema import Encoding
from pellucid.train.doctor.construction import Edit, Site, rewrite, unified, watching
from pellucid.train.doctor.diagnosis import Diagnosis
from pellucid.train.doctor.patient import diagnose
from pellucid.train.factory import load_factory

__all__ = ["examine"]


def examine(file: Path, factory: str, encoding: Encoding, like: Any, dtype: torch.dtype = torch.float32) -> Diagnosis:
    """:func:`diagnose` what a factory in a file builds; what can be mended is a diff of the file, if it can be.

    Args:
        file: The Python file.
        factory: Name of the function in it.
        encoding: Its width and classes are given to the function, if it wants them.
        like: As in :func:`diagnose`.
        dtype: As in :func:`diagnose`.

    Raises:
        BadFile: The file fails, or the function does not build a module.
        UnknownName: There is no such file or function.
    """
    spec = f"{file.stem}:{factory}"
    # what the user's file prints is no result of ours
    with contextlib.redirect_stdout(sys.stderr), watching(str(file.parent / file.name)):
        model = load_factory(spec, file.parent).make(encoding)
    diagnosis = diagnose(model, like, dtype)
    edits: dict[Site, Edit] = {}
    for fix in diagnosis.fixes:
        if fix.site is None or fix.edit is None or edits.setdefault(fix.site, fix.edit) != fix.edit:
            return diagnosis
    source = file.read_bytes().decode()  # with the ends of lines that it has
    mended = rewrite(source, edits.items())
    if mended is None or not _builds(mended, spec, encoding, diagnosis.after):
        return diagnosis
    name = _named(file)
    return dataclasses.replace(diagnosis, diff=unified(source, mended, f"a/{name}", f"b/{name}"))


def _named(file: Path) -> str:
    """``file`` below the working directory, or else below the root: a patch names no file above it."""
    whole = file.parent.resolve() / file.name
    here = Path.cwd()
    return whole.relative_to(here if whole.is_relative_to(here) else whole.anchor).as_posix()


def _builds(source: str, spec: str, encoding: Encoding, printed: str) -> bool:
    """Whether ``source`` builds a model that prints so: what is offered must work."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
        warnings.catch_warnings(),  # said when the user's own file ran
    ):
        warnings.simplefilter("ignore")
        (Path(folder) / f"{spec.partition(':')[0]}.py").write_bytes(source.encode())
        try:
            return str(load_factory(spec, Path(folder)).make(encoding)) == printed
        except PellucidError:
            return False
