"""``pellucid waive``."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json
from pellucid.errors import BadData


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "waive",
        help="sign that a model may fail a requirement until a day",
        formatter_class=formatter,
        description="Write a waiver into waivers.toml beside the release policy, in your name and\n"
        "with your key. The access policy decides, and the decision is in the log. A\n"
        "waiver never excuses what was not measured, and ends on its last day.",
    )
    parser.add_argument("requirement", metavar="ID", help="the requirement, such as calibration.ece")
    parser.add_argument("model", metavar="M", help="credit-risk@1, or credit-risk for every version")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why it is tolerable; shown in every check")
    parser.add_argument("--expires", metavar="DATE", required=True, help="its last day, such as 2026-12-31")
    parser.add_argument("--owner", metavar="NAME", help="who answers for it (default: who acts)")
    parser.add_argument("--policy", metavar="P.toml", type=Path, help="default: policies/release.toml of the project")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.console import say
    from pellucid.project import waiving

    try:
        expires = dt.date.fromisoformat(options.expires)
    except ValueError as error:
        raise BadData("this is no day", where="--expires", fix="write it as 2026-12-31") from error
    with open_project(options) as project:
        made = waiving.waive(
            project,
            options.requirement,
            options.model,
            reason=options.reason,
            expires=expires,
            owner=options.owner,
            policy=options.policy,
        )
    if options.json:
        print_json(made.document())
        return 0
    waiver = made.waiver
    say(f"{waiver.id} waived for {waiver.scope} until {waiver.expires.isoformat()}; {waiver.owner} answers for it")
    say(f"written to {made.file}; the decision is log entry {made.index}")
    next_step(options, "check", options.model)
    return 0
