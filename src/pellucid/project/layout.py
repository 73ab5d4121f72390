"""Where things stand in a project folder, and ``pellucid.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pellucid.errors import BadFile, Misuse, UnknownName, nearest
from pellucid.keys import identity_name
from pellucid.project import card
from pellucid.schema import read_toml

__all__ = ["Layout", "find"]

FILE: Final = "pellucid.toml"
_KNOWN: Final = {"project": {"name"}, "log": {"url"}}


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one project.

    Attributes:
        root: The folder that holds ``pellucid.toml``.
        name: The project's name, which is also the origin of its log.
        log_url: The log's store, as an SQLAlchemy URL.
    """

    root: Path
    name: str
    log_url: str

    @classmethod
    def read(cls, root: Path) -> Layout:
        """The layout that ``pellucid.toml`` in ``root`` declares.

        Raises:
            BadFile: The file is not there, does not parse, or has a key that nobody knows.
        """
        path = root / FILE
        document = read_toml(path)
        for section, content in document.items():
            if section not in _KNOWN or not isinstance(content, dict):
                raise BadFile(f"unknown section{nearest(section, _KNOWN)}", where=f"{path}: {section}")
            for key in content:
                if key not in _KNOWN[section]:
                    raise BadFile(f"unknown key{nearest(key, _KNOWN[section])}", where=f"{path}: {section}.{key}")
        name = _text(document, path, "project", "name")
        url = _text(document, path, "log", "url")
        if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            url = f"sqlite:///{root.resolve() / url.removeprefix('sqlite:///')}"
        return cls(root.resolve(), identity_name(name), url)

    @classmethod
    def create(cls, root: Path, name: str) -> Layout:
        """A new project folder.

        Raises:
            Misuse: There is a project already, or the folder holds other files.
        """
        identity_name(name)
        if (root / FILE).exists():
            raise Misuse("there is a project already", where=str(root), fix="choose another folder")
        if root.exists() and any(root.iterdir()):
            raise Misuse("the folder is not empty", where=str(root), fix="choose a new or an empty folder")
        for folder in ("identities", "policies", "schemas", "recipes", "data", "models", "log", "runs", "reports"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "identities").chmod(0o700)
        (root / FILE).write_text(
            f'[project]\nname = "{name}"\n\n[log]\nurl = "sqlite:///log/log.sqlite"   # relative to this file\n',
            encoding="utf-8",
        )
        (root / card.FILE).write_text(card.template(), encoding="utf-8")
        (root / ".gitignore").write_text("identities/\ndata/\nmodels/\nlog/\nruns/\n", encoding="utf-8")
        return cls.read(root)

    def identity(self, name: str) -> str:
        """The key URI of an identity's file."""
        from urllib.parse import quote

        return f"file:{quote(str(self.root / 'identities' / (identity_name(name) + '.json')))}"

    def identities(self) -> list[str]:
        """The names of all identities with a file here."""
        return sorted(path.stem for path in (self.root / "identities").glob("*.json"))

    def dataset(self, name: str, version: int) -> Path:
        """The folder of one sealed version."""
        return self.root / "data" / name / str(version)

    def model(self, name: str) -> Path:
        """The folder of one model such as ``credit-risk@1``.

        Raises:
            BadFile: That is no name of a model.
        """
        plain, _, version = name.rpartition("@")
        if not version.isdecimal():
            raise BadFile(f"{name!r} is not a model's name and version")
        return self.root / "models" / f"{identity_name(plain)}@{int(version)}"

    @property
    def policies(self) -> Path:
        """The folder of the policies."""
        return self.root / "policies"

    @property
    def owner_key(self) -> Path:
        """The owner's verifier key, to hand to whoever verifies."""
        return self.root / "owner.pub"


def find(start: Path | None) -> Path:
    """The project folder: ``start`` itself if given, else the nearest folder upward that holds ``pellucid.toml``.

    Raises:
        UnknownName: There is none.
    """
    if start is not None:
        if (start / FILE).is_file():
            return start
        raise UnknownName("there is no pellucid.toml here", where=str(start), fix="pellucid init DIR makes a project")
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder
    raise UnknownName(
        "no pellucid.toml in this folder or above", fix="pellucid init DIR makes a project, --project DIR names one"
    )


def _text(document: dict[str, Any], path: Path, section: str, key: str) -> str:
    value = document.get(section, {}).get(key)
    if not isinstance(value, str) or not value:
        raise BadFile("this must be a text", where=f"{path}: {section}.{key}")
    return value
