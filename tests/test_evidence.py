"""Evidence: canonical bytes, the closed registry, estimates and findings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadFile, PellucidError, Tampered, Unverified
from pellucid.evidence import (
    KINDS,
    Estimate,
    Evidence,
    Finding,
    Subject,
    canonical,
    digest,
    parse_canonical,
    round_down,
)

SUBJECT = Subject("credit-risk@1", "ab" * 32)


def evidence(**change: Any) -> Evidence:
    fields: dict[str, Any] = {
        "kind": "evaluation",
        "subject": SUBJECT,
        "values": {"auc": Estimate(0.9, 0.89, 0.91, 1234).values(), "accuracy": {}},
        "how": {"method": "test"},
        "coverage": "uncovered",
    }
    return Evidence(**{**fields, **change})


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(values)
def test_canonical_bytes_read_back_to_the_same_bytes(value: Any) -> None:
    data = canonical(value)
    assert canonical(parse_canonical(data, where="test")) == data


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b'{"a":1}\n', b"1.0", b"01", b"[", b"\xff", b"NaN"]
)
def test_what_is_not_canonical_is_tampered(data: bytes) -> None:
    with pytest.raises(Tampered):
        parse_canonical(data, where="test")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**53, 2.0**53, {"a": {1, 2}}])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(BadFile):
        canonical({"x": value})


def test_a_deep_document_is_refused_and_does_not_crash() -> None:
    with pytest.raises(Tampered):
        parse_canonical(b"[" * 200_000 + b"]" * 200_000, where="test")


def test_a_statement_reads_back_as_the_same_evidence() -> None:
    made = evidence(error={"x": 1}, tier="auditor")
    assert Evidence.from_statement(json.loads(canonical(made.statement()))) == made


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "evalution"},
        {"version": 2},
        {"tier": "everybody"},
        {"coverage": "mostly"},
        {"values": {"auc": {}}},
    ],
)
def test_unknown_kinds_versions_tiers_and_missing_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Unverified):
        evidence(**change)


@pytest.mark.parametrize("key", ["_type", "subject", "predicateType", "predicate"])
@pytest.mark.parametrize("wrong", [None, 1, "x", [], {}, [{}], "urn:pellucid:evidence:privacy"])
def test_a_statement_of_a_wrong_shape_is_unverified_and_nothing_else(key: str, wrong: Any) -> None:
    statement = evidence().statement()
    statement[key] = wrong
    with pytest.raises(Unverified):
        Evidence.from_statement(statement)


def test_a_statement_with_one_more_field_is_refused() -> None:
    statement = evidence().statement()
    statement["predicate"]["note"] = "trust me"
    with pytest.raises(Unverified):
        Evidence.from_statement(statement)


def test_every_kind_has_a_first_version() -> None:
    assert all(1 in versions for versions in KINDS.values())


def test_an_estimate_is_rounded_and_its_n_rounded_down_to_ten() -> None:
    assert Estimate(0.12345678, 0.1, 0.2, 987).values() == {"value": 0.123457, "low": 0.1, "high": 0.2, "n": 980}
    with pytest.raises(PellucidError):
        Estimate(float("nan"), 0.0, 1.0, 10)


def test_an_interval_whose_ends_are_the_wrong_way_round_is_refused_wherever_it_stands() -> None:
    with pytest.raises(PellucidError, match="wrong way round"):
        Estimate(0.5, 0.9, 0.1, 100)
    good = {"value": 0.95, "low": 0.1, "high": 0.9, "n": 100}  # a point outside: a bootstrap one may be
    bent = {"value": 0.5, "low": 0.9, "high": 0.1, "n": 100}
    assert evidence(kind="fairness", values={"columns": {"a": {"groups": [{"auc": good}]}}}).values
    with pytest.raises(Unverified, match=r"fairness\.columns\.a\.groups\[1\]\.auc: .*wrong way round"):
        evidence(kind="fairness", values={"columns": {"a": {"groups": [{"auc": good}, {"auc": bent}]}}})
    deep: Any = bent
    for _ in range(5000):  # a statement by somebody else may be nested as deeply as JSON goes, and is no crash
        deep = [deep]
    with pytest.raises(Unverified, match="wrong way round"):
        evidence(kind="fairness", values={"columns": {}, "deep": deep})


@given(st.integers(0, 10**9))
def test_rounding_down_never_shows_a_last_digit(count: int) -> None:
    assert round_down(count) % 10 == 0
    assert 0 <= count - round_down(count) < 10


def test_a_finding_is_the_document_of_the_contract() -> None:
    finding = Finding("a", "unmeasured", "error", "x > 1", "so", {"x": None}, "measure x")
    assert list(finding.document()) == ["id", "status", "severity", "that", "because", "values", "fix"]


def test_digest_is_sha256_in_hex() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4 example
