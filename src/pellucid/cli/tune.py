"""``pellucid tune NAME``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json
from pellucid.errors import Invalid

if TYPE_CHECKING:
    from pellucid.project import Project
    from pellucid.project.recipe import Outcome


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "tune",
        help="choose a configuration privately, for one reservation",
        formatter_class=formatter,
        usage="pellucid tune NAME --data D --purpose P --recipe R.toml --space S.toml\n"
        "       pellucid tune NAME --resume|--abandon",
        description="Try a random number of configurations, all for one reservation, and release\n"
        "the model of the best one alone. The recipe's epsilon is that of the whole.\n"
        "How many trials there were, and how those that lost did, is written nowhere.\n"
        "How long it took is in the log; hold = SECONDS in the space fixes that too.",
    )
    parser.add_argument("name", metavar="NAME", help="of the model; a name used before makes its next version")
    parser.add_argument("--data", metavar="D", help="the sealed data set")
    parser.add_argument("--purpose", metavar="P", help="one of its purposes")
    parser.add_argument("--recipe", metavar="R.toml", type=Path, help="what does not vary, and the epsilon")
    parser.add_argument("--space", metavar="S.toml", type=Path, help="what may vary, and how many trials to expect")
    parser.add_argument("--public", metavar="FILE", type=Path, help="public data to score on, of the same schema")
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--resume", action="store_true", help="go on with NAME, which was killed or interrupted")
    ends.add_argument("--abandon", action="store_true", help="settle NAME, which waits: its plan stays spent")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.console import note, say

    needed = ("data", "purpose", "recipe", "space")
    wants = [f"--{name}" for name in needed if getattr(options, name) is None]
    goes_on = options.resume or options.abandon
    if wants and not goes_on:
        raise Invalid(f"the following arguments are required: {', '.join(wants)}", fix="pellucid tune --help")
    given = [f"--{name}" for name in needed if getattr(options, name) is not None]
    if given and goes_on:
        raise Invalid(f"a tuning goes on as it began: leave out {', '.join(given)}", fix="pellucid tune --help")
    from pellucid.project.reservations import resumption, waiting

    with open_project(options) as project:
        if options.abandon:
            from pellucid.project.resume import abandon

            label = abandon(project, options.name)
            if options.json:
                print_json({"model": label, "status": "abandoned"})
            else:
                say(f"{label} is settled as abandoned: its whole plan stays spent")
            return 0
        try:
            outcome = _tune(options, project)
        except KeyboardInterrupt:
            entry = waiting(project, options.name)
            if entry is not None:
                note(
                    f"{entry.body['run']} waits, and its whole plan is counted; to go on: {resumption(project, entry)}"
                )
            raise
    if options.json:
        print_json(outcome.document())
    else:
        say(f"{outcome.model} chosen: epsilon {outcome.epsilon:g} at delta {outcome.delta:g} for the whole tuning")
        say(f"  weights sha256:{outcome.digest}")
        next_step(options, "report", outcome.model)
    return 0


def _tune(options: argparse.Namespace, project: Project) -> Outcome:
    from pellucid.console import note
    from pellucid.project.resume import resume_tuning
    from pellucid.train.space import read

    if options.resume:
        return resume_tuning(project, options.name, public=options.public, on_phase=note)
    space, settings = read(options.space)
    return project.tune(
        space,
        name=options.name,
        data=options.data,
        purpose=options.purpose,
        recipe=options.recipe,
        public=options.public,
        on_phase=note,
        **settings,
    )
