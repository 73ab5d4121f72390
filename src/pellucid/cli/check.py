"""``pellucid check``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.common import Verbs, common, formatter, print_json
from pellucid.errors import Invalid, PellucidError, nearest

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.check import CheckResult, ReleasePolicy
    from pellucid.keys import VerifyKey


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "check",
        help="hold a bundle or a model against the release policy",
        formatter_class=formatter,
        usage="pellucid check BUNDLE|M [options]\n"
        "       pellucid check explain ID [BUNDLE|M] [options]\n"
        "       pellucid check --lint | --test [options]",
        description="Verify the evidence and hold it against a release policy. Exit 0: every\n"
        "requirement is met. 1: one is not. 2: the policy or its use is wrong.\n"
        "3: the bundle does not verify, or something required was not measured.\n"
        "With explain: what requirement ID asks, on what it rests, what would meet it.",
    )
    parser.add_argument("words", metavar="BUNDLE|M", nargs="*", help="a bundle file, or a model of the project")
    policy = parser.add_argument_group("the policy")
    policy.add_argument(
        "--policy", metavar="P.toml", help="or a shipped one by name (default: policies/release.toml of the project)"
    )
    policy.add_argument("--env", metavar="NAME", help="the environment whose parameters count")
    policy.add_argument("--waivers", metavar="W.toml", type=Path, help="default: waivers.toml beside the policy")
    policy.add_argument("--lint", action="store_true", help="what is doubtful in the policy; 1 if something is")
    policy.add_argument("--test", action="store_true", help="run the cases beside the policy; 1 if one does not hold")
    other = parser.add_argument_group("another bundle")
    other.add_argument("--baseline", metavar="BUNDLE", type=Path, help="fail only on what is worse than in this one")
    other.add_argument("--diff", metavar="BUNDLE", type=Path, help="say what changed since this one")
    parser.add_argument("--key", metavar="OWNER.pub", type=Path, action="append", help="a trusted owner's key")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="bind the weights too")
    parser.add_argument(
        "-o",
        dest="outputs",
        metavar="FORMAT[=PATH]",
        action="append",
        help="text, json, sarif, junit, markdown, github; several at once",
    )
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    outputs = _outputs(options)
    try:
        return _act(options, outputs)
    except PellucidError as error:
        if ("github", None) in outputs:  # a broken policy is an annotation too
            from pellucid.check.github import annotation
            from pellucid.console import say

            say(
                annotation(
                    "error", f"{error.what}. {error.fix or ''}".strip(), title=f"pellucid: {error.where or 'check'}"
                )
            )
        raise


def _act(options: argparse.Namespace, outputs: Sequence[tuple[str, Path | None]]) -> int:
    words = options.words
    explained = words[1] if words[:1] == ["explain"] and len(words) > 1 else None
    subjects = words[2:] if explained else words
    if len(subjects) > 1:
        raise Invalid(f'there is no place for "{subjects[1]}" here', fix="pellucid check takes one BUNDLE or M")
    if (options.lint or options.test) and words:
        raise Invalid("--lint and --test look at the policy alone", fix="leave the bundle out, or the option")
    if options.lint or options.test:
        return _policy_alone(options)
    if not subjects and not explained:
        raise Invalid("name a bundle file or a model", fix="pellucid check BUNDLE --policy P.toml --key OWNER.pub")
    result = _result(options, subjects[0]) if subjects else None
    if explained:
        return _explain(options, explained, result)
    assert result is not None  # noqa: S101  # there is a subject
    # files first: a verdict on the screen is the last word, and follows nothing that went wrong
    for name, path in sorted(outputs, key=lambda output: output[1] is None):
        _write(result, name, path)
    return result.exit


def _result(options: argparse.Namespace, word: str) -> CheckResult:
    from pellucid.check import check
    from pellucid.cli.trust import owners

    for other in (options.baseline, options.diff):
        if other is not None and not Path(other).is_file():
            raise Invalid(
                "there is no such bundle to compare with",
                where=str(other),
                fix="name a file: models/M@1/bundle.json in the project, or the bundle.json beside a report",
            )
    file = Path(word)
    subject: Bundle | Path
    default: Sequence[VerifyKey]
    if file.is_file():
        if options.policy is None:
            raise Invalid("a bundle file is checked against a named policy", fix="add --policy release.toml")
        policy, weights, subject, default = _policy(options), options.weights, file, owners(options.project)
    else:
        from pellucid.cli.common import open_project
        from pellucid.project import publish
        from pellucid.project.model import resolve

        with open_project(options) as project:
            label = resolve(project, word)
            subject = publish.fresh_bundle(project, label)
            policy = _policy(options, project.layout.policies)
            weights = options.weights or publish.weights(project, label)
            default = [project.owner]
    return check(
        subject,
        policy,
        owners=owners(None, options.key) if options.key else None,
        default_owners=default,
        weights=weights,
        waivers=options.waivers,
        environment=options.env,
        baseline=options.baseline,
        diff=options.diff,
    )


def _policy(options: argparse.Namespace, policies: Path | None = None) -> Path:
    """The policy's file: the one named, a shipped one by its name, or the project's."""
    if options.policy is None:
        if policies is None:
            from pellucid.project.layout import find

            policies = find(options.project) / "policies"
        return policies / "release.toml"
    path = Path(options.policy)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    from pellucid.access import shipped

    folder = shipped()
    known = sorted(each.stem for each in folder.glob("*.toml") if (folder / f"{each.stem}.tests.toml").is_file())
    if path.name not in known:
        raise Invalid(
            f'there is no policy "{path.name}"{nearest(path.name, known)}',
            fix=f"name a file, or one of {', '.join(known)}",
        )
    return folder / f"{path.name}.toml"


def _policy_alone(options: argparse.Namespace) -> int:
    from pellucid.check import ReleasePolicy
    from pellucid.console import say

    file = _policy(options)
    remarks: Sequence[Any] = ()
    failures: Sequence[Any] = ()
    document: dict[str, Any] = {}
    if options.lint:
        from pellucid.check.lint import lint

        remarks = lint(ReleasePolicy.read(file, environment=options.env))
        document["remarks"] = [remark.document() for remark in remarks]
    if options.test:
        from pellucid.check.cases import cases_file, read_cases, run_cases

        cases = read_cases(cases_file(file))
        failures = run_cases(file, cases)
        document |= {"cases": len(cases), "failures": [str(failure) for failure in failures]}
    if options.json:
        print_json(document)
        return 1 if remarks or failures else 0
    for remark in remarks:
        say(f"{remark.file}:{remark.line}: {remark.id}: {remark.says}")
    if options.lint:
        say("1 remark" if len(remarks) == 1 else f"{len(remarks)} remarks")
    for failure in failures:
        say(f"FAIL  {failure}")
    if options.test:
        say(f"{len(cases) - len(failures)} of {len(cases)} cases hold")
    return 1 if remarks or failures else 0


def _explain(options: argparse.Namespace, name: str, result: CheckResult | None) -> int:
    """Exit 0: a requirement that fails has been explained all the same."""
    from pellucid.check import ReleasePolicy
    from pellucid.check.explain import explanation, render_explanation
    from pellucid.console import say

    policy: ReleasePolicy = result.policy if result else ReleasePolicy.read(_policy(options), environment=options.env)
    if options.json:
        print_json(explanation(policy, name, result))
    else:
        say(render_explanation(policy, name, result).rstrip("\n"))
    return 0


def _outputs(options: argparse.Namespace) -> list[tuple[str, Path | None]]:
    """Formats and where they go; at most one goes to standard output."""
    outputs: list[tuple[str, Path | None]] = []
    if options.outputs:
        from pellucid.check.formats import FORMATS

        for text in options.outputs:
            name, _, path = text.partition("=")
            if name not in FORMATS:
                raise Invalid(f'there is no format "{name}"{nearest(name, FORMATS)}', fix=f"use {', '.join(FORMATS)}")
            if path and not Path(path).parent.is_dir():  # said before anything is judged or written
                folder = Path(path).parent
                raise Invalid(f"there is no folder {folder} for {path}", fix=f"mkdir -p {folder}")
            outputs.append((name, Path(path) if path else None))
    if options.json and ("json", None) not in outputs:
        outputs.append(("json", None))
    if not outputs:
        outputs.append(("text", None))
    if sum(path is None for _, path in outputs) > 1:
        raise Invalid("two formats cannot both go to standard output", fix="give all but one a file: -o json=FILE")
    return outputs


def _write(result: CheckResult, name: str, path: Path | None) -> None:
    """To standard output or a file; the summary of a GitHub step is added to, for others may have written there."""
    from pellucid.check.formats import render

    text = render(result, name)
    if path is None:
        from pellucid.console import say

        say(text.rstrip("\n"))
        return
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    with path.open("a" if summary and path == Path(summary) else "w", encoding="utf-8") as file:
        file.write(text)
