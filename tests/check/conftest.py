"""Real bundles, made by hand from keys and the pure tree: small logs that a test can bend."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pellucid.bundle import Bundle, Item
from pellucid.check.policy import ReleasePolicy
from pellucid.check.signatures import sign
from pellucid.check.waivers import Waiver
from pellucid.evidence import Evidence, Subject, parse_canonical
from pellucid.keys import SigningKey, WrapKey
from pellucid.log.entries import parse, seal_evidence, seal_record
from pellucid.log.note import Checkpoint, sign_checkpoint
from pellucid.log.tree import inclusion_proof, leaf_hash, root

AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
EVENT = {"kind": "poisson_gaussian", "sample_rate": "0.01", "noise_multiplier": "1.1", "count": 100}
WEIGHTS = b"weights of the model"
DATA_SHA = "d" * 64


class Maker:
    """An owner, a log key and a scientist of one project; makes bundles of what they sign."""

    def __init__(self) -> None:
        self.owner = SigningKey("credit/ana", b"\1" * 32)
        self.log = SigningKey("credit/log", b"\2" * 32)
        self.scientist = SigningKey("credit/bo", b"\3" * 32)
        self.wrapping = WrapKey(b"\4" * 96).public.text

    def leaf(self, evidence: Evidence, signer: SigningKey) -> bytes:
        return seal_evidence(evidence, signer)

    def genesis(self) -> bytes:
        owner = {"name": "ana", "verifier": self.owner.verifier.line, "wrapping": self.wrapping}
        fields = {"project": "credit", "owner": owner, "log": self.log.verifier.line}
        return seal_record("genesis", fields, self.owner, AT)

    def grant(self, role: str = "scientist") -> bytes:
        person = {"name": "bo", "verifier": self.scientist.verifier.line, "wrapping": self.wrapping}
        fields = {"role": role, "generation": 1, "identity": person, "wrapped": "", "log_key": None, "expires": None}
        return seal_record("grant", fields, self.owner, AT)

    def waiver(
        self,
        name: str,
        policy: str,
        *,
        scope: str = "credit-risk@1",
        expires: dt.date = dt.date(2026, 12, 31),
        signer: SigningKey | None = None,
        grants: Sequence[bytes] = (),
        project: str = "credit",
        at: dt.datetime = AT,
        **changed: Any,
    ) -> str:
        """A signed entry of a waivers file; ``changed`` fields are other than what was signed."""
        made = Waiver(name, scope, "ana", "ticket 7", expires)
        entries = [parse(2 + number, leaf) for number, leaf in enumerate(grants)]
        signed = sign(made, project, ReleasePolicy.parse(policy.encode()), signer or self.owner, entries, at)
        fields = {"id": name, "scope": scope, "owner": "ana", "reason": "ticket 7", "expires": expires, **changed}
        lines = [f"{key} = {value if key == 'expires' else json.dumps(value)}" for key, value in fields.items()]
        return "\n".join(["[[waive]]", *lines, f'signed = "{signed}"', ""])

    def bundle(
        self,
        pieces: Sequence[tuple[str, Mapping[str, Any]]],
        subject: Subject,
        *,
        signer: SigningKey | None = None,
        role: str = "scientist",
        coverage: Mapping[str, str] | None = None,
    ) -> Bundle:
        evidence, made = [], {"at": "2026-03-01T12:00:00Z"}
        for kind, values in pieces:
            about = Subject("applicants@1", DATA_SHA) if kind in ("dataset", "release") else subject
            evidence.append(
                self.leaf(
                    Evidence(kind, about, values, made, (coverage or {}).get(kind, "public")), signer or self.scientist
                )
            )
        leaves = [self.genesis(), self.grant(role), *evidence]
        hashes = [leaf_hash(leaf) for leaf in leaves]

        def item(index: int) -> Item:
            envelope = parse_canonical(leaves[index], where="test")
            return Item(envelope, index, tuple(inclusion_proof(hashes, index)))

        note = sign_checkpoint(Checkpoint("credit", len(leaves), root(hashes)), self.log)
        items = [item(index) for index in range(len(leaves))]
        return Bundle(subject, tuple(items[2:]), tuple(items[:2]), note)


@pytest.fixture(scope="session")
def maker() -> Maker:
    return Maker()


@pytest.fixture(scope="session")
def epsilons() -> tuple[float, float]:
    """What the two accountants make of EVENT at delta 1e-5."""
    from pellucid.privacy.accounting import epsilon

    return epsilon([EVENT], 1e-5, "pld"), epsilon([EVENT], 1e-5, "rdp")


def evidence_values(epsilons: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Evidence of a model that meets the shipped policy, its privacy claim true."""
    pld, rdp = epsilons
    estimate = {"value": 0.9, "low": 0.89, "high": 0.91, "n": 9600}
    small = {"value": 0.02, "low": 0.01, "high": 0.03, "n": 9600}
    return {
        "dataset": {
            "name": "applicants",
            "version": 1,
            "units": 32000,
            "unit": "row",
            "columns": [],
            "purposes": ["credit scoring"],
        },
        "training": {
            "architecture": "mlp",
            "parameters": 10,
            "features": ["age"],
            "target": "loan",
            "dataset": {"name": "applicants", "version": 1, "sha256": DATA_SHA},
            "purpose": "credit scoring",
            "status": "complete",
            "batch": 224,  # of 22400 people who are not held out: rate 0.01
            "epochs": 1,
            "test": 0.3,
            "steps": 100,
        },
        "privacy": {
            "epsilon": pld,
            "delta": 1e-5,
            "noise_multiplier": 1.1,
            "sample_rate": 0.01,
            "steps": 100,
            "max_grad_norm": 1,
            "adjacency": "add-or-remove-one",
            "unit": "row",
            "accountant": "pld",
            "second_opinion": {"accountant": "rdp", "epsilon": rdp},
            "events": [EVENT],
        },
        "provenance": {"identity": "bo", "roles": ["scientist"], "key_release": "member", "policy": {}, "versions": {}},
        "evaluation": {"auc": estimate, "accuracy": estimate},
        "fairness": {
            "minimum_cell": 10,
            "columns": {"gender": {"demographic_parity_difference": small, "equalized_odds_difference": small}},
        },
        "calibration": {"ece": small, "bins": []},
        "explanation": {"method": "integrated_gradients", "importance": {"age": small}, "completeness_gap": 0.001},
        "attack": {"epsilon_lower": 0.01},
        "review": {"verdict": "approve"},
    }


@pytest.fixture(scope="session")
def good_values(epsilons: tuple[float, float]) -> dict[str, dict[str, Any]]:
    return evidence_values(epsilons)


@pytest.fixture
def values(good_values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A copy of the good values, to change."""
    return copy.deepcopy(good_values)


@pytest.fixture(scope="session")
def make(maker: Maker) -> Callable[..., Bundle]:
    """Values by kind -> a bundle of a model whose weights are WEIGHTS."""
    from pellucid.evidence import digest

    def build(values: Mapping[str, Mapping[str, Any]], **options: Any) -> Bundle:
        return maker.bundle(list(values.items()), Subject("credit-risk@1", digest(WEIGHTS)), **options)

    return build
