from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from pellucid.errors import Misuse
from pellucid.evidence import TIERS, Evidence, Finding, Subject
from pellucid.report import Ledger, ReportInput, VerificationCheck

Make = Callable[..., Any]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("report_tier", TIERS)
def test_evidence_above_the_tier_is_refused(sample: Make, make_evidence: Make, tier: str, report_tier: str) -> None:
    evidence = (make_evidence("privacy", tier=tier),)
    if TIERS.index(tier) <= TIERS.index(report_tier):
        assert sample(evidence=evidence, tier=report_tier).last("privacy") == evidence[0]
    else:
        with pytest.raises(Misuse, match=f'tier "{tier}"'):
            sample(evidence=evidence, tier=report_tier)


def test_evidence_about_another_model_is_refused(sample: Make, make_evidence: Make) -> None:
    with pytest.raises(Misuse, match="another model"):
        sample(evidence=(make_evidence("evaluation", subject=Subject("credit-risk@1", "0" * 64)),))


def test_evidence_about_the_data_set_is_admitted(sample: Make, make_evidence: Make) -> None:
    assert sample(evidence=(make_evidence("dataset", subject=Subject("d@1", "0" * 64)),)).last("dataset") is not None


def test_the_last_of_a_kind_counts(sample: Make, make_evidence: Make) -> None:
    first, second = make_evidence("privacy"), make_evidence("privacy", values={"epsilon": 2.0})
    report = sample(evidence=(first, second))
    assert report.last("privacy") == second
    assert report.every("privacy") == (first, second)
    assert report.last("attack") is None


@pytest.mark.parametrize(
    ("tier", "n", "refused"),
    [("public", 9, True), ("public", 10, False), ("auditor", 4, True), ("auditor", 5, False), ("steward", 1, False)],
)
def test_a_number_about_too_few_people_for_the_tier_is_refused(
    sample: Make, make_evidence: Make, tier: Any, n: int, refused: bool
) -> None:
    few = make_evidence(
        "fairness", values={"columns": {"gender": {"groups": [{"group": "Other", "n": n}]}}}, tier="public"
    )
    if not refused:
        assert sample(evidence=(few,), tier=tier).tier == tier
        return
    with pytest.raises(Misuse, match="fewer than") as caught:
        sample(evidence=(few,), tier=tier)
    assert caught.value.where == "fairness.columns.gender.groups[0]"


def finding(status: Any, severity: Any = "error") -> Finding:
    return Finding("id", status, severity, "true", "why", {})


@pytest.mark.parametrize(
    ("statuses", "checks", "least"),
    [
        (["pass"], ["pass"], 0),
        (["pass", "waived"], [], 0),
        (["pass"], ["not checked"], 0),
        (["pass", "fail"], ["pass"], 1),
        (["fail", "unmeasured"], ["pass"], 3),
        (["pass"], ["fail"], 3),
        (["pass"], ["a status nobody knows"], 3),
        ([], ["pass"], 3),
    ],
)
def test_a_verdict_better_than_its_findings_is_refused(
    sample: Make, statuses: list[str], checks: list[str], least: int
) -> None:
    given = {
        "findings": [finding(status) for status in statuses],
        "verification": [VerificationCheck("x", status, "") for status in checks],
    }
    for code in (0, 1, 3):
        if code >= least:
            assert sample(exit_code=code, **given).exit_code == code
        else:
            with pytest.raises(Misuse, match="better verdict"):
                sample(exit_code=code, **given)


@pytest.mark.parametrize("status", ["fail", "unmeasured"])
def test_a_warning_decides_nothing(sample: Make, status: str) -> None:
    assert sample(findings=[finding("pass"), finding(status, "warning")], exit_code=0).exit_code == 0


@pytest.mark.parametrize("code", [2, -1, 4, 130])
def test_an_exit_code_that_is_no_verdict_is_refused(sample: Make, code: int) -> None:
    with pytest.raises(Misuse, match="exit code"):
        sample(exit_code=code)


@pytest.mark.parametrize("created", ["", "now", "2026-11-02", "2026-11-02T09:30:00+01:00", "2026-11-02T09:30:00Z "])
def test_created_must_be_an_instant(sample: Make, created: str) -> None:
    with pytest.raises(Misuse, match="instant"):
        sample(created=created)


def test_an_unknown_tier_and_a_bad_digest_are_refused(sample: Make) -> None:
    with pytest.raises(Misuse, match="not a tier"):
        sample(tier="owner")
    with pytest.raises(Misuse, match="SHA-256"):
        sample(evidence=(), subject=Subject("m", "AB"))


def test_the_ledger_document_must_hold_the_contract() -> None:
    document = {"dataset": "d", "epsilon": None, "delta": None, "spent": 0.0, "reserved": 0.0, "left": None, "runs": []}
    assert Ledger.from_document(document).left is None
    for key in document:
        with pytest.raises(Misuse, match=key):
            Ledger.from_document({k: v for k, v in document.items() if k != key})


def test_the_input_is_frozen(sample: Make) -> None:
    report: ReportInput = sample()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.tier = "public"  # type: ignore[misc]  # the point of the test
    assert all(isinstance(item, Evidence) for item in report.evidence)
    assert isinstance(sample(findings=list(report.findings)).findings, tuple)
