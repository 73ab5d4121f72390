"""The command line: verbs only. Parse, call, exit code; no logic.

Exit codes everywhere: 0 yes · 1 no (a requirement failed; access, purpose or budget denied) · 2 the tool or its use is
wrong · 3 evidence missing, unverifiable or tampered with. Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pellucid.errors import PellucidError

__all__ = ["build_parser", "run"]


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Cheap: a verb imports its room when it runs."""
    from pellucid.cli import access, budget, check, data, demo, identity, log, model, report, role, start, train, verify
    from pellucid.cli.common import Parser, formatter

    parser = Parser(
        prog="pellucid",
        formatter_class=formatter,
        description="The governance layer around PyTorch training: sealed data, access policy, differential privacy\n"
        "within a budget, tested explanations, signed evidence, and a release check that can say no.",
        epilog="exit codes: 0 yes, 1 no, 2 the tool or its use is wrong, 3 evidence missing or tampered with\n"
        "the corridor: init, seal, train, report, check, verify; pellucid demo walks it on real data",
    )
    parser.add_argument("--version", action="version", version=f"pellucid {_version()}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    for part in (start, identity, role, data, budget, train, model, report, check, verify, log, access, demo):
        part.add(verbs)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("pellucid")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. No exception leaves here, and no traceback reaches a user."""
    from pellucid.cli.common import report_error

    parser = build_parser()
    json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser.parse_args(arguments)
        if not hasattr(options, "act"):
            parser.print_help()
            return 2
        code: int = options.act(options)
        sys.stdout.flush()
        return code
    except PellucidError as error:
        return report_error(error, json=json)
    except KeyboardInterrupt:
        sys.stderr.write("\npellucid: stopped\n")
        return 130
    except BrokenPipeError:
        # The reader (a pager, head) went away: not an error of ours, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return report_error(PellucidError("out of memory", fix="use less data at once or a larger machine"), json=json)
    except OSError as error:
        where = str(error.filename) if error.filename else None
        return report_error(PellucidError(error.strerror or "the system refused", where=where), json=json)
    except ModuleNotFoundError as error:
        from pellucid.errors import MissingExtra

        extra = "vault" if error.name in ("pyarrow", "pandas", "cedarpy") else "train"
        return report_error(
            MissingExtra(
                f"this verb needs {error.name}, which is not installed", fix=f'pip install "pellucid[{extra}]"'
            ),
            json=json,
        )
    except Exception as error:  # the last door: an uncaught error is ours, and may not show values
        if os.environ.get("PELLUCID_DEBUG"):
            raise
        kind = type(error).__name__
        return report_error(
            PellucidError(
                f"an error that Pellucid did not foresee ({kind})",
                fix="run it again with PELLUCID_DEBUG=1 for the traceback (it may show data) and tell us",
            ),
            json=json,
        )
