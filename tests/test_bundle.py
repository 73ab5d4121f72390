"""Whose word counts for what, and when: bundles made by hand from keys and the pure tree."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pellucid import bundle as bundles
from pellucid.bundle import Bundle, Item
from pellucid.errors import NotTrusted, Tampered
from pellucid.evidence import KINDS, Evidence, Subject, parse_canonical
from pellucid.keys import SigningKey, WrapKey
from pellucid.log.entries import seal_evidence, seal_record
from pellucid.log.note import Checkpoint, sign_checkpoint
from pellucid.log.tree import inclusion_proof, leaf_hash, root

OWNER, LOG = SigningKey("credit/ana", b"\1" * 32), SigningKey("credit/log", b"\2" * 32)
BO, CY = SigningKey("credit/bo", b"\3" * 32), SigningKey("credit/cy", b"\4" * 32)
WRAPPING = WrapKey(b"\5" * 96).public.text
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
MODEL = Subject("credit-risk@1", "a" * 64)
AT = "2026-03-01T12:00:00Z"


def person(key: SigningKey) -> dict[str, str]:
    return {"name": key.name.split("/")[1], "verifier": key.verifier.line, "wrapping": WRAPPING}


def grant(key: SigningKey, role: Any, at: dt.datetime = NOON, expires: Any = None) -> bytes:
    fields = {"role": role, "generation": 1, "identity": person(key), "wrapped": "", "log_key": None}
    return seal_record("grant", {**fields, "expires": expires}, OWNER, at)


def said(kind: str, signer: SigningKey, at: Any = AT) -> bytes:
    values: dict[str, Any] = dict.fromkeys(KINDS[kind][1], 0)
    if kind == "training":
        values["dataset"] = {"name": "applicants", "version": 1, "sha256": "d" * 64}
    return seal_evidence(Evidence(kind, MODEL, values, {"at": at} if at else {}, "public"), signer)


def bundle(grants: list[bytes], evidence: list[bytes]) -> Bundle:
    fields = {"project": "credit", "owner": person(OWNER), "log": LOG.verifier.line}
    leaves = [seal_record("genesis", fields, OWNER, NOON), *grants, *evidence]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    items = [
        Item(parse_canonical(leaf, where="test"), index, tuple(inclusion_proof(hashes, index)))
        for index, leaf in enumerate(leaves)
    ]
    note = sign_checkpoint(Checkpoint("credit", len(leaves), root(hashes)), LOG)
    return Bundle(MODEL, tuple(items[len(grants) + 1 :]), tuple(items[: len(grants) + 1]), note)


def verify(grants: list[bytes], evidence: list[bytes]) -> bundles.Verified:
    return bundles.verify(bundle(grants, evidence), [OWNER.verifier])


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("role", ["owner", "steward", "scientist", "auditor", "reader"])
def test_a_kind_counts_only_from_its_roles(kind: str, role: str) -> None:
    making = kind in {"dataset", "training", "privacy", "provenance", "tuning", "release", "unsafe"}
    if role in ({"owner", "scientist"} if making else {"owner", "steward", "scientist", "auditor"}):
        assert verify([grant(BO, role)], [said(kind, BO)]).signers == ("bo",)
    else:
        with pytest.raises(NotTrusted, match="credit/bo"):
            verify([grant(BO, role)], [said(kind, BO)])
    assert verify([], [said(kind, OWNER)]).signers == ("ana",)


def test_what_others_say_of_a_model_counts_before_what_its_trainer_says() -> None:
    grants = [grant(BO, "scientist"), grant(CY, "auditor")]
    log = [said("training", BO), said("expectation", BO), said("expectation", CY), said("expectation", BO)]
    found = verify(grants, log)
    assert [(e.kind, by) for e, by in zip(found.evidence, found.signers, strict=True)] == [
        ("training", "bo"),
        ("expectation", "bo"),
        ("expectation", "bo"),
        ("expectation", "cy"),
    ]
    alone = verify([grant(BO, "scientist")], [said("training", BO), said("fairness", BO), said("slices", BO)])
    assert [e.kind for e in alone.evidence] == ["training", "fairness", "slices"]


@pytest.mark.parametrize(
    ("reviews", "counts"),
    [
        ([(CY, "approve"), (BO, "reject")], "reject"),  # also the trainer's own
        ([(CY, "reject"), (BO, "approve"), (OWNER, "approve")], "reject"),
        ([(CY, "reject"), (CY, "approve")], "approve"),
        ([(CY, "approve"), (CY, "reject")], "reject"),
        ([(OWNER, "reject"), (CY, "reject"), (CY, "approve")], "reject"),
        ([(CY, "reject"), (OWNER, "abstain")], "reject"),  # a word that no rule asks for covers nothing
    ],
)
def test_a_rejection_counts_until_who_rejected_approves(reviews: list[tuple[SigningKey, str]], counts: str) -> None:
    grants = [grant(BO, "scientist"), grant(CY, "auditor")]
    told = [seal_evidence(Evidence("review", MODEL, {"verdict": v}, {"at": AT}, "public"), by) for by, v in reviews]
    assert verify(grants, [said("training", BO), *told]).evidence[-1].values["verdict"] == counts


@pytest.mark.parametrize("other", ["training", "privacy", "provenance"])
@pytest.mark.parametrize("key", [CY, OWNER], ids=["another scientist", "the owner"])
def test_training_privacy_and_provenance_are_of_one_key(other: str, key: SigningKey) -> None:
    grants = [grant(BO, "scientist"), grant(CY, "scientist")]
    kinds = ("training", "privacy", "provenance")
    assert verify(grants, [said(kind, BO) for kind in kinds]).signers == ("bo",) * 3
    with pytest.raises(Tampered, match="one and the same key"):
        verify(grants, [said(kind, key if kind == other else BO) for kind in kinds])


@pytest.mark.parametrize("kind", ["training", "privacy"])
def test_a_second_claim_about_the_model_is_refused(kind: str) -> None:
    with pytest.raises(Tampered, match="more than one"):
        verify([grant(BO, "scientist")], [said(kind, BO), said(kind, BO, "2026-03-02T12:00:00Z")])


@pytest.mark.parametrize(
    "at",
    [None, 7, ["2026"], {}, True, "", "yesterday", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00+00:00",
     "2026-3-1T12:00:00Z", "2026-13-01T12:00:00Z", " 2026-03-01T12:00:00Z"],
)  # fmt: skip
@pytest.mark.parametrize("signer", [BO, OWNER], ids=["scientist", "owner"])
def test_evidence_without_a_time_is_tampered(at: Any, signer: SigningKey) -> None:
    with pytest.raises(Tampered, match="at is not a UTC time"):
        verify([grant(BO, "scientist")], [said("evaluation", signer, at)])


def test_evidence_from_before_the_grant_or_after_its_last_day_is_refused() -> None:
    grants = [grant(BO, "scientist", expires="2026-03-02")]
    assert verify(grants, [said("training", BO)]).signers == ("bo",)
    assert verify(grants, [said("training", BO, "2026-03-02T23:59:59Z")]).signers == ("bo",)
    for at in ("2026-03-01T11:59:59Z", "2026-03-03T00:00:00Z"):
        with pytest.raises(NotTrusted):
            verify(grants, [said("training", BO, at)])


def test_a_time_that_falls_along_the_log_is_refused() -> None:
    grants = [grant(BO, "scientist", expires="2026-03-02")]
    later, backdated = said("evaluation", OWNER, "2026-03-09T12:00:00Z"), said("calibration", BO)
    with pytest.raises(Tampered, match="earlier time"):
        verify(grants, [later, backdated])
    assert len(verify(grants, [backdated, later]).evidence) == 2
    with pytest.raises(Tampered, match="earlier time"):  # before a record of the bundle
        verify([grant(BO, "auditor", NOON + dt.timedelta(1))], [said("evaluation", OWNER)])


@pytest.mark.parametrize("expires", ["never", 7, ["2026-03-02"], {}, True])
def test_a_grant_of_a_wrong_shape_is_tampered(expires: Any) -> None:
    with pytest.raises(Tampered):
        verify([grant(BO, "scientist", expires=expires)], [said("training", BO)])
    with pytest.raises(Tampered):
        verify([grant(BO, ["scientist"])], [said("training", BO)])


def judged(signer: SigningKey, **values: Any) -> bytes:
    return seal_evidence(Evidence("review", MODEL, {"verdict": "approve", **values}, {"at": AT}, "public"), signer)


def test_a_review_says_nothing_of_its_signer_that_the_bundle_refutes() -> None:
    grants = [grant(BO, "scientist"), grant(CY, "auditor")]
    trained = said("training", BO)
    verify(grants, [trained, judged(CY, independent=True, reviewer="cy")])
    verify(grants, [trained, judged(BO, independent=False, reviewer="bo")])
    for review in (judged(BO, independent=True), judged(CY, reviewer="bo")):
        with pytest.raises(Tampered, match="this review"):
            verify(grants, [trained, review])
    with pytest.raises(Tampered, match="independent"):
        verify(grants, [judged(CY, independent=True)])  # of whom, nobody says


def test_the_attack_that_showed_the_most_counts_whoever_came_after() -> None:
    def attack(signer: SigningKey, lower: float) -> bytes:
        return seal_evidence(Evidence("attack", MODEL, {"epsilon_lower": lower}, {"at": AT}, "public"), signer)

    grants = [grant(BO, "scientist"), grant(CY, "auditor")]
    log = [said("training", BO), attack(BO, 5.0), attack(CY, 0.01), attack(BO, 0.0)]
    assert verify(grants, log).evidence[-1].values["epsilon_lower"] == 5.0
