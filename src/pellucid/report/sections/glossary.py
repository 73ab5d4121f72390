"""The words that a reader may not know, in one line each."""

from __future__ import annotations

from typing import Final

from pellucid.report.blocks import Definitions, Section
from pellucid.report.inputs import ReportInput
from pellucid.report.language import say

__all__ = ["glossary"]

_WORDS: Final = (
    (
        "adjacency",
        say("Adjacency"),
        say("Which data sets count as neighbours: here, one with and one without the unit."),
    ),
    (
        "auc",
        say("AUC"),
        say("The chance that a random positive case gets a higher score than a random negative one. 0.5 is guessing."),
    ),
    ("brier", say("Brier score"), say("Mean squared distance of the predicted probability from what happened.")),
    (
        "checkpoint",
        say("Checkpoint"),
        say("The log's signed note: its size and the root of its Merkle tree. It fixes every entry."),
    ),
    (
        "completeness",
        say("Completeness gap"),
        say("How far the attributions miss the output they should add up to, relative to it."),
    ),
    ("delta", say("Delta (δ)"), say("The probability that is left out of the promise of epsilon.")),
    (
        "parity",
        say("Demographic parity difference"),
        say("The greatest difference between two groups in how often the model says yes."),
    ),
    ("ece", say("Expected calibration error"), say("Mean distance of predicted from observed rates over the bins.")),
    ("epsilon", say("Epsilon (ε)"), say("How much one unit may change what is learned; smaller is more private.")),
    (
        "odds",
        say("Equalized odds difference"),
        say("The greatest difference between two groups in true or false positive rate."),
    ),
    (
        "ig",
        say("Integrated gradients"),
        say("An attribution that sums gradients from a baseline to the input (Sundararajan et al. 2017)."),
    ),
    (
        "interval",
        say("95 % interval"),
        say("Made so that in 95 of 100 repetitions it holds the true value. Printed ends are rounded outwards."),
    ),
    ("ledger", say("Ledger"), say("The budget of a data set with every reservation and settlement.")),
    (
        "permutation",
        say("Permutation importance"),
        say("What the AUC loses when a column is shuffled among the people."),
    ),
    ("tier", say("Tier"), say("Who a report is for: public, auditor or steward.")),
    ("unit-word", say("Unit"), say("What privacy protects: a person, or a row where every row is another person.")),
    ("unmeasured", say("Unmeasured"), say("A requirement whose evidence is not there. It never counts as passed.")),
    (
        "waived",
        say("Waived"),
        say("A requirement that is not met and that someone took responsibility for until a date."),
    ),
    (
        "counterbaseline",
        say("Baseline"),
        say("The input that an attribution starts from. What the columns carry is the way from there to the answer."),
    ),
    (
        "logodds",
        say("Log-odds"),
        say("A probability p on the scale ln(p / (1 − p)): 0 is one half, and equal steps multiply the odds equally."),
    ),
    (
        "conformal",
        say("Conformal set"),
        say(
            "The answers that cannot be ruled out, made so that the set holds the truth for a promised share of people."
        ),
    ),
    ("q", say("q"), say("Of the findings with this q or a smaller one, the share that is expected to be chance.")),
    (
        "swarmword",
        say("Beeswarm"),
        say("Dots in rows, one row a column: where a dot lies says how far the column moved an answer."),
    ),
    (
        "waterfallword",
        say("Waterfall"),
        say("One answer taken apart: from the baseline, column by column, to what the model said."),
    ),
    (
        "card",
        say("Model card"),
        say("What people say of a model: purpose, limits, oversight. Written by them, signed as it stood."),
    ),
)


def glossary(report: ReportInput) -> Section:
    """The words; the same for every report."""
    title, question = say("Glossary"), say("What do the words mean?")
    return Section("glossary", title, question, "shown", (Definitions("word", _WORDS),))
