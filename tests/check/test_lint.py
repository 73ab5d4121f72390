"""What lint remarks, and what it leaves alone."""

from __future__ import annotations

import pytest

from pellucid.check import ReleasePolicy
from pellucid.check.lint import lint

SAFE = "[[require]]\nid = 'safe'\nthat = '!has(unsafe.door)'\nbecause = 'b'\n"


def remarks(that: str, extra: str = "") -> list[str]:
    text = f"{extra}[[require]]\nid = 'r'\nthat = '''{that}'''\nbecause = 'b'\n{SAFE}"
    return [remark.says for remark in lint(ReleasePolicy.parse(text.encode(), where="p.toml"))]


@pytest.mark.parametrize(
    ("that", "says"),
    [
        ("evaluation.auc.value >= 0.85", "compare the unfavourable evaluation.auc.low"),
        ("evaluation.auc.value <= 0.85", "compare the unfavourable evaluation.auc.high"),
        ("0.85 <= evaluation.auc.value", "compare the unfavourable evaluation.auc.low"),
        ("!(evaluation.auc.value < 0.85)", "compare the unfavourable evaluation.auc.low"),
        ("evaluation.auc.value > 0.5 ? evaluation.ok : false", "evaluation.auc.low or .high"),
        ("evaluation.auc.high >= 0.85", "the favourable end of the interval: compare evaluation.auc.low"),
        ("calibration.ece.low <= 0.05", "the favourable end of the interval: compare calibration.ece.high"),
        (
            "fairness.columns.all(c, fairness.columns[c].gap.value <= 0.1)",
            "the unfavourable fairness.columns[c].gap.high",
        ),
        ("privacy.epsilom <= 3", "did you mean privacy.epsilon?"),
        ("!has(attack.epsilon_lower) || attack.epsilon_lower < 1", "no rule requires it"),
    ],
)
def test_a_doubtful_rule_is_remarked(that: str, says: str) -> None:
    (remark,) = remarks(that)
    assert says in remark


@pytest.mark.parametrize(
    "that",
    [
        "evaluation.auc >= 0.85",
        "evaluation.auc.low >= 0.85",
        "!(evaluation.auc.low < 0.85)",
        "calibration.ece.high <= 0.05",
        "evaluation.auc.n >= 100",
        "evaluation.auc.value == evaluation.auc.value",
        "privacy.second_opinion.epsilon <= 4",
    ],
)
def test_a_rule_without_doubt_is_left_alone(that: str) -> None:
    assert remarks(that) == []


def test_a_parameter_that_no_rule_reads_and_a_policy_without_a_word_of_unsafe_evidence() -> None:
    assert remarks("privacy.epsilon < 3", "[parameters]\nunread = 1\n") == ["no rule reads it"]
    silent = ReleasePolicy.parse(
        b"[[require]]\nid = 'r'\nthat = 'privacy.epsilon < 3'\nbecause = 'b'\n", where="p.toml"
    )
    (remark,) = lint(silent)
    assert (remark.id, remark.file, remark.line) == ("unsafe", "p.toml", 1)


def test_what_another_rule_requires_may_be_guarded() -> None:
    both = "!has(attack.epsilon_lower) || attack.epsilon_lower < 1"
    text = f"[[require]]\nid = 'a'\nthat = '{both}'\nbecause = 'b'\n"
    text += f"[[require]]\nid = 'c'\nthat = 'attack.epsilon_lower >= 0'\nbecause = 'b'\n{SAFE}"
    assert lint(ReleasePolicy.parse(text.encode())) == ()
