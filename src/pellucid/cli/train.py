"""``pellucid train``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.cli.common import Verbs, common, formatter, headline, next_step, open_project, print_json
from pellucid.errors import Invalid

if TYPE_CHECKING:
    from pellucid.project import Project, Run
    from pellucid.project.recipe import Outcome


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "train",
        help="a governed training run by a recipe",
        formatter_class=formatter,
        description="Train by a recipe: the policy decides, the ledger reserves the whole plan, and\n"
        "only then is anything decrypted. Leaves evidence of how it was trained, how well\n"
        "it works and what it looks at. Ctrl-C stops, settles and saves the model so far;\n"
        "a run that was killed can be resumed, and counts whole until it ends.",
    )
    parser.add_argument("name", metavar="NAME", help="the model's name; a repeated name makes NAME@2")
    parser.add_argument("--data", metavar="D", help="the sealed data set")
    parser.add_argument("--purpose", metavar="P", help="one of the data set's purposes")
    parser.add_argument("--recipe", metavar="R.toml", type=Path)
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--resume", action="store_true", help="go on with NAME, which was killed, from its checkpoint")
    ends.add_argument("--abandon", action="store_true", help="settle NAME, which was killed: its plan stays spent")
    parser.add_argument(
        "--checkpoint-every", metavar="N", type=int, help="steps between checkpoints; 0 none (default: a minute)"
    )
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    wants = [f"--{name}" for name in ("data", "purpose", "recipe") if getattr(options, name) is None]
    if wants and not (options.resume or options.abandon):
        raise Invalid(f"the following arguments are required: {', '.join(wants)}", fix="pellucid train --help")
    with open_project(options) as project:
        return _abandon(options, project) if options.abandon else _train(options, project)


def _abandon(options: argparse.Namespace, project: Project) -> int:
    from pellucid.console import say
    from pellucid.project.resume import abandon

    label = abandon(project, options.name)
    if options.json:
        print_json({"model": label, "status": "abandoned"})
    else:
        say(f"{label} is settled as abandoned: its whole plan stays spent")
    return 0


def _train(options: argparse.Namespace, project: Project) -> int:
    from pellucid.console import Facts, note, progress, say
    from pellucid.privacy import Plan
    from pellucid.privacy.rows import compared
    from pellucid.project import recipe
    from pellucid.project.odometer import odometer
    from pellucid.project.resume import Resumed

    with progress(f"training {options.name}") as shown:

        def begin(run: Run) -> None:
            plan = run.plan
            if isinstance(run, Resumed):
                note(run.going_on())
            elif isinstance(plan, Plan) and plan.unit_rows > 1 and run.recipe is not None:
                note(compared(plan, run.recipe.epsilon, run.sealed.schema.rows))
            shown.begin(Facts(plan.epochs, plan.batch if plan.sample_rate < 1 else None, plan.epsilon, odometer(plan)))

        hooks = {"on_begin": begin, "on_step": shown, "on_phase": shown.phase}
        what = {"dataset": options.data, "purpose": options.purpose, "recipe": options.recipe}
        what["checkpoint_every"] = options.checkpoint_every
        start: Callable[..., Outcome] = recipe.resume if options.resume else recipe.train
        outcome = start(project, options.name, **what, **hooks)
    if options.json:
        print_json(outcome.document())
    else:
        say(f"{outcome.model} trained: {outcome.steps} steps, epsilon {outcome.epsilon:g} at delta {outcome.delta:g}")
        say(f"  weights sha256:{outcome.digest}")
        numbers = headline(project, outcome.model)
        if numbers is not None:
            say(f"  {numbers}")
        next_step(options, "report", outcome.model)
    return 0
