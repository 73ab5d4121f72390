"""Exports are read by the tools that they are for, and by their own checkers."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st
from tests.project.conftest import PASSPHRASE, Place

from pellucid import bundle as bundles
from pellucid.cli import run
from pellucid.errors import BadFile, MissingExtra, Tampered
from pellucid.evidence import Estimate, Evidence, Subject
from pellucid.project import exporting, publish
from pellucid.report.exports import Statements, cyclonedx, huggingface, tracked

HOSTILE = "<script>alert(1)</script> | --- \u202e \U0001f600\n\n# x"


@pytest.fixture(scope="module")
def place(trained_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy for all tests here: a bundle that is asked for is also kept beside the weights."""
    root = tmp_path_factory.mktemp("exported") / "tiny"
    shutil.copytree(trained_once.root, root)
    return Place(root)


def statements(place: Place, tier: str = "auditor") -> Statements:
    project = place.open()
    made = project.bundle("tiny", tier=tier)
    verified = bundles.verify(made, [project.owner])
    return Statements(verified.project, verified.subject, verified.evidence, "0" * 64, verified.owner.line)


def problem(content: bytes) -> Any:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode("utf-8"))


@pytest.mark.parametrize("tier", ["public", "auditor", "steward"])
def test_the_bill_of_materials_is_valid_cyclonedx(place: Place, tier: str) -> None:
    content = cyclonedx(statements(place, tier))
    assert problem(content) is None
    assert cyclonedx(statements(place, tier)) == content


def test_the_bill_of_materials_says_what_the_evidence_says(place: Place) -> None:
    said = statements(place)
    document = json.loads(cyclonedx(said))
    model = document["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": said.subject.sha256}]
    metrics = {(m["type"], m["slice"]): m for m in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    auc = said.of("evaluation")["auc"]
    assert metrics["auc", "held-out people"]["value"] == str(auc["value"])
    assert metrics["auc", "held-out people"]["confidenceInterval"]["lowerBound"] == str(auc["low"])
    assert ("accuracy", "gender: Female") in metrics
    properties = {p["name"]: p["value"] for p in model["properties"]}
    assert properties["pellucid:privacy:epsilon"] == str(said.of("privacy")["epsilon"])
    assert {c["bom-ref"] for c in document["components"]} >= {"data", "library:torch"}
    assert model["modelCard"].get("considerations", {}).keys() <= {"fairnessAssessments"}  # nobody wrote a word


def test_what_was_not_measured_is_not_there(place: Place) -> None:
    bare = dataclasses.replace(statements(place), evidence=())
    assert problem(cyclonedx(bare)) is None
    assert "quantitativeAnalysis" not in json.loads(cyclonedx(bare))["metadata"]["component"]["modelCard"]
    assert "metrics" not in yaml.safe_load(huggingface(bare).decode().split("---")[1])
    assert "*not measured*" in huggingface(bare).decode()
    assert tracked(bare).metrics == {}


@given(st.text(max_size=60))
def test_words_of_others_stay_words(words: str) -> None:
    subject = Subject("m@1", "0" * 64)
    parts = {"intended_use": {"purpose": words, "users": words}, "limits": {"known": words, "accepted": words}}
    card = Evidence("card", subject, {"file": {}, **parts}, {"at": "2026-03-01T00:00:00Z"}, "public")
    rate = Estimate(0.5, 0.4, 0.6, 100).values()
    fair = {"columns": {words: {"groups": [{"group": words, "n": 100, "accuracy": rate}]}}}
    made = Statements(words, subject, (card, Evidence("fairness", subject, fair, {}, "uncovered")), "0" * 64, words)
    assert problem(cyclonedx(made)) is None
    page = huggingface(made).decode("utf-8")
    front = yaml.safe_load(page.split("\n---\n")[0])
    assert front["model_name"] == "m@1"
    rows = [line for line in page.split("\n") if line.startswith("| Intended use")]
    assert len(rows) == 1
    assert "<" not in rows[0]
    assert all(len(name) <= 250 for name in tracked(made).metrics)


def test_the_model_card_is_what_the_hub_reads(place: Place) -> None:
    said = statements(place)
    page = huggingface(said).decode("utf-8")
    assert page.startswith("---\n")
    front = yaml.safe_load(page.split("\n---\n")[0])
    assert front["pipeline_tag"] == "tabular-classification"
    assert "differential-privacy" in front["tags"]
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert result["task"] == {"type": "tabular-classification"}
    assert result["dataset"]["name"] == "applicants@1"
    found = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert found["roc_auc"] == said.of("evaluation")["auc"]["value"]
    assert "license" not in front
    assert "| Intended use | *missing* |" in page


def key_file(path: Path, key: Any, passphrase: bytes | None = None) -> Path:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return path


def verified_by_openssf(signature: Path, public: Path, weights: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "model_signing", "verify", "key", "--signature", str(signature), "--public_key", str(public)]
    return subprocess.run([sys.executable, *words, str(weights)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_the_verifier_of_openssf_accepts_the_signature_and_notices_a_changed_byte(curve: Any, tmp_path: Path) -> None:
    key, weights = ec.generate_private_key(curve), tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    (tmp_path / "public.pem").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signature = exporting.sign_weights(weights.name, bundles.weights_digest(weights), key)
    (tmp_path / "model.sig").write_bytes(signature)
    good = verified_by_openssf(tmp_path / "model.sig", tmp_path / "public.pem", weights)
    assert good.returncode == 0, good.stdout + good.stderr
    weights.write_bytes(b"weightz")
    assert verified_by_openssf(tmp_path / "model.sig", tmp_path / "public.pem", weights).returncode != 0


def exported(place: Place, tmp_path: Path, *formats: str, **options: Any) -> dict[str, str]:
    project = place.open()
    published = publish.report(project, "tiny", out=tmp_path / "out", policy=place.policy)
    return exporting.export(project, published, formats, **options)


def test_weights_are_signed_with_a_key_of_ones_own(trained: Place, tmp_path: Path) -> None:
    key = key_file(tmp_path / "key.pem", ec.generate_private_key(ec.SECP384R1()), b"open")
    found = exported(trained, tmp_path, "model-signing", signing_key=key, key_passphrase=b"open")
    assert Path(found["model-signing"]).name == "model.sig"
    for wrong, options in (
        (None, {}),
        (key, {}),
        (tmp_path / "none.pem", {}),
        (key_file(tmp_path / "ed.pem", ed25519.Ed25519PrivateKey.generate()), {}),
        (key_file(tmp_path / "k1.pem", ec.generate_private_key(ec.SECP256K1())), {}),
    ):
        with pytest.raises(BadFile):
            exported(trained, tmp_path, "model-signing", signing_key=wrong, **options)
    weights = publish.weights(trained.open(), "tiny@1")
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(Tampered):
        exported(trained, tmp_path, "model-signing", signing_key=key, key_passphrase=b"open")


def test_mlflow_gets_run_metrics_report_and_bundle(
    trained: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    run_id = exported(trained, tmp_path, "mlflow")["mlflow"]
    from mlflow import MlflowClient

    client = MlflowClient((tmp_path / "runs").as_uri())
    found = client.get_run(run_id)
    said = statements(trained)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["auc"] == said.of("evaluation")["auc"]["value"]
    assert found.data.metrics["auc.low"] == said.of("evaluation")["auc"]["low"]
    assert found.data.metrics["privacy.epsilon"] == said.of("privacy")["epsilon"]
    assert found.data.params["training.architecture"] == said.of("training")["architecture"]
    assert found.data.tags["pellucid.weights.sha256"] == said.subject.sha256
    names = {artifact.path for artifact in client.list_artifacts(run_id)}
    assert names == {"report.html", "report.json", "bundle.json"}
    kept = Path(client.download_artifacts(run_id, "bundle.json", str(tmp_path)))
    assert bundles.verify(bundles.read(kept), [trained.open().owner]).subject == said.subject


def test_a_store_that_the_client_alone_cannot_open_is_a_missing_extra(trained: Place, tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="for this address") as error:
        exported(trained, tmp_path, "mlflow", tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}")
    assert "pip install mlflow" in str(error.value.fix)


def test_mlflow_without_an_address_is_an_error_of_use(trained: Place, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(BadFile, match="no address"):
        exported(trained, tmp_path, "mlflow")


def test_the_verb(trained: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("PELLUCID_PASSPHRASE", PASSPHRASE)
    words = ["report", "tiny", "--policy", str(trained.policy), "-o", str(tmp_path / "out")]
    who = ["--project", str(trained.root), "--as", "ana"]
    assert run([*words, "--export", "cyclonedx", "--export", "huggingface", "--json", *who]) == 0
    document = json.loads(capsys.readouterr().out)
    assert problem(Path(document["cyclonedx"]).read_bytes()) is None
    assert Path(document["huggingface"]).name == "README.md"
    assert run([*words, "--export", "cyclonedy", *who]) == 2
    assert 'did you mean "cyclonedx"' in capsys.readouterr().err
