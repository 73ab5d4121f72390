"""Write docs/cli.md from the command line's own help, so that the two cannot differ.

python scripts/cli_docs.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from pellucid.cli import build_parser

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """# The command line

Written by `python scripts/cli_docs.py` from `--help`; a test holds the two equal.

"""


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all below it, in the order they were added."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def render() -> str:
    """The whole page."""
    pages = [f"## {each.prog}\n\n```text\n{each.format_help().rstrip()}\n```\n" for each in parsers(build_parser())]
    return HEAD + "\n".join(pages)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    print(f"wrote {TARGET.name}")
