"""``pellucid check`` and ``pellucid verify``: the four exit codes, each from a real case, and their documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CHECK = {"verdict", "exit", "findings", "notices", "policy"}
FINDING = {"id", "status", "severity", "that", "because", "values", "fix"}


@pytest.mark.parametrize(
    ("policy", "code", "verdict", "statuses"),
    [
        ("met", 0, "pass", ["pass", "pass"]),
        ("not-met", 1, "fail", ["fail", "pass"]),
        ("unmeasured", 3, "unmeasured", ["pass", "unmeasured"]),
    ],
)
def test_check_ends_with_the_code_of_its_verdict(
    pellucid: Any, corridor: Any, policy: str, code: int, verdict: str, statuses: list[str]
) -> None:
    ran = pellucid("check", corridor.bundle, "--policy", corridor.policy(policy), "--key", corridor.key, "--json")
    assert ran.code == code
    assert set(ran.json) == CHECK
    assert (ran.json["verdict"], ran.json["exit"]) == (verdict, code)
    assert [finding["status"] for finding in ran.json["findings"]] == statuses
    assert all(set(finding) == FINDING for finding in ran.json["findings"])


def test_check_of_a_model_stands_in_its_project(pellucid: Any, corridor: Any) -> None:
    words = ("check", "risk", "--policy", corridor.policy("met"), "--project", corridor.root)
    assert pellucid(*words).code == 0
    assert pellucid("check", "rissk", *words[2:]).code == 2


def test_check_of_a_model_uses_the_project_s_policy_by_default(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("check", "risk", "--project", corridor.root, "--json")
    assert ran.code == 1  # the synthetic data is not the shipped policy's
    assert "evaluation.auc" in {finding["id"] for finding in ran.json["findings"]}


def test_an_invalid_policy_is_2_whatever_the_bundle_says(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_bytes(corridor.bundle.read_bytes()[:-1])
    for bundle in (corridor.bundle, broken):
        ran = pellucid("check", bundle, "--policy", corridor.policy("invalid"), "--key", corridor.key)
        assert ran.code == 2
        assert 'did you mean "that"?' in ran.err


def test_a_changed_bundle_is_3_even_where_every_requirement_would_be_met(
    pellucid: Any, corridor: Any, tmp_path: Path
) -> None:
    changed = tmp_path / "bundle.json"
    content = corridor.bundle.read_bytes()
    changed.write_bytes(content.replace(b'"index":', b'"index" :', 1))
    ran = pellucid("check", changed, "--policy", corridor.policy("met"), "--key", corridor.key, "--json")
    assert ran.code == 3
    assert ran.json["verdict"] == "unverified"
    assert {finding["status"] for finding in ran.json["findings"]} == {"unmeasured"}


def test_a_stranger_s_key_is_3(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    assert pellucid("init", tmp_path / "other").code == 0
    stranger = tmp_path / "other" / "owner.pub"
    words = ("--key", stranger)
    assert pellucid("check", corridor.bundle, "--policy", corridor.policy("met"), *words).code == 3
    assert pellucid("verify", corridor.bundle, *words).code == 3


def test_without_any_trusted_owner_check_is_2(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("check", corridor.bundle, "--policy", corridor.policy("met"))
    assert ran.code == 2
    assert "--key OWNER.pub" in ran.err


def test_weights_are_bound_on_demand(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    weights = corridor.root / "models" / "risk@1" / "weights.safetensors"
    changed = tmp_path / "weights.safetensors"
    changed.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key, "--weights")
    assert pellucid(*words, weights).code == 0
    assert pellucid(*words, changed).code == 3


def test_json_equals_o_json_and_several_formats_go_to_files(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key)
    kept = tmp_path / "findings.json"
    as_json = pellucid(*words, "--json")
    assert as_json.out == pellucid(*words, "-o", "json").out
    both = pellucid(*words, "-o", "text", "-o", f"json={kept}")
    assert both.out.rstrip().endswith("verdict: PASS (exit 0): every requirement of severity error is met")
    assert json.loads(kept.read_text()) == as_json.json


def test_two_formats_on_standard_output_are_a_misuse(pellucid: Any, corridor: Any) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key)
    assert pellucid(*words, "-o", "text", "--json").code == 2
    ran = pellucid(*words, "-o", "jsn")
    assert ran.code == 2
    assert 'did you mean "json"?' in ran.err


def test_an_error_of_check_is_a_document_with_o_json_too(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("check", corridor.bundle, "--policy", corridor.policy("invalid"), "-o", "json")
    assert (ran.code, ran.json["exit"]) == (2, 2)


def test_verify_names_its_checks_and_both_epsilons(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("verify", corridor.bundle, "--key", corridor.key, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"ok", "checks", "epsilon"}
    assert ran.json["ok"] is True
    assert all(set(check) == {"name", "status", "detail"} for check in ran.json["checks"])
    epsilon = ran.json["epsilon"]
    assert set(epsilon) == {"claimed", "pld", "rdp"}
    assert 0 < epsilon["pld"] <= epsilon["claimed"] <= 3.0 <= epsilon["rdp"] + 1


def test_verify_without_a_bundle_looks_at_the_whole_project(pellucid: Any, fresh: Any) -> None:
    words = ("verify", "--project", fresh.root, "--json")
    ran = pellucid(*words)
    assert ran.code == 0
    assert {"log", "policy", "data applicants@1", "weights risk@1"} <= {check["name"] for check in ran.json["checks"]}
    sealed = next((fresh.root / "data").rglob("*.parquet"))
    content = bytearray(sealed.read_bytes())
    content[len(content) // 2] ^= 1
    sealed.write_bytes(content)
    ran = pellucid(*words)
    assert ran.code == 3
    assert [c["name"] for c in ran.json["checks"] if c["status"] == "fail"] == ["data applicants@1"]


def test_verify_of_a_missing_file_is_an_error_not_a_verdict(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("verify", "nowhere.json", "--key", corridor.key)
    assert ran.code == 2
    assert "nowhere.json" in ran.err
