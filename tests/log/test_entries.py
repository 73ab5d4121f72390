"""Leaves: what was sealed parses; every changed byte, field, kind or time does not."""

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadFile, Misuse, Tampered
from pellucid.evidence import Evidence, Subject, canonical
from pellucid.keys import SigningKey, b64, seal_envelope, unb64
from pellucid.log import PAYLOAD_EVIDENCE, PAYLOAD_RECORD, RECORDS, parse, seal_evidence, seal_record

KEY = SigningKey("credit/ana", bytes(range(32)))
AT = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
PERSON = {"name": "ana", "verifier": KEY.verifier.line, "wrapping": "AA=="}
EVIDENCE = Evidence(
    kind="evaluation",
    subject=Subject("credit-risk@1", "0" * 64),
    values={"auc": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 120}, "accuracy": 0.75},
    how={"method": "held out"},
    coverage="uncovered",
)


def fields(kind):
    return {name: PERSON if name == "owner" or (kind, name) == ("grant", "identity") else "x" for name in RECORDS[kind]}


def sealed(payload, payload_type=PAYLOAD_RECORD):
    return canonical(seal_envelope(payload_type, payload, KEY))


def refused(leaf, match=None):
    with pytest.raises(Tampered, match=match) as caught:
        parse(7, leaf)
    assert caught.value.where == "log entry 7"


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_a_record_is_what_was_sealed(kind):
    leaf = seal_record(kind, fields(kind), KEY, AT)
    entry = parse(3, leaf)
    assert entry.body == {**fields(kind), "kind": kind, "at": "2026-03-01T12:00:00Z"}
    assert (entry.index, entry.kind, entry.signer, entry.leaf) == (3, kind, KEY.verifier, leaf)
    with pytest.raises(Misuse, match="not evidence"):
        _ = entry.evidence


def test_the_registry_is_closed():
    """What was published: whoever changes this list makes new kinds instead."""
    assert {kind: sorted(names) for kind, names in RECORDS.items()} == {
        "genesis": ["log", "owner", "project"],
        "role-key": ["generation", "public", "role", "wrapped"],
        "grant": ["expires", "generation", "identity", "log_key", "role", "wrapped"],
        "revoke": ["identity", "role"],
        "adopt": ["sha256", "what"],
        "decision": [
            "action",
            "allowed",
            "identity",
            "policies",
            "policy_sha256",
            "purpose",
            "reason",
            "resource",
            "roles",
            "schema_sha256",
        ],
        "seal": ["dataset", "manifest_sha256", "schema_sha256", "version"],
        "budget": ["dataset", "delta", "epsilon", "order"],
        "reserve": ["dataset", "delta", "epsilon", "events", "plan", "purpose", "reservation", "run"],
        "settle": ["reservation", "status", "steps"],
        "purpose-budget": ["dataset", "delta", "epsilon", "order", "purpose"],
        "register": ["dataset", "delta", "epsilon", "plans", "registration"],
        "halt": ["reservation"],
        "lineage": ["dataset", "parents", "version"],
    }


def test_evidence_is_what_was_sealed():
    entry = parse(0, seal_evidence(EVIDENCE, KEY))
    assert entry.kind == "evidence"
    assert entry.evidence == EVIDENCE
    assert entry.signer == KEY.verifier


@pytest.mark.parametrize("leaf", [seal_evidence(EVIDENCE, KEY), seal_record("adopt", fields("adopt"), KEY, AT)])
def test_every_changed_byte_of_a_leaf_is_refused(leaf):
    for at in range(len(leaf)):
        for change in (1, 2, 32, 128):
            refused(leaf[:at] + bytes([leaf[at] ^ change]) + leaf[at + 1 :])
        refused(leaf[:at])
        refused(leaf[:at] + leaf[at + 1 :])
    refused(leaf + b" ")
    refused(b" " + leaf)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(junk):
    refused(junk)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    )
)
def test_a_signed_payload_that_means_nothing_is_refused(value):
    refused(sealed(canonical(value)))
    refused(sealed(canonical(value), PAYLOAD_EVIDENCE))
    refused(canonical(value))


def record(**changes):
    body = {**fields("grant"), "kind": "grant", "at": "2026-03-01T12:00:00Z", **changes}
    return {name: value for name, value in body.items() if value is not ...}


def test_a_field_missing_or_added_is_refused():
    assert parse(7, sealed(canonical(record()))).kind == "grant"
    for name in record():
        refused(sealed(canonical(record(**{name: ...}))))
    refused(sealed(canonical(record(more=1))), "has 'more'")


def test_an_unknown_kind_is_refused_never_skipped():
    for kind in ("grants", "Grant", "evidence", "", None, 1, ["grant"]):
        refused(sealed(canonical(record(kind=kind))), "unknown kind")


@pytest.mark.parametrize(
    "at",
    [
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00+00:00",
        "2026-03-01T12:00:00.000Z",
        "2026-03-01T12:00Z",
        "2026-03-01 12:00:00Z",
        "20260301T120000Z",
        "2026-02-30T12:00:00Z",
        "2026-03-01T12:00:60Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:00:00ZZ",
        "2026-03-01",
        "",
        None,
        1772366400,
        {},
    ],
)
def test_a_time_in_another_form_is_refused(at):
    refused(sealed(canonical(record(at=at))), "UTC time")


@pytest.mark.parametrize(
    "person", [None, "ana", [], {}, {**PERSON, "more": "x"}, {"name": "ana"}, {**PERSON, "name": None}]
)
def test_an_identity_in_another_form_is_refused(person):
    refused(sealed(canonical(record(identity=person))), "identity")
    genesis = {"kind": "genesis", "at": "2026-03-01T12:00:00Z", "project": "x", "log": "x", "owner": person}
    refused(sealed(canonical(genesis)), "owner")


def test_a_payload_that_is_not_canonical_is_refused():
    body = record()
    refused(sealed(json.dumps(body).encode()), "canonical")
    refused(sealed(canonical(body) + b"\n"), "canonical")
    refused(sealed(canonical(body)[:-1] + b',"kind":"grant"}'), "canonical")


def test_an_envelope_in_another_form_is_refused():
    leaf = json.loads(seal_record("adopt", fields("adopt"), KEY, AT))
    refused(json.dumps(leaf, indent=1).encode(), "canonical")
    refused(canonical({**leaf, "more": 1}))
    refused(canonical({**leaf, "payloadType": "text/plain"}))
    refused(canonical({**leaf, "signatures": leaf["signatures"] * 2}))
    refused(canonical({**leaf, "signatures": []}))


def test_a_signature_by_another_key_or_for_the_other_type_is_refused():
    leaf = json.loads(seal_record("adopt", fields("adopt"), KEY, AT))
    other = SigningKey("credit/ana", bytes(32))
    (signature,) = leaf["signatures"]
    refused(canonical({**leaf, "signatures": [{**signature, "keyid": other.verifier.line}]}), "does not fit")
    again = json.loads(sealed(unb64(leaf["payload"], where="test"), PAYLOAD_EVIDENCE))
    refused(canonical({**again, "signatures": leaf["signatures"]}), "does not fit")


def test_a_statement_says_nothing_that_evidence_does_not_hold():
    for change in (
        lambda s: s["subject"][0].update(more="x"),
        lambda s: s["subject"][0]["digest"].update(sha512="x"),
        lambda s: s.update(predicateType="urn:pellucid:evidence:evaluation:01"),
        lambda s: s.update(predicateType="urn:pellucid:evidence:evaluation:2"),
        lambda s: s.update(predicateType="urn:pellucid:evidence:unheard:1"),
        lambda s: s["predicate"]["values"].pop("auc"),
        lambda s: s["predicate"].update(tier="everyone"),
        lambda s: s["predicate"].update(more=1),
        lambda s: s["subject"].append(s["subject"][0]),
    ):
        statement = json.loads(canonical(EVIDENCE.statement()))
        assert parse(7, sealed(canonical(statement), PAYLOAD_EVIDENCE)).evidence == EVIDENCE
        change(statement)
        refused(sealed(canonical(statement), PAYLOAD_EVIDENCE))


# -- sealing -------------------------------------------------------------------------------------------------------


def test_a_time_is_written_in_utc_to_the_second():
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    leaf = seal_record("adopt", fields("adopt"), KEY, dt.datetime(2026, 1, 1, 2, 0, 59, 999_999, tzinfo=zone))
    assert parse(0, leaf).body["at"] == "2025-12-31T20:30:59Z"


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        ("adopts", {}, 'did you mean "adopt"'),
        ("adopt", {"more": 1}, "has 'more'"),
        ("adopt", {"kind": "adopt"}, "kind or at"),
        ("adopt", {"at": "2026-03-01T12:00:00Z"}, "kind or at"),
        ("grant", {"identity": "ana"}, "identity"),
    ],
)
def test_what_would_not_parse_cannot_be_sealed(kind, change, match):
    with pytest.raises(Misuse, match=match):
        seal_record(kind, {**fields(kind if kind in RECORDS else "adopt"), **change}, KEY, AT)


def test_a_field_missing_cannot_be_sealed():
    with pytest.raises(Misuse, match="lacks 'what'"):
        seal_record("adopt", {"sha256": "x"}, KEY, AT)


def test_a_time_without_a_zone_is_misuse():
    with pytest.raises(Misuse, match="time zone"):
        seal_record("adopt", fields("adopt"), KEY, dt.datetime(2026, 3, 1))


def test_nan_and_infinity_cannot_be_sealed():
    for value in (float("nan"), float("inf"), 2**53):
        with pytest.raises(BadFile):
            seal_record("budget", {**fields("budget"), "epsilon": value}, KEY, AT)


def test_an_entry_is_frozen_and_shows_no_leaf():
    entry = parse(0, seal_record("adopt", fields("adopt"), KEY, AT))
    with pytest.raises(AttributeError):
        entry.index = 1
    assert "leaf" not in repr(entry)
    assert len({entry, parse(0, entry.leaf)}) == 1


def test_base64_in_another_form_is_refused():
    leaf = json.loads(seal_record("adopt", fields("adopt"), KEY, AT))
    payload = leaf["payload"]
    assert b64(unb64(payload, where="test")) == payload
    for other in (payload.rstrip("="), payload + "=", payload + "\n", payload.replace("A", "-", 1)):
        if other != payload:
            refused(canonical({**leaf, "payload": other}))
