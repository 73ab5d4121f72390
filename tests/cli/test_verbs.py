"""Every verb of the contract, on a real project: it works, and its document has the contract's keys."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

AUDIT, PURPOSE, UNITS = "fairness audit", "credit scoring", 3000  # as tests/conftest.py declares them


def test_init_makes_a_project_whose_owner_may_do_everything_next(pellucid: Any, tmp_path: Path) -> None:
    root = tmp_path / "new"
    ran = pellucid("init", root)
    assert ran.code == 0
    assert f"--project {root}" in ran.out
    assert sorted(p.name for p in root.iterdir() if p.is_file()) == [
        ".gitignore",
        "model.toml",
        "owner.pub",
        "pellucid.toml",
    ]
    assert pellucid("access", "can", "owner", "grant", "new", "--project", root).code == 0
    assert pellucid("init", root).code == 2


def test_init_names_its_owner_with_owner_or_as(pellucid: Any, tmp_path: Path) -> None:
    for option, name in (("--owner", "olivia"), ("--as", "ana")):
        ran = pellucid("init", tmp_path / name, option, name, "--json")
        assert ran.json["owner"] == name
        assert ran.json["key"].startswith(f"{name}/{name}+")


def test_identity_and_role(pellucid: Any, fresh: Any) -> None:
    here = ("--project", fresh.root)
    assert pellucid("identity", "new", "eve", *here, "--as", "olivia").code == 0
    assert pellucid("access", "can", "eve", "read", "applicants/age", "--purpose", PURPOSE, *here).code == 1
    granted = pellucid("role", "grant", "auditor", "eve", "--expires", "2999-01-31", *here, "--as", "olivia", "--json")
    assert (granted.code, set(granted.json)) == (0, {"role", "identity", "entry"})
    assert pellucid("role", "list", *here, "--json").json["auditor"] == ["eve", "kim"]
    assert pellucid("access", "can", "eve", "read", "applicants/age", "--purpose", PURPOSE, *here).code == 0
    assert pellucid("role", "revoke", "auditor", "eve", *here, "--as", "olivia").code == 0
    shown = pellucid("identity", "show", "eve", *here, "--json").json
    assert [(each["name"], each["roles"]) for each in shown] == [("eve", [])]


def test_only_an_owner_grants(pellucid: Any, fresh: Any) -> None:
    ran = pellucid("role", "grant", "auditor", "ravi", "--project", fresh.root, "--as", "ana")
    assert ran.code == 1
    assert pellucid("role", "list", "--project", fresh.root, "--json").json["auditor"] == ["kim"]


def test_seal_makes_the_next_version(pellucid: Any, fresh: Any) -> None:
    plaintext, schema = fresh.files / "applicants.csv", fresh.files / "applicants.toml"
    words = ("seal", "applicants", plaintext, "--schema", schema, "--project", fresh.root, "--as", "sam")
    assert pellucid(*words, "--json").json["dataset"] == "applicants@2"
    assert pellucid("data", "list", "--project", fresh.root, "--json").json == ["applicants@1", "applicants@2"]


def test_seal_refuses_what_the_schema_does_not_admit_and_shows_no_value(
    pellucid: Any, fresh: Any, tmp_path: Path
) -> None:
    lines = (fresh.files / "applicants.csv").read_text().splitlines()
    lines[17] = "173,4,baker,Female,no"
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(lines) + "\n")
    schema = fresh.files / "applicants.toml"
    ran = pellucid("seal", "applicants", bad, "--schema", schema, "--project", fresh.root, "--as", "sam")
    assert ran.code == 2
    assert "  age, in 1 row: " in ran.err
    assert "173" not in ran.out + ran.err
    assert pellucid("data", "list", "--project", fresh.root, "--json").json == ["applicants@1"]


def test_data_show_tells_the_schema_and_the_readers_and_no_row(pellucid: Any, corridor: Any) -> None:
    ran = pellucid("data", "show", "applicants", "--project", corridor.root, "--json")
    assert set(ran.json) == {"dataset", "manifest", "schema", "readers", "files"}
    assert "scientist" not in ran.json["readers"]["gender"]
    assert "scientist" in ran.json["readers"]["age"]


def test_data_export_writes_the_columns_that_may_be_read(pellucid: Any, fresh: Any, tmp_path: Path) -> None:
    words = ("data", "export", "applicants", "--purpose", PURPOSE, "--project", fresh.root, "--as", "sam")
    out = tmp_path / "out.csv"
    assert pellucid(*words, "--columns", "gender", "-o", out).code == 1
    assert not out.exists()
    assert pellucid(*words, "--columns", "age,job", "-o", out).code == 0
    lines = out.read_text().splitlines()
    assert lines[0].replace('"', "") == "age,job"
    assert len(lines) == UNITS + 1


def test_train_then_budget(pellucid: Any, fresh: Any) -> None:
    words = ("train", "risk", "--data", "applicants", "--recipe", fresh.files / "recipe.toml")
    here = ("--project", fresh.root)
    made = pellucid(*words, "--purpose", PURPOSE, *here, "--as", "ana", "--json")
    assert made.code == 0
    assert set(made.json) == {"model", "digest", "epsilon", "delta", "steps", "status"}
    assert (made.json["model"], made.json["status"]) == ("risk@2", "complete")  # a repeated name is the next version
    ledger = pellucid("budget", "applicants", *here, "--json").json
    known = {"dataset", "epsilon", "delta", "spent", "reserved", "left", "runs"}
    assert set(ledger) == known | {"purposes", "alert"}
    assert [run["run"] for run in ledger["runs"]] == ["risk@1", "risk@2"]
    # Two runs together cost more than one, and less than the sum of their claims.
    assert 3.0 < ledger["spent"] < 6.0
    assert ledger["reserved"] == 0


def test_training_beyond_the_budget_or_the_purpose_is_1_and_leaves_no_model(pellucid: Any, fresh: Any) -> None:
    here = ("--project", fresh.root)
    words = ("train", "more", "--data", "applicants", "--recipe", fresh.files / "recipe.toml", "--as", "ana", *here)
    assert pellucid(*words, "--purpose", "marketing").code == 1
    assert (
        pellucid("budget", "set", "applicants", "--epsilon", "3.5", "--delta", "1e-5", *here, "--as", "sam").code == 0
    )
    ran = pellucid(*words, "--purpose", PURPOSE, "--json")
    assert (ran.code, ran.json["exit"]) == (1, 1)
    assert not (fresh.root / "models" / "more@1").exists()
    assert pellucid("budget", "applicants", *here, "--json").json["left"] < 1


def test_explain_and_attack_leave_evidence(pellucid: Any, fresh: Any) -> None:
    end = ("risk", "--purpose", AUDIT, "--project", fresh.root, "--as", "kim", "--json")
    assert "explanation" in pellucid("explain", *end).json["evidence"]
    assert pellucid("attack", *end).json["evidence"] == ["attack"]


@pytest.mark.parametrize("tier", ["public", "auditor", "steward"])
def test_report_writes_its_three_files_for_every_tier(pellucid: Any, fresh: Any, tmp_path: Path, tier: str) -> None:
    words = ("report", "risk", "--tier", tier, "-o", tmp_path / tier, "--project", fresh.root, "--as", "kim", "--json")
    ran = pellucid(*words)
    assert ran.code == 0
    assert set(ran.json) == {"html", "json", "bundle"}
    assert all(Path(path).is_file() for path in ran.json.values())
    assert pellucid("verify", ran.json["bundle"], "--key", fresh.key).code == 0


def test_report_defaults_to_the_auditor_and_to_the_project_s_folder(pellucid: Any, fresh: Any) -> None:
    ran = pellucid("report", "risk", "--project", fresh.root, "--as", "kim", "--json")
    assert Path(ran.json["html"]).parent == fresh.root / "reports" / "risk@1"
    assert json.loads(Path(ran.json["json"]).read_text())["tier"] == "auditor"


def test_log_show_verify_prove_checkpoint(pellucid: Any, corridor: Any, tmp_path: Path) -> None:
    here = ("--project", corridor.root)
    entries = pellucid("log", "show", *here, "--json").json
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    assert pellucid("log", "show", "--last", "2", *here, "--json").json == entries[-2:]
    assert pellucid("log", "show", "0", *here).json["kind"] == "genesis"
    assert pellucid("log", "show", str(len(entries)), *here).code == 2
    assert pellucid("log", "verify", *here, "--json").json["size"] == len(entries)
    proof = tmp_path / "proof.json"
    assert pellucid("log", "prove", "3", "-o", proof, *here).code == 0
    assert json.loads(proof.read_text())["index"] == 3
    assert pellucid("log", "prove", "3", "-o", proof, *here).code == 2  # never writes over a file
    assert pellucid("log", "checkpoint", *here).out.splitlines()[:2] == ["credit", str(len(entries))]


@pytest.mark.parametrize("verb", [("log", "verify"), ("verify",), ("role", "list"), ("budget", "applicants")])
def test_a_changed_log_is_3_for_every_verb_that_reads_it(pellucid: Any, fresh: Any, verb: tuple[str, ...]) -> None:
    store = sqlite3.connect(fresh.root / "log" / "log.sqlite")
    with store:
        (leaf,) = store.execute("select leaf from entries where number = 5").fetchone()
        changed = leaf.replace(b'"sig":"', b'"sig":"A', 1)
        assert changed != leaf
        store.execute("update entries set leaf = ? where number = 5", (changed,))
    store.close()
    assert pellucid(*verb, "--project", fresh.root).code == 3


def test_access_can_explain_test_lint_adopt(pellucid: Any, fresh: Any) -> None:
    here = ("--project", fresh.root)
    assert pellucid("access", "can", "ana", "train", "applicants", "--purpose", PURPOSE, *here).code == 0
    assert pellucid("access", "can", "ravi", "train", "applicants", "--purpose", PURPOSE, *here).code == 1
    assert pellucid("access", "can", "ana", "trian", "applicants", *here).code == 2
    why = pellucid("access", "explain", "ana", "train", "applicants", "--purpose", "marketing", *here)
    assert why.code == 1
    assert "purpose-declared" in why.out
    assert pellucid("access", "test", *here).code == 0
    assert pellucid("access", "lint", *here).code == 0
    policy = fresh.root / "policies" / "access.cedar"
    policy.write_text(policy.read_text() + "\n// read again\n")
    assert pellucid("access", "can", "ana", "train", "applicants", "--purpose", PURPOSE, *here).code == 3
    assert pellucid("access", "adopt", *here, "--as", "ana").code == 1
    assert pellucid("access", "adopt", *here, "--as", "olivia").code == 0
    assert pellucid("access", "can", "ana", "train", "applicants", "--purpose", PURPOSE, *here).code == 0


# -- who acts, and where ----------------------------------------------------------------------------------------------


def test_the_identity_comes_from_as_then_from_the_environment(
    pellucid: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("report", "risk", "--project", fresh.root)
    nobody = pellucid(*words)
    assert nobody.code == 2
    assert "--as or PELLUCID_IDENTITY" in nobody.err
    monkeypatch.setenv("PELLUCID_IDENTITY", "kim")
    assert pellucid(*words).code == 0
    assert pellucid(*words, "--as", "nobody").code == 2  # --as wins


def test_the_project_is_the_nearest_upward(pellucid: Any, corridor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = pellucid("role", "list")
    assert lost.code == 2
    assert "--project DIR" in lost.err
    monkeypatch.chdir(corridor.root / "models" / "risk@1")
    assert pellucid("role", "list").code == 0


def test_every_verb_takes_project_as_and_json() -> None:
    from pellucid.cli import build_parser

    def leaves(parser: Any) -> list[Any]:
        below = [a.choices.values() for a in parser._actions if type(a).__name__ == "_SubParsersAction"]
        return [leaf for group in below for each in group for leaf in leaves(each)] if below else [parser]

    for leaf in leaves(build_parser()):
        options = set(leaf._option_string_actions)
        if leaf.prog in ("pellucid init", "pellucid demo"):  # these two make the project and its people
            continue
        assert {"--project", "--as", "--json", "--passphrase-file"} <= options, leaf.prog


# -- passphrases ------------------------------------------------------------------------------------------------------


def test_a_passphrase_comes_from_a_file_or_the_environment(
    pellucid: Any, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("report", "risk", "--project", fresh.root, "--as", "kim")
    file = tmp_path / "passphrase"
    file.write_text("glass-all-the-way-down\n")
    monkeypatch.delenv("PELLUCID_PASSPHRASE")
    assert pellucid(*words).code == 2
    assert pellucid(*words, "--passphrase-file", file).code == 0
    assert pellucid(*words, "--passphrase-file", tmp_path / "nowhere").code == 2


def test_a_wrong_passphrase_is_2_and_is_shown_nowhere(
    pellucid: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "n0t-the-passphrase"  # wrong on purpose, and looked for below
    monkeypatch.setenv("PELLUCID_PASSPHRASE", secret)
    before = pellucid("log", "verify", "--project", fresh.root, "--json").json["size"]
    ran = pellucid("report", "risk", "--project", fresh.root, "--as", "kim", "--json")
    assert (ran.code, ran.json["exit"]) == (2, 2)
    assert secret not in ran.out + ran.err
    assert pellucid("log", "verify", "--project", fresh.root, "--json").json["size"] == before


def test_no_option_takes_a_passphrase_itself() -> None:
    from pellucid.cli import build_parser

    text = "".join(_helps(build_parser()))
    assert "--passphrase-file" in text
    assert "--passphrase " not in text


def _helps(parser: Any) -> list[str]:
    below = [a.choices.values() for a in parser._actions if type(a).__name__ == "_SubParsersAction"]
    return [parser.format_help(), *(text for group in below for each in group for text in _helps(each))]
