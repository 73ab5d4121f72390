"""Estimates are compared by the end of their interval that is unfavourable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.check import cel
from pellucid.check.comparisons import comparisons
from pellucid.errors import BadFile

AUC = {"value": 0.85, "low": 0.8, "high": 0.9, "n": 100}


def truth(expression: str, auc: Any = None) -> bool | None:
    values = {"evaluation": {"auc": AUC if auc is None else auc, "ok": True, "list": [AUC]}}
    return cel.compile(expression).evaluate(values).truth


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("evaluation.auc >= 0.8", True),
        ("evaluation.auc >= 0.82", False),
        ("evaluation.auc <= 0.9", True),
        ("evaluation.auc <= 0.88", False),
        ("0.82 <= evaluation.auc", False),
        ("0.88 >= evaluation.auc", False),
        ("!(evaluation.auc < 0.82)", False),
        ("!(evaluation.auc < 0.8)", True),
        ("!(evaluation.auc > 0.88)", False),
        ("!(!(evaluation.auc >= 0.82))", False),
        ("evaluation.auc >= 0.82 || evaluation.auc <= 0.88", False),  # both ends, each against its own side
        ("evaluation.ok ? evaluation.auc >= 0.82 : false", False),
        ("evaluation.list.all(a, a >= 0.82)", False),
        ("evaluation.list.exists(a, a >= 0.8)", True),
        ("evaluation['auc'] >= 0.82", False),
        ("evaluation.auc > evaluation.auc", False),
        ("evaluation.auc.value >= 0.82", True),  # who says so gets the middle; lint says it
    ],
)
def test_the_unfavourable_end_counts(expression: str, answer: bool) -> None:
    assert truth(expression) is answer


@pytest.mark.parametrize(
    "expression",
    [
        "(evaluation.auc > 0.5) ? evaluation.ok : evaluation.ok",
        "evaluation.auc == 0.85",
        "evaluation.auc + 1 > 0.5",
        "evaluation.list.exists_one(a, a > 0.5)",
        "evaluation.list.filter(a, a > 0.5).size() > 0",
    ],
)
def test_where_no_end_is_unfavourable_the_rule_has_to_name_one(expression: str) -> None:
    with pytest.raises(BadFile, match="a map"):
        truth(expression)


@pytest.mark.parametrize("end", [None, float("nan")])
def test_an_estimate_without_the_end_that_counts_is_unmeasured_whatever_the_rest_says(end: Any) -> None:
    broken = {**AUC, "low": end}
    for expression in ("evaluation.auc >= 0.1", "evaluation.ok || evaluation.auc >= 0.1"):
        assert truth(expression, broken) is None
    assert truth("evaluation.auc >= 0.1", {"value": 0.9, "high": 0.95}) is None


numbers = st.floats(0, 1)


@given(numbers, numbers, numbers, st.sampled_from(["<", "<=", ">", ">="]), st.booleans(), st.booleans())
def test_a_rule_that_holds_for_an_estimate_holds_for_every_value_in_its_interval(
    value: float, spread: float, threshold: float, operator: str, negated: bool, turned: bool
) -> None:
    estimate = {"value": value, "low": value - spread, "high": value + spread, "n": 10}
    sides = (f"{threshold!r}", "evaluation.auc") if turned else ("evaluation.auc", f"{threshold!r}")
    expression = f"{sides[0]} {operator} {sides[1]}"
    expression = f"!({expression})" if negated else expression
    if truth(expression, estimate):
        for point in ("low", "value", "high"):
            assert truth(expression, estimate[point]) is True


def test_a_comparison_says_value_threshold_and_how_far_apart() -> None:
    program = cel.compile("!(evaluation.auc < parameters.auc) && evaluation.list.all(a, a <= 0.88)", ["auc"])
    values = {"evaluation": {"auc": AUC, "list": [AUC]}, "parameters": {"auc": 0.82}}
    first, second = comparisons(program, values).parts
    assert (first.path, first.operator, first.threshold, first.value, first.bound, first.holds) == (
        *("evaluation.auc.low", ">=", "parameters.auc"),
        *(0.8, 0.82, False),
    )
    assert first.slack == pytest.approx(-0.02)
    assert first.estimate == AUC
    assert (second.path, second.value, second.holds) == ("evaluation.list[0].high", 0.9, False)


def test_of_a_choice_one_comparison_is_enough() -> None:
    values = {"attack": {"epsilon_lower": 2.0}, "privacy": {"epsilon": 1.0}}
    program = cel.compile("privacy.epsilon > 0.0 && (attack.epsilon_lower < 1.0 || privacy.epsilon <= 1.0)")
    assert [(part.path, part.choice) for part in comparisons(program, values).parts] == [
        ("privacy.epsilon", None),
        ("attack.epsilon_lower", 1),
        ("privacy.epsilon", 1),
    ]
