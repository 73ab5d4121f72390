"""What README, docs, policies and examples claim, held against the code."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pellucid import bundle
from pellucid.cli import build_parser
from pellucid.errors import PellucidError
from pellucid.keys import VerifyKey

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "reports").rglob("*.md"), *ROOT.glob("examples/*.md")]
)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAMPLE = ROOT / "reports" / "sample"
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]\[]*(?:\[[^\]]*\]\([^)]*\))?[^\]\[]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it says it is, and what is in it."""

    page: str
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """Every fenced block of every page."""
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(content):
            line = content.count("\n", 0, found.start()) + 1
            yield Block(page.relative_to(ROOT).as_posix(), line, found[1].strip(), found[2])


BLOCKS = list(blocks())


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.info.split()[:1] and block.info.split()[0] in languages]


def commands() -> list[tuple[str, list[str]]]:
    """Every line of a fenced block that is a command of ours, with its place. A backslash carries a line on."""
    found = []
    for block in BLOCKS:
        if block.page == "docs/cli.md":
            continue  # that page is the grammar itself
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if "pellucid " in line else []
            if words[:1] == ["pellucid"]:
                found.append((f"{block}: {line.strip()}", words[1:]))
    return found


# -- blocks -----------------------------------------------------------------------------------------------------------


def test_there_is_something_to_hold() -> None:
    assert (ROOT / "README.md") in PAGES
    assert commands()
    assert of("toml")
    assert EXAMPLES


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_every_toml_block_means_what_its_info_string_says(block: Block) -> None:
    tomllib.loads(block.text)
    kind = block.info.split()[1:2]
    if kind == ["schema"]:
        from pellucid.schema import Schema

        Schema.parse(block.text, where=str(block))
    elif kind == ["recipe"]:
        from pellucid.train import Recipe

        Recipe.parse(block.text, where=str(block))
    elif kind == ["release"]:
        from pellucid.check import ReleasePolicy

        ReleasePolicy.parse(block.text.encode(), where=str(block))
    else:
        assert not kind, f"{block}: nobody knows what a toml block called {kind[0]!r} is"


def test_every_json_block_parses() -> None:
    for block in of("json"):
        try:
            json.loads(block.text)
        except ValueError as error:
            pytest.fail(f"{block}: {error}")


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_every_python_block_parses_and_names_what_is_there(block: Block) -> None:
    import pellucid

    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "plc":
            assert hasattr(pellucid, node.attr), f"{block}: plc.{node.attr}"


def test_python_blocks_marked_run_do_run_in_order(fresh: Any, plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python run``: the blocks of a page share one namespace, beside a copy of the small project in ``credit/``."""
    monkeypatch.chdir(fresh.root.parent)
    names: dict[str, dict[str, Any]] = {}
    for block in of("python"):
        if "run" in block.info.split()[1:]:
            within = names.setdefault(block.page, {"__name__": "__page__"})
            exec(compile(block.text, str(block), "exec"), within)  # noqa: S102  # the claim is that it runs


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "words"), commands(), ids=lambda each: each if isinstance(each, str) else "")
def test_every_command_line_parses(place: str, words: list[str]) -> None:
    try:
        build_parser().parse_args(words)
    except PellucidError as error:
        pytest.fail(f"{place}\n{error}")


def _grammar(parser: Any) -> dict[str, Any]:
    below = [a.choices for a in parser._actions if type(a).__name__ == "_SubParsersAction"]
    return {name: _grammar(each) for choices in below for name, each in choices.items()}


def _mentions() -> Iterator[tuple[str, str, str]]:
    """Verbs named in running text: in backticks or quotes, in pages, policies, and the advice that errors give."""
    files = [*PAGES, *(ROOT / "policies").iterdir(), *(ROOT / "src").rglob("*.py")]
    pattern = re.compile(r"[`\"']pellucid ([a-z]+)(?: ([a-z]+))?")
    for file in files:
        for found in pattern.finditer(file.read_text(encoding="utf-8")):
            yield file.relative_to(ROOT).as_posix(), found[1], found[2] or ""


def test_every_verb_that_anything_advises_exists() -> None:
    grammar = _grammar(build_parser())
    wrong = {
        f"{file}: pellucid {verb} {part}".rstrip()
        for file, verb, part in _mentions()
        if verb not in grammar or (part and grammar[verb] and part not in grammar[verb])
    }
    assert wrong == set()


# -- examples, links, index -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_holds_its_own_claims(example: Path, tmp_path: Path) -> None:
    assert '"""' in example.read_text(encoding="utf-8")[:10]
    assert "Claim:" in (ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or "")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PELLUCID_")}
    done = subprocess.run([sys.executable, str(example)], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_inside_the_house_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = set(LINK.findall(text)) | set(re.findall(r"\]\(([^)\s]+)\)", text))
    inside = {target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)}
    assert [target for target in sorted(inside) if target and not (page.parent / target).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    decisions = [path.name for path in sorted(folder.glob("*.md")) if path.name != "README.md"]
    assert decisions
    assert [name for name in decisions if f"({name})" not in index] == []


# -- the sample report ------------------------------------------------------------------------------------------------


def test_the_sample_report_is_what_its_bundle_and_policy_give() -> None:
    names = ("bundle.json", "owner.pub", "release.toml", "report.html", "report.json", "report.zh.html")
    missing = [name for name in names if not (SAMPLE / name).is_file()]
    assert not missing, f"reports/sample lacks {', '.join(missing)}: run scripts/sample_report.py"
    from pellucid.project.publish import render

    owner = VerifyKey.parse((SAMPLE / "owner.pub").read_text(encoding="ascii"), where="owner.pub")
    files = render(bundle.read(SAMPLE / "bundle.json"), [owner], SAMPLE / "release.toml", "auditor", None)
    for name in ("report.html", "report.json"):
        same = files[name] == (SAMPLE / name).read_bytes()
        assert same, f"reports/sample/{name} is not what is rendered now: run scripts/sample_report.py"
    told = render(bundle.read(SAMPLE / "bundle.json"), [owner], SAMPLE / "release.toml", "auditor", None, lang="zh")
    assert told["report.html"] == (SAMPLE / "report.zh.html").read_bytes()


def test_the_sample_bundle_verifies_with_its_key(plain: None) -> None:
    from pellucid.cli import run

    words = ["check", str(SAMPLE / "bundle.json"), "--policy", str(SAMPLE / "release.toml")]
    assert run([*words, "--key", str(SAMPLE / "owner.pub")]) == 0
