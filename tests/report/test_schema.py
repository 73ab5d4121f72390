"""report.json is what its published schema says, in every language, with and without evidence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pellucid.report import FORMAT, document

Make = Callable[..., Any]
ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "src" / "pellucid" / "report" / "report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema_of_the_format() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["format"] == {"const": FORMAT}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_whole_report_fits_its_schema(sample: Make, language: str) -> None:
    VALIDATOR.validate(document(sample(), language))


def test_a_report_without_evidence_fits_its_schema(sample: Make) -> None:
    empty = sample(evidence=(), findings=(), exit_code=3, ledger=None, decisions=None, verification=(), signers=())
    VALIDATOR.validate(document(empty))


def test_the_committed_sample_fits_its_schema() -> None:
    VALIDATOR.validate(json.loads((ROOT / "reports" / "sample" / "report.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "change",
    [
        lambda twin: twin.pop("verdict"),
        lambda twin: twin.update(more=1),
        lambda twin: twin["verdict"].update(exit=2),
        lambda twin: twin["sections"][0].update(status="fine"),
        lambda twin: twin["sections"][0]["blocks"].append({"type": "unknown"}),
        lambda twin: twin["key_figures"]["rows"][0][1].update(coverage=["somehow"]),
        lambda twin: twin["evidence"][0]["predicate"].pop("coverage"),
        lambda twin: twin["subject"]["digest"].update(sha256="ABC"),
    ],
)
def test_what_the_schema_does_not_say_is_refused(sample: Make, change: Callable[[Any], Any]) -> None:
    twin = copy.deepcopy(document(sample()))
    change(twin)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(twin)
