"""Which clause of which rule book the evidence speaks to, and which it does not. It never says that a law is met."""

from __future__ import annotations

from typing import Final

from pellucid import maps
from pellucid.maps import MAPS, STATUSES, RegulationMap, Resolved, Status
from pellucid.report.blocks import Block, Cell, Prose, Section, Table, Tone, text
from pellucid.report.figures import exact
from pellucid.report.inputs import ReportInput

__all__ = ["regulation"]

_MARK: Final[dict[Status, tuple[str, Tone]]] = {
    "evidence": ("✓ evidence", "good"),
    "human-provided": ("✎ human-provided", "good"),
    "not applicable": ("– not applicable", ""),
    "missing": ("? missing", "open"),
}


def regulation(report: ReportInput) -> Section:
    """Every row of every map, with what there is for it."""
    resolved = [(which, maps.resolve(which, report.evidence)) for which in map(maps.read, MAPS)]
    counts = tuple(
        (text(which.title["en"]), *(_count(rows, status) for status in STATUSES)) for which, rows in resolved
    )
    blocks: list[Block] = [
        Prose(
            "A row says what the evidence of this model shows, or what a person wrote. It does not say that a law is "
            "met: that is for people to judge, with these rows and the law before them. What is missing is missing."
        ),
        Table("maps", "Rows of each map by what there is for them", ("Map", *map(str.capitalize, STATUSES)), counts),
    ]
    for which, rows in resolved:
        if which.note["en"]:
            blocks.append(Prose(which.note["en"]))
        blocks.append(_table(which, rows))
    open_ = any(row.status == "missing" for _, rows in resolved for row in rows)
    question = "What is there for whom the law asks, and what is not?"
    return Section("regulation", "Regulation map", question, "missing" if open_ else "shown", tuple(blocks))


def _table(which: RegulationMap, rows: tuple[Resolved, ...]) -> Table:
    source = which.source.partition("; https://")[0]
    caption = f"{which.title['en']} (version {which.version}, {which.dated.isoformat()}; after {source})"
    columns = ("Clause", "Status", "What there is", "Where")
    return Table(f"map-{which.id}", caption, columns, tuple(_row(row) for row in rows), "cards")


def _row(found: Resolved) -> tuple[Cell, ...]:
    mark, tone = _MARK[found.status]
    words = maps.terms()
    place = "regulation"
    if found.status == "not applicable":
        said = found.words
    elif found.row.human:
        said = words.human[found.row.human].words["en"]
        said += f":\n{found.words}" if found.words else f"\nmodel.toml: {found.row.human}"
    else:
        there = [words.evidence[path].words["en"] for path in found.found]
        absent = [f"not there: {words.evidence[path].words['en']} ({path})" for path in found.absent]
        said = "\n".join([*there, *absent])
        place = words.evidence[found.row.evidence[0]].section
    where = Cell(place, link=place) if place != "regulation" else text("model.toml" if found.row.human else "—")
    return text(found.row.clause), text(mark, tone), text(said), where


def _count(rows: tuple[Resolved, ...], status: Status) -> Cell:
    number = sum(row.status == status for row in rows)
    return Cell(exact(number), number, ("public",))
