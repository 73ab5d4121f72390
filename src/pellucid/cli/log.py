"""``pellucid log show|verify|prove|checkpoint``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pellucid.cli.common import Verbs, common, formatter, open_project, print_json


def add(verbs: Verbs) -> None:
    """Add the noun and its verbs."""
    noun = verbs.add_parser("log", help="the tamper-evident log", formatter_class=formatter)
    parts = noun.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = parts.add_parser("show", help="the entries, one line each", formatter_class=formatter)
    show.add_argument("index", metavar="INDEX", nargs="?", type=int, help="one entry, whole")
    show.add_argument("--last", metavar="N", type=int, help="only the last N")
    verify = parts.add_parser("verify", help="every entry, signature and checkpoint", formatter_class=formatter)
    prove = parts.add_parser("prove", help="an entry with its inclusion proof", formatter_class=formatter)
    prove.add_argument("index", metavar="INDEX", type=int)
    prove.add_argument("-o", "--out", metavar="F", type=Path, help="default: standard output")
    prove.add_argument(
        "--since", metavar="SIZE", type=int, help="also prove that a checkpoint of SIZE entries was only added to"
    )
    checkpoint = parts.add_parser(
        "checkpoint", help="the signed tree head, to keep elsewhere", formatter_class=formatter
    )
    for parser, act in ((show, act_show), (verify, act_verify), (prove, act_prove), (checkpoint, act_checkpoint)):
        common(parser)
        parser.set_defaults(act=act)


def _line(entry: Any) -> dict[str, Any]:
    body = entry.body
    if entry.kind == "evidence":
        evidence = entry.evidence
        about, at = f"{evidence.kind} of {evidence.subject.name}", str(evidence.how.get("at", ""))
    else:
        at = str(body["at"])
        about = _about(entry.kind, body)
    return {"index": entry.index, "at": at, "kind": entry.kind, "by": entry.signer.name, "about": about}


def _about(kind: str, body: Any) -> str:
    if kind == "decision":
        verdict = "allowed" if body["allowed"] else "DENIED"
        purpose = f' for "{body["purpose"]}"' if body["purpose"] else ""
        what = str(body["resource"]["name"]).replace(",", ", ")
        return f"{verdict}: {body['identity']} {body['action']} {what}{purpose}"
    about = {
        "genesis": lambda: f"project {body['project']} of {body['owner']['name']}",
        "role-key": lambda: f"{body['role']}@{body['generation']}",
        "grant": lambda: f"{body['role']} to {body['identity']['name']}",
        "revoke": lambda: f"{body['role']} from {body['identity']}",
        "adopt": lambda: f"{body['what']} {body['sha256'][:12]}",
        "seal": lambda: f"{body['dataset']}@{body['version']}",
        "budget": lambda: f"{body['dataset']}: epsilon {body['epsilon']:g}, delta {body['delta']:g}",
        "reserve": lambda: f"{body['run']}: epsilon {body['epsilon']:g} of {body['dataset']}",
        "settle": lambda: f"{body['status']}, {body['steps']} steps",
    }
    return about[kind]() if kind in about else ""


def act_show(options: argparse.Namespace) -> int:
    """Show."""
    from pellucid.console import table
    from pellucid.errors import UnknownName

    with open_project(options) as project:
        entries = project.entries()
        if options.index is not None:
            if not 0 <= options.index < len(entries):
                raise UnknownName(f"the log has entries 0 to {len(entries) - 1}", where="log show")
            entry = entries[options.index]
            body = entry.evidence.statement() if entry.kind == "evidence" else dict(entry.body)
            print_json({**_line(entry), "body": body})
            return 0
        lines = (
            [_line(entry) for entry in entries[-options.last :] if options.last != 0]
            if options.last
            else list(map(_line, entries))
        )
        if options.json:
            print_json(lines)
        else:
            table(
                ("entry", "at", "kind", "by", "about"),
                [(str(x["index"]), x["at"], x["kind"], x["by"].partition("/")[2], x["about"]) for x in lines],
            )
    return 0


def act_verify(options: argparse.Namespace) -> int:
    """Verify."""
    from pellucid.console import say
    from pellucid.log import verify

    with open_project(options) as project:
        result = verify(project.log, project.membership.log_key, project.name)
        if options.json:
            print_json({"ok": True, "size": result.size, "root": result.root.hex()})
        else:
            say(f"VERIFIED: {result.size} entries\n  root {result.root.hex()}")
    return 0


def act_prove(options: argparse.Namespace) -> int:
    """Prove."""
    from pellucid.console import say
    from pellucid.errors import BadFile
    from pellucid.project import publish

    with open_project(options) as project:
        document = publish.proof(project, options.index, since=options.since)
    if options.out is None:
        print_json(document)
        return 0
    if options.out.exists():
        raise BadFile("the file exists already", where=str(options.out))
    from pellucid.evidence import canonical

    options.out.write_bytes(canonical(document))
    if options.json:
        print_json({"file": str(options.out)})
    else:
        say(f"proof of entry {options.index} in {options.out}")
    return 0


def act_checkpoint(options: argparse.Namespace) -> int:
    """Print the newest checkpoint."""
    from pellucid.console import say

    with open_project(options) as project:
        note = project.log.checkpoint() or ""
        if options.json:
            print_json({"checkpoint": note})
        else:
            say(note.rstrip("\n"))
    return 0
