"""The function of the user's that builds the module: imported from a file whose source digest goes into evidence."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from pellucid.errors import BadFile, Tampered, UnknownName, nearest
from pellucid.schema import Encoding

__all__ = ["Factory", "load_factory"]


@dataclass(frozen=True, slots=True)
class Factory:
    """A function that builds the module.

    Attributes:
        spec: ``module:function``.
        sha256: Digest of the source that was executed.
    """

    spec: str
    sha256: str
    _function: Callable[..., Any] = field(repr=False, compare=False)

    def record(self) -> dict[str, str]:
        """The factory as JSON, for evidence."""
        return {"spec": self.spec, "sha256": self.sha256}

    def require(self, sha256: str) -> None:
        """The source must be the one in the evidence.

        Raises:
            Tampered: It is another one.
        """
        _hold(self.spec, self.sha256, sha256)

    def make(self, encoding: Encoding) -> nn.Module:
        """Build the module for the inputs and classes of ``encoding``.

        The function is given those of ``width`` and ``classes`` that it has as parameters.

        Raises:
            BadFile: It wants something else, fails, or does not return a module.
        """
        offered = {"width": encoding.width, "classes": len(encoding.classes)}
        wanted = inspect.signature(self._function).parameters
        for name, parameter in wanted.items():
            if name not in offered and parameter.default is parameter.empty:
                raise BadFile(
                    f'the factory wants "{name}", and there are only width and classes{nearest(name, offered)}',
                    where=self.spec,
                    fix="give the parameter a default",
                )
        try:
            module = self._function(**{name: value for name, value in offered.items() if name in wanted})
        except Exception as error:
            raise BadFile(f"the factory failed: {type(error).__name__}: {error}", where=self.spec) from error
        if not isinstance(module, nn.Module):
            raise BadFile(f"the factory returned {type(module).__name__}, not a torch.nn.Module", where=self.spec)
        return module


def load_factory(spec: str, folder: Path, sha256: str | None = None) -> Factory:
    """The factory ``module:function`` in ``folder/module.py``; ``module.py:function`` says the same.

    The file is read once; what was digested is what runs. It stands alone: the folder is not put on the import path,
    so it may import installed packages but no file next to it, whose source no digest would cover.

    Args:
        spec: ``module:function``, or a path relative to ``folder`` and a function.
        folder: Where the file is.
        sha256: Digest that the source must have, in lower-case hexadecimal; None admits any source.

    Raises:
        Tampered: The source is not the one with ``sha256``; nothing of it was executed.
        BadFile: ``spec`` is not of that form, or the file fails.
        UnknownName: There is no such file or function.
    """
    place, colon, name = spec.partition(":")
    parts = place[: -len(".py")].removeprefix("./").split("/") if place.endswith(".py") else place.split(".")
    if not colon or not all(part.isidentifier() for part in [*parts, name]):
        raise BadFile(
            f'"{spec}" is not of the form module:function, or a path within the project and a function',
            where="factory",
            fix='such as "model:build" or "model.py:build", for the file model.py in the project folder',
        )
    spec = f"{'.'.join(parts)}:{name}"  # one spelling in evidence
    path = folder.joinpath(*parts).with_suffix(".py")
    try:
        source = path.read_bytes()
    except OSError as error:
        known = [each.relative_to(folder).as_posix() for each in sorted(path.parent.glob("*.py"))]
        near = nearest(path.relative_to(folder).as_posix(), known)
        raise UnknownName(
            f"there is no such file, or it cannot be read{near}",
            where=str(path),
            fix="the file lies in the project folder, since it is needed again to explain the model: copy it there",
        ) from error
    found = hashlib.sha256(source).hexdigest()
    _hold(spec, found, found if sha256 is None else sha256)
    module = ModuleType(f"pellucid_factory_{found[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and typing look modules up by name
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102 - running the user's own code is the job
    except Exception as error:
        raise BadFile(f"the file fails: {type(error).__name__}: {error}", where=str(path)) from error
    function = vars(module).get(name)
    if not inspect.isroutine(function) and not inspect.isclass(function):
        raise UnknownName(f'there is no function "{name}"{nearest(name, vars(module))}', where=str(path))
    return Factory(spec, found, function)


def _hold(spec: str, found: str, expected: str) -> None:
    if found != expected:
        raise Tampered(
            "the source of the factory is not the one that was recorded",
            where=spec,
            fix="restore the file, or train again",
        )
