"""The command line: verbs only. Parse, call, exit code; no logic.

Exit codes everywhere: 0 yes · 1 no (a requirement failed; access, purpose or budget denied) · 2 the tool or its use is
wrong · 3 evidence missing, unverifiable or tampered with. Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from pellucid.errors import MissingExtra, PellucidError

__all__ = ["build_parser", "run"]

_GROUPS: Final = (
    ("the project and its people", ("init", "identity", "role", "access")),
    ("the data", ("seal", "data", "budget")),
    ("the model", ("doctor", "train", "tune", "evaluate", "explain", "attack")),
    ("its release", ("report", "review", "waive", "check", "verify", "log")),
    ("all of it, on real data", ("demo",)),
)
# Which extra brings what. Anything else that is missing is not ours to name.
_EXTRAS: Final = {
    **dict.fromkeys(("pyarrow", "pandas", "cedarpy", "opendp"), "vault"),
    **dict.fromkeys(
        ("torch", "opacus", "captum", "shap", "safetensors", "fairlearn", "sklearn", "interpret", "cleanlab"), "train"
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Cheap: a verb imports its room when it runs."""
    from pellucid.cli import (
        access,
        budget,
        check,
        data,
        demo,
        doctor,
        identity,
        log,
        model,
        report,
        review,
        role,
        start,
        train,
        tune,
        verify,
        waive,
    )
    from pellucid.cli.common import Parser, formatter

    parser = Parser(
        prog="pellucid",
        usage="pellucid [-h] [--version] VERB ...",
        formatter_class=formatter,
        description="The governance layer around PyTorch training: sealed data, access policy,\n"
        "differential privacy within a budget, tested explanations, signed evidence,\n"
        "and a release check that can say no.",
    )
    parser.add_argument("--version", action="version", version=f"pellucid {_version()}")
    verbs = parser.add_subparsers(prog="pellucid", metavar="VERB", dest="verb", help=argparse.SUPPRESS)
    for part in (
        start,
        identity,
        role,
        access,
        data,
        budget,
        doctor,
        train,
        tune,
        model,
        report,
        review,
        waive,
        check,
        verify,
        log,
        demo,
    ):
        part.add(verbs)
    parser.epilog = "\n".join(
        (
            *_listing({part.dest: part.help or "" for part in verbs._get_subactions()}),
            "exit codes: 0 yes, 1 no, 2 the tool or its use is wrong, 3 evidence missing or",
            "tampered with. Every verb has its own page: pellucid VERB --help",
        )
    )
    return parser


def _listing(helps: dict[str, str]) -> list[str]:
    """The verbs in the order of the work, one line each; argparse itself cannot group them."""
    lines: list[str] = []
    for title, names in _GROUPS:
        lines += [f"{title}:", *(f"  {name:<10}{helps.pop(name)}" for name in names), ""]
    if helps:
        raise AssertionError(f"verbs without a group: {', '.join(helps)}")
    return lines


def _version() -> str:
    from importlib.metadata import version

    return version("pellucid")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. No exception leaves here, and no traceback reaches a user."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    json = _wants_json(words)
    code = 2  # what a command that never came to its end is
    try:
        code = _act(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        from pellucid.cli.common import report_stop

        return report_stop(json=json)
    except BrokenPipeError:
        from pellucid.console import forsake

        forsake()  # nothing more can be said, but a refusal stays a refusal
        return code
    except Exception as error:  # the last door: an uncaught error is ours, and may not show values
        if os.environ.get("PELLUCID_DEBUG") and not isinstance(error, (PellucidError, OSError)):
            raise
        return _report(_ours(error), json=json)


def _act(words: Sequence[str]) -> int:
    parser = build_parser()
    try:
        options = parser.parse_args(words)
    except SystemExit as leaving:  # --help and --version
        return int(leaving.code or 0)
    if not hasattr(options, "act"):
        parser.print_help()
        return 2
    code: int = options.act(options)
    return code


def _wants_json(words: Sequence[str]) -> bool:
    """Whether an error has to be a JSON document too. Known before the words are parsed: parsing may be what fails."""
    return "--json" in words or "-ojson" in words or ("-o", "json") in pairwise(words)


def _ours(error: Exception) -> PellucidError:
    """The error in Pellucid's words."""
    if isinstance(error, PellucidError):
        return error
    if isinstance(error, MemoryError):
        return PellucidError("out of memory", fix="use less data at once or a larger machine")
    if isinstance(error, OSError):
        return PellucidError(
            error.strerror or "the system refused", where=str(error.filename) if error.filename else None
        )
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in _EXTRAS:
        return MissingExtra(
            f"this verb needs {missing}, which is not installed", fix=f'pip install "pellucid[{_EXTRAS[missing]}]"'
        )
    return PellucidError(
        f"an error that Pellucid did not foresee ({type(error).__name__})",
        fix="run it again with PELLUCID_DEBUG=1 for the traceback (it may show data) and tell us",
    )


def _report(error: PellucidError, *, json: bool) -> int:
    from pellucid.cli.common import report_error

    try:
        return report_error(error, json=json)
    except OSError:  # standard output itself is the trouble, such as a full disk
        from pellucid.console import forsake

        forsake()
        return report_error(error, json=False)
