"""``pellucid demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, formatter
from pellucid.errors import BadFile


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="the whole corridor on real data, in under two minutes",
        formatter_class=formatter,
        description="Walk the whole corridor on UCI Adult (32,561 people), through the other verbs,\n"
        "each printed before it runs. DIR becomes a project that you can go on with.",
    )
    parser.add_argument("dir", metavar="DIR", nargs="?", type=Path, default=Path("pellucid-demo"))
    parser.add_argument("--data", metavar="FILE.csv", type=Path, help="only write the table that it seals, and stop")
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.cli import run
    from pellucid.console import say
    from pellucid.demo import hand_over, walk

    if options.data is not None:
        if options.data.exists():
            raise BadFile("there is something already", where=str(options.data), fix="name a file that is not there")
        hand_over(options.data)
        say(f"wrote {options.data}; policies, schemas and a recipe for it: pellucid init credit")
        return 0
    walk(options.dir, run)
    return 0
