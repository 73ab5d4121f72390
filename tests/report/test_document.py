from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pellucid.evidence import COVERAGE, canonical
from pellucid.report import FORMAT, document, render_html, render_json

Make = Callable[..., Any]
NUMBER = re.compile(r"−?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def tables(twin: Any) -> Iterator[dict[str, Any]]:
    if isinstance(twin, dict):
        if twin.get("type") == "table":
            yield twin
        for value in twin.values():
            yield from tables(value)
    elif isinstance(twin, list):
        for value in twin:
            yield from tables(value)


def test_the_twin_is_canonical_json_of_a_stated_format(sample: Make) -> None:
    data = render_json(sample())
    twin = json.loads(data)
    assert canonical(twin) == data
    assert twin["format"] == FORMAT == "pellucid/report@1"
    assert twin["verdict"]["exit"] == 0
    assert twin["coverage"] == dict(COVERAGE)


def test_the_twin_has_every_number_of_the_tables_of_the_page(sample: Make, parse: Make) -> None:
    report = sample()
    page, twin = parse(render_html(report)), json.loads(render_json(report))
    mirrored = {table["id"]: table for table in tables(twin)}
    assert page.tables.keys() == mirrored.keys() - {"key-figures"}
    seen = 0
    for key, rows in page.tables.items():
        body = rows[1:]
        assert len(body) == len(mirrored[key]["rows"])
        for shown, cells in zip(body, mirrored[key]["rows"], strict=True):
            for words, cell in zip(shown, cells, strict=True):
                assert NUMBER.findall(words.replace("\u00a0", " ")) == NUMBER.findall(cell["text"])
                seen += len(NUMBER.findall(cell["text"]))
    assert seen > 200


def test_every_number_of_the_twin_rounds_to_what_the_page_prints(sample: Make) -> None:
    checked = 0
    for table in tables(document(sample())):
        for row in table["rows"]:
            for cell in row:
                value = cell.get("value")
                middle = value["value"] if isinstance(value, dict) and "value" in value else value
                if isinstance(middle, int | float) and not isinstance(middle, bool):
                    shown = NUMBER.findall(cell["text"])[0].replace(",", "").replace("−", "-")
                    places = len(shown.split(".")[1].split("e")[0]) if "." in shown else 0
                    assert abs(float(shown) - middle) <= 10.0**-places
                    checked += 1
    assert checked > 150


def test_every_number_is_covered_by_a_named_guarantee(sample: Make) -> None:
    for table in tables(document(sample())):
        for row in table["rows"]:
            for cell in row:
                value = cell.get("value")
                if isinstance(value, int | float) or (isinstance(value, dict) and "value" in value):
                    assert cell["coverage"], cell
                assert set(cell.get("coverage", ())) <= COVERAGE.keys()


def test_the_twin_carries_the_statements_and_findings_whole(sample: Make) -> None:
    report = sample()
    twin = json.loads(render_json(report))
    assert twin["evidence"] == [json.loads(canonical(item.statement())) for item in report.evidence]
    assert [item["id"] for item in twin["findings"]] == [item.id for item in report.findings]
    assert set(twin["findings"][0]) == {"id", "status", "severity", "that", "because", "values", "fix"}


@pytest.mark.parametrize("kind", ["privacy", "evaluation", "fairness", "attack"])
def test_absent_evidence_is_absent_in_the_twin(sample: Make, kind: str) -> None:
    twin = json.loads(render_json(sample(without=(kind,))))
    assert not [item for item in twin["evidence"] if item["predicateType"] == f"urn:pellucid:evidence:{kind}:1"]
