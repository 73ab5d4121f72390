"""``pellucid demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, formatter


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
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.cli import run
    from pellucid.demo import walk

    walk(options.dir, run)
    return 0
