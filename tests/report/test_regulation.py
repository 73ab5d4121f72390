from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pellucid import maps
from pellucid.evidence import Evidence
from pellucid.report import render_html
from pellucid.report.blocks import Table
from pellucid.report.sections.regulation import regulation

Make = Callable[..., Any]


def rows(section: Any, name: str) -> list[tuple[str, str, str, str]]:
    table = next(block for block in section.blocks if isinstance(block, Table) and block.id == f"map-{name}")
    return [tuple(cell.text for cell in row) for row in table.rows]


def test_every_row_of_every_map_is_on_the_page_once(sample: Make, parse: Make) -> None:
    page = parse(render_html(sample()))
    for name in maps.MAPS:
        assert len(page.tables[f"map-{name}"]) == 1 + len(maps.read(name).rows)


def test_evidence_leads_to_the_section_that_shows_it(sample: Make) -> None:
    html = render_html(sample())
    ids = set(re.findall(r'id="([^"]+)"', html))
    used = {path for name in maps.MAPS for row in maps.read(name).rows for path in row.evidence}
    for path in used:
        assert maps.terms().evidence[path].section in ids, path
    section = regulation(sample())
    links = {cell.link for block in section.blocks if isinstance(block, Table) for row in block.rows for cell in row}
    assert {"privacy", "performance", "explanations", "data"} <= links


def test_what_is_not_there_is_missing_and_named(sample: Make) -> None:
    found = rows(regulation(sample(without=("attack",))), "gdpr")
    tested = next(row for row in found if row[0] == "Art. 32(1)(d)")
    assert tested[1] == "? missing"
    assert "attack.epsilon_lower" in tested[2]
    asked = next(row for row in found if row[0] == "Art. 35(7)(b)")
    assert asked[1] == "? missing"
    assert "model.toml: legal.necessity" in asked[2]
    assert regulation(sample()).status == "missing"


def test_words_of_a_person_are_shown_as_theirs(sample: Make, make_evidence: Make) -> None:
    report = sample()
    values = {"file": {"name": "model.toml", "sha256": "0" * 64}, "legal": {"basis": "Art. 6(1)(b) \u202e<b>"}}
    card = Evidence("card", report.subject, values, {}, "public")
    found = rows(regulation(sample(evidence=(*report.evidence, card))), "gdpr")
    lawful = next(row for row in found if row[0] == "Art. 5(1)(a)")
    assert lawful[1] == "✎ written by people"
    assert "Art. 6(1)(b) [U+202E]<b>" in lawful[2]
