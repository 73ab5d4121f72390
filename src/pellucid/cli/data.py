"""``pellucid seal`` and ``pellucid data list|show|release|export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, next_step, open_project, print_json
from pellucid.errors import BadData


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    seal = verbs.add_parser(
        "seal",
        help="check a data set against its schema and encrypt it",
        formatter_class=formatter,
        description="Check a CSV or Parquet file against its declared schema, then encrypt it group\n"
        "of columns by group of columns, so that only roles that may read a column can\n"
        "decrypt it.",
    )
    seal.add_argument("name", metavar="NAME")
    seal.add_argument("file", metavar="FILE", type=Path)
    seal.add_argument("--schema", metavar="S.toml", type=Path, required=True)
    seal.add_argument(
        "--from", metavar="OTHER", dest="parents", action="append", default=[], help="made of people of that data set"
    )
    common(seal)
    seal.set_defaults(act=act_seal)
    noun = verbs.add_parser(
        "data", help="list, show, release statistics of and export sealed data", formatter_class=formatter
    )
    parts = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = parts.add_parser("list", help="what is sealed", formatter_class=formatter)
    common(listing)
    listing.set_defaults(act=act_list)
    show = parts.add_parser("show", help="schema and readers of one data set; never a row", formatter_class=formatter)
    show.add_argument("name", metavar="NAME")
    common(show)
    show.set_defaults(act=act_show)
    release = parts.add_parser(
        "release",
        help="statistics with noise, paid from the budget",
        formatter_class=formatter,
        usage="pellucid data release NAME STATISTIC ... --purpose P --epsilon E",
        description="Release differentially private statistics of a data set, paid from its budget:\n"
        "count, mean:age, sum:income:0..90000, histogram:job, histogram:age:12 (bins),\n"
        "quantiles:income, quantiles:income:0.1,0.5,0.9. Bounds and categories are the\n"
        "declared ones. Every number comes with its 95 % interval.",
    )
    release.add_argument("name", metavar="NAME")
    release.add_argument("statistics", metavar="STATISTIC", nargs="+", help="KIND[:COLUMN[:OPTION]]")
    release.add_argument("--purpose", metavar="P", required=True)
    release.add_argument("--epsilon", metavar="E", type=float, required=True, help="the most that all may cost")
    release.add_argument("--delta", metavar="D", type=float, help="default: that of the budget")
    release.add_argument("--test", metavar="T", type=float, help="leave out the people that this held-out share has")
    common(release)
    release.set_defaults(act=act_release)
    export = parts.add_parser("export", help="write decrypted columns to a plaintext file", formatter_class=formatter)
    export.add_argument("name", metavar="NAME")
    export.add_argument("--columns", metavar="A,B", help="default: all")
    export.add_argument("--purpose", metavar="P", required=True)
    export.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="a new .csv or .parquet file")
    common(export)
    export.set_defaults(act=act_export)


def act_seal(options: argparse.Namespace) -> int:
    """Seal. Exact counts of refused values are for this terminal only."""
    from pellucid.console import note, say

    with open_project(options) as project:
        try:
            label = project.seal(options.name, options.file, schema=options.schema, parents=options.parents)
        except BadData as error:
            for problem in error.problems:
                rows = "1 row" if problem.count == 1 else f"{problem.count} rows"
                note(f"  {problem.column}, in {rows}: {problem.rule}")
            raise
        from pellucid.project import data

        sealed = data.dataset(project, label)
        if options.json:
            print_json({"dataset": label, "manifest": sealed.manifest_sha256})
        else:
            say(
                f"{label} sealed: {len(sealed.schema.columns)} columns, {len(sealed.manifest.groups)} groups of readers"
            )
            say(f"  manifest sha256:{sealed.manifest_sha256}")
            bound = sealed.schema.rows_per_unit
            if sealed.schema.unit != "row" and bound is None:
                note("  no rows_per_unit is declared: people may have any number of rows, and no model can be trained")
            elif bound is not None:
                say(f"  {_at_most(bound)}; what was beyond is left out")
            say(f"next: delete the plaintext {options.file} when nothing else needs it")
    return 0


def act_list(options: argparse.Namespace) -> int:
    """List."""
    from pellucid.console import table
    from pellucid.project import data

    with open_project(options) as project:
        names = [f"{name}@{version}" for name, version in data.datasets(project)]
        if options.json:
            print_json(names)
        else:
            rows = []
            for name in names:
                sealed = data.dataset(project, name)
                rows.append((name, f"{sealed.schema.units:,}", ", ".join(sealed.schema.purposes)))
            table(("data set", "people (public)", "purposes"), rows)
    return 0


def act_show(options: argparse.Namespace) -> int:
    """Show one."""
    from pellucid.console import say, table
    from pellucid.project import data

    with open_project(options) as project:
        sealed = data.dataset(project, options.name)
        readers = {c: sorted(g.readers) for g in sealed.manifest.groups for c in g.columns}
        if options.json:
            print_json(
                {
                    "dataset": sealed.label,
                    "manifest": sealed.manifest_sha256,
                    "schema": sealed.schema.document(),
                    "readers": {c: readers[c] for c in sealed.schema.columns},
                    "files": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in sealed.manifest.files],
                }
            )
            return 0
        say(f"{sealed.label}\n  manifest {sealed.manifest_sha256}")
        say(f"  target {sealed.schema.target}; unit {sealed.schema.unit}; {sealed.schema.units:,} people (public)")
        if sealed.schema.unit != "row":
            bound = sealed.schema.rows_per_unit
            say("  no bound on the rows of a person" if bound is None else f"  {_at_most(bound)}")
        say(f"  purposes {', '.join(sealed.schema.purposes)}; retention {sealed.schema.retention or 'not declared'}")
        columns = sealed.schema.columns.values()
        table(
            ("column", "type", "sensitivity", "roles that hold its key"),
            [(c.name, c.type, c.sensitivity, ", ".join(readers[c.name])) for c in columns],
        )
    return 0


def act_release(options: argparse.Namespace) -> int:
    """Release statistics."""
    from pellucid.console import say, table

    with open_project(options) as project:
        made = project.release(
            options.name,
            options.statistics,
            purpose=options.purpose,
            epsilon=options.epsilon,
            delta=options.delta,
            test=options.test,
        )
        if options.json:
            print_json(made.document())
            return 0
        plan = made.plan
        say(f"{made.label}: epsilon {plan.epsilon:g} at delta {plan.delta:g}, paid")
        rows = [
            (answer.statistic.name, name, f"{found.value:.6g}", f"{found.low:.6g}", f"{found.high:.6g}")
            for answer in made.answers
            for name, found in answer.estimates.items()
        ]
        table(("statistic", "of", "value", "95 % from", "to"), rows)
        next_step(options, "budget", options.name.partition("@")[0])
    return 0


def act_export(options: argparse.Namespace) -> int:
    """Export."""
    from pellucid.console import say
    from pellucid.project import data

    with open_project(options) as project:
        columns = [c.strip() for c in options.columns.split(",")] if options.columns else None
        path = data.export(project, options.name, columns, purpose=options.purpose, path=options.out)
        if options.json:
            print_json({"file": str(path)})
        else:
            say(f"plaintext written to {path}: nothing protects it from here on")
    return 0


def _at_most(rows: int) -> str:
    return "one row of a person" if rows == 1 else f"at most {rows} rows of a person"
