"""``pellucid review M``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "review",
        help="sign a human judgement of a model; leaves evidence",
        formatter_class=formatter,
        description="Say yes or no to a model after reading its report, in your name and with your\n"
        "key. The judgement holds the digest of what you read, your roles, and whether\n"
        "you trained the model yourself. A rejection stands until who rejected approves.",
    )
    parser.add_argument("model", metavar="M", help="a model, such as credit-risk or credit-risk@2")
    verdict = parser.add_mutually_exclusive_group(required=True)
    verdict.add_argument("--approve", dest="verdict", action="store_const", const="approve", help="it may be used")
    verdict.add_argument("--reject", dest="verdict", action="store_const", const="reject", help="it may not")
    parser.add_argument("--note", metavar="TEXT", required=True, help="what you have to say; signed and shown")
    parser.add_argument("--reason", metavar="TEXT", action="append", default=[], help="a single reason; several")
    parser.add_argument("--report", metavar="FILE", type=Path, help="what you read (default: the report in reports/M)")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb. A rejection that was recorded is a success: exit 0."""
    from pellucid.console import say
    from pellucid.project import review

    with open_project(options) as project:
        made = review.review(
            project,
            options.model,
            verdict=options.verdict,
            note=options.note,
            reasons=options.reason,
            report=options.report,
        )
    if options.json:
        print_json(made.document())
        return 0
    word = "approved" if made.verdict == "approve" else "rejected"
    whose = "who did not train it" if made.independent else "who trained it"
    if not made.independent and made.verdict == "approve":
        whose += ": someone else should review it too"
    say(f"{made.model} {word} by {made.reviewer} ({', '.join(made.roles)}), {whose}")
    say(f"read: {made.read['name']}, sha256 {made.read['sha256']}; log entry {made.index}")
    if made.verdict == "reject":
        say("a bundle that was made before does not say so, and still passes: make it anew")
    next_step(options, "report" if made.verdict == "reject" else "check", made.model)
    return 0
