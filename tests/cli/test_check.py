"""``pellucid check`` and ``pellucid verify``: the four exit codes, each from a real case, and their documents."""

from __future__ import annotations

import json
import tracemalloc
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


# -- outputs, environments, explanations ------------------------------------------------------------------------------


def test_all_formats_in_one_call(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("json", "sarif", "junit", "markdown", "text")}
    words = ("check", corridor.bundle, "--policy", corridor.policy("not-met"), "--key", corridor.key)
    ran = pellucid(*words, "-o", "github", *[word for name, file in files.items() for word in ("-o", f"{name}={file}")])
    assert ran.code == 1
    assert ran.out.startswith("::error ")
    assert ran.out.rstrip().endswith("verdict: FAIL (exit 1): a requirement is not met: privacy.epsilon")
    assert all(file.stat().st_size for file in files.values())


def test_the_summary_of_a_github_step_is_added_to(
    pellucid: Any, corridor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert pellucid(*words, "-o", f"markdown={summary}").code == 0
    assert summary.read_text().startswith("before\n## ")
    other = tmp_path / "other.md"
    other.write_text("before\n")
    assert pellucid(*words, "-o", f"markdown={other}").code == 0
    assert other.read_text().startswith("## ")


def test_a_folder_that_is_not_there_is_2(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key)
    ran = pellucid(*words, "-o", "text", "-o", f"sarif={tmp_path / 'none' / 'x.sarif'}")
    assert ran.code == 2
    assert "x.sarif" in ran.err
    assert f"mkdir -p {tmp_path / 'none'}" in ran.err
    assert ran.out == ""  # no verdict on the screen that the exit code then takes back


def test_no_verdict_is_said_before_a_file_that_cannot_be_written(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key)
    ran = pellucid(*words, "-o", "text", "-o", f"json={tmp_path}")  # a folder
    assert ran.code == 2
    assert "verdict" not in ran.out


def test_a_broken_policy_is_an_annotation_too(pellucid: Any, corridor: Any) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("invalid"), "--key", corridor.key)
    ran = pellucid(*words, "-o", "github")
    assert ran.code == 2
    assert ran.out.startswith("::error title=pellucid")
    assert "did you mean" in ran.out


@pytest.fixture
def by_environment(tmp_path: Path) -> Path:
    path = tmp_path / "release.toml"
    path.write_text(
        "[parameters]\nepsilon = 9.0\n[environment.production]\nepsilon = 0.1\n"
        "[[require]]\nid = 'privacy.epsilon'\nthat = 'privacy.epsilon <= parameters.epsilon'\nbecause = 'b'\n"
        "clause = 'Art. 25'\nfix = 'train with less'\n"
    )
    return path


def test_env_chooses_the_parameters(pellucid: Any, corridor: Any, by_environment: Path) -> None:
    words = ("check", corridor.bundle, "--policy", by_environment, "--key", corridor.key)
    assert pellucid(*words).code == 0
    ran = pellucid(*words, "--env", "production")
    assert ran.code == 1
    assert "environment production" in ran.out
    assert pellucid(*words, "--env", "production", "--json").json["policy"]["environment"] == "production"
    ran = pellucid(*words, "--env", "prod")
    assert ran.code == 2
    assert 'no environment "prod"' in ran.err


def test_explain_says_what_is_asked_and_with_a_bundle_what_would_pass(
    pellucid: Any, corridor: Any, by_environment: Path
) -> None:
    words = ("check", "explain", "privacy.epsilon")
    alone = pellucid(*words, "--policy", by_environment, "--env", "production")
    assert alone.code == 0
    for part in ("Art. 25", "parameters.epsilon = 0.1", "pellucid train leaves it", "release.toml, line 7"):
        assert part in " ".join(alone.out.split())
    told = (*words, corridor.bundle, "--policy", by_environment, "--env", "production", "--key", corridor.key)
    ran = pellucid(*told)
    assert ran.code == 0
    flat = " ".join(ran.out.split())
    assert "status FAIL for risk@1" in flat
    assert "change privacy.epsilon at most 0.1, and it is " in flat
    assert "signed by ana" in flat
    assert max(map(len, ran.out.splitlines())) <= 80
    document = pellucid(*told, "--json").json
    assert document["rule"]["line"] == 7
    assert document["comparisons"][0]["slack"] < 0
    assert document["evidence"][0]["signer"] == "ana"


def test_explain_of_what_was_not_measured_names_the_verb(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text("[[require]]\nid = 'r'\nthat = \"review.verdict == 'approve'\"\nbecause = 'b'\n")
    ran = pellucid("check", "explain", "r", corridor.bundle, "--policy", policy, "--key", corridor.key)
    assert "`pellucid review` leaves evidence of kind review" in " ".join(ran.out.split())


def test_explain_of_an_unknown_requirement_names_the_nearest(pellucid: Any, by_environment: Path) -> None:
    ran = pellucid("check", "explain", "privacy.epsilom", "--policy", by_environment)
    assert ran.code == 2
    assert 'did you mean "privacy.epsilon"' in ran.err


def test_a_model_may_be_called_explain(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("check", "explain", "--project", corridor.root)
    assert ran.code == 2
    assert 'no model "explain"' in ran.err


def test_shipped_policies_have_names(pellucid: Any, corridor: Any) -> None:
    for name in ("baseline", "gdpr-high-risk", "bank", "research"):
        assert pellucid("check", "--lint", "--test", "--policy", name).code == 0
    assert pellucid("check", corridor.bundle, "--policy", "baseline", "--key", corridor.key).code == 0
    ran = pellucid("check", "--lint", "--policy", "gdpr-hihg-risk")
    assert ran.code == 2
    assert 'did you mean "gdpr-high-risk"' in ran.err


def test_lint_and_test_of_a_project_s_policy(pellucid: Any, fresh: Any) -> None:
    here = ("--project", fresh.root)
    assert pellucid("check", "--lint", "--test", *here).code == 0
    release = fresh.root / "policies" / "release.toml"
    release.write_text(
        release.read_text().replace("evaluation.auc.low >= parameters.auc", "evaluation.auc.value >= 0.80")
    )
    ran = pellucid("check", "--lint", "--test", *here)
    assert ran.code == 1
    assert "the middle of an interval" in ran.out
    assert "FAIL  a lucky middle is not enough: evaluation.auc is pass and not fail" in ran.out
    document = pellucid("check", "--lint", "--test", *here, "--json").json
    assert set(document) == {"remarks", "cases", "failures"}
    assert pellucid("check", "risk", "--lint", *here).code == 2


def test_a_baseline_and_a_diff_of_the_same_bundle(pellucid: Any, corridor: Any) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("not-met"), "--key", corridor.key)
    ran = pellucid(*words, "--baseline", corridor.bundle, "--diff", corridor.bundle, "--json")
    assert ran.code == 0
    assert ran.json["baseline"] == {"model": "risk@1", "known": ["privacy.epsilon"]}
    assert ran.json["changes"] == []
    text = pellucid(*words, "--baseline", corridor.bundle).out
    assert "nothing is worse than in risk@1; failures that it has too: 1" in " ".join(text.split())


def test_a_model_s_name_is_no_bundle_to_compare_with_and_the_error_says_where_one_lies(
    pellucid: Any, corridor: Any
) -> None:
    words = ("check", corridor.bundle, "--policy", corridor.policy("met"), "--key", corridor.key)
    for option in ("--baseline", "--diff"):
        ran = pellucid(*words, option, "risk@1")
        assert ran.code == 2
        assert "models/M@1/bundle.json" in ran.err


def test_a_policy_without_cases_is_told_what_to_do(pellucid: Any, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text("[[require]]\nid = 'a'\nbecause = 'b'\nthat = 'privacy.epsilon <= 3.0'\n")
    ran = pellucid("check", "--test", "--policy", policy)
    assert ran.code == 2
    assert "p.tests.toml" in ran.err
    assert "[[case]]" in ran.err


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[require]]\nid = \n", "p.toml: not TOML: Invalid value (at line 2, column 6)"),
        ("[[require]]\nid = 'a'\nbecause = 'b'\nthat = 'privacy.epsilon <= <= 3'\n", "p.toml, line 4, column 28"),
        ("[[require]]\nid = 'a'\nbecause = 'b'\nthat = 'privacyy.epsilon <= 3'\n", 'did you mean "privacy"'),
        ("[[require]]\nid = 'a'\nbecause = 'b'\nthat = 'privacy.epsilon == \"a\"'\n", "compared with a text"),
        ("[[require]]\nid = 'a'\nbecause = 'b'\nthat = 'privacy.epsilon / 0 > 1'\n", "a division by zero"),
        ("include = ['p.toml']\n", "the policy includes itself: p.toml → p.toml"),
    ],
)
def test_a_bad_policy_is_2_and_says_where(pellucid: Any, corridor: Any, tmp_path: Path, text: str, says: str) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text(text)
    ran = pellucid("check", corridor.bundle, "--policy", policy, "--key", corridor.key)
    assert ran.code == 2
    assert says in ran.err


def test_an_unknown_field_is_unmeasured_and_the_nearest_is_named(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text("[[require]]\nid = 'a'\nbecause = 'b'\nthat = 'privacy.epsilom <= 3'\n")
    ran = pellucid("check", corridor.bundle, "--policy", policy, "--key", corridor.key)
    assert ran.code == 3
    assert 'did you mean "epsilon"' in ran.out


def test_a_bundle_of_a_later_format_is_3_and_says_what_is_read(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    later = tmp_path / "bundle.json"
    later.write_bytes(corridor.bundle.read_bytes().replace(b"pellucid/bundle@1", b"pellucid/bundle@9"))
    ran = pellucid("check", later, "--policy", corridor.policy("met"), "--key", corridor.key)
    assert ran.code == 3
    assert "pellucid/bundle@9" in ran.out


def test_a_bundle_of_200_mb_is_refused_before_it_is_read(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    large = tmp_path / "bundle.json"
    with large.open("wb") as file:
        file.truncate(200 << 20)
    words = ("check", large, "--policy", corridor.policy("met"), "--key", corridor.key)
    pellucid(*words)  # whatever is imported is there
    tracemalloc.start()
    ran = pellucid(*words)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ran.code == 3
    assert "a bundle of more than 64 MiB is not accepted" in " ".join(ran.out.split())
    assert peak < 4 << 20


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
