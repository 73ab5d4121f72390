"""``pellucid explain M`` and ``pellucid attack M``."""

from __future__ import annotations

import argparse

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    explain = verbs.add_parser(
        "explain",
        help="evaluate and explain a model; leaves evidence",
        formatter_class=formatter,
        description="Measure a model on held-out people, by group where you may read the special\n"
        "columns, and explain what it looks at. Leaves evidence.",
    )
    attack = verbs.add_parser(
        "attack",
        help="try to tell who was trained on; leaves evidence",
        formatter_class=formatter,
        description="Try to tell from the model who was trained on. Leaves a lower bound on epsilon\n"
        "as evidence, to stand beside the claimed one.",
    )
    for parser, act in ((explain, act_explain), (attack, act_attack)):
        parser.add_argument("model", metavar="M", help="a model, such as credit-risk or credit-risk@2")
        parser.add_argument("--purpose", metavar="P", help="default: the purpose it was trained for")
        common(parser)
        parser.set_defaults(act=act)


def act_explain(options: argparse.Namespace) -> int:
    """Evaluate and explain."""
    return _leave(options, ("evaluate", "explain"))


def act_attack(options: argparse.Namespace) -> int:
    """Attack."""
    return _leave(options, ("attack",))


def _leave(options: argparse.Namespace, verbs: tuple[str, ...]) -> int:
    from pellucid.console import say
    from pellucid.project import model

    with open_project(options) as project:
        trained = model.load(project, options.model, purpose=options.purpose)
        kinds = [kind for verb in verbs for kind in getattr(trained, verb)()]
        if options.json:
            print_json({"model": trained.subject.name, "digest": trained.subject.sha256, "evidence": kinds})
        else:
            say(f"{trained.subject.name}: evidence of {', '.join(kinds)}, signed by {project.acting}")
            next_step(options, "report", trained.subject.name)
    return 0
