"""``pellucid check``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.common import Verbs, common, formatter
from pellucid.errors import Invalid, nearest

if TYPE_CHECKING:
    from pellucid.bundle import Bundle


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "check",
        help="hold a bundle or a model against the release policy",
        formatter_class=formatter,
        description="Verify the evidence and hold it against a release policy. Exit 0: every\n"
        "requirement is met. 1: one is not. 2: the policy or its use is wrong.\n"
        "3: the bundle does not verify, or something required was not measured.",
    )
    parser.add_argument("subject", metavar="BUNDLE|M", help="a bundle file, or a model of the project")
    parser.add_argument("--policy", metavar="P.toml", type=Path, help="default: policies/release.toml of the project")
    parser.add_argument("--key", metavar="OWNER.pub", type=Path, action="append", help="a trusted owner's key")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="bind the weights too")
    parser.add_argument(
        "-o", dest="outputs", metavar="FORMAT[=PATH]", action="append", help="text or json; several at once"
    )
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    from pellucid.check import FORMATS, check
    from pellucid.cli.trust import owners

    outputs = _outputs(options, FORMATS)
    file = Path(options.subject)
    subject: Bundle | Path
    if file.is_file():
        policy, weights, subject, default = options.policy, options.weights, file, owners(options.project)
        if policy is None:
            raise Invalid("a bundle file is checked against a named policy", fix="add --policy release.toml")
    else:
        from pellucid.cli.common import open_project
        from pellucid.project import publish
        from pellucid.project.model import resolve

        with open_project(options) as project:
            label = resolve(project, options.subject)
            subject = publish.fresh_bundle(project, label)
            policy = publish.policy_path(project, options.policy)
            weights = options.weights or publish.weights(project, label)
            default = [project.owner]
    named = owners(None, options.key) if options.key else None
    result = check(subject, policy, owners=named, default_owners=default, weights=weights)
    for name, path in outputs:
        text = FORMATS[name](result)
        if path is None:
            from pellucid.console import say

            say(text.rstrip("\n"))
        else:
            path.write_text(text, encoding="utf-8")
    return result.exit


def _outputs(options: argparse.Namespace, formats: Any) -> list[tuple[str, Path | None]]:
    """Formats and where they go; at most one goes to standard output."""
    outputs: list[tuple[str, Path | None]] = []
    for text in options.outputs or []:
        name, _, path = text.partition("=")
        if name not in formats:
            raise Invalid(f'there is no format "{name}"{nearest(name, formats)}', fix=f"use {', '.join(formats)}")
        outputs.append((name, Path(path) if path else None))
    if options.json and ("json", None) not in outputs:
        outputs.append(("json", None))
    if not outputs:
        outputs.append(("text", None))
    if sum(path is None for _, path in outputs) > 1:
        raise Invalid("two formats cannot both go to standard output", fix="give all but one a file: -o json=FILE")
    return outputs
