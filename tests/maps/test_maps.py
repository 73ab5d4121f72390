"""The maps are whole, dated and sourced; a row's status follows from the evidence alone."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import maps
from pellucid.errors import BadFile, UnknownName
from pellucid.evidence import KINDS, Evidence, Subject
from pellucid.maps import reading

MODEL = Subject("m@1", hashlib.sha256(b"m").hexdigest())
ROWS = [(name, row) for name in maps.MAPS for row in maps.read(name).rows]
NEEDED = {path for _, row in ROWS for path in row.evidence}


def evidence(paths: set[str], extra: tuple[Evidence, ...] = ()) -> tuple[Evidence, ...]:
    """Evidence in which exactly these paths hold something; what a kind must hold besides is null."""
    kinds: dict[str, dict[str, Any]] = {"review": {}}
    for path in sorted(paths):
        kind, _, name = path.partition(".")
        if kind != "bundle":
            kinds.setdefault(kind, {})[name] = [{"name": "age", "sensitivity": "special"}]
    made = [
        Evidence(kind, MODEL, {**dict.fromkeys(KINDS[kind][1]), **values}, {}, "public")
        for kind, values in kinds.items()
    ]
    return (*made, *extra)


def card(**parts: dict[str, str]) -> Evidence:
    return Evidence("card", MODEL, {"file": {"name": "model.toml", "sha256": "0" * 64}, **parts}, {}, "public")


def status(name: str, row: str, found: tuple[Evidence, ...]) -> str:
    return next(each.status for each in maps.resolve(maps.read(name), found) if each.row.id == row)


@pytest.mark.parametrize("name", maps.MAPS)
def test_every_map_is_versioned_dated_and_sourced_row_by_row(name: str) -> None:
    which = maps.read(name)
    assert which.version >= 1
    assert which.dated.year >= 2026
    assert "https://" in which.source
    assert all(row.source and row.clause for row in which.rows)
    assert all(which.title[language] for language in ("en", "zh"))
    assert bool(which.note["en"]) == bool(which.note["zh"])


def test_the_maps_hold_what_they_are_named_for() -> None:
    clauses = {name: " ".join(row.clause for row in maps.read(name).rows) for name in maps.MAPS}
    assert all(f"Annex IV({point})" in clauses["eu-ai-act"] for point in range(1, 10))
    assert all(f"Art. {article}" in clauses["eu-ai-act"] for article in (10, 12, 13, 14, 15))
    assert all(f"Art. {article}(" in clauses["gdpr"] for article in (5, 22, 25, 30, 32, 35))
    measures = [
        *(f"2.{n}" for n in range(1, 14)),
        *(f"{n}.{m}" for n in (1, 3) for m in (1, 2, 3)),
        "4.1",
        "4.2",
        "4.3",
    ]
    assert sorted(row.clause for row in maps.read("nist-ai-rmf").rows) == sorted(f"MEASURE {m}" for m in measures)
    assert all(f"A.{n}." in clauses["iso-42001"] for n in range(2, 11))
    assert "2 December 2027" in maps.read("eu-ai-act").note["en"]
    assert "SR 11-7" in maps.read("sr-26-2").note["en"]


def test_every_path_names_a_kind_of_evidence_and_every_term_is_used() -> None:
    terms = maps.terms()
    assert {path.partition(".")[0] for path in terms.evidence} <= {*KINDS, "bundle"}
    assert set(terms.evidence) == NEEDED
    assert set(terms.human) == {row.human for _, row in ROWS if row.human}
    for term in (*terms.evidence.values(), *terms.human.values()):
        assert term.words["en"]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in term.words["zh"])


def test_no_row_says_that_a_law_is_met() -> None:
    said = " ".join(term.words["en"] for term in maps.terms().evidence.values()).lower()
    assert not [word for word in ("complian", "conform to", "fulfil", "satisf", "ensures", "guarantee") if word in said]


@given(st.sets(st.sampled_from(sorted(NEEDED))))
def test_a_row_of_evidence_is_there_only_with_all_of_its_paths(there: set[str]) -> None:
    found = evidence(there)
    known = there | {"bundle.log", "bundle.signatures"}
    for name in maps.MAPS:
        for each in maps.resolve(maps.read(name), found):
            if not each.row.evidence:
                assert each.status == "missing"
                continue
            assert set(each.found) == set(each.row.evidence) & known
            assert each.status == ("evidence" if set(each.row.evidence) <= known else "missing")


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_absent_null_and_empty_are_missing(nothing: Any) -> None:
    found = evidence({"training.features"})
    assert status("gdpr", "art-25.default", (*found, *evidence({"provenance.policy"}))) == "evidence"
    emptied = Evidence("training", MODEL, {**found[-1].values, "features": nothing}, {}, "public")
    assert status("gdpr", "art-25.default", (*evidence({"provenance.policy"}), emptied)) == "missing"


def test_without_evidence_everything_is_missing() -> None:
    for name in maps.MAPS:
        assert {each.status for each in maps.resolve(maps.read(name), ())} == {"missing"}


def test_the_word_of_a_person_is_human_provided_and_blank_is_missing() -> None:
    assert status("gdpr", "art-5.lawful", (card(legal={"basis": "Art. 6(1)(b)"}),)) == "human-provided"
    assert status("gdpr", "art-5.lawful", (card(legal={"basis": "  "}),)) == "missing"
    assert status("gdpr", "art-5.lawful", (card(),)) == "missing"


def test_what_does_not_apply_has_a_reason_or_is_asked_for() -> None:
    reason = {"gdpr/art-22.automated": "the model only orders a list that a person works through"}
    assert status("gdpr", "art-22.automated", (card(not_applicable=reason),)) == "not applicable"
    assert status("gdpr", "art-22.automated", (card(not_applicable={"gdpr/art-22.automated": " "}),)) == "missing"


def test_no_word_takes_out_what_is_shown_and_one_that_takes_out_a_measurement_is_counted() -> None:
    """Else a line in ``model.toml`` for every row would meet ``maps.gdpr.missing == 0``."""
    which = maps.read("gdpr")
    rows = {f"gdpr/{row.id}": "not for us" for row in which.rows}
    measured = {row.id for row in which.rows if row.evidence}
    shown = maps.resolve(which, evidence(NEEDED, (card(not_applicable=rows),)))
    assert {each.row.id for each in shown if each.status == "evidence"} == measured
    assert maps.standing(evidence(NEEDED, (card(not_applicable=rows),)))["gdpr"]["excused"] == 0
    nothing = maps.standing((card(not_applicable=rows),))["gdpr"]
    absent = {each.row.id for each in maps.resolve(which, (card(),)) if each.row.evidence and each.status == "missing"}
    assert (nothing["missing"], nothing["excused"]) == (0, len(absent))
    assert nothing["excused"] > 10


def test_special_categories_are_asked_for_unless_the_schema_declares_none() -> None:
    def data(*sensitivity: str) -> Evidence:
        columns = [{"name": str(i), "type": "integer", "sensitivity": each} for i, each in enumerate(sensitivity)]
        return Evidence("dataset", MODEL, {**dict.fromkeys(KINDS["dataset"][1]), "columns": columns}, {}, "public")

    assert status("gdpr", "art-22.special", (data("personal", "special"),)) == "missing"
    assert status("gdpr", "art-22.special", (data("personal", "public"),)) == "not applicable"
    assert status("gdpr", "art-22.special", ()) == "missing"


def test_the_standing_counts_every_row_once() -> None:
    for name, counts in maps.standing(evidence(NEEDED, (card(legal={"basis": "law"}),))).items():
        rows = len(maps.read(name).rows)
        assert sum(counts[key] for key in ("evidence", "human_provided", "not_applicable", "missing")) == rows
        assert counts["excused"] == 0, "nobody said that something does not apply"
        assert len(counts["missing_rows"]) == counts["missing"]


def test_rows_are_named_by_map_and_id() -> None:
    assert "gdpr/art-22.automated" in maps.rows()
    assert len(maps.rows()) == len(ROWS)


def test_an_unknown_map_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match='did you mean "gdpr"'):
        maps.read("gdrp")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"evidence": ["privacy.epsilo"]}, 'no evidence "privacy.epsilo"'),
        ({"human": "legal.bases"}, 'no part "legal.bases"'),
        ({"evidence": ["privacy.epsilon"], "human": "legal.basis"}, "evidence and human, or neither"),
        ({}, "evidence and human, or neither"),
        ({"human": "legal.basis", "when": "often"}, 'no condition "often"'),
        ({"human": "legal.basis", "wehn": "special"}, 'unknown key "wehn"'),
    ],
)
def test_a_row_that_means_nothing_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadFile, match=says):
        reading._row({"id": "a", "clause": "Art. 1", "source": "here", **change}, "map.toml")
