"""``pellucid evaluate M``, ``pellucid explain M`` and ``pellucid attack M``."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pellucid.cli.common import Verbs, common, formatter, headline, next_step, open_project, print_json
from pellucid.errors import Invalid

if TYPE_CHECKING:
    from pellucid.explain.outcomes import Outcome

_WORST: Final = ("not met", "unmeasured", "met")


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    evaluate = verbs.add_parser(
        "evaluate",
        help="how good a model is on held-out people; leaves evidence",
        formatter_class=formatter,
        description="Measure a model on held-out people. No privacy guarantee covers these numbers,\n"
        "and their evidence says so; with --release they are noisy, covered, and paid\n"
        "from the data set's budget.",
    )
    evaluate.add_argument("--release", metavar="E", type=float, help="epsilon to spend on accuracy and AUC")
    evaluate.add_argument("--delta", metavar="D", type=float, help="of the release; default: that of the budget")
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
    for parser, act in ((evaluate, act_evaluate), (explain, act_explain), (attack, act_attack)):
        parser.add_argument("model", metavar="M", help="a model, such as credit-risk or credit-risk@2")
        parser.add_argument("--purpose", metavar="P", help="default: the purpose it was trained for")
        if parser is explain:
            parser.add_argument(
                "--expectations", metavar="F.toml", type=Path, help="test what an expert expects, and leave evidence"
            )
            parser.add_argument(
                "--class", metavar="C", dest="outcome", help="of more than two classes, the one to explain (the last)"
            )
        common(parser)
        parser.set_defaults(act=act)


def act_evaluate(options: argparse.Namespace) -> int:
    """Evaluate, with or without a release."""
    if options.delta is not None and options.release is None:
        raise Invalid("--delta goes with --release", fix="pellucid evaluate --help")
    return _leave(options, ("evaluate",), release=options.release, delta=options.delta)


def act_explain(options: argparse.Namespace) -> int:
    """Evaluate and explain; expectations first, so that a wrong file is refused before anything is measured."""
    return _leave(options, ("evaluate", "explain"), options.expectations, options.outcome)


def act_attack(options: argparse.Namespace) -> int:
    """Attack."""
    return _leave(options, ("attack",))


def _leave(
    options: argparse.Namespace,
    verbs: tuple[str, ...],
    expectations: Path | None = None,
    outcome: str | None = None,
    **how: float | None,
) -> int:
    from pellucid.console import say
    from pellucid.project import explaining, model

    with open_project(options) as project:
        trained = model.load(project, options.model, purpose=options.purpose)
        if outcome is not None:
            explaining.explained_class(trained, outcome)  # a wrong name is refused before anything is measured
        outcomes: tuple[Outcome, ...] = ()
        if expectations is not None:
            from pellucid.project.review import expect

            outcomes = expect(trained, expectations).items
        status: dict[str, str] = {item.expectation.id: item.status for item in outcomes}
        kinds = ["expectation"] if status else []
        for verb in verbs:
            kinds += trained.explain(outcome) if verb == "explain" else getattr(trained, verb)(**how)
        if options.json:
            told = {"expectations": status} if status else {}
            told |= {"unmeasured": trained.unmeasured} if trained.unmeasured else {}
            print_json({"model": trained.subject.name, "digest": trained.subject.sha256, "evidence": kinds, **told})
        else:
            left = f"{trained.subject.name}: evidence of {', '.join(kinds)}, signed by {project.acting}"
            say(textwrap.fill(left, 80, subsequent_indent="  "))
            numbers = headline(project, trained.subject.name) if "evaluation" in kinds else None
            if numbers is not None:
                say(f"  {numbers}")
            for kind, reason in trained.unmeasured.items():
                said = f"{kind}: unmeasured: {reason}"
                say(textwrap.fill(said, 80, initial_indent="  ", subsequent_indent="    "))
            for item in sorted(outcomes, key=lambda each: _WORST.index(each.status)):
                said = f"{item.status}: {item.expectation.id}: {item.said()}"
                say(textwrap.fill(said, 80, initial_indent="  ", subsequent_indent="    "))
            next_step(options, "report", trained.subject.name)
    return 0
