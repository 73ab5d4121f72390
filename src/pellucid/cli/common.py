"""What every verb shares: options, passphrases, output."""

from __future__ import annotations

import argparse
import json as _json
import os
import sys
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pellucid.errors import BadFile, Invalid, PellucidError, nearest

if TYPE_CHECKING:
    from pellucid.project import Project

__all__ = [
    "Parser",
    "Verbs",
    "common",
    "formatter",
    "headline",
    "next_step",
    "open_project",
    "passphrase",
    "print_json",
    "report_error",
    "report_stop",
]

Verbs = Any  # argparse keeps the type of its sub-parsers to itself


class _Help(argparse.RawDescriptionHelpFormatter):
    """Verbs of a noun on one line each: argparse measures their names without the indent it gives them."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        names = [len(part.dest) for part in self._iter_indented_subactions(action)]
        self._action_max_length = max([self._action_max_length, *(4 + length for length in names)])

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """An option with its value once (``-o, --out FILE``), as Python writes it from 3.13 on."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, action.dest.upper())
        return f"{', '.join(action.option_strings)} {value}"


def formatter(prog: str) -> argparse.HelpFormatter:
    """Help as written, 80 columns wide whatever the terminal, so that docs/cli.md is the same everywhere."""
    return _Help(prog, max_help_position=30, width=80)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: what, where, what next. Options are never abbreviated."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Say what is unknown where it is: the verb's parser knows the options that were meant."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            named = [word.partition("=")[0] for word in unknown]
            options = [word for word in named if word.startswith("-")]
            if not options:
                raise Invalid(f'there is no place for "{named[0]}" here', fix=f"{self.prog} --help")
            verbs = self._subparsers is not None
            hint = "; options stand after the verb" if verbs else nearest(options[0], self._option_string_actions)
            raise Invalid(f"there is no option {options[0]} here{hint}", fix=f"{self.prog} --help")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        hint, fix = "", f"{self.prog} --help"
        if "invalid choice: " in message:
            wrong = message.split("invalid choice: ", 1)[1].split("'")[1]
            name = message.removeprefix("argument ").partition(": ")[0]
            option = [a for a in self._actions if a.choices and name in a.option_strings]
            known = [str(choice) for action in option or self._actions for choice in action.choices or ()]
            hint = nearest(wrong, known)
            message = f'{name}: there is no "{wrong}"' if option else f'there is no "{wrong}"'
            fix = f"{name} {', '.join(known[:-1])} or {known[-1]}" if option else fix
        raise Invalid(f"{message}{hint}", fix=fix)


def common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The options of every verb, whether or not it acts in somebody's name: scripts need not know which do."""
    group = parser.add_argument_group("common")
    group.add_argument("--project", metavar="DIR", type=Path, help="the project (default: the nearest upward)")
    group.add_argument("--as", dest="identity", metavar="NAME", help="who acts (default: PELLUCID_IDENTITY)")
    group.add_argument("--passphrase-file", metavar="F", type=Path, help="file with the passphrase")
    group.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def passphrase(options: argparse.Namespace, *, new: bool = False) -> Callable[[str], str]:
    """How to get a passphrase: a file, the environment, or a question on a terminal."""

    def ask(name: str) -> str:
        file = getattr(options, "passphrase_file", None)
        if file is not None:
            try:
                return str(file.read_text(encoding="utf-8").rstrip("\r\n"))
            except (OSError, UnicodeDecodeError) as error:
                raise BadFile("the passphrase file cannot be read", where=str(file)) from error
        if "PELLUCID_PASSPHRASE" in os.environ:
            return os.environ["PELLUCID_PASSPHRASE"]
        if sys.stdin is not None and sys.stdin.isatty():
            import getpass

            first = getpass.getpass(f"passphrase of {name}: ")
            if new and getpass.getpass("again: ") != first:
                raise BadFile("the two passphrases differ", fix="try again")
            return first
        return ""

    return ask


def open_project(options: argparse.Namespace) -> Project:
    """The project a verb works on; says what earlier processes left behind."""
    from pellucid.console import note
    from pellucid.project import Project

    project = Project.open(options.project, identity=getattr(options, "identity", None), passphrase=passphrase(options))
    for notice in project.notices:
        if not _asked_for(options, notice):
            note(f"notice: {notice}")
    return project


def _asked_for(options: argparse.Namespace, notice: str) -> bool:
    """Whether a notice is of the very run that this command goes on with or gives up."""
    ends = getattr(options, "resume", False) or getattr(options, "abandon", False)
    return bool(ends) and notice.startswith((f"run {options.name} ", f"run {options.name}@"))


def next_step(options: argparse.Namespace, *words: str) -> None:
    """Say which command follows, for the project and in the name that this one was given."""
    from pellucid.console import command, say

    here = {"project": options.project, "identity": options.identity, "passphrase_file": options.passphrase_file}
    say(f"next: {command(*words, **here)}")


def headline(project: Project, label: str) -> str | None:
    """How good a model is by its newest evaluation, in one line; None if there is none, or who acts may have no report.

    A report is asked for at any tier by whoever may have one, so that this says nothing that the report keeps back.
    """
    from pellucid.project import data
    from pellucid.project.model import model_resource, models, trained_on

    found = {item.kind: item for item in models(project)[label]}
    if "evaluation" not in found:
        return None
    training = found["training"]
    resource = model_resource(label, data.dataset(project, trained_on(training)[0]))
    if not project.ask("report", resource, training.values["purpose"]).allowed:
        return None
    evaluation = found["evaluation"]
    said = [
        f"{shown} {_places(each['value'])} ({_places(each['low'], ROUND_FLOOR)} to"
        f" {_places(each['high'], ROUND_CEILING)})"
        for name, shown in (("auc", "AUC"), ("accuracy", "accuracy"))
        if (each := evaluation.values.get(name))
    ]
    covered = "with noise" if evaluation.coverage == "own-release" else "not covered"
    return f"{', '.join(said)}; {covered}" if said else None


def _places(number: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """Three places; the ends of an interval outwards."""
    return str(Decimal(repr(float(number))).quantize(Decimal("0.001"), rounding))


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    from pellucid.console import say

    say(_json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def report_stop(*, json: bool) -> int:
    """Ctrl-C: whoever was interrupted has settled on the way here."""
    from pellucid.console import note

    if json:
        print_json({"error": {"what": "stopped", "where": None, "fix": None}, "exit": 130})
    note("\npellucid: stopped")
    return 130


def report_error(error: PellucidError, *, json: bool) -> int:
    """Say what is wrong; returns the exit code."""
    from pellucid.console import error as say_error

    if json:
        print_json({"error": {"what": error.what, "where": error.where, "fix": error.fix}, "exit": error.exit_code})
    say_error(error)
    return error.exit_code
