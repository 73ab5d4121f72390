"""``pellucid train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, open_project, print_json


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "train",
        help="a governed training run by a recipe",
        formatter_class=formatter,
        description="Train by a recipe: the policy decides, the ledger reserves the whole plan, and\n"
        "only then is anything decrypted. Leaves evidence of how it was trained, how well\n"
        "it works and what it looks at.",
    )
    parser.add_argument("name", metavar="NAME", help="the model's name; a repeated name makes NAME@2")
    parser.add_argument("--data", metavar="D", required=True, help="the sealed data set")
    parser.add_argument("--purpose", metavar="P", required=True, help="one of the data set's purposes")
    parser.add_argument("--recipe", metavar="R.toml", type=Path, required=True)
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.console import progress, say
    from pellucid.project import recipe

    with open_project(options) as project, progress(f"training {options.name}") as step:
        outcome = recipe.train(
            project,
            options.name,
            dataset=options.data,
            purpose=options.purpose,
            recipe=options.recipe,
            on_step=step,
        )
    if options.json:
        print_json(outcome.document())
    else:
        say(f"{outcome.model} trained: {outcome.steps} steps, epsilon {outcome.epsilon:g} at delta {outcome.delta:g}")
        say(f"  weights sha256:{outcome.digest}")
        say(f"next: pellucid report {outcome.model}")
    return 0
