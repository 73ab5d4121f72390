"""``pellucid budget NAME`` and ``pellucid budget set|plan|register|stop``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Set
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json
from pellucid.errors import Invalid

if TYPE_CHECKING:
    from pellucid.project import Project

# what stands before the name, and which options it takes
_ACTS: Final = {
    None: {"out"},
    "set": {"epsilon", "delta", "purpose"},
    "plan": {"recipe", "purpose", "space", "public"},
    "register": {"recipe", "purpose"},
    "stop": set[str](),
}
_NEEDS: Final = {"set": ("epsilon", "delta"), "plan": ("recipe",), "register": ("recipe",)}
_PLACES: Final = Decimal("0.0001")
_SHOWN: Final = {name: f"--{name}" for name in ("out", "epsilon", "delta", "purpose", "recipe", "space", "public")}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "budget",
        help="the privacy ledger of a data set",
        formatter_class=formatter,
        usage="pellucid budget NAME [-o F.svg]\n"
        "       pellucid budget set NAME --epsilon E --delta D [--purpose P]\n"
        "       pellucid budget plan NAME --recipe R.toml [--purpose P]\n"
        "                            [--space S.toml [--public FILE]]\n"
        "       pellucid budget register NAME --recipe R.toml ... [--purpose P]\n"
        "       pellucid budget stop RUN",
        description="What everything ever done with a data set has cost together: spent, reserved\n"
        "and left, run by run.\n\n"
        "set       change what it may cost, all in all or for one purpose\n"
        "plan      what a recipe, or a tuning over a space, would cost now, and how\n"
        "          many such runs are left\n"
        "register  fix the plans of several recipes before the first of them runs:\n"
        "          together they are held to a tighter number\n"
        "stop      end a run that is under way; it keeps its model and settles",
    )
    parser.add_argument("words", metavar="[set|plan|register|stop] NAME", nargs="+")
    parser.add_argument("--epsilon", metavar="E", type=float)
    parser.add_argument("--delta", metavar="D", type=float)
    parser.add_argument("--purpose", metavar="P", help="one of the data set's purposes")
    parser.add_argument("--recipe", metavar="R.toml", type=Path, action="append", help="register takes several")
    parser.add_argument("--space", metavar="S.toml", type=Path, help="plan: of a tuning, as pellucid tune takes it")
    parser.add_argument("--public", metavar="FILE", type=Path, help="plan: public data that the tuning scores on")
    parser.add_argument("-o", "--out", metavar="F.svg", type=Path, help="write the ledger over time as a picture")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Show, set, plan, register or stop."""
    word = options.words[0] if len(options.words) == 2 else None
    if len(options.words) > 2 or word not in _ACTS:
        raise Invalid(
            "budget takes NAME, or one of set, plan, register, stop and a name",
            fix="pellucid budget NAME shows it, pellucid budget set NAME --epsilon E --delta D changes it",
        )
    given = {name for name in _SHOWN if getattr(options, name) is not None}
    wrong = sorted(_SHOWN[name] for name in given - _ACTS[word])
    if wrong:
        does = "does not" if len(wrong) == 1 else "do not"
        meant = [f"budget {other} NAME" for other in _ACTS if other and given <= _ACTS[other]]
        raise Invalid(
            f"{' and '.join(wrong)} {does} go with budget {word or 'NAME'}",
            fix=f"is it pellucid {meant[0]} that you mean?" if meant else "pellucid budget --help",
        )
    missing = [_SHOWN[name] for name in _NEEDS.get(word or "", ()) if name not in given]
    if missing:
        raise Invalid(f"budget {word} needs {' and '.join(missing)}", fix="pellucid budget --help")
    with open_project(options) as project:
        acts: dict[str | None, Callable[[Project, argparse.Namespace], None]] = {
            None: _show,
            "set": _set,
            "plan": _plan,
            "register": _register,
            "stop": _stop,
        }
        acts[word](project, options)
    return 0


def _set(project: Project, options: argparse.Namespace) -> None:
    from pellucid.project import budgets

    budgets.set_budget(project, options.words[1], options.epsilon, options.delta, purpose=options.purpose)
    _show(project, options)


def _plan(project: Project, options: argparse.Namespace) -> None:
    from pellucid.console import say
    from pellucid.project import budgets

    if len(options.recipe) != 1:
        raise Invalid("budget plan takes one --recipe")
    name = options.words[1]
    if options.public is not None and options.space is None:
        raise Invalid("--public is what a tuning scores on, and none is asked for", fix="name its --space too")
    purpose, plan = budgets.planned(
        project, name, options.recipe[0], options.purpose, space=options.space, public=options.public
    )
    found = budgets.forecasts(project, name, plan, purpose)
    if options.json:
        each = [one.document() for one in found]
        print_json({"dataset": name, "purpose": purpose, "plan": plan.record(), "budgets": each})
        return
    what, how = options.recipe[0], f"in {plan.steps} steps"
    if options.space is not None:
        what, how = f"{what} over {options.space}", "all trials together"
    say(f"{what}: epsilon {plan.epsilon:g} at delta {plan.delta:g}, {how}")
    for one in found:
        if one.refused is not None:
            say(f"{one.name}: would be refused: {one.refused}")
        elif one.registered:
            say(f"{one.name}: registered, and so paid for already")
        else:
            cost, left = one.cost or 0.0, one.left or 0.0  # known, since it would be admitted
            say(f"{one.name}: adds {_up(cost)}, leaves {_down(left)} of {one.budget:g}; {_runs(one.runs)}")
            if not one.refunds and options.space is None:
                say("  a run that stops early gives nothing back: the budget holds it by PLD alone")


def _register(project: Project, options: argparse.Namespace) -> None:
    from pellucid.console import say
    from pellucid.project import budgets

    name = options.words[1]
    made = [budgets.planned(project, name, recipe, options.purpose) for recipe in options.recipe]
    registration = budgets.register(project, name, [plan for _, plan in made], purpose=made[0][0])
    if options.json:
        _show(project, options)
        return
    plans = "1 plan is" if len(made) == 1 else f"{len(made)} plans are"
    say(f"{plans} registered as {registration}, and reserved; train by the very same recipes")
    _show(project, options)


def _stop(project: Project, options: argparse.Namespace) -> None:
    from pellucid.console import say
    from pellucid.project import budgets

    budgets.halt(project, options.words[1])
    if options.json:
        print_json({"run": options.words[1], "status": "stopping"})
    else:
        say(f"{options.words[1]} ends before its next step, keeps its model and settles what it took")


def _show(project: Project, options: argparse.Namespace) -> None:
    from pellucid.console import note
    from pellucid.project import budgets
    from pellucid.project.reservations import abandoned, interrupted

    whole, *purposes = budgets.ledgers(project, options.words[-1])
    if options.out is not None:
        budgets.draw(project, whole, options.out)
        note(f"picture {options.out}")
    document = {**whole.document(), "purposes": [{"purpose": p.purpose, **p.document()} for p in purposes]}
    if options.json:
        print_json(document)
        return
    dead = {entry.body["reservation"] for entry in (*interrupted(project), *abandoned(project))}
    _tell(document, dead, options)


def _tell(document: dict[str, Any], dead: Set[str], options: argparse.Namespace) -> None:
    """The ledger for a person; ``dead`` are the reservations that no process holds and nobody settled."""
    from pellucid.console import say, table

    if document["epsilon"] is None:
        say(f"{document['dataset']}: no budget was set, so nothing may be trained")
        next_step(options, "budget", "set", document["dataset"], "--epsilon", "E", "--delta", "D")
        return
    say(
        f"{document['dataset']}: epsilon {document['epsilon']:g} at delta {document['delta']:g} for everything together"
    )
    say(f"  {_totals(document)}")
    if document["alert"] is not None:
        say(f"  {document['alert']:.0%} or more of it is spent or reserved")
    for part in document["purposes"]:
        say(f'  of this for "{part["purpose"]}", of {part["epsilon"]:g}: {_totals(part)}')
    runs = document["runs"]
    if runs:
        rows = [
            (
                str(run["run"]) if run["dataset"] == document["dataset"] else f"{run['run']} ({run['dataset']})",
                _up(run["epsilon"]),
                f"{run['delta']:g}",
                f"{'-' if run['steps'] is None or run['status'] == 'abandoned' else run['steps']} of"
                f" {run['steps_planned']}",
                "interrupted" if run["reservation"] in dead else str(run["status"]),
            )
            for run in runs
        ]
        table(("run", "epsilon", "delta", "steps", "status"), rows)
        say("spent is what all runs cost together (docs/budget.md), not the sum")
        if document["spent"] + document["reserved"] > sum(run["epsilon"] for run in runs):
            say("here it is more: runs are added up as Rényi divergence, at the budget's delta,")
            say("and making one epsilon of that has a price, which is paid once")
        if dead & {run["reservation"] for run in runs}:
            say("interrupted: killed before it settled, so that its whole plan counts")
        if any(run["status"] == "abandoned" for run in runs):
            say("abandoned: nobody knows what it took, so that its whole plan counts")


def _totals(document: dict[str, Any]) -> str:
    return f"spent {_up(document['spent'])}   reserved {_up(document['reserved'])}   left {_down(document['left'])}"


def _runs(runs: int) -> str:
    from pellucid.privacy.forecast import MOST_RUNS

    if runs == 1:
        return "one such run is left"
    return f"{runs} such runs are left" if runs < MOST_RUNS else f"{MOST_RUNS:,} or more such runs are left"


def _up(epsilon: float) -> str:
    """In ten-thousandths, never less: nothing that was spent looks like nothing."""
    return str(Decimal(repr(epsilon)).quantize(_PLACES, ROUND_CEILING))


def _down(epsilon: float) -> str:
    """In ten-thousandths, never more: what is shown as left is left."""
    return str(Decimal(repr(epsilon)).quantize(_PLACES, ROUND_FLOOR))
