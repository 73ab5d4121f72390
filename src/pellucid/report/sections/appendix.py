"""What else there is, how to verify it, how numbers are covered, what was left out, and what the words mean."""

from __future__ import annotations

from typing import Final

from pellucid.evidence import COVERAGE, KINDS, TIERS
from pellucid.report.blocks import (
    ABSENT,
    DASH,
    NOT_SHOWN,
    Block,
    Cell,
    Commands,
    Definitions,
    Prose,
    Section,
    Table,
    Verbatim,
    text,
)
from pellucid.report.elsewhere import elsewhere
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import ReportInput, VerificationCheck
from pellucid.report.language import say, several
from pellucid.report.reading import Reader, flatten
from pellucid.report.sections.absent import TIER

__all__ = ["coverage", "evidence_index", "redactions", "verify"]

TAGS: Final = {
    "public": say("public"),
    "post-processing": say("DP weights"),
    "own-release": say("DP release"),
    "uncovered": say("not covered"),
}
MEANING: Final = {
    "public": say("public knowledge: declared, or made without the data"),
    "post-processing": say("post-processing of differentially private weights: costs no further privacy"),
    "own-release": say("a differentially private release of its own, paid from the data set's budget"),
    "uncovered": say("measured on held-out people; no privacy guarantee covers this number"),
}
_SHOWN_ABOVE: Final = frozenset(
    {
        *("dataset", "training", "privacy", "provenance", "evaluation", "fairness", "calibration", "explanation"),
        *(
            "validity",
            "attack",
            "review",
            "slices",
            "uncertainty",
            "labels",
            "robustness",
            "expectation",
            "card",
            "change",
            "comparison",
        ),
    }
)


def evidence_index(report: ReportInput) -> Section:
    """Every kind of evidence: there or not, and the values of those that no other section shows."""
    rows = []
    for kind in KINDS:
        found = report.every(kind)
        name = text(kind, "code")
        if not found:
            never = kind in {"unsafe", "erasure", "change", "comparison"}
            absent = NOT_SHOWN if report.withheld(kind) else text(say("none"), "open") if never else ABSENT
            rows.append((name, absent, DASH, DASH, DASH))
            continue
        last = found[-1]
        words = say("in the bundle")
        if len(found) > 1:
            words = say("{count} in the bundle, the last counts", count=exact(len(found)))
        coverage, tier = text(TAGS[last.coverage]), text(TIER.get(last.tier, last.tier))
        rows.append((name, text(words), coverage, tier, text(last.subject.name)))
    columns = (say("Kind"), say("Status"), say("Coverage"), say("For readers"), say("About"))
    blocks: list[Block] = [Table("evidence-index", say("Kinds of evidence"), columns, tuple(rows))]
    for kind in KINDS:
        for number, item in enumerate(report.every(kind) if kind not in _SHOWN_ABOVE else (), 1):
            lines = tuple((text(name, "code"), cell) for name, cell in flatten(item.values, item.coverage))
            if lines:
                caption = say("Values of {kind} evidence, {number}", kind=kind, number=str(number))
                blocks.append(Table(f"values-{kind}-{number}", caption, (say("What"), say("Value")), lines, "facts"))
    question = say("What is there, and what is not?")
    return Section("evidence", say("All evidence"), question, "shown", tuple(blocks))


def verify(report: ReportInput) -> Section:
    """Commands, keys and the checkpoint; and what the verification behind this report found."""
    rows = tuple((text(elsewhere(c.name)), _found(c), text(elsewhere(c.detail))) for c in report.verification)
    columns = (say("What"), say("Value"))
    blocks: list[Block] = [
        Prose(
            say(
                "This page is a rendering; the signed evidence is in {bundle} beside it. Nothing here has to be "
                "believed: save the owner's key below as {key}, compare it with one you got by another way, and run:",
                bundle="bundle.json",
                key="owner.pub",
            )
        ),
        Commands(
            (
                (
                    "pellucid verify bundle.json --key owner.pub",
                    say("signatures, inclusion in the log, epsilon recomputed"),
                ),
                (
                    "pellucid verify bundle.json --key owner.pub --weights weights.safetensors",
                    say("the same, and that these weights are the ones meant"),
                ),
                (
                    "pellucid check bundle.json --policy release.toml --key owner.pub",
                    say("every requirement again; 0 release, 1 do not release, 3 not proven"),
                ),
            )
        ),
        *_again(report),
        Verbatim("owner.pub", plain(report.owner)),
        Verbatim(say("The log's checkpoint, as signed"), plain(report.checkpoint)),
        Table(
            "log-facts",
            say("The log"),
            columns,
            (
                (
                    text(say("Entries under the checkpoint")),
                    Cell(exact(report.log_size), report.log_size, ("public",)),
                ),
                (text(say("Newest evidence")), text(report.created, "code")),
            ),
            "facts",
        ),
    ]
    if rows:
        caption = say("What verification found when this page was made")
        headers = (say("Check"), say("Result"), say("Detail"))
        blocks.append(Table("verification", caption, headers, rows, "cards"))
    else:
        words = say("Verification: not measured. No check was made before this page was.")
        blocks.append(Prose(words, tone="open"))
    title, question = say("How to verify and reproduce this report"), say("How can you check it yourself?")
    return Section("verify", title, question, "shown", tuple(blocks))


def _found(check: VerificationCheck) -> Cell:
    known = {"pass": say("pass"), "ok": say("ok"), "fail": say("fail"), "not checked": say("not checked")}
    status = known.get(check.status, check.status)
    if check.good:
        return text(say("✓ {status}", status=status), "good")
    return (
        text(say("? {status}", status=status), "open") if check.open else text(say("✗ {status}", status=status), "bad")
    )


def _again(report: ReportInput) -> list[Block]:
    """How to train it again: what the evidence says of recipe, data and software."""
    training = report.last("training")
    if training is None:
        return []
    reader = Reader.of(training)
    data = f"{reader.get('dataset', 'name')}@{reader.get('dataset', 'version')}"
    name = report.subject.name.rpartition("@")[0] or report.subject.name
    command = f'pellucid train {name} --data {data} --purpose "{reader.get("purpose")}" --recipe RECIPE.toml'
    note = say(
        "To train it again one needs the sealed data, its keys, and budget for it. The noise is drawn anew, so another "
        "training gives other weights of the same recipe: it repeats the method, not the bytes. The recipe and the "
        "versions of the software are under Model and training and under Identity."
    )
    return [Prose(note), Commands(((plain(command), say("the same recipe on the same data, for whoever may")),))]


def coverage(report: ReportInput) -> Section:
    """The legend of the tags."""
    note = Prose(say("Every number carries a tag that says how it is covered by a privacy guarantee."))
    items = tuple((key, TAGS[key], MEANING[key]) for key in COVERAGE)
    counts = Prose(
        say(
            "Numbers of private people are public numbers, or are rounded down to ten. Lower ends are rounded down and "
            "upper ends up, so that a printed interval holds the measured one."
        )
    )
    title, question = say("How numbers are covered"), say("Which numbers are protected, and which are not?")
    return Section("coverage", title, question, "shown", (note, Definitions("coverage", items), counts))


def redactions(report: ReportInput) -> Section:
    """What was left out of this page, and why."""
    rows = []
    fairness = report.last("fairness")
    columns = None if fairness is None else Reader.of(fairness).reader("columns")
    suppressed, withheld = text(say("suppressed")), text(say("withheld"))
    if fairness is not None and columns is not None:
        least = Reader.of(fairness).number("minimum_cell")
        why = say("too few people")
        if least is not None:
            why = say("fewer than {least} people, or next to such a group", least=exact(least))
        for name in sorted(columns.values):
            column = columns.reader(name)
            groups = None if column is None else column.texts("suppressed")
            rows += [(text(f"{name}: {group}"), suppressed, text(why)) for group in sorted(groups or ())]
    if report.tier == "public" and report.decisions:
        rows.append((text(say("Names in access decisions")), withheld, text(say("not for the public tier"))))
    higher = TIERS[TIERS.index(report.tier) + 1 :]
    if higher:
        words = say(
            "not in this bundle; whether there is any is not said (tiers: {tiers})",
            tiers=several([TIER[tier] for tier in higher]),
        )
        rows.append((text(say("Evidence for more privileged readers")), withheld, text(words)))
    never = (text(say("never shown")), text(say("at any tier")))
    rows.append((text(say("Rows, row numbers, least and greatest values")), *never))
    headers = (say("What"), say("How"), say("Why"))
    table = Table("redactions-table", say("Left out of this page"), headers, tuple(rows), "cards")
    title, question = say("Redactions"), say("What is not shown, and why?")
    return Section("redactions", title, question, "shown", (table,))
