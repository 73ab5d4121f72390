"""Running the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pellucid import cli


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)


Pellucid = Callable[..., Ran]


@pytest.fixture
def pellucid(capsys: pytest.CaptureFixture[str], plain: None) -> Pellucid:
    """Run one command line in this process."""

    def run(*words: str | Path) -> Ran:
        capsys.readouterr()
        code = cli.run([str(word) for word in words])
        taken = capsys.readouterr()
        assert "Traceback" not in taken.out + taken.err
        return Ran(code, taken.out, taken.err)

    return run
