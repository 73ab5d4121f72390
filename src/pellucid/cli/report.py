"""``pellucid report``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.cli.common import Verbs, common, formatter, open_project, print_json
from pellucid.errors import Invalid, nearest

if TYPE_CHECKING:
    from pellucid.project import Project
    from pellucid.project.publish import Published


_FORMATS = ("cyclonedx", "huggingface", "model-signing", "mlflow")
_EXPORT = "cyclonedx, huggingface, model-signing or mlflow; may be given several times"


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "report",
        help="write report.html, report.json and bundle.json",
        formatter_class=formatter,
        description="Write what is known of a model for readers of a tier: a page people read, the\n"
        "same as JSON, and the bundle of evidence that a third party verifies.\n"
        "--lint looks for leaks in a report of any tool, --open decrypts stewards' rows.",
    )
    parser.add_argument("model", metavar="M", nargs="?")
    parser.add_argument("--tier", choices=("public", "auditor", "steward"), default="auditor", help="default: auditor")
    parser.add_argument("--policy", metavar="P.toml", type=Path, help="default: policies/release.toml of the project")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, help="default: reports/M in the project")
    parser.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the page (default: en)")
    parser.add_argument("--pdf", action="store_true", help="also print report.pdf, through Chromium or Chrome")
    exports = parser.add_argument_group("for other tools")
    exports.add_argument("--export", metavar="FORMAT", action="append", default=[], help=_EXPORT)
    exports.add_argument("--signing-key", metavar="KEY.pem", type=Path, help="key on P-256, P-384 or P-521")
    exports.add_argument("--tracking-uri", metavar="URI", help="where MLflow logs to (default: MLFLOW_TRACKING_URI)")
    leaks = parser.add_argument_group("leaks and rows")
    leaks.add_argument("--lint", metavar="FILE", type=Path, help="look for leaks in FILE: 0 none found, 1 some")
    leaks.add_argument("--data", metavar="D", help="hold FILE against this data set")
    leaks.add_argument("--marker", metavar="TEXT", action="append", default=[], help="a text that must not be in FILE")
    leaks.add_argument("--open", metavar="FILE", type=Path, help="decrypt the rows of a steward's report to -o FILE")
    leaks.add_argument("--purpose", metavar="P", help="what the data is read for")
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb. A report of a model that may not be released is a report all the same: exit 0."""
    from pellucid.console import note, say
    from pellucid.project import printing, publish

    if options.pdf:
        printing.browser()  # before anything is decided or written
    if options.lint is not None:
        return _lint(options)
    if options.open is not None:
        return _open(options)
    if options.model is None:
        raise Invalid("which model is the report about?", fix="pellucid report M")
    for name in options.export:
        if name not in _FORMATS:
            raise Invalid(f'there is no export "{name}"{nearest(name, _FORMATS)}', fix=f"--export {_EXPORT}")
    with open_project(options) as project:
        made = publish.report(
            project, options.model, tier=options.tier, out=options.out, policy=options.policy, lang=options.lang
        )
        exported = _exported(options, project, made)
    pdf = printing.print_pdf(made.html) if options.pdf else None
    if made.notice:
        note(f"notice: {made.notice}")
    if options.json:
        files = {"html": str(made.html), "json": str(made.json), "bundle": str(made.bundle), **exported}
        print_json({**files, "pdf": str(pdf)} if pdf else files)
    else:
        say(made.summary)
        say(f"report  {made.html}")
        say(f"twin    {made.json}")
        say(f"bundle  {made.bundle}")
        if pdf:
            say(f"print   {pdf}")
        for name, where in exported.items():
            say(f"{name}  {where}")
    return 0


def _exported(options: argparse.Namespace, project: Project, made: Published) -> dict[str, str]:
    """The report in the forms of other tools; PELLUCID_SIGNING_PASSPHRASE opens the signing key."""
    if not options.export:
        return {}
    from pellucid.project import exporting

    passphrase = os.environ.get("PELLUCID_SIGNING_PASSPHRASE")
    return exporting.export(
        project,
        made,
        options.export,
        signing_key=options.signing_key,
        key_passphrase=passphrase.encode("utf-8") if passphrase else None,
        tracking_uri=options.tracking_uri,
    )


def _lint(options: argparse.Namespace) -> int:
    """Say what a file gives away; nothing of the data is printed."""
    from pellucid.console import say
    from pellucid.disclosure import lint
    from pellucid.project import leaks

    columns: tuple[str, ...] = ()
    if options.data is None:
        found = lint(leaks.read_file(options.lint), markers=options.marker)
    else:
        with open_project(options) as project:
            found, columns = leaks.find(
                project, options.lint, dataset=options.data, purpose=options.purpose, markers=options.marker
            )
    if options.json:
        listed = [{"kind": leak.kind, "what": leak.what, "times": leak.times} for leak in found]
        print_json({"file": str(options.lint), "columns": list(columns), "leaks": listed})
        return int(bool(found))
    for leak in found:
        say(f"✗ {leak.kind}: {leak.what} ({leak.times} times)" if leak.times > 1 else f"✗ {leak.kind}: {leak.what}")
    against = f"held against {', '.join(columns)}" if columns else "held against no data: --data D looks for rows"
    say(f"{'leaks' if found else 'no leak found'} in {options.lint}; {against}")
    return int(bool(found))


def _open(options: argparse.Namespace) -> int:
    """Decrypt rows to a file of their own, never over one and for nobody else to read."""
    from pellucid.console import say
    from pellucid.project import attachment

    if options.out is None:
        raise Invalid("rows are decrypted to a file: which one?", fix="-o FILE.json")
    with open_project(options) as project:
        attachment.extract(project, options.open, options.out, purpose=options.purpose)
    if options.json:
        print_json({"rows": str(options.out)})
    else:
        say(f"rows  {options.out}   (plaintext: delete it when you are done)")
    return 0
