"""CycloneDX 1.6: the model, its data and its software as a bill of materials, with a model card (ECMA-424)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

from pellucid.report.exports.statements import Statements

__all__ = ["cyclonedx"]

_PURL: Final = "pkg:pypi/{}@{}"


def cyclonedx(statements: Statements) -> bytes:
    """The bill of materials as JSON: the same evidence, the same bytes. Nothing in it is filled in that is not there.

    Privacy and provenance are properties of the model's component (``pellucid:…``): the format has no field for them.
    """
    subject, dataset = statements.subject, statements.of("dataset")
    libraries = list(_libraries(statements))
    name, _, version = subject.name.partition("@")
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": version or "1",
        "hashes": [{"alg": "SHA-256", "content": subject.sha256}],
        "modelCard": _card(statements),
        "properties": [{"name": key, "value": value} for key, value in _properties(statements)],
    }
    components = ([_data(statements)] if dataset else []) + libraries
    refs = [component["bom-ref"] for component in components]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, statements.bundle_sha256)}",
        "version": 1,
        "metadata": {
            **({"timestamp": statements.created} if statements.created else {}),
            "tools": {"components": [{"type": "application", "name": "pellucid", "version": _pellucid(statements)}]},
            "component": model,
        },
        "components": components,
        "dependencies": [{"ref": "model", "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _card(statements: Statements) -> dict[str, Any]:
    training = statements.of("training")
    parameters: dict[str, Any] = {"approach": {"type": "supervised"}}
    if training:
        parameters["modelArchitecture"] = str(training["architecture"])
        parameters["task"] = f"prediction of {training['target']}"
        parameters["inputs"] = [{"format": str(name)} for name in training["features"]]
        parameters["outputs"] = [{"format": str(name)} for name in training.get("classes") or [training["target"]]]
    if statements.of("dataset"):
        parameters["datasets"] = [{"ref": "data"}]
    metrics = [
        {
            "type": each.name,
            "value": str(each.value),
            "slice": each.group or "held-out people",
            "confidenceInterval": {"lowerBound": str(each.low), "upperBound": str(each.high)},
        }
        for each in statements.estimates()
    ]
    considerations = {
        "users": statements.said("intended_use", "users"),
        "useCases": statements.said("intended_use", "purpose"),
        "technicalLimitations": statements.said("limits", "known"),
    }
    by_people: dict[str, Any] = {name: [words] for name, words in considerations.items() if words}
    if statements.said("limits", "accepted"):
        by_people["ethicalConsiderations"] = [{"name": statements.said("limits", "accepted")}]
    found = statements.of("fairness").get("disparities", {}).get("differences", [])
    groups = [
        {"groupAtRisk": f"{each['column']}: {each['group']}", "harms": f"{each['metric']} {_difference(each)}"}
        for each in found
        if each.get("found")
    ]
    if groups:
        by_people["fairnessAssessments"] = groups
    return {
        "modelParameters": parameters,
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        **({"considerations": by_people} if by_people else {}),
    }


def _difference(test: Any) -> str:
    estimate = test["difference"]
    return f"differs from the others by {estimate['value']} ({estimate['low']} to {estimate['high']}), q {test['q']}"


def _data(statements: Statements) -> dict[str, Any]:
    dataset = statements.of("dataset")
    special = [column["name"] for column in dataset["columns"] if column["sensitivity"] == "special"]
    about: dict[str, Any] = {"type": "dataset", "name": f"{dataset['name']}@{dataset['version']}"}
    levels = {column["sensitivity"] for column in dataset["columns"]}
    about["classification"] = next((each for each in ("special", "identifier", "personal") if each in levels), "public")
    if special:
        about["sensitiveData"] = special
    return {
        "type": "data",
        "bom-ref": "data",
        "name": str(dataset["name"]),
        "version": str(dataset["version"]),
        **({"hashes": [{"alg": "SHA-256", "content": dataset["manifest"]}]} if dataset.get("manifest") else {}),
        "data": [about],
    }


def _libraries(statements: Statements) -> Iterator[dict[str, Any]]:
    for name, version in sorted(statements.of("provenance").get("versions", {}).items()):
        if name != "python":
            public = str(version).partition("+")[0]
            yield {
                "type": "library",
                "bom-ref": f"library:{name}",
                "name": str(name),
                "version": str(version),
                "purl": _PURL.format(name, public),
            }


def _properties(statements: Statements) -> Iterator[tuple[str, str]]:
    yield "pellucid:project", statements.project
    yield "pellucid:bundle:sha256", statements.bundle_sha256
    yield "pellucid:owner", statements.owner
    for kind in ("privacy", "attack", "provenance", "training", "explanation"):
        for name, value in sorted(statements.of(kind).items()):
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                yield f"pellucid:{kind}:{name}", str(value)
    for coverage in sorted({each.coverage for each in statements.estimates()}):
        yield "pellucid:coverage:performance", coverage


def _pellucid(statements: Statements) -> str:
    return str(statements.of("provenance").get("versions", {}).get("pellucid", "unknown"))
