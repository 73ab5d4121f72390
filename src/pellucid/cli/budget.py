"""``pellucid budget NAME`` and ``pellucid budget set NAME``."""

from __future__ import annotations

import argparse
from collections.abc import Set
from typing import Any

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json
from pellucid.errors import Invalid


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "budget",
        help="the privacy ledger of a data set",
        formatter_class=formatter,
        usage="pellucid budget NAME | budget set NAME --epsilon E --delta D",
        description="What everything ever done with a data set has cost together: spent, reserved\n"
        "and left, run by run. `budget set` changes what it may cost.",
    )
    parser.add_argument("words", metavar="[set] NAME", nargs="+")
    parser.add_argument("--epsilon", metavar="E", type=float)
    parser.add_argument("--delta", metavar="D", type=float)
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Show or set."""
    from pellucid.project import data
    from pellucid.project.reservations import abandoned, interrupted

    setting = len(options.words) == 2 and options.words[0] == "set"
    if not setting and len(options.words) != 1:
        raise Invalid("budget takes NAME, or set NAME", fix="pellucid budget --help")
    if not setting and (options.epsilon is not None or options.delta is not None):
        raise Invalid("--epsilon and --delta go with budget set NAME")
    with open_project(options) as project:
        name = options.words[-1]
        if setting:
            if options.epsilon is None or options.delta is None:
                raise Invalid(
                    "a budget needs --epsilon and --delta", fix="pellucid budget set NAME --epsilon 8 --delta 1e-5"
                )
            data.set_budget(project, name, options.epsilon, options.delta)
        document = data.ledger(project, name).document()
        if options.json:
            print_json(document)
        else:
            dead = {entry.body["reservation"] for entry in (*interrupted(project), *abandoned(project))}
            _show(document, dead, options)
    return 0


def _show(document: dict[str, Any], dead: Set[str], options: argparse.Namespace) -> None:
    """The ledger for a person; ``dead`` are the reservations that no process holds and nobody settled."""
    from pellucid.console import say, table

    if document["epsilon"] is None:
        say(f"{document['dataset']}: no budget was set, so nothing may be trained")
        next_step(options, "budget", "set", document["dataset"], "--epsilon", "E", "--delta", "D")
        return
    say(
        f"{document['dataset']}: epsilon {document['epsilon']:g} at delta {document['delta']:g} for everything together"
    )
    say(f"  spent {document['spent']:.4f}   reserved {document['reserved']:.4f}   left {document['left']:.4f}")
    runs = document["runs"]
    if runs:
        rows = [
            (
                str(run["run"]),
                f"{run['epsilon']:.4f}",
                f"{run['delta']:g}",
                f"{'-' if run['steps'] is None else run['steps']} of {run['steps_planned']}",
                "interrupted" if run["reservation"] in dead else str(run["status"]),
            )
            for run in runs
        ]
        table(("run", "epsilon", "delta", "steps", "status"), rows)
        say("spent is what all runs cost together (Rényi composition), not the sum")
        if dead & {run["reservation"] for run in runs}:
            say("interrupted: killed before it settled, so that its whole plan counts")
