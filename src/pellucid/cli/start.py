"""``pellucid init``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pellucid.cli.common import Verbs, formatter, passphrase, print_json


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "init",
        help="make a project: policies, an owner, the log",
        formatter_class=formatter,
        description="Make a project in DIR: an owner identity, role keys, the shipped\n"
        "policies, and a log whose entry 0 the owner signs.",
    )
    parser.add_argument("dir", metavar="DIR", type=Path)
    parser.add_argument("--owner", "--as", metavar="NAME", default="owner", help="the owner's name (default: owner)")
    parser.add_argument("--name", metavar="NAME", help="the project's name (default: the folder's)")
    parser.add_argument("--passphrase-file", metavar="F", type=Path, help="file with the owner's passphrase")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.console import command, say
    from pellucid.project import Project

    asked = passphrase(options, new=True)
    known: dict[str, str] = {}

    def once(name: str) -> str:
        return known.setdefault(name, asked(name))

    with Project.init(options.dir, owner=options.owner, passphrase=once, name=options.name) as project:
        if options.json:
            print_json({"project": project.name, "owner": options.owner, "key": project.owner.line})
            return 0
        say(f"project {project.name} in {options.dir}, owned by {options.owner}")
        say(f"  owner's key, for whoever verifies   {options.dir / 'owner.pub'}")
        say(f"  who may do what                     {options.dir / 'policies' / 'access.cedar'}")
        say(f"  what a release must meet            {options.dir / 'policies' / 'release.toml'}")
        say(f"  what only people can say            {options.dir / 'model.toml'}")
        say(f"next: {command('seal', 'NAME', 'FILE', '--schema', 'SCHEMA.toml', project=options.dir)}")
    return 0
