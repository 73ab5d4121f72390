"""``data release``, ``tune`` and ``evaluate --release`` from the command line: words, documents and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SPACE = """
[tune]
trials = 2
[space]
train.learning_rate = { low = 0.2, high = 1.0 }
train.clip = [0.5, 1.0]
"""
PURPOSE = ("--purpose", "credit scoring")


@pytest.fixture
def here(fresh: Any) -> tuple[str, Path, str, str]:
    return ("--project", fresh.root, "--as", "ana")


def fits(text: str) -> bool:
    """Within 80 columns, but for commands to be pasted and digests."""
    lines = [line for line in text.splitlines() if not line.startswith(("next: ", "  weights sha256:"))]
    return max(map(len, lines)) <= 80


def test_released_statistics_come_with_their_intervals(pellucid: Any, here: Any) -> None:
    words = ("data", "release", "applicants", "count", "mean:age", "histogram:job", *PURPOSE, "--epsilon", "1", *here)
    ran = pellucid(*words)
    assert ran.code == 0, ran.err
    assert "epsilon" in ran.out
    assert all(name in ran.out for name in ("count", "mean:age", "histogram:job", "baker", "next: pellucid budget"))
    assert fits(ran.out)
    document = pellucid(*words, "--json").json
    assert document["release"] == "applicants-statistics@2"
    assert [each["name"] for each in document["statistics"]] == ["count", "mean:age", "histogram:job"]
    assert document["statistics"][0]["estimates"]["count"].keys() == {"value", "low", "high", "n"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("count", "--epsilon", "nan"), 2, "epsilon"),
        (("count", "--epsilon", "0"), 2, "epsilon"),
        (("count", "--epsilon=-1"), 2, "epsilon"),
        (("count", "--epsilon", "inf"), 2, "epsilon"),
        (("count", "--epsilon", "soon"), 2, "epsilon"),
        (("mode:age", "--epsilon", "1"), 2, "no statistic"),
        (("mean:agee", "--epsilon", "1"), 2, "age"),
        (("mean:age:90..17", "--epsilon", "1"), 2, "not below"),
        (("histogram:age:100000", "--epsilon", "1"), 2, "4096"),
        (("count", "--epsilon", "100"), 1, "fit"),
        (("count", "--epsilon", "1", "--delta", "0.1"), 2, "delta"),
        (("count", "--epsilon", "1", "--test", "1.5"), 2, "test"),
    ],
)
def test_what_cannot_be_released_ends_with_its_code_and_says_why(
    pellucid: Any, here: Any, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = pellucid("data", "release", "applicants", *words, *PURPOSE, *here)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize("who", ["kim", "ravi", "sam"])
def test_whoever_may_not_release_is_refused_with_1(pellucid: Any, fresh: Any, who: str) -> None:
    words = ("data", "release", "applicants", "mean:age", *PURPOSE, "--epsilon", "1", "--project", fresh.root)
    ran = pellucid(*words, "--as", who)
    assert ran.code == 1
    assert "may not" in ran.err


def test_a_tuning_says_nothing_of_its_trials(pellucid: Any, fresh: Any, here: Any, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text(SPACE)
    words = ("tune", "best", "--data", "applicants", *PURPOSE, "--recipe", fresh.files / "recipe.toml")
    ran = pellucid(*words, "--space", space, *here)
    assert ran.code == 0, ran.err
    assert "best@1 chosen" in ran.out
    assert "stays hidden" in ran.err
    assert "next: pellucid report best@1" in ran.out
    assert fits(ran.out + ran.err)
    assert pellucid("verify", *here[:2]).code == 0
    assert pellucid("report", "best", *here).code == 0
    # what a killed or interrupted one is asked for, when none waits
    assert pellucid("tune", "best", "--resume", *here).code == 2
    assert pellucid("tune", "best", "--abandon", *here).code == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--data, --purpose, --recipe, --space"),
        (("--resume", "--data", "applicants"), 2, "leave out --data"),
        (("--resume", "--abandon"), 2, "not allowed"),
    ],
)
def test_a_tuning_that_lacks_something_is_told_what(
    pellucid: Any, here: Any, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = pellucid("tune", "best", *words, *here)
    assert ran.code == code
    assert said in ran.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 2", "trials = 0", "trials"),
        ("train.learning_rate = { low = 0.2, high = 1.0 }\n", "", "clip"),
        ("[0.5, 1.0]", "[0.5]", "clip"),
        ("train.clip", "train.epochs", "may not vary"),
        ("low = 0.2", "low = 2.0", "below high"),
    ],
)
def test_a_space_that_means_nothing_ends_with_2(
    pellucid: Any, fresh: Any, here: Any, tmp_path: Path, old: str, new: str, said: str
) -> None:
    space = tmp_path / "space.toml"
    text = SPACE.replace(old, new)
    if said == "clip":
        text = text.replace("train.learning_rate = { low = 0.2, high = 1.0 }\n", "").replace("[0.5, 1.0]", "[0.5]")
        said = "one point"
    space.write_text(text)
    words = ("tune", "best", "--data", "applicants", *PURPOSE, "--recipe", fresh.files / "recipe.toml")
    ran = pellucid(*words, "--space", space, *here)
    assert ran.code == 2
    assert said in ran.err


def test_an_evaluation_can_be_released(pellucid: Any, here: Any) -> None:
    ran = pellucid("evaluate", "risk", "--release", "0.5", *here, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["evidence"] == ["evaluation"]
    assert "slices" in pellucid("evaluate", "risk", *here).out
    assert pellucid("evaluate", "risk", "--release", "0", *here).code == 2
    assert pellucid("evaluate", "risk", "--release", "50", *here).code == 1
    assert pellucid("evaluate", "risk", "--delta", "1e-6", *here).code == 2
