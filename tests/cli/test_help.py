"""What help looks like, and what it costs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("torch", "sqlalchemy", "cedarpy", "pyarrow", "pandas", "numpy", "rich", "jinja2", "dp_accounting", "celpy")


def _docs() -> Any:
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "scripts" / "cli_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pages() -> list[Any]:
    docs = _docs()
    return list(docs.parsers(docs.build_parser()))


def test_docs_cli_md_is_what_help_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == _docs().render(), "run scripts/cli_docs.py"


@pytest.mark.parametrize("words", [page.prog.split()[1:] for page in _pages()], ids=" ".join)
def test_every_page_of_help_runs_and_fits_80_columns(pellucid: Any, words: list[str]) -> None:
    ran = pellucid(*words, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"usage: {' '.join(['pellucid', *words])}")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert not ran.err


def test_the_contract_s_verbs_are_there() -> None:
    progs = {page.prog.removeprefix("pellucid ") for page in _pages()}
    assert progs >= {
        *("init", "identity new", "identity show", "role grant", "role revoke", "role list", "seal"),
        *("data list", "data show", "data export", "budget", "train", "explain", "attack", "report", "check"),
        *("verify", "log show", "log verify", "log prove", "log checkpoint"),
        *("access can", "access explain", "access test", "access lint", "access adopt", "demo"),
    }


def test_top_level_help_names_every_verb_once_on_one_line(pellucid: Any) -> None:
    lines = pellucid("--help").out.splitlines()
    for verb in {page.prog.split()[1] for page in _pages() if page.prog != "pellucid"}:
        assert sum(line.startswith(f"  {verb} ") for line in lines) == 1, verb


def test_version(pellucid: Any) -> None:
    import importlib.metadata

    assert pellucid("--version").out == f"pellucid {importlib.metadata.version('pellucid')}\n"


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["train", "--help"], ["bugdet"]], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = (
        "import sys; from pellucid.cli import run; run(sys.argv[1:]);"
        f"sys.stderr.write('loaded:' + ','.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.rpartition("loaded:")[2] == ""
