"""The commands of the README, typed one after the other in a folder of one's own by somebody who read nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.claims.test_claims import ROOT, commands, of

ELSEWHERE = ("init", "verify")  # verbs that take no project, or name it themselves


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_work_in_their_order(tmp_path: Path) -> None:
    """With the files that they name: those of the checkout, the README's policy and the page on tuning's space."""
    for name in ("schemas", "recipes", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (policy,) = [block for block in of("toml") if block.page == "README.md" and block.info == "toml release"]
    (tmp_path / "release.toml").write_text(policy.text, encoding="utf-8")
    space = next(block for block in of("toml") if block.page == "docs/tuning.md")
    (tmp_path / "space.toml").write_text(space.text, encoding="utf-8")
    type_(tmp_path, ["demo", "--data", "applicants.csv"])
    typed = [words for place, words in commands() if place.startswith("README.md")]
    assert {words[0] for words in typed} >= {"init", "seal", "train", "report", "check", "verify", "tune", "budget"}
    for words in typed:
        if "bundle.json" in words:  # a third party's: whoever got the bundle and the key
            shutil.copy(tmp_path / "credit" / "reports" / "credit-risk@1" / "bundle.json", tmp_path)
            shutil.copy(tmp_path / "credit" / "owner.pub", tmp_path)
        elif words[0] not in ELSEWHERE and "--project" not in words:
            words += ["--project", "credit"]
        type_(tmp_path, words)
    assert (tmp_path / "credit" / "reports" / "credit-risk@1" / "report.html").is_file()
    assert (tmp_path / "findings.json").is_file()


def type_(folder: Path, words: list[str]) -> None:
    known = {name: value for name, value in os.environ.items() if not name.startswith("PELLUCID_")}
    known["OMP_NUM_THREADS"] = "1"  # the tensors are small: threads would only wait for each other
    done = subprocess.run(
        [sys.executable, "-m", "pellucid", *words],
        cwd=folder,
        env={**known, "PELLUCID_PASSPHRASE": "of a reader of the README"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"pellucid {' '.join(words)}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
    assert "Traceback" not in done.stderr
