"""``pellucid identity new|show``."""

from __future__ import annotations

import argparse

from pellucid.cli.common import Verbs, common, formatter, open_project, passphrase, print_json


def add(verbs: Verbs) -> None:
    """Add the noun and its verbs."""
    noun = verbs.add_parser("identity", help="make and show identities", formatter_class=formatter)
    parts = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    new = parts.add_parser(
        "new",
        help="make an identity",
        formatter_class=formatter,
        description="Make an identity: an Ed25519 key and an HPKE key, encrypted under a\n"
        "passphrase. It can do nothing before an owner grants it a role.",
    )
    new.add_argument("name", metavar="NAME")
    common(new)
    new.set_defaults(act=act_new)
    show = parts.add_parser("show", help="show who is who", formatter_class=formatter)
    show.add_argument("name", metavar="NAME", nargs="?")
    common(show)
    show.set_defaults(act=act_show)


def act_new(options: argparse.Namespace) -> int:
    """Make one. The passphrase is the new identity's."""
    from pellucid.console import say
    from pellucid.project import people

    with open_project(options) as project:
        public = people.new_identity(project, options.name, passphrase(options, new=True)(options.name))
        if options.json:
            print_json({"name": public.name, "key": public.verifier.line})
        else:
            say(f"identity {public.name}  {public.verifier.line}")
            say(f"next: the owner runs pellucid role grant ROLE {public.name}")
    return 0


def act_show(options: argparse.Namespace) -> int:
    """Names, roles and public keys."""
    from pellucid.console import table
    from pellucid.keys import read_public
    from pellucid.project.project import unknown

    with open_project(options) as project:
        names = project.layout.identities()
        if options.name is not None:
            if options.name not in names:
                raise unknown("identity", options.name, names, "pellucid identity new makes one")
            names = [options.name]
        keys = {name: read_public(project.layout.identity(name), name).verifier.line for name in names}
        if options.json:
            print_json([{"name": n, "roles": sorted(project.roles(n)), "key": key} for n, key in keys.items()])
        else:
            table(
                ("identity", "roles", "verifier key"),
                [(n, ", ".join(sorted(project.roles(n))) or "-", key) for n, key in keys.items()],
            )
    return 0
