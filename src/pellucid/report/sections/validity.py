"""Whether an explanation passes its own tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pellucid.report.blocks import Block, Figure, Prose, Section, Table, text
from pellucid.report.elsewhere import elsewhere
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.plots import Line, Lines
from pellucid.report.reading import Reader, flatten, how_table
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.classes import Scale, explained

__all__ = ["validity"]

_TESTS: Final[Mapping[str, Said]] = {
    "completeness_gap_max": say("Greatest completeness gap (0 is exact)"),
    "agreement.spearman": say("Rank agreement of attribution and importance (Spearman, 1 is the same order)"),
    "agreement.ranking.verdict": say("Attribution, importance and Shapley values rank the columns"),
    "agreement.ranking.disputed": say("Columns whose place depends on the method"),
    "agreement.ranking.spearman": say("Rank agreement of the two that agree least (0.7 or more is read as agreement)"),
    "agreement.ranking.top3": say("Share of the three leading columns that every two name"),
    "agreement.top3": say("Share of the three most important columns that both name"),
    "agreement.rows.kendall": say("Rank agreement, person by person, of attribution and Shapley values (Kendall)"),
    "agreement.rows.spearman": say("Rank agreement, person by person, of attribution and Shapley values"),
    "agreement.rows.sign": say("Share of signs in which both agree"),
    "agreement.rows.top": say("Share of each person's three strongest columns that both name"),
    "agreement.rows.top_by_chance": say("The same by chance"),
    "randomisation.spearman": say("Rank agreement with a model whose last layer was drawn anew (should be small)"),
    "randomisation.spearman_absolute": say("The same by size alone, whatever the sign (should be small)"),
    "randomisation.average": say("Rank agreement with models drawn anew layer by layer (below 0.5 passes)"),
    "randomisation.cascade": say("Rank agreement with a model drawn anew as a whole"),
    "randomisation.cascade_absolute": say("Rank agreement with a model drawn anew as a whole, by size alone"),
    "randomisation.passes": say("Does the explanation depend on what was learned?"),
    "faithfulness.deletion": say("Taking the strongest columns away first, against random orders (above 0 is better)"),
    "faithfulness.deletion_p": say("The chance of such a result without faithfulness, taking away"),
    "faithfulness.insertion": say("Putting the strongest columns in first, against random orders (above 0 is better)"),
    "faithfulness.insertion_p": say("The chance of such a result without faithfulness, putting in"),
    "faithfulness.scale": say("Size of the answers that this is measured in, in log-odds"),
    "sensitivity.largest": say("Greatest change under small moves of the input, relative (small is better)"),
    "sensitivity.largest_absolute": say("Greatest change under small moves of the input, in log-odds"),
    "sensitivity.average": say("Mean change under small moves of the input, relative"),
    "sensitivity.radius": say("How far an input was moved, as a share of its range"),
    "stability.verdict": say("May the ranking be read over several trainings?"),
    "leakage.auc": say("Membership from explanations (AUC, 0.5 is nothing)"),
    "leakage.leaks": say("Do explanations give membership away?"),
}
_OF_A_CLASS: Final[Mapping[str, Said]] = {
    "faithfulness.scale": say("Size of the answers that this is measured in, as scores of the class"),
    "sensitivity.largest_absolute": say("Greatest change under small moves of the input, in the score of the class"),
}
_CURVES: Final = ("curves", "stages")  # long, and for those who read the JSON


def validity(report: ReportInput) -> Section:
    """Whether the explanation passes its own tests."""
    title, question = say("Validity of the explanations"), say("Can the explanation itself be believed?")
    evidence = report.last("validity")
    if evidence is None:
        fix = say("{command} leaves it.", command="pellucid explain")
        return not_measured(report, "validity", title, question, "validity", fix)
    reader = Reader.of(evidence)
    names = _TESTS if Scale(reader).named is None else {**_TESTS, **_OF_A_CLASS}
    lines = tuple(
        (text(names.get(name, name), "" if name in names else "code"), replace(cell, text=elsewhere(cell.text)))
        for name, cell in flatten(_short(evidence.values), evidence.coverage)
        if name != "class"
    )
    notes = (
        say("A small gap says that the attributions add up; it does not say that they name causes."),
        say("Where two methods disagree on the order of the columns, no single order should be quoted."),
        say("At a small epsilon another run may order the columns differently; one run does not show that."),
    )
    blocks: list[Block] = [*explained(reader), Prose(say("How to read this:"), notes)]
    if lines:
        columns = (say("Test"), say("Value"))
        blocks.append(Table("validity-table", say("Tests of the explanation"), columns, lines, "facts"))
    blocks += _faithfulness(reader)
    blocks.append(how_table(evidence))
    return Section("validity", title, question, "shown", tuple(blocks))


def _faithfulness(reader: Reader) -> list[Block]:
    """The answer while columns are taken away: strongest first against a random order."""
    faithfulness = reader.reader("faithfulness")
    curves = None if faithfulness is None else faithfulness.reader("curves")
    if curves is None:
        return []
    unit = Scale(reader).unit()
    removed, deletion, chance = (_numbers(curves, key) for key in ("removed", "deletion", "random"))
    if not len(removed) == len(deletion) == len(chance) > 1:
        return []
    chart = Lines(
        "faithfulness",
        say("The answer while columns are taken away"),
        say(
            "The mean answer over the share of columns taken away. If the explanation is faithful, taking the "
            "strongest away first (full line) changes the answer sooner than a random order (dashed)."
        ),
        say("share of columns taken away"),
        unit,
        (
            Line(say("strongest first"), tuple(zip(removed, deletion, strict=True))),
            Line(say("random order"), tuple(zip(removed, chance, strict=True)), dash=1),
        ),
    )
    covered = reader.coverage
    rows = tuple(
        tuple(next(iter(flatten(value, covered)))[1] for value in (share, strongest, random))
        for share, strongest, random in zip(removed, deletion, chance, strict=True)
    )
    columns = (
        say("Share taken away"),
        say("Strongest first, {unit}", unit=unit),
        say("Random order, {unit}", unit=unit),
    )
    return [Figure(chart, Table("faithfulness", say("The answer while columns are taken away"), columns, rows))]


def _numbers(reader: Reader, key: str) -> list[float]:
    values = reader.get(key)
    return [float(v) for v in values] if isinstance(values, list | tuple) else []


def _short(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` without the curves, which are drawn or in the evidence itself."""
    short = {name: _short(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in short.items() if name not in _CURVES}
