"""``pellucid verify``."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, print_json


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "verify",
        help="verify a bundle, or the whole project, offline",
        formatter_class=formatter,
        description="With BUNDLE: signatures, proofs, grants, and epsilon computed again by two\n"
        "accountants. It needs the bundle and the owner's key and nothing else. Without:\n"
        "the whole project, its log, policies, sealed files, weights and bundles.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", type=Path)
    parser.add_argument("--key", metavar="OWNER.pub", type=Path, action="append", help="a trusted owner's key")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="bind the weights too")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    return _project(options) if options.bundle is None else _bundle(options)


def _bundle(options: argparse.Namespace) -> int:
    from pellucid.check import render_verification
    from pellucid.check.verify import verify_file
    from pellucid.cli.trust import owners
    from pellucid.console import say

    trusted = owners(options.project, options.key or ())
    result = verify_file(options.bundle, trusted, weights=options.weights)
    if options.json:
        print_json(result.document())
    else:
        say(render_verification(result).rstrip("\n"))
    return result.exit


def _project(options: argparse.Namespace) -> int:
    from pellucid.cli.common import open_project
    from pellucid.console import say
    from pellucid.errors import Invalid
    from pellucid.project import publish

    if options.key or options.weights:
        raise Invalid("--key and --weights go with a bundle", fix="pellucid verify BUNDLE --key OWNER.pub")
    with open_project(options) as project:
        checks = publish.verify_project(project)
    ok = all(check["status"] == "pass" for check in checks)
    if options.json:
        print_json({"ok": ok, "checks": checks, "epsilon": None})
    else:
        for check in checks:
            line = f"{check['status'].upper():<5} {check['name']}: {check['detail']}"
            say(textwrap.fill(line, 80, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False))
        say("VERIFIED" if ok else "NOT VERIFIED")
    return 0 if ok else 3
