"""What the model looks at, and whether that explanation can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pellucid.report.blocks import Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.charts import Bar, Bars
from pellucid.report.figures import fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.reading import Measure, Reader, flatten, how_table, others
from pellucid.report.sections.absent import not_measured

__all__ = ["explanation", "validity"]

_ERROR: Final = "attribution_standard_error"
_SHOWN: Final = (
    *("method", "baseline", "importance", "attribution", "completeness_gap", "importance_method"),
    *("shapley", "effects", "surrogate"),
)
_VALIDITY: Final = {
    "completeness_gap_max": "Greatest completeness gap (0 is exact)",
    "agreement.spearman": "Rank agreement of attribution and importance (Spearman, 1 is the same order)",
    "randomisation.spearman": "Rank agreement with a model whose last layer was drawn anew (should be small)",
    "randomisation.spearman_absolute": "The same by size alone, whatever the sign (should be small)",
    "agreement.ranking.verdict": "Attribution, importance and Shapley values rank the columns",
    "agreement.ranking.disputed": "Columns whose place depends on the method",
    "agreement.ranking.spearman": "Rank agreement of the two that agree least (0.7 or more is read as agreement)",
    "agreement.ranking.top3": "Share of the three leading columns that every two name",
    "agreement.top3": "Share of the three most important columns that both name",
    "agreement.rows.spearman": "Rank agreement, person by person, of attribution and Shapley values",
    "agreement.rows.sign": "Share of signs in which both agree",
    "agreement.rows.top": "Share of each person's three strongest columns that both name",
    "agreement.rows.top_by_chance": "The same by chance",
    "randomisation.average": "Rank agreement with models drawn anew layer by layer (below 0.5 passes)",
    "randomisation.cascade": "Rank agreement with a model drawn anew as a whole",
    "randomisation.cascade_absolute": "The same by size alone",
    "randomisation.passes": "Does the explanation depend on what was learned?",
    "faithfulness.deletion": "Taking the strongest columns away first, against random orders (above 0 is better)",
    "faithfulness.insertion": "Putting the strongest columns in first, against random orders (above 0 is better)",
    "sensitivity.largest": "Greatest change under small moves of the input, relative (small is better)",
    "sensitivity.average": "Mean change under small moves of the input, relative",
    "stability.verdict": "May the ranking be read over several trainings?",
    "leakage.auc": "Membership from explanations (0.5 is nothing)",
    "leakage.leaks": "Do explanations give membership away?",
}
_CURVES: Final = ("curves", "stages")  # long, and for those who read the JSON


def explanation(report: ReportInput) -> Section:
    """Importance bars with intervals, attribution beside them, and the completeness gap before both."""
    title, question = "Explanations", "Which columns does the model lean on?"
    evidence = report.last("explanation")
    if evidence is None:
        return not_measured("explanations", title, question, "explanation", "pellucid explain leaves it.")
    reader = Reader.of(evidence)
    facts = Table(
        "explanation-facts",
        "How the columns were weighed",
        ("What", "Value"),
        (
            (text("Attribution"), reader.words("method")),
            (text("Baseline of the attribution"), reader.words("baseline")),
            (text("Completeness gap (0 is exact)"), reader.upper("completeness_gap")),
            (text("Importance"), reader.words("importance_method")),
        ),
        "facts",
    )
    blocks: list[Block] = [Prose(_gap(reader)), facts]
    importance = reader.reader("importance")
    measured = {} if importance is None else {name: importance.measure(name) for name in importance.values}
    attribution = reader.reader("attribution")
    rows = []
    bars = []
    for name, found in sorted(measured.items(), key=_by_size):
        if found is None or importance is None:
            continue
        rows.append((text(name), importance.estimate(name), importance.units(name), _reads(found)))
        bars.append(Bar(plain(name), found.value, found.low, found.high))
    if bars:
        columns = ("Column", "Importance (95 % interval)", "Units", "Reads as")
        table = Table("importance", "Importance by column", columns, tuple(rows))
        label = reader.get("importance_method")
        axis = plain(str(label)) if label is not None else "importance"
        blocks.append(Figure(Bars("importance", "Importance of each column", axis, tuple(bars)), table))
    else:
        blocks.append(Prose("Importance: not measured.", tone="open"))
    if attribution is not None and attribution.values:
        errors = Reader(evidence.error, evidence.coverage, "explanation.error")
        blocks.append(_attribution(attribution, errors))
    blocks += _shapley(reader)
    blocks += [_effect(effect, number) for number, effect in enumerate(reader.readers("effects"), 1)]
    blocks += _surrogate(reader)
    blocks += others(evidence, *_SHOWN)
    blocks.append(how_table(evidence, _ERROR))
    return Section("explanations", title, question, "shown", tuple(blocks))


def validity(report: ReportInput) -> Section:
    """Whether the explanation passes its own tests."""
    title, question = "Validity of the explanations", "Can the explanation itself be believed?"
    evidence = report.last("validity")
    if evidence is None:
        return not_measured("validity", title, question, "validity", "pellucid explain leaves it.")
    found = flatten(_short(evidence.values), evidence.coverage)
    lines = tuple((text(_VALIDITY.get(name, name)), cell) for name, cell in found)
    notes = (
        "A small gap says that the attributions add up; it does not say that they name causes.",
        "Where two methods disagree on the order of the columns, no single order should be quoted.",
        "At a small epsilon another run may order the columns differently; one run does not show that.",
    )
    blocks: list[Block] = [Prose("How to read this:", notes)]
    if lines:
        blocks.append(Table("validity-table", "Tests of the explanation", ("Test", "Value"), lines, "facts"))
    blocks.append(how_table(evidence))
    return Section("validity", title, question, "shown", tuple(blocks))


def _short(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` without the curves, which are in the evidence itself."""
    short = {name: _short(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in short.items() if name not in _CURVES}


def _attribution(attribution: Reader, errors: Reader) -> Figure:
    """Attributions with their standard errors; a whisker is 1.96 of them to either side."""
    found = {name: attribution.measure(name) for name in attribution.values}
    rows, bars = [], []
    for name, measured in sorted(found.items(), key=_by_size):
        if measured is None:
            continue
        error = errors.number(_ERROR, name)
        value = measured.value
        bars.append(Bar(plain(name), value, *(() if error is None else (value - 1.96 * error, value + 1.96 * error))))
        rows.append((text(name), _attributed(attribution, name), errors.upper(_ERROR, name)))
    chart = Bars("attribution", "Attribution of each column", "attribution", tuple(bars))
    columns = ("Column", "Attribution", "Standard error")
    return Figure(chart, Table("attribution", "Attribution by column", columns, tuple(rows)))


def _shapley(reader: Reader) -> list[Block]:
    """How strongly each column moves single answers."""
    shapley = reader.reader("shapley")
    if shapley is None or not shapley.values:
        return []
    found = {name: shapley.measure(name) for name in shapley.values}
    ordered = [(name, measured) for name, measured in sorted(found.items(), key=_by_size) if measured is not None]
    bars = tuple(Bar(plain(name), m.value, m.low, m.high) for name, m in ordered)
    rows = tuple((text(name), shapley.estimate(name), shapley.units(name)) for name, _ in ordered)
    columns = ("Column", "Shapley values, root mean square (95 % interval)", "Units")
    table = Table("shapley", "Shapley values by column", columns, rows)
    return [Figure(Bars("shapley", "How strongly each column moves answers", "log-odds", bars), table)]


def _effect(effect: Reader, number: int) -> Block:
    """How answers move along one column."""
    name = plain(str(effect.get("field")))
    points, curve = effect.get("points") or (), "accumulated_local_effects"
    key = curve if effect.get(curve) is not None else "change"
    estimates = effect.readers(key)
    rows = tuple(
        (text(_point(point)), Reader({"at": dict(estimate.values)}, effect.coverage, effect.where).estimate("at"))
        for point, estimate in zip(points, estimates, strict=False)
    )
    how = "accumulated local effects" if key == curve else "change from the first"
    columns = ("At (encoded)", "Log-odds (95 % interval)")
    return Table(f"effect-{number}", f"How answers move along {name}: {how}", columns, rows)


def _point(point: object) -> str:
    if isinstance(point, list | tuple):
        return f"value {point.index(1) + 1}" if 1 in point else "none"
    return f"{point:.3g}" if isinstance(point, int | float) else plain(str(point))


def _surrogate(reader: Reader) -> list[Block]:
    """A simple model of the model, and whether it may be read in its place."""
    surrogate = reader.reader("surrogate")
    if surrogate is None:
        return []
    trusted = surrogate.get("faithful") is True
    said = "may be read in its place" if trusted else "must not be read in its place"
    facts = Table(
        "surrogate",
        "A shallow model of the model",
        ("What", "Value"),
        (
            (text("Share of the scores that it explains (R²)"), surrogate.estimate("r2")),
            (text("Decisions that it shares"), surrogate.estimate("agreement")),
        ),
        "facts",
    )
    blocks: list[Block] = [Prose(f"A shallow model of the model {said}.", tone="" if trusted else "open"), facts]
    rules = tuple(
        (rule.words("if"), rule.exact("log_odds"), rule.exact("share")) for rule in surrogate.readers("rules")
    )
    if rules:
        columns = ("If", "Log-odds", "Share of people")
        blocks.append(Table("surrogate-rules", "What the shallow model says", columns, rules))
    return blocks


def _gap(reader: Reader) -> str:
    gap = reader.number("completeness_gap")
    if gap is None:
        return "Completeness gap: not measured. Without it an attribution should not be read."
    return (
        "Completeness gap: the attributions miss the change of the model's output that they divide among the columns "
        f"by {fixed(100 * gap, 2, 'up')} %."
    )


def _by_size(item: tuple[str, Measure | None]) -> tuple[float, str]:
    name, found = item
    return (0.0 if found is None else -abs(found.value), name)


def _reads(found: Measure) -> Cell:
    if found.low is None or found.high is None:
        return text("no interval", "open")
    return text("not told apart from 0") if found.low <= 0 <= found.high else text("matters")


def _attributed(attribution: Reader, name: str) -> Cell:
    cell = attribution.estimate(name, places=4)
    return Cell(cell.text.removesuffix(" (no interval)"), cell.value, cell.coverage, cell.tone)
