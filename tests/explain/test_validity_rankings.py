"""Whether several methods rank the columns alike, by hand; and that a reader is told not to read the ranking."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pellucid.evidence import Estimate
from pellucid.explain import Explanation, attribute, permute_columns, public_rows
from pellucid.explain.importance import Importance
from pellucid.explain.validity.rankings import AGREE, DISAGREE, compare_rankings


def importance(explanation: Explanation, *sizes: float) -> Importance:
    columns = explanation.attribution.columns
    return Importance({name: Estimate(size, size, size, 100) for name, size in zip(columns, sizes, strict=True)}, 5, 0)


@pytest.fixture
def ranked(linear, people) -> Explanation:
    """Attributions whose sizes are 4, 3, 2, 1: age, job, noise, member."""
    attribution = attribute(linear, public_rows(people, 20), people)
    return Explanation(dataclasses.replace(attribution, rows=np.tile([4.0, -3.0, 2.0, 1.0], (20, 1))))


def test_one_method_alone_agrees_with_nobody(ranked) -> None:
    assert compare_rankings(ranked) is None


def test_two_methods_of_one_order_may_be_read(linear, sample, people) -> None:
    explanation = Explanation(attribute(linear, sample[0], people), permute_columns(linear, *sample, people))
    found = compare_rankings(explanation)
    assert found.agree
    assert found.values()["verdict"] == AGREE
    assert "disputed" not in found.values()


def test_methods_that_disagree_say_that_the_ranking_is_not_to_be_read_and_who_is_disputed(ranked) -> None:
    found = compare_rankings(dataclasses.replace(ranked, importance=importance(ranked, 0.1, 3.0, 2.0, 4.0)))
    # places 1 2 3 4 against 4 2 3 1: differences 3 0 0 3, so 1 - 6 * 18 / (4 * 15)
    assert found.spearman == pytest.approx(1 - 6 * 18 / 60)
    assert found.top3 == pytest.approx(2 / 3)
    assert not found.agree
    assert found.values()["verdict"] == DISAGREE == "they disagree here: do not read the ranking"
    assert found.values()["disputed"] == ["age", "member"]
    assert found.places["permutation"] == {"age": 4, "job": 2, "noise": 3, "member": 1}


def test_a_method_that_ranks_nothing_is_no_agreement(ranked) -> None:
    found = compare_rankings(dataclasses.replace(ranked, importance=importance(ranked, 0.0, 0.0, 0.0, 0.0)))
    assert found.spearman is None
    assert not found.agree
    assert "spearman" not in found.values()


def test_two_columns_have_no_ranking_to_dispute(plane) -> None:
    from torch import nn

    attribution = attribute(nn.Linear(2, 1), public_rows(plane, 20), plane)
    two = Importance({name: Estimate(1.0, 1.0, 1.0, 100) for name in ("a", "b")}, 5, 0)
    assert compare_rankings(Explanation(attribution, two)) is None
