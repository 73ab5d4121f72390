"""What the model looks at: importance, the beeswarm, one example, curves, and a simple model of the model."""

from __future__ import annotations

import re
from typing import Final

from pellucid.report.blocks import Block, Cell, Figure, Prose, Section, Table, text
from pellucid.report.charts import Bar, Bars
from pellucid.report.elsewhere import elsewhere
from pellucid.report.figures import fixed, plain
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Measure, Reader, how_table, others
from pellucid.report.sections.absent import not_measured
from pellucid.report.sections.cases import case, overlays, swarm
from pellucid.report.sections.classes import Scale, explained
from pellucid.report.sections.effects import effects

__all__ = ["explanation"]

_ERROR: Final = "attribution_standard_error"
_SHOWN: Final = (
    *("method", "baseline", "importance", "attribution", "completeness_gap", "importance_method"),
    *("shapley", "effects", "surrogate", "distribution", "case", "tokens", "readout", "class", "target"),
)
_METHOD: Final = {
    "integrated_gradients": say("integrated gradients"),
    "shapley_sampling": say("Shapley values by sampled orders"),
    "kernel_shap": say("KernelShap"),
    "gradient_shap": say("GradientShap"),
    "deep_lift": say("DeepLift"),
    "occlusion": say("occlusion"),
    "grad_cam": say("Grad-CAM"),
}
_IMPORTANCE: Final = {"permutation, drop in AUC": say("shuffling the column among people, drop in AUC")}
_MIDPOINT: Final = {"encoded midpoint: zeros": say("the middle of every declared range, and no category")}
_END: Final = r"([-+.\de]+)"
_HALF_OPEN: Final = (
    (re.compile(rf"not in \[-inf, {_END}\)"), r">= \1"),
    (re.compile(rf"in \[-inf, {_END}\)"), r"< \1"),
    (re.compile(rf"not in \[{_END}, inf\)"), r"< \1"),
    (re.compile(rf"in \[{_END}, inf\)"), r">= \1"),
)


def explanation(report: ReportInput) -> Section:
    """Importance bars with intervals, attribution beside them, and the completeness gap before both."""
    title, question = say("Explanations"), say("Which columns does the model lean on?")
    evidence = report.last("explanation")
    if evidence is None:
        fix = say("{command} leaves it.", command="pellucid explain")
        return not_measured(report, "explanations", title, question, "explanation", fix)
    reader = Reader.of(evidence)
    facts = Table(
        "explanation-facts",
        say("How the columns were weighed"),
        (say("What"), say("Value")),
        (
            (text(say("Attribution")), _known(reader, "method", _METHOD)),
            (text(say("Baseline of the attribution")), _known(reader, "baseline", _MIDPOINT)),
            (text(say("Completeness gap (0 is exact)")), reader.upper("completeness_gap")),
            (text(say("Importance")), _known(reader, "importance_method", _IMPORTANCE)),
        ),
        "facts",
    )
    scale = Scale(reader)
    blocks: list[Block] = [*explained(reader), Prose(_gap(reader)), facts, *_importance(reader)]
    attribution = reader.reader("attribution")
    if attribution is not None and attribution.values:
        errors = Reader(evidence.error, evidence.coverage, "explanation.error")
        blocks += overlays(reader, attribution) or [_attribution(attribution, errors, scale)]
    blocks += swarm(reader)
    blocks += case(reader)
    blocks += _shapley(reader, scale)
    blocks += effects(reader)
    blocks += _surrogate(reader)
    blocks += others(evidence, *_SHOWN)
    blocks.append(how_table(evidence, _ERROR))
    return Section("explanations", title, question, "shown", tuple(blocks))


def _known(reader: Reader, key: str, names: dict[str, Said]) -> Cell:
    value = reader.get(key)
    if value is None:
        return reader.words(key)
    return text(names.get(str(value)) or elsewhere(str(value)))


def _importance(reader: Reader) -> list[Block]:
    importance = reader.reader("importance")
    measured = {} if importance is None else {name: importance.measure(name) for name in importance.values}
    rows, bars = [], []
    for name, found in sorted(measured.items(), key=by_size):
        if found is None or importance is None:
            continue
        rows.append((text(name), importance.estimate(name), importance.units(name), _reads(found)))
        bars.append(Bar(plain(name), found.value, found.low, found.high))
    if not bars:
        return [Prose(say("Importance: not measured."), tone="open")]
    columns = (say("Column"), say("Importance (95 % interval)"), say("People"), say("Reads as"))
    table = Table("importance", say("Importance by column"), columns, tuple(rows))
    axis = say("what is lost without the column (drop in AUC)")
    return [Figure(Bars("importance", say("Importance of each column"), axis, tuple(bars)), table)]


def _attribution(attribution: Reader, errors: Reader, scale: Scale) -> Figure:
    """Attributions with their standard errors; a whisker is 1.96 of them to either side."""
    found = {name: attribution.measure(name) for name in attribution.values}
    rows, bars = [], []
    for name, measured in sorted(found.items(), key=by_size):
        if measured is None:
            continue
        error = errors.number(_ERROR, name)
        value = measured.value
        bars.append(Bar(plain(name), value, *(() if error is None else (value - 1.96 * error, value + 1.96 * error))))
        rows.append((text(name), attribution.bare(name, places=4), errors.upper(_ERROR, name)))
    axis = say("mean size of the attribution ({unit})", unit=scale.unit())
    chart = Bars("attribution", say("Attribution of each column"), axis, tuple(bars))
    columns = (say("Column"), say("Attribution"), say("Standard error"))
    return Figure(chart, Table("attribution", say("Attribution by column"), columns, tuple(rows)))


def _shapley(reader: Reader, scale: Scale) -> list[Block]:
    """How strongly each column moves single answers."""
    shapley = reader.reader("shapley")
    if shapley is None or not shapley.values:
        return []
    found = {name: shapley.measure(name) for name in shapley.values}
    ordered = [(name, measured) for name, measured in sorted(found.items(), key=by_size) if measured is not None]
    bars = tuple(Bar(plain(name), m.value, m.low, m.high) for name, m in ordered)
    rows = tuple((text(name), shapley.estimate(name), shapley.units(name)) for name, _ in ordered)
    columns = (say("Column"), say("Shapley values, root mean square (95 % interval)"), say("People"))
    table = Table("shapley", say("Shapley values by column"), columns, rows)
    return [Figure(Bars("shapley", say("How strongly each column moves answers"), scale.unit(), bars), table)]


def _surrogate(reader: Reader) -> list[Block]:
    """A simple model of the model, and whether it may be read in its place."""
    surrogate = reader.reader("surrogate")
    if surrogate is None:
        return []
    trusted = surrogate.get("faithful") is True
    facts = Table(
        "surrogate",
        say("A shallow model of the model"),
        (say("What"), say("Value")),
        (
            (text(say("Share of the scores that it explains (R²)")), surrogate.estimate("r2")),
            (text(say("Decisions that it shares")), surrogate.estimate("agreement")),
        ),
        "facts",
    )
    if trusted:
        words = say("A shallow model of the model may be read in its place.")
    else:
        words = say("A shallow model of the model must not be read in its place.")
    blocks: list[Block] = [Prose(words, tone="" if trusted else "open"), facts]
    rules = tuple(
        (_half_open(rule.words("if")), rule.exact("log_odds"), rule.exact("share"))
        for rule in surrogate.readers("rules")
    )
    if rules:
        columns = (say("If"), say("Log-odds"), say("Share of people"))
        blocks.append(Table("surrogate-rules", say("What the shallow model says"), columns, rules, fold=len(rules) > 8))
    return blocks


def _gap(reader: Reader) -> Said:
    gap = reader.number("completeness_gap")
    if gap is None:
        return say("Completeness gap: not measured. Without it an attribution should not be read.")
    return say(
        "Completeness gap: the attributions miss the change of the model's output that they divide among the columns "
        "by {gap} %.",
        gap=fixed(100 * gap, 2, "up"),
    )


def by_size(item: tuple[str, Measure | None]) -> tuple[float, str]:
    """The largest first, whatever its sign."""
    name, found = item
    return (0.0 if found is None else -abs(found.value), name)


def _reads(found: Measure) -> Cell:
    if found.low is None or found.high is None:
        return text(say("no interval"), "open")
    return text(say("not told apart from 0")) if found.low <= 0 <= found.high else text(say("matters"))


def _half_open(rule: Cell) -> Cell:
    """A rule whose bins without a lower or upper end are written as one comparison: ``age < 25``."""
    words: str = rule.text
    for pattern, sign in _HALF_OPEN:
        words = pattern.sub(sign, words)
    return rule if words == rule.text else text(words)
