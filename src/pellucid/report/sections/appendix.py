"""What else there is, how to verify it, how numbers are covered, what was left out, and what the words mean."""

from __future__ import annotations

from typing import Final

from pellucid.evidence import COVERAGE, KINDS, TIERS
from pellucid.report.blocks import Block, Cell, Commands, Definitions, Prose, Section, Table, Verbatim, text
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.reading import Reader, flatten

__all__ = ["coverage", "evidence_index", "glossary", "redactions", "verify"]

_SHOWN_ABOVE: Final = frozenset(
    {
        *("dataset", "training", "privacy", "provenance", "evaluation", "fairness", "calibration", "explanation"),
        *("validity", "attack", "review", "slices", "uncertainty", "labels", "robustness", "expectation", "card"),
    }
)
_WORDS: Final = (
    ("adjacency", "Adjacency", "Which data sets count as neighbours: here, one with and one without the unit."),
    (
        "auc",
        "AUC",
        "The chance that a random positive case gets a higher score than a random negative one. 0.5 is guessing.",
    ),
    ("brier", "Brier score", "Mean squared distance of the predicted probability from what happened."),
    (
        "checkpoint",
        "Checkpoint",
        "The log's signed note: its size and the root of its Merkle tree. It fixes every entry.",
    ),
    (
        "completeness",
        "Completeness gap",
        "How far the attributions miss the output they should add up to, relative to it.",
    ),
    ("delta", "Delta (δ)", "The probability that is left out of the promise of epsilon."),
    (
        "parity",
        "Demographic parity difference",
        "The greatest difference between two groups in how often the model says yes.",
    ),
    ("ece", "Expected calibration error", "Mean distance of predicted from observed rates over the bins."),
    ("epsilon", "Epsilon (ε)", "How much one unit may change what is learned; smaller is more private."),
    ("odds", "Equalized odds difference", "The greatest difference between two groups in true or false positive rate."),
    (
        "ig",
        "Integrated gradients",
        "An attribution that sums gradients from a baseline to the input (Sundararajan et al. 2017).",
    ),
    (
        "interval",
        "95 % interval",
        "Made so that in 95 of 100 repetitions it holds the true value. Printed ends are rounded outwards.",
    ),
    ("ledger", "Ledger", "The budget of a data set with every reservation and settlement."),
    ("permutation", "Permutation importance", "What the AUC loses when a column is shuffled among the people."),
    ("tier", "Tier", "Who a report is for: public, auditor or steward."),
    ("unit-word", "Unit", "What privacy protects: a person, or a row where every row is another person."),
    ("unmeasured", "Unmeasured", "A requirement whose evidence is not there. It never counts as passed."),
    ("waived", "Waived", "A requirement that is not met and that someone took responsibility for until a date."),
)


def evidence_index(report: ReportInput) -> Section:
    """Every kind of evidence: there or not, and the values of those that no other section shows."""
    rows = []
    for kind in KINDS:
        found = report.every(kind)
        if not found:
            absent = text("none" if kind in {"unsafe", "erasure"} else "not measured", "open")
            rows.append((text(kind), absent, text("—"), text("—"), text("—")))
            continue
        last = found[-1]
        words = "in the bundle" if len(found) == 1 else f"{len(found)} in the bundle, the last counts"
        rows.append((text(kind), text(words), text(last.coverage), text(last.tier), text(last.subject.name)))
    columns = ("Kind", "Status", "Coverage", "Tier", "About")
    blocks: list[Block] = [Table("evidence-index", "Kinds of evidence", columns, tuple(rows))]
    for kind in KINDS:
        for number, item in enumerate(report.every(kind) if kind not in _SHOWN_ABOVE else (), 1):
            lines = tuple((text(name), cell) for name, cell in flatten(item.values, item.coverage))
            if lines:
                caption = f"Values of {kind} evidence, {number}"
                blocks.append(Table(f"values-{kind}-{number}", caption, ("What", "Value"), lines, "facts"))
    return Section("evidence", "All evidence", "What is there, and what is not?", "shown", tuple(blocks))


def verify(report: ReportInput) -> Section:
    """Commands, keys and the checkpoint; and what the verification behind this report found."""
    rows = tuple(
        (
            text(check.name),
            text(
                _mark(check.good, check.open) + check.status, "good" if check.good else "open" if check.open else "bad"
            ),
            text(check.detail),
        )
        for check in report.verification
    )
    blocks: list[Block] = [
        Prose(
            "This page is a rendering; the signed evidence is in bundle.json beside it. Nothing on this page has to be "
            "believed: save the owner's key below as owner.pub, compare it with one you got by another way, and run:"
        ),
        Commands(
            (
                ("pellucid verify bundle.json --key owner.pub", "signatures, inclusion in the log, epsilon recomputed"),
                (
                    "pellucid verify bundle.json --key owner.pub --weights weights.safetensors",
                    "the same, and that these weights are the ones meant",
                ),
                (
                    "pellucid check bundle.json --policy release.toml --key owner.pub",
                    "every requirement again; 0 release, 1 do not release, 3 not proven",
                ),
            )
        ),
        Verbatim("owner.pub", plain(report.owner)),
        Verbatim("The log's checkpoint, as signed", plain(report.checkpoint)),
        Table(
            "log-facts",
            "The log",
            ("What", "Value"),
            (
                (text("Entries under the checkpoint"), Cell(exact(report.log_size), report.log_size, ("public",))),
                (text("Newest evidence"), text(report.created, "code")),
            ),
            "facts",
        ),
    ]
    if rows:
        caption = "What verification found when this page was made"
        blocks.append(Table("verification", caption, ("Check", "Result", "Detail"), rows, "cards"))
    else:
        blocks.append(Prose("Verification: not measured. No check was made before this page was.", tone="open"))
    return Section("verify", "How to verify this report", "How can you check it yourself?", "shown", tuple(blocks))


def coverage(report: ReportInput) -> Section:
    """The legend of the tags."""
    note = Prose("Every number carries a tag that says how it is covered by a privacy guarantee.")
    items = tuple((key, TAGS[key], meaning) for key, meaning in COVERAGE.items())
    counts = Prose(
        "Numbers of private people (units) are public numbers, or are rounded down to ten. Lower ends are rounded down "
        "and upper ends up, so that a printed interval holds the measured one."
    )
    question = "Which numbers are protected, and which are not?"
    return Section(
        "coverage", "How numbers are covered", question, "shown", (note, Definitions("coverage", items), counts)
    )


TAGS: Final = {
    "public": "public",
    "post-processing": "DP weights",
    "own-release": "DP release",
    "uncovered": "not covered",
}


def redactions(report: ReportInput) -> Section:
    """What was left out of this page, and why."""
    rows = []
    fairness = report.last("fairness")
    columns = None if fairness is None else Reader.of(fairness).reader("columns")
    if fairness is not None and columns is not None:
        least = Reader.of(fairness).number("minimum_cell")
        why = "too few people" if least is None else f"fewer than {exact(least)} people, or next to such a group"
        for name in sorted(columns.values):
            column = columns.reader(name)
            groups = None if column is None else column.texts("suppressed")
            rows += [(text(f"{name}: {group}"), text("suppressed"), text(why)) for group in sorted(groups or ())]
    if report.tier == "public" and report.decisions:
        rows.append((text("Names in access decisions"), text("withheld"), text("not for the public tier")))
    higher = TIERS[TIERS.index(report.tier) + 1 :]
    if higher:
        words = f"not in this bundle; whether there is any is not said (tiers: {', '.join(higher)})"
        rows.append((text("Evidence for more privileged readers"), text("withheld"), text(words)))
    rows.append((text("Rows, row numbers, least and greatest values"), text("never shown"), text("at any tier")))
    table = Table("redactions-table", "Left out of this page", ("What", "How", "Why"), tuple(rows), "cards")
    return Section("redactions", "Redactions", "What is not shown, and why?", "shown", (table,))


def glossary(report: ReportInput) -> Section:
    """The words."""
    return Section("glossary", "Glossary", "What do the words mean?", "shown", (Definitions("word", _WORDS),))


def _mark(good: bool, open_: bool) -> str:
    if good:
        return "✓ "
    return "? " if open_ else "✗ "
