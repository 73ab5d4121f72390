"""``pellucid access can|explain|test|lint|adopt``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, open_project, print_json


def add(verbs: Verbs) -> None:
    """Add the noun and its verbs."""
    noun = verbs.add_parser("access", help="ask, test and adopt the access policy", formatter_class=formatter)
    parts = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    can = parts.add_parser(
        "can",
        help="may IDENTITY do ACTION on RESOURCE? exit 0 yes, 1 no",
        formatter_class=formatter,
        description="Ask the adopted policy without doing anything. RESOURCE is a data set, a column\n"
        "as dataset/column, a model, or the project's name.",
    )
    explain = parts.add_parser("explain", help="the same, and which policies decided", formatter_class=formatter)
    for parser, act in ((can, act_can), (explain, act_explain)):
        parser.add_argument("name", metavar="IDENTITY")
        parser.add_argument("action", metavar="ACTION")
        parser.add_argument("resource", metavar="RESOURCE")
        parser.add_argument("--purpose", metavar="P")
        common(parser)
        parser.set_defaults(act=act)
    test = parts.add_parser("test", help="run the cases beside the policy", formatter_class=formatter)
    lint = parts.add_parser("lint", help="what is dangerous or useless in the policy", formatter_class=formatter)
    for parser, act in ((test, act_test), (lint, act_lint)):
        common(parser)
        parser.set_defaults(act=act)
    adopt = parts.add_parser(
        "adopt",
        help="the owner signs a policy or schema into force",
        formatter_class=formatter,
        description="Without --schema: the access policy and its schema as they stand in policies/.",
    )
    adopt.add_argument("--schema", metavar="S.toml", type=Path, help="a data set's schema instead")
    adopt.add_argument("--dataset", metavar="NAME", help="its data set (default: the file's name)")
    common(adopt)
    adopt.set_defaults(act=act_adopt)


def act_can(options: argparse.Namespace) -> int:
    """Yes or no."""
    return _ask(options, whole=False)


def act_explain(options: argparse.Namespace) -> int:
    """Yes or no, and why."""
    return _ask(options, whole=True)


def _ask(options: argparse.Namespace, *, whole: bool) -> int:
    from pellucid.console import say
    from pellucid.project import question

    with open_project(options) as project:
        decision = question.ask(project, options.name, options.action, options.resource, options.purpose)
    if options.json:
        print_json(decision.record())
    else:
        say(("yes: " if decision.allowed else "no: ") + decision.reason)
        if whole:
            say(f"  roles     {', '.join(sorted(decision.request.principal.roles)) or '-'}")
            say(f"  decided   {', '.join(decision.policies) or 'no policy'}")
            say(f"  policy    {decision.policy_sha256}")
            say(f"  schema    {decision.schema_sha256}")
    return 0 if decision.allowed else 1


def act_test(options: argparse.Namespace) -> int:
    """Run the cases. 0 if all hold, 1 if one does not."""
    from pellucid.access import TESTS_FILE, AccessPolicy, read_cases, run
    from pellucid.console import say

    with open_project(options) as project:
        path = project.layout.policies / TESTS_FILE
        failures = run(AccessPolicy.load(project.layout.policies), path)
        count = len(read_cases(path))
    if options.json:
        print_json({"cases": count, "failures": [str(f) for f in failures]})
    else:
        for failure in failures:
            say(f"FAIL  {failure}")
        say(f"{count - len(failures)} of {count} cases hold")
    return 1 if failures else 0


def act_lint(options: argparse.Namespace) -> int:
    """Lint. 0 if nothing was found, 1 otherwise."""
    from pellucid.access import AccessPolicy, lint
    from pellucid.console import say

    with open_project(options) as project:
        remarks = lint(AccessPolicy.load(project.layout.policies))
    if options.json:
        print_json([{"id": r.id, "policy": r.policy, "line": r.line, "says": r.says} for r in remarks])
    else:
        for remark in remarks:
            say(f"access.cedar:{remark.line}: {remark.id}: {remark.says}")
        say(f"{len(remarks)} remarks")
    return 1 if remarks else 0


def act_adopt(options: argparse.Namespace) -> int:
    """Adopt."""
    from pellucid.console import say
    from pellucid.project import people

    with open_project(options) as project:
        done = people.adopt(project, schema=options.schema, dataset=options.dataset)
    if options.json:
        print_json({"adopted": done})
    else:
        for line in done:
            say(f"adopted {line}" if "sha256:" in line else line)
    return 0
