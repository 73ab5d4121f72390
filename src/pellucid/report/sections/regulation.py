"""Which clause of which rule book the evidence speaks to, and which it does not. It never says that a law is met."""

from __future__ import annotations

from typing import Final

from pellucid import maps
from pellucid.maps import MAPS, STATUSES, RegulationMap, Resolved, Status
from pellucid.report.blocks import DASH, Block, Cell, Prose, Section, Table, Tone, text
from pellucid.report.figures import exact
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, bring, say

__all__ = ["regulation"]

_MARK: Final[dict[Status, tuple[Said, Tone]]] = {
    "evidence": (say("✓ evidence"), "good"),
    "human-provided": (say("✎ written by people"), "good"),
    "not applicable": (say("– not applicable"), ""),
    "missing": (say("? missing"), "open"),
}
_NOT_SHOWN: Final[tuple[Said, Tone]] = (say("? not shown"), "open")

_PLACES: Final = {
    "identity": say("Identity and provenance"),
    "intended-use": say("Intended use and human judgement"),
    "data": say("Data"),
    "model": say("Model and training"),
    "privacy": say("Privacy"),
    "performance": say("Performance"),
    "calibration": say("Calibration"),
    "subgroups": say("Subgroups and fairness"),
    "errors": say("Errors"),
    "explanations": say("Explanations"),
    "validity": say("Validity of the explanations"),
    "robustness": say("Robustness"),
    "expectations": say("Expectations"),
    "decisions": say("Access decisions"),
    "verify": say("How to verify and reproduce this report"),
}


def regulation(report: ReportInput) -> Section:
    """Every row of every map, with what there is for it."""
    resolved = [(which, maps.resolve(which, report.evidence)) for which in map(maps.read, MAPS)]
    marks = [_MARK[status] for status in STATUSES]
    if any(_kept_back(report, row) for _, rows in resolved for row in rows):
        marks.append(_NOT_SHOWN)
    counts = tuple((text(bring(which.title)), *(_count(report, rows, m) for m in marks)) for which, rows in resolved)
    headers = (say("Map"), *(words for words, _ in marks))
    blocks: list[Block] = [
        Prose(
            say(
                "A row says what the evidence of this model shows, or what a person wrote. It does not say that a law "
                "is met: that is for people to judge, with these rows and the law before them. What is missing is "
                "missing."
            )
        ),
        Table("maps", say("Rows of each map by what there is for them"), headers, counts),
    ]
    for which, rows in resolved:
        if which.note["en"]:
            blocks.append(Prose(bring(which.note)))
        blocks.append(_table(report, which, rows))
    open_ = any(row.status == "missing" for _, rows in resolved for row in rows)
    title, question = say("Regulation map"), say("What is there of what a law or a standard asks for, and what is not?")
    return Section("regulation", title, question, "missing" if open_ else "shown", tuple(blocks))


def _table(report: ReportInput, which: RegulationMap, rows: tuple[Resolved, ...]) -> Table:
    caption = say(
        "{title} (version {version}, {day}; after {source})",
        title=bring(which.title),
        version=which.version,
        day=which.dated.isoformat(),
        source=which.source.partition("; https://")[0],
    )
    columns = (say("Clause"), say("Status"), say("What there is"), say("Where"))
    return Table(f"map-{which.id}", caption, columns, tuple(_row(report, row) for row in rows), "cards")


def _kept_back(report: ReportInput, found: Resolved) -> bool:
    """Whether nothing is missing but what readers of this tier are not shown."""
    return found.status == "missing" and bool(found.absent) and all(map(report.withheld, map(_kind, found.absent)))


def _kind(path: str) -> str:
    return path.partition(".")[0]


def _mark(report: ReportInput, found: Resolved) -> tuple[Said, Tone]:
    return _NOT_SHOWN if _kept_back(report, found) else _MARK[found.status]


def _row(report: ReportInput, found: Resolved) -> tuple[Cell, ...]:
    mark, tone = _mark(report, found)
    words = maps.terms()
    where = DASH
    said: str
    if found.status == "not applicable":
        said = found.words
    elif found.row.human:
        what = bring(words.human[found.row.human].words)
        where = text("model.toml")
        said = say("{what}\n{place}", what=what, place=f"model.toml: {found.row.human}")
        if found.words:
            said = say("{what}:\n{written}", what=what, written=found.words)
    else:
        lines = [bring(words.evidence[path].words) for path in found.found]
        lines += [
            say("not shown here: {what} ({path})", what=bring(words.evidence[path].words), path=path)
            if report.withheld(_kind(path))
            else say("not there: {what} ({path})", what=bring(words.evidence[path].words), path=path)
            for path in found.absent
        ]
        said = lines[0]
        for line in lines[1:]:
            said = say("{what}\n{more}", what=said, more=line)
        place = words.evidence[found.row.evidence[0]].section
        where = Cell(_PLACES.get(place, place), link=place)
    return text(found.row.clause), text(mark, tone), text(said), where


def _count(report: ReportInput, rows: tuple[Resolved, ...], mark: tuple[Said, Tone]) -> Cell:
    number = sum(_mark(report, row) == mark for row in rows)
    return Cell(exact(number), number, ("public",))
