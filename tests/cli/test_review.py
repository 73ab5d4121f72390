"""``pellucid review``, and expectations through ``pellucid explain``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import AUDIT

REVIEWED = """
[[require]]
id = "review"
that = "review.verdict == 'approve' && review.independent"
because = "a person answers for it"
"""
EXPECTED = """
[[expect]]
id = "age.rises"
because = "so"
monotone = { column = "age", direction = "increasing" }
[[expect]]
id = "age.falls"
because = "so"
monotone = { column = "age", direction = "decreasing" }
[[expect]]
id = "gender.hidden"
because = "so"
proxy = { of = "gender", use_at_most = 0.9 }
"""


@pytest.fixture
def here(fresh: Any) -> tuple[str, ...]:
    return ("--project", str(fresh.root))


def test_the_check_passes_only_after_approval_and_a_later_rejection_wins(
    pellucid: Any, fresh: Any, here: tuple[str, ...], tmp_path: Path
) -> None:
    policy = tmp_path / "reviewed.toml"
    policy.write_text(REVIEWED)
    check = ("check", "risk", "--policy", policy, *here, "--as", "olivia")
    read = fresh.root / "reports" / "risk" / "report.html"
    words = ("review", "risk", "--report", read, *here)
    assert pellucid(*check).code == 3
    made = pellucid(*words, "--approve", "--note", "holds", "--reason", "a", "--reason", "b", "--as", "kim", "--json")
    assert made.code == 0
    assert set(made.json) == {"model", "digest", "verdict", "reviewer", "roles", "independent", "read", "index"}
    assert made.json["read"] == {"name": "report.html", "sha256": hashlib.sha256(read.read_bytes()).hexdigest()}
    assert (made.json["verdict"], made.json["independent"]) == ("approve", True)
    assert pellucid(*check).code == 0
    assert pellucid(*words, "--reject", "--note", "no", "--as", "olivia").code == 0
    assert pellucid(*check).code == 1
    assert pellucid("verify", *here).code == 0


def test_a_review_says_what_was_done_and_the_next_step(pellucid: Any, fresh: Any, here: tuple[str, ...]) -> None:
    read = fresh.root / "reports" / "risk" / "bundle.json"
    ran = pellucid("review", "risk", "--approve", "--note", "good", "--report", read, *here, "--as", "kim")
    assert ran.code == 0
    first, second, last = ran.out.splitlines()
    assert first == "risk@1 approved by kim (auditor), who did not train it"
    assert second.startswith("read: bundle.json, sha256 ")
    assert last == f"next: pellucid check risk@1 --project {fresh.root} --as kim"


def test_after_a_rejection_the_bundle_is_made_anew_first(pellucid: Any, fresh: Any, here: tuple[str, ...]) -> None:
    read = fresh.root / "reports" / "risk" / "bundle.json"
    ran = pellucid("review", "risk", "--reject", "--note", "no", "--report", read, *here, "--as", "kim")
    assert "made before does not say so" in ran.out
    assert ran.out.splitlines()[-1] == f"next: pellucid report risk@1 --project {fresh.root} --as kim"


@pytest.mark.parametrize("who", ["ana", "sam", "ravi"])
def test_a_role_that_may_not_review_is_1(pellucid: Any, fresh: Any, here: tuple[str, ...], who: str) -> None:
    read = fresh.root / "reports" / "risk" / "report.html"
    words = ("review", "risk", "--approve", "--note", "mine", "--report", read, *here, "--as", who)
    ran = pellucid(*words, "--json")
    assert (ran.code, ran.json["exit"]) == (1, 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--note", "x"), "one of the arguments --approve --reject is required"),
        (("--approve", "--reject"), "not allowed with argument"),
        (("--approve",), "--note"),
        (("--approve", "--note", " "), "say why"),
        (("--aprove", "--note", "x"), "required"),
        (("--approve", "--note", "x", "--report", "nothing.html"), "no such file"),
        (("--approve", "--note", "x", "--because", "y"), "no option --because"),
    ],
)
def test_wrong_use_is_2_and_says_what(
    pellucid: Any, fresh: Any, here: tuple[str, ...], words: tuple[str, ...], says: str
) -> None:
    ran = pellucid("review", "risk", *words, *here, "--as", "kim")
    assert ran.code == 2
    assert says in ran.err


def test_expectations_are_tested_beside_the_explanation(
    pellucid: Any, fresh: Any, here: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "expectations.toml"
    file.write_text(EXPECTED)
    words = ("explain", "risk", "--purpose", AUDIT, "--expectations", file, *here, "--as", "kim")
    ran = pellucid(*words, "--json")
    assert ran.code == 0
    assert "expectation" in ran.json["evidence"]
    assert ran.json["expectations"] == {"age.rises": "met", "age.falls": "not met", "gender.hidden": "met"}
    policy = tmp_path / "expected.toml"
    rule = "[[require]]\nid = 'r'\nthat = \"expectation.not_met == 0.0\"\nbecause = 'b'\n"
    policy.write_text(rule)
    assert pellucid("check", "risk", "--policy", policy, *here, "--as", "kim").code == 1
    shown = pellucid(*words).out
    assert "not met: age.falls: share " in shown
    assert shown.index("not met: age.falls") < shown.index("met: age.rises")  # what is to be looked at comes first
    assert "increasing in age" in " ".join(shown.split())
    told = [line for line in shown.splitlines() if not line.startswith("next:")]  # a command is not broken
    assert max(map(len, told)) <= 80


def test_a_wrong_file_of_expectations_is_2_before_anything_is_measured(
    pellucid: Any, fresh: Any, here: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "expectations.toml"
    file.write_text(EXPECTED.replace('"age"', '"aeg"', 1))
    size = pellucid("log", "verify", *here, "--json").json["size"]
    ran = pellucid("explain", "risk", "--purpose", AUDIT, "--expectations", file, *here, "--as", "kim")
    assert ran.code == 2
    assert 'did you mean "age"' in ran.err
    assert pellucid("log", "verify", *here, "--json").json["size"] == size
