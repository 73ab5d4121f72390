from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pellucid.evidence import KINDS, Evidence, Finding
from pellucid.report import Ledger, VerificationCheck, render_html, summary
from pellucid.report.blocks import Figure, Prose, Table
from pellucid.report.model import verdict, view
from pellucid.report.sections.people import PARTS

Make = Callable[..., Any]
SECTION = {
    "dataset": "data",
    "training": "model",
    "privacy": "privacy",
    "evaluation": "performance",
    "fairness": "subgroups",
    "calibration": "calibration",
    "explanation": "explanations",
    "validity": "validity",
}


def section(report: Any, key: str) -> Any:
    return next(s for s in view(report).sections if s.id == key)


def prose(part: Any) -> str:
    return " ".join(" ".join((b.text, *b.points)) for b in part.blocks if isinstance(b, Prose))


def table(part: Any, key: str) -> Table:
    found = [b for b in part.blocks if isinstance(b, Table)]
    for block in part.blocks:
        if isinstance(block, Figure):
            found += [block.table] if block.beside is None else [block.table, block.beside]
    return next(t for t in found if t.id == key)


def facts(part: Any, key: str) -> dict[str, str]:
    return {row[0].text: row[1].text for row in table(part, key).rows}


@pytest.mark.parametrize("kind", SECTION)
def test_absent_evidence_is_shown_as_not_measured(sample: Make, kind: str) -> None:
    present, absent = section(sample(), SECTION[kind]), section(sample(without=(kind,)), SECTION[kind])
    assert present.status == "shown"
    assert absent.status == "not measured"
    assert f"Not measured. There is no {kind} evidence" in prose(absent)


def test_nothing_at_all_is_shown_as_not_measured_and_not_proven(sample: Make, parse: Make) -> None:
    report = sample(evidence=(), findings=(), exit_code=3, ledger=None, decisions=None, verification=(), signers=())
    page = view(report)
    assert page.verdict.word == "NOT PROVEN"
    assert len(page.sections) == 24
    assert all(row[1].text == "not measured" for row in page.key_figures.rows)
    words = parse(render_html(report)).words
    assert "Budget of the data set: not measured" in words
    assert "Attack: not measured" in words
    assert "Verification: not measured" in words


def test_an_absent_value_in_evidence_that_is_there_is_not_measured(sample: Make) -> None:
    rows = {
        row[0].text: [c.text for c in row] for row in table(section(sample(), "subgroups"), "groups-ethnicity").rows
    }
    assert rows["Black"][5] == "too few people"  # of one class: it was looked at, and is not told
    assert "0.000" not in rows["Black"]
    assert rows["Other"][1:] == ["suppressed"] * 6


@pytest.mark.parametrize(
    ("code", "statuses", "word", "said"),
    [
        (0, {"a": "pass", "b": "waived"}, "RELEASE", "1 waived"),
        (1, {"a": "fail", "b": "fail"}, "DO NOT RELEASE", "2 requirements are not met: a, b."),
        (1, {"a": "pass"}, "DO NOT RELEASE", "refused"),
        (
            3,
            {"a": "unmeasured", "b": "fail"},
            "NOT PROVEN",
            "1 requirement could not be measured: a. Unmeasured is never",
        ),
        (3, {"a": "pass"}, "NOT PROVEN", "could not be completed"),
        (3, {}, "NOT PROVEN", "No release policy"),
    ],
)
def test_the_verdict_is_one_line_that_says_why(
    sample: Make, code: int, statuses: dict[str, Any], word: str, said: str
) -> None:
    findings = tuple(Finding(key, status, "error", "true", "", {}) for key, status in statuses.items())
    found = verdict(sample(findings=findings, exit_code=code))
    assert (found.word, found.exit_code) == (word, code)
    assert said in found.sentence
    assert "\n" not in found.sentence


def test_a_bundle_that_does_not_verify_is_not_proven(sample: Make) -> None:
    found = verdict(sample(verification=(VerificationCheck("inclusion", "fail", "bad proof"),), exit_code=3))
    assert found.sentence == "The evidence does not verify: inclusion."


def test_a_failure_is_never_hidden_by_an_unmeasured_one(sample: Make) -> None:
    findings = (Finding("a", "unmeasured", "error", "", "", {}), Finding("b", "fail", "error", "", "", {}))
    assert "Not met: b." in verdict(sample(findings=findings, exit_code=3)).sentence


def test_requirements_show_values_reason_and_coverage(sample: Make) -> None:
    rows = {row[0].text: row for row in view(sample()).requirements.rows}
    parity = rows["fairness.parity"]
    assert parity[1].text == "✗ not met\n(warning)"
    assert "= 0.1949" in parity[3].text
    assert parity[3].coverage == ("uncovered",)
    assert "Next: argue it" in parity[2].text
    assert rows["robustness.missing"][3].text == "robustness.missing_feature_drop: absent"
    assert rows["provenance.key_release"][3].coverage == ()
    assert [row[1].text.split("\n")[0] for row in view(sample()).requirements.rows][:2] == ["✗ not met", "? unmeasured"]


def test_the_promise_is_the_arithmetic_of_epsilon(sample: Make, make_evidence: Make) -> None:
    said = prose(section(sample(evidence=(make_evidence("privacy", values={"epsilon": 1.0}),)), "privacy"))
    assert "ε = 1," in said
    # e = 2.718…, and 1 / (1 + 1/e) = 73.1 %, both rounded up
    assert f"about {math.ceil(math.e * 10) / 10} times" in said
    assert "at most 73.2 % sure" in said


def test_the_promise_is_finite_for_any_epsilon(sample: Make, make_evidence: Make) -> None:
    for epsilon in (0.0, 25.0, 5000.0):
        said = prose(section(sample(evidence=(make_evidence("privacy", values={"epsilon": epsilon}),)), "privacy"))
        assert "% sure" in said
    assert "at most 100.0 % sure" in said


def test_a_person_of_several_rows_is_said_to_be_uncovered_only_for_rows(sample: Make, make_evidence: Make) -> None:
    row = prose(section(sample(), "privacy"))
    person = prose(section(sample(evidence=(make_evidence("privacy", values={"unit": "customer"}),)), "privacy"))
    assert "A person who stands in several rows" in row
    assert "A person who stands in several rows" not in person
    assert 'all rows of one person (column "customer")' in person


def test_an_attack_above_the_claim_is_an_alarm(sample: Make, make_evidence: Make) -> None:
    report = sample(evidence=(make_evidence("privacy"), make_evidence("attack", values={"epsilon_lower": 3.5})))
    assert view(report).alarms == ("The attack measured a greater privacy loss than is claimed: the claim is refuted.",)
    assert "the claim is refuted" in prose(section(report, "privacy"))
    assert view(sample()).alarms == ()


def test_an_unsafe_door_is_an_alarm(sample: Make) -> None:
    report = sample()
    unsafe = Evidence("unsafe", report.subject, {"door": "UnsafeSeed"}, {}, "public")
    assert "UnsafeSeed" in view(dataclasses.replace(report, evidence=(*report.evidence, unsafe))).alarms[0]


@pytest.mark.parametrize(
    ("grade", "said"), [("member", "a person's machine"), ("broker", "there is no key"), ("x", "not known")]
)
def test_key_release_is_said_in_plain_words(sample: Make, make_evidence: Make, grade: str, said: str) -> None:
    report = sample(evidence=(make_evidence("provenance", values={"key_release": grade}),))
    assert said in facts(section(report, "identity"), "identity-facts")["Key release"]


def test_a_stopped_run_says_so(sample: Make, make_evidence: Make) -> None:
    report = sample(evidence=(make_evidence("training", values={"status": "stopped"}),))
    assert "Training stopped before its plan" in prose(section(report, "model"))
    assert "stopped" not in prose(section(sample(), "model"))


def test_the_ledger_rounds_against_itself(sample: Make) -> None:
    ledger = Ledger("d", 8.0, 1e-5, 1.00001, 2.00001, 4.99999)
    rows = {row[0].text: row[1].text for row in table(section(sample(ledger=ledger), "privacy"), "ledger").rows}
    assert rows == {"Budget": "8", "Spent": "1.0001", "Reserved": "2.0001", "Left": "4.9999"}


def test_the_ledger_says_when_it_stood_so_and_where_to_ask_for_what_is_so_now(sample: Make) -> None:
    part = section(sample(), "privacy")
    assert "as it stood when the evidence of this training was signed" in prose(part)
    assert "pellucid budget applicants says how the ledger stands now." in prose(part)
    assert table(part, "ledger").caption == "Budget of applicants, as it stood then"
    assert "not settled then" in [row[3].text for row in table(part, "ledger").rows]


def test_a_ledger_without_budget_is_not_measured(sample: Make) -> None:
    ledger = Ledger("d", None, None, 0.0, 0.0, None)
    rows = {row[0].text: row[1].text for row in table(section(sample(ledger=ledger), "privacy"), "ledger").rows}
    assert (rows["Budget"], rows["Left"]) == ("not measured", "not measured")


def test_decisions_name_who_was_allowed_and_who_was_denied(sample: Make) -> None:
    rows = [[c.text for c in row] for row in table(section(sample(), "decisions"), "decisions-table").rows]
    assert ["eve", "✗ denied", "export", "applicants", "none given", "2", "2026-11-02T09:14:00Z", "no-export"] in rows
    gender = next(row for row in rows if row[3].endswith("gender"))
    assert gender[:6] == ["ana", "✗ denied", "read", "applicants/gender", "credit scoring", "1"]
    assert sum(int(row[5]) for row in rows) == 5


def test_the_public_tier_names_nobody_in_decisions(sample: Make, make_evidence: Make) -> None:
    html = render_html(sample(tier="public", evidence=(make_evidence("privacy", tier="public"),)))
    decided = re.search(r'<section id="decisions".*?</section>', html, re.DOTALL)
    assert decided is not None
    assert "eve" not in re.sub(r"<[^>]+>", " ", decided.group()).split()
    assert "Names in access decisions" in html


def test_decisions_absent_and_none_differ(sample: Make) -> None:
    assert section(sample(decisions=None), "decisions").status == "not measured"
    assert "nobody asked" in prose(section(sample(decisions=()), "decisions"))


def test_redactions_name_what_was_suppressed(sample: Make) -> None:
    rows = [[c.text for c in row] for row in table(section(sample(), "redactions"), "redactions-table").rows]
    assert ["ethnicity: Other", "suppressed", "fewer than 10 people, or next to such a group"] in rows


def test_human_parts_are_missing_until_people_write_them(sample: Make) -> None:
    part = section(sample(), "intended-use")
    assert part.status == "missing"
    assert {row[1].text for row in table(part, "written-intended_use").rows} == {"missing"}


def test_every_kind_of_evidence_is_listed(sample: Make) -> None:
    rows = facts(section(sample(), "evidence"), "evidence-index")
    assert rows.keys() == KINDS.keys()
    assert rows["robustness"] == "not measured"
    assert rows["privacy"] == "in the bundle"


def test_evidence_without_a_section_shows_its_values(sample: Make) -> None:
    report = sample()
    tuning = Evidence(
        "tuning",
        report.subject,
        {"trials": 12, "best": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 50}},
        {},
        "own-release",
    )
    part = section(dataclasses.replace(report, evidence=(*report.evidence, tuning)), "evidence")
    assert facts(part, "values-tuning-1") == {"best": "0.900 (0.800 to 1.000)", "trials": "12"}


def test_the_completeness_gap_stands_before_the_bars(sample: Make) -> None:
    part = section(sample(), "explanations")
    assert isinstance(part.blocks[0], Prose)
    assert "by 0.43 %" in part.blocks[0].text
    kinds = [type(block) for block in part.blocks]
    assert kinds.index(Prose) < kinds.index(Figure)


def test_an_importance_whose_interval_holds_zero_is_not_told_apart(sample: Make) -> None:
    rows = {row[0].text: row[3].text for row in table(section(sample(), "explanations"), "importance").rows}
    assert rows["workclass"] == "not told apart from 0"
    assert rows["age"] == "matters"


def test_the_summary_fits_a_terminal_and_leads_with_the_verdict(sample: Make) -> None:
    lines = summary(sample(without=("attack", "fairness")))
    assert lines[0].startswith("RELEASE")
    assert all(len(line) <= 80 for line in lines)
    assert any("not measured" in line for line in lines)
    assert any("fairness.parity (warning)" in line for line in lines)


def test_the_summary_writes_out_what_would_act_on_a_terminal(sample: Make) -> None:
    findings = (Finding("a\x1b[2J\u202e", "fail", "error", "", "", {}),)
    assert "\x1b" not in "".join(summary(sample(findings=findings, exit_code=1)))


def test_importing_and_rendering_needs_no_heavy_library() -> None:
    code = (
        "import sys, pellucid.report as r; r.summary; "
        "from pellucid.report.html import _environment; _environment('en'); "
        "heavy = {'torch', 'numpy', 'pandas', 'pyarrow', 'cedarpy', 'dp_accounting'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [*SECTION, "provenance", "attack"])
def test_a_value_that_no_table_knows_is_still_shown(sample: Make, make_evidence: Make, parse: Make, kind: str) -> None:
    page = parse(render_html(sample(evidence=(make_evidence(kind, values={"added_later": 0.123456}),))))
    shown = [[words.strip() for words in row] for rows in page.tables.values() for row in rows]
    assert ["added_later", "0.123456"] in shown


def test_the_power_of_the_attack_stands_beside_its_bound(sample: Make) -> None:
    rows = facts(section(sample(), "privacy"), "attack-facts")
    assert rows["Greatest bound this attack could have shown (its power)"] == "6.1803"


def test_attributions_show_their_standard_error_where_there_is_one(sample: Make, make_evidence: Make) -> None:
    part = section(sample(), "explanations")
    rows = {row[0].text: row[2].text for row in table(part, "attribution").rows}
    assert rows["age"] == "0.0020"
    bare = section(sample(evidence=(make_evidence("explanation", error={}),)), "explanations")
    assert {row[2].text for row in table(bare, "attribution").rows} == {"not measured"}


def test_explanations_without_importance_say_so(sample: Make, make_evidence: Make) -> None:
    report = sample(evidence=(make_evidence("explanation", values={"importance": {}, "importance_method": None}),))
    assert "Importance: not measured." in prose(section(report, "explanations"))


def test_a_rejection_and_what_goes_against_an_expert_are_said_first(sample: Make) -> None:
    model = sample().subject
    told = {"verdict": "reject", "reviewer": "kim", "note": "gender comes back through relationship"}
    asked = [
        {"id": "gender.no-proxy", "kind": "proxy", "about": {"of": "gender"}, "status": "not met", "because": "law",
         "measured": {"auc": {"value": 0.92, "low": 0.91, "high": 0.93, "n": 900}}},
        {"id": "age.sign", "kind": "sign", "about": {"column": "age"}, "status": "unmeasured", "because": "x",
         "reason": "the interval holds both signs"},
    ]  # fmt: skip
    more = (
        Evidence("review", model, told, {}, "public", tier="auditor"),
        Evidence("expectation", model, {"expectations": asked}, {}, "uncovered", tier="auditor"),
    )
    page = view(sample(evidence=(*sample().evidence, *more)))
    first, *others = page.highlights
    assert first.tone == "bad"
    assert str(first.text) == "kim has read it and rejects it: gender comes back through relationship"
    assert "It goes against 1 of 2 expectations of an expert: gender.no-proxy." in [str(other.text) for other in others]
    rows = table(section(sample(evidence=(*sample().evidence, *more)), "expectations"), "expectations-table").rows
    assert [str(row[-1].text) for row in rows] == ["auc = 0.920 (0.910 to 0.930)", "the interval holds both signs"]


def test_each_review_is_a_row_that_says_who_judged_what_they_read_and_why(sample: Make) -> None:
    told = {"verdict": "reject", "reviewer": "kim", "roles": ["auditor"], "independent": True, "note": "not explained"}
    told |= {"reasons": ["the gap", "no appeal"], "read": {"name": "report.html", "sha256": "a" * 64}, "seen": "twice"}
    bare = {"verdict": "approve", "reviewer": "ana", "independent": False, "note": "fine"}
    model = sample().subject
    more = tuple(Evidence("review", model, values, {"at": "2026-11-29T13:00:00Z"}, "public") for values in (told, bare))
    part = section(sample(evidence=(*sample().evidence, *more)), "intended-use")
    first, second = ([cell.text for cell in row] for row in table(part, "reviews").rows)
    assert first[0] == "kim (auditor), who did not train the model"
    assert first[1] == "✗ rejected"
    assert first[2] == "not explained\n– the gap\n– no appeal"
    assert first[3].split() == ["report.html", "SHA-256", "a" * 64]
    assert second[:4] == ["ana, who trained the model", "✓ approved", "fine", "not recorded"]
    assert {first[4], second[4]} == {"2026-11-29T13:00:00Z"}
    assert "A rejection counts until the person who rejected approves" in prose(part)
    assert facts(part, "others-review") == {"seen": "twice"}  # a field added later is never left out in silence


def test_a_rule_over_a_bin_without_an_end_is_a_comparison(sample: Make, make_evidence: Make) -> None:
    rules = [
        {"if": "age not in [-inf, 25) and job in [65, inf)", "log_odds": 1.5, "share": 0.4},
        {"if": "age in [-inf, 25) and age not in [-2.5, inf) and job in [25, 35)", "log_odds": -1.5, "share": 0.6},
    ]
    surrogate = {"kind": "tree", "faithful": True, "rules": rules}
    part = section(sample(evidence=(make_evidence("explanation", values={"surrogate": surrogate}),)), "explanations")
    said = [row[0].text for row in table(part, "surrogate-rules").rows]
    assert said == ["age >= 25 and job >= 65", "age < 25 and age < -2.5 and job in [25, 35)"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (0, "None of the 26 parts that only people can write is written."),
        (1, "25 of the 26 parts that only people can write are missing."),
        (25, "1 of the 26 parts that only people can write is missing."),
    ],
)
def test_how_many_parts_nobody_wrote_reads_as_a_sentence(sample: Make, written: int, says: str) -> None:
    names = [(section, key) for section, keys in PARTS.items() for key in keys]
    card: dict[str, dict[str, str]] = {}
    for part, key in names[:written]:
        card.setdefault(part, {})[key] = "words"
    file = {"name": "model.toml", "sha256": "a" * 64}
    evidence = Evidence("card", sample().subject, {"file": file, **card}, {}, "public")
    kept = tuple(item for item in sample().evidence if item.kind != "card")
    assert says in [str(h.text) for h in view(sample(evidence=(*kept, evidence))).highlights]
