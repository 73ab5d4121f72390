"""``pellucid report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, open_project, print_json


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "report",
        help="write report.html, report.json and bundle.json",
        formatter_class=formatter,
        description="Write what is known of a model for readers of a tier: a page people read, the\n"
        "same as JSON, and the bundle of evidence that a third party verifies.",
    )
    parser.add_argument("model", metavar="M")
    parser.add_argument("--tier", choices=("public", "auditor", "steward"), default="auditor", help="default: auditor")
    parser.add_argument("--policy", metavar="P.toml", type=Path, help="default: policies/release.toml of the project")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, help="default: reports/M in the project")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb. A report of a model that may not be released is a report all the same: exit 0."""
    from pellucid.console import note, say
    from pellucid.project import publish

    with open_project(options) as project:
        made = publish.report(project, options.model, tier=options.tier, out=options.out, policy=options.policy)
    if made.notice:
        note(f"notice: {made.notice}")
    if options.json:
        print_json({"html": str(made.html), "json": str(made.json), "bundle": str(made.bundle)})
    else:
        say(made.summary)
        say(f"report  {made.html}")
        say(f"twin    {made.json}")
        say(f"bundle  {made.bundle}")
    return 0
