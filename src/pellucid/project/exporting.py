"""A report in the forms of other tools: CycloneDX, Hugging Face, OpenSSF model signing, MLflow."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pellucid import bundle as bundles
from pellucid.bundle import weights_digest
from pellucid.errors import BadFile, MissingExtra, Tampered
from pellucid.evidence import digest
from pellucid.project.project import Project
from pellucid.project.publish import Published, weights, write_whole
from pellucid.report.exports import Statements, cyclonedx, huggingface, tracked

__all__ = ["export", "sign_weights"]

_FILES: Final = {"cyclonedx": "bom.cdx.json", "huggingface": "README.md", "model-signing": "model.sig"}
_PAYLOAD: Final = "application/vnd.in-toto+json"
_CURVES: Final = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}


def export(
    project: Project,
    published: Published,
    formats: Sequence[str],
    *,
    signing_key: Path | None = None,
    key_passphrase: bytes | None = None,
    tracking_uri: str | None = None,
) -> dict[str, str]:
    """Write or send a published report in each of ``formats``.

    Args:
        project: The project that the report is of.
        published: The report; its bundle is verified again, and exported with what it holds for its tier.
        formats: ``cyclonedx``, ``huggingface``, ``model-signing``, ``mlflow``.
        signing_key: PEM of a private key on P-256, P-384 or P-521, for ``model-signing``.
        key_passphrase: If the PEM is encrypted.
        tracking_uri: Where MLflow logs to.

    Returns:
        Format to the path of its file, or to the id of MLflow's run.

    Raises:
        BadFile: No signing key or tracking address where one is needed, or a key that cannot sign.
        MissingExtra: MLflow is not installed.
        Tampered: The weights are not the ones in the log.
    """
    made = bundles.read(published.bundle)
    verified = bundles.verify(made, [project.owner])
    statements = Statements(
        verified.project, verified.subject, verified.evidence, digest(made.to_bytes()), verified.owner.line
    )
    folder, found = published.bundle.parent, dict[str, str]()
    for name in formats:
        if name == "mlflow":
            found[name] = _log(statements, published, tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
            continue
        if name == "model-signing":
            content = _signed(
                weights(project, verified.subject.name), verified.subject.sha256, signing_key, key_passphrase
            )
        else:
            content = cyclonedx(statements) if name == "cyclonedx" else huggingface(statements)
        write_whole(folder / _FILES[name], content)
        found[name] = str(folder / _FILES[name])
    return found


def _signed(path: Path, sha256: str, key: Path | None, passphrase: bytes | None) -> bytes:
    if key is None:
        raise BadFile(
            "model signing needs a key on P-256, P-384 or P-521: its verifiers know no Ed25519, which identities are",
            fix="openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem, then --signing-key KEY.pem",
        )
    if weights_digest(path) != sha256:
        raise Tampered("the weights are not the ones in the log", where=str(path))
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), passphrase)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadFile("the signing key cannot be read", where=str(key)) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name not in _CURVES:
        raise BadFile("not a private key on P-256, P-384 or P-521", where=str(key))
    return sign_weights(path.name, sha256, private)


def sign_weights(name: str, sha256: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """An OpenSSF model-signing bundle (version 1.0) over one file, signed offline: no Sigstore, no log of theirs.

    An in-toto statement of predicate ``https://model_signing/signature/v1.0`` in a DSSE envelope in a Sigstore bundle;
    the subject's digest is that of the files' digests in order, and the verification material names the key by the
    SHA-256 of its PEM. ``model_signing verify key`` checks it.

    Args:
        name: The file's name.
        sha256: Its digest.
        key: On P-256, P-384 or P-521.
    """
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest(bytes.fromhex(sha256))}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": [{"name": ".", "algorithm": "sha256", "digest": sha256}],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [],
            },
        },
    }
    payload = json.dumps(statement).encode("utf-8")
    signed = b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(signed, ec.ECDSA(_CURVES[key.curve.name]))
    document: dict[str, Any] = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hashlib.sha256(public).hexdigest()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}],
        },
    }
    return (json.dumps(document, indent=2) + "\n").encode("utf-8")


def _log(statements: Statements, published: Published, uri: str | None) -> str:
    """A new run in MLflow, with the report and the bundle as artifacts; the id of the run."""
    if not uri:
        raise BadFile("MLflow has no address to log to", fix="set MLFLOW_TRACKING_URI, such as http://localhost:5000")
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra("MLflow is not installed", where="mlflow", fix="pip install 'pellucid[mlflow]'") from error
    what = tracked(statements)
    try:
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(what.experiment)
        experiment = known.experiment_id if known is not None else client.create_experiment(what.experiment)
        run = str(client.create_run(experiment, run_name=what.run).info.run_id)
        client.log_batch(
            run,
            metrics=[Metric(name, value, 0, 0) for name, value in what.metrics.items()],
            params=[Param(name, value) for name, value in what.parameters.items()],
            tags=[RunTag(name, value) for name, value in what.tags.items()],
        )
        for path in (published.html, published.json, published.bundle):
            client.log_artifact(run, str(path))
        client.set_terminated(run)
    except ImportError as error:  # a store of its own, such as sqlite:, needs more than its client brings
        raise MissingExtra(
            f"MLflow needs {error.name or 'more'} for this address",
            where=uri,
            fix="pip install mlflow, or log to a server, such as http://localhost:5000",
        ) from error
    except (MlflowException, OSError) as error:
        raise BadFile("MLflow did not take the run", where=uri, fix=str(error).partition("\n")[0][:300]) from error
    return run
