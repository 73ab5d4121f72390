"""Explanation and validity: agreement, the randomised model, coverage and the forms of the evidence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.check.cel import compile as rule
from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Evidence, canonical
from pellucid.explain import Explanation, attribute, check_validity, permute_columns, public_rows
from pellucid.explain.validity import compare_attributions, compare_runs, randomised, top_overlap
from pellucid.schema import Encoding


@pytest.fixture
def explained(linear, sample, people) -> Explanation:
    return Explanation(attribute(linear, sample[0], people), permute_columns(linear, *sample, people))


def test_values_of_explanation_evidence(explained, subject) -> None:
    found = explained.evidence(subject)
    assert (found.kind, found.coverage, found.tier) == ("explanation", "uncovered", "auditor")
    assert found.values["method"] == "integrated_gradients"
    assert found.values["importance_method"] == "permutation, drop in AUC"
    assert found.values["importance"].keys() == found.values["attribution"].keys() == {"age", "job", "noise", "member"}
    assert found.values["importance"]["age"].keys() == {"value", "low", "high", "n"}
    assert found.error["attribution_standard_error"].keys() == found.values["attribution"].keys()
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found


def test_importance_beside_public_rows_is_uncovered(linear, sample, people, subject) -> None:
    public = attribute(linear, public_rows(people, 50), people, public=True)
    found = Explanation(public, permute_columns(linear, *sample, people))
    assert found.evidence(subject).coverage == "uncovered"
    assert check_validity(linear, public_rows(people, 50), people, found, models=2).evidence(subject).tier == "auditor"
    alone = check_validity(linear, public_rows(people, 50), people, Explanation(public), models=2)
    assert (alone.evidence(subject).coverage, alone.evidence(subject).tier) == ("post-processing", "public")
    assert alone.values()["agreement"] == {}


def test_two_methods_agree_on_a_linear_model(linear, sample, people, explained) -> None:
    found = check_validity(linear, sample[0], people, explained)
    assert found.top3 == 1.0  # age, job, and the first of the two zeros
    assert found.spearman == pytest.approx(1.0)
    assert found.completeness_gap_max < 1e-5


def test_attributions_fall_apart_when_the_last_layer_is_drawn_anew(mlp, sample, people) -> None:
    found = Explanation(attribute(mlp, sample[0], people))
    checked = check_validity(mlp, sample[0], people, found)
    assert abs(checked.randomisation) < 4 * checked.randomisation_error + 0.1
    assert checked.randomisation < 0.5
    assert checked.spearman is None  # there is no importance to agree with


class Deaf(nn.Module):
    """Answers by its input alone; the last layer has parameters but no say."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(7, 1)

    def forward(self, x):
        return (x * torch.arange(1.0, 8.0)).sum(dim=1) + 0 * self.last(x)[:, 0]


def test_attributions_that_do_not_depend_on_what_was_learned_keep_a_correlation_of_one(sample, people) -> None:
    checked = check_validity(Deaf(), sample[0], people, Explanation(attribute(Deaf(), sample[0], people)))
    assert checked.randomisation == pytest.approx(1.0)
    assert checked.randomisation_absolute == pytest.approx(1.0)


def test_only_the_last_layer_that_a_pass_reaches_is_drawn_anew(mlp, sample) -> None:
    twin = randomised(mlp, sample[0], seed=1)
    assert torch.equal(twin[0].weight, mlp[0].weight)
    assert not torch.equal(twin[3].weight, mlp[3].weight)
    assert torch.equal(twin[3].weight, randomised(mlp, sample[0], seed=1)[3].weight)
    assert not torch.equal(twin[3].weight, randomised(mlp, sample[0], seed=2)[3].weight)
    assert not twin[3]._forward_hooks
    assert not any(p.requires_grad for p in twin.parameters())


class Own(nn.Module):
    """A last layer without ``reset_parameters``; one that no pass reaches stands behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((7,), 2.0))
        self.idle = nn.Linear(7, 7)

    def forward(self, x):
        return x @ self.weight


def test_a_layer_without_its_own_initialisation_is_drawn_at_its_scale(sample) -> None:
    twin = randomised(Own(), sample[0], seed=0)
    assert not torch.equal(twin.weight, torch.full((7,), 2.0))
    assert 0.3 < float(twin.weight.square().mean().sqrt()) < 6


def test_a_model_without_parameters_is_refused(sample, people) -> None:
    class Bare(nn.Module):
        def forward(self, x):
            return x.sum(dim=1)

    with pytest.raises(UnsupportedModel, match="parameters"):
        check_validity(Bare(), sample[0], people, Explanation(attribute(Bare(), sample[0], people)))


def test_with_two_columns_rank_correlations_are_absent_not_zero(plane, subject) -> None:
    model, x = nn.Linear(2, 1), torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 1.0]]))
    y = (x @ torch.tensor([2.0, 1.0]) > 0).long()
    found = Explanation(attribute(model, x, plane), permute_columns(model, x, y, plane))
    values = check_validity(model, x, plane, found).evidence(subject).values
    assert values["agreement"].keys() == {"top3"}
    assert values["randomisation"] == {}


def test_top_overlap_by_hand() -> None:
    assert top_overlap(np.array([5.0, 4, 3, 2, 1]), np.array([5.0, 1, 4, 2, 3])) == pytest.approx(2 / 3)
    assert top_overlap(np.array([2.0, 1]), np.array([1.0, 2])) == 1.0


def test_a_seed_makes_it_repeatable_and_is_recorded(linear, sample, people, explained, subject) -> None:
    one, two = (check_validity(linear, sample[0], people, explained, seed=7, models=3) for _ in range(2))
    assert one == two
    evidence = one.evidence(subject)
    assert (evidence.how["seed"], evidence.how["models"], evidence.how["rows"]) == (7, 3, 250)
    assert Evidence.from_statement(json.loads(canonical(evidence.statement()))) == evidence


def test_explanations_of_other_columns_are_refused(linear, sample, people, plane, explained) -> None:
    with pytest.raises(BadData, match="other columns"):
        check_validity(nn.Linear(2, 1), torch.zeros(5, 2), plane, explained)
    with pytest.raises(BadData, match="different columns"):
        Explanation(attribute(nn.Linear(2, 1), torch.ones(5, 2), plane), explained.importance)
    with pytest.raises(BadData, match="at least one"):
        check_validity(linear, sample[0], people, explained, models=0)


@pytest.fixture
def whole(mlp, sample, people):
    """Everything that can be measured of one explanation, with few draws."""
    x = sample[0]
    explanation = Explanation(attribute(mlp, x, people))
    rows = explanation.attribution.rows
    return check_validity(
        mlp,
        x[:300],
        people,
        explanation,
        models=3,
        thorough=True,
        methods=compare_attributions(rows, rows + 0.01),
        stability=compare_runs(np.array([[4.0, 3, 2, 1]] * 3), people.features),
        members=x[300:],
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("validity.randomisation.cascade.high <= 1.0", True),
        ("validity.randomisation.average.low >= -1.0", True),
        ("validity.randomisation.passes || !validity.randomisation.passes", True),
        ("validity.faithfulness.deletion.low > 0.0 && validity.faithfulness.insertion.low > 0.0", True),
        ("validity.faithfulness.deletion_p <= 0.01", True),
        ("validity.sensitivity.largest.high < 1.0", True),
        ("validity.agreement.rows.kendall.low > 0.5", True),
        ("validity.stability.interpret", True),
        ('validity.stability.ranks["age"].high <= 1.0', True),
        ("validity.leakage.leaks", False),
        ("validity.leakage.auc.high < 0.7", True),
    ],
)
def test_every_part_can_be_a_requirement_and_is_unmeasured_when_it_is_absent(
    whole, mlp, sample, people, subject, text: str, wanted: bool
) -> None:
    there = json.loads(canonical(whole.evidence(subject).values))
    assert rule(text).evaluate({"validity": there}).truth is wanted
    bare = check_validity(mlp, sample[0], people, Explanation(attribute(mlp, sample[0], people)), models=2)
    assert rule(text).evaluate({"validity": bare.values()}).truth is None


def test_evidence_of_all_parts_is_canonical_uncovered_and_says_how(whole, subject) -> None:
    found = whole.evidence(subject)
    assert (found.coverage, found.tier) == ("uncovered", "auditor")
    assert {"cascade", "faithfulness", "sensitivity", "methods", "stability", "leakage"} <= found.how.keys()
    assert found.error.keys() == {"randomisation_standard_error", "cascade_standard_error"}
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found


def test_without_new_arguments_the_evidence_has_the_fields_it_always_had(explained, linear, sample, people) -> None:
    found = check_validity(linear, sample[0], people, explained, models=2)
    assert found.values().keys() == {"agreement", "randomisation"}
    assert found.values()["agreement"].keys() == {"spearman", "top3", "ranking"}
    assert found.values()["randomisation"].keys() == {"spearman", "spearman_absolute"}
    assert found.how().keys() == {"agreement", "ranking", "randomisation", "path", "models", "rows", "seed", "rounding"}


def test_public_rows_stay_post_processing_until_a_part_looked_at_people(mlp, people, sample, subject) -> None:
    x = public_rows(people, 60)
    public = Explanation(attribute(mlp, x, people, public=True))
    one = check_validity(mlp, x, people, public, models=2, thorough=True)
    assert (one.evidence(subject).coverage, one.evidence(subject).tier) == ("post-processing", "public")
    assert one.faithfulness.rows == 60
    runs = compare_runs(np.eye(4)[:3], people.features)  # importances of people, as far as anyone said
    other = check_validity(mlp, x, people, public, models=2, stability=runs)
    assert (other.evidence(subject).coverage, other.evidence(subject).tier) == ("uncovered", "auditor")
    with pytest.raises(BadData, match="nobody"):
        check_validity(mlp, x, people, public, models=2, members=sample[0])


def test_without_numbers_nothing_moves_a_little_and_sensitivity_is_absent(people, sample) -> None:
    words = Encoding(people.codes[1:2], people.target, people.classes)
    model, x = nn.Linear(3, 1), sample[0][:, 1:4].contiguous()
    found = check_validity(model, x, words, Explanation(attribute(model, x, words)), models=2, thorough=True)
    assert found.sensitivity is None
    assert "sensitivity" not in found.values()
    assert found.values()["faithfulness"].keys() == {"scale", "curves"}  # one column is in no order


def test_an_explanation_of_the_other_class_is_held_against_that_class(linear, sample, people) -> None:
    x, y = sample
    importance = permute_columns(linear, x, y, people)
    areas = {}
    for target in (None, 0):
        explanation = Explanation(attribute(linear, x, people, target=target), importance)
        found = check_validity(linear, x, people, explanation, models=2, thorough=True).faithfulness
        assert found.deletion.low > 0
        areas[target] = found.deletion.value
    assert areas[0] > 0
