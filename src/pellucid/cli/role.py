"""``pellucid role grant|revoke|list``."""

from __future__ import annotations

import argparse
import datetime as dt

from pellucid.cli.common import Verbs, common, formatter, open_project, print_json
from pellucid.errors import Invalid


def add(verbs: Verbs) -> None:
    """Add the noun and its verbs."""
    noun = verbs.add_parser("role", help="grant, revoke and list roles", formatter_class=formatter)
    parts = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    grant = parts.add_parser("grant", help="give a role to an identity", formatter_class=formatter)
    grant.add_argument("role", metavar="ROLE", help="steward, scientist, auditor or reader")
    grant.add_argument("name", metavar="IDENTITY")
    grant.add_argument("--expires", metavar="D", help="last day of the grant, such as 2027-06-30")
    common(grant)
    grant.set_defaults(act=act_grant)
    revoke = parts.add_parser("revoke", help="take a role from an identity", formatter_class=formatter)
    revoke.add_argument("role", metavar="ROLE")
    revoke.add_argument("name", metavar="IDENTITY")
    common(revoke)
    revoke.set_defaults(act=act_revoke)
    listing = parts.add_parser("list", help="who holds which role", formatter_class=formatter)
    common(listing)
    listing.set_defaults(act=act_list)


def act_grant(options: argparse.Namespace) -> int:
    """Grant."""
    from pellucid.console import say
    from pellucid.project import people

    try:
        expires = dt.date.fromisoformat(options.expires) if options.expires else None
    except ValueError as error:
        raise Invalid("not a date", where="--expires", fix="write it as 2027-06-30") from error
    with open_project(options) as project:
        index = people.grant(project, options.role, options.name, expires=expires)
        if options.json:
            print_json({"role": options.role, "identity": options.name, "entry": index})
        else:
            until = f" until {expires}" if expires else ""
            say(f"{options.name} is {options.role}{until}: log entry {index}")
    return 0


def act_revoke(options: argparse.Namespace) -> int:
    """Revoke."""
    from pellucid.console import say
    from pellucid.project import people

    with open_project(options) as project:
        index = people.revoke(project, options.role, options.name)
        if options.json:
            print_json({"role": options.role, "identity": options.name, "entry": index})
        else:
            say(f"{options.name} is no longer {options.role}: log entry {index}")
            say("data sealed from now on is out of reach by cryptography; a copy made of older keys and files is not")
    return 0


def act_list(options: argparse.Namespace) -> int:
    """List."""
    from pellucid.console import table
    from pellucid.project.project import today

    with open_project(options) as project:
        roles = {role: sorted(project.membership.members(role, today())) for role in sorted(project.membership.roles())}
        if options.json:
            print_json(roles)
        else:
            table(("role", "members"), [(role, ", ".join(members) or "-") for role, members in roles.items()])
    return 0
