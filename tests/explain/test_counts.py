"""No exact number of people can be read off what is published, not even by someone who holds the weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.explain.conftest import HEAD
from torch import nn

from pellucid.errors import BadData
from pellucid.evidence import Subject
from pellucid.explain import (
    Background,
    Explanation,
    Fields,
    Predictions,
    attribute,
    check_validity,
    compare_attributions,
    compare_groups,
    estimate_shapley,
    exact_interactions,
    find_slices,
    fit_surrogate,
    local_effects,
    measure_calibration,
    measure_faithfulness,
    measure_strength,
    partial_dependence,
    permute_columns,
)
from pellucid.explain.intervals import grid_of, mean
from pellucid.explain.probe import public_rows
from pellucid.schema import Encoding, Schema

FLAG = '[columns.{}]\ntype = "boolean"\nsensitivity = "personal"\n'
FLAGS = Encoding.of(Schema.parse(HEAD + FLAG.format("ill") + FLAG.format("old")))
N, ILL = 337, 101  # private


def plane() -> nn.Module:
    """Log-odds 1.7 for who is ill, 0.6 for who is old: weights that everybody has."""
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.7, 0.6]]))
        model.bias.fill_(-0.5)
    return model


def group() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.zeros(N, 2)
    x[:ILL, 0] = 1
    x[::3, 1] = 1
    y = torch.zeros(N, dtype=torch.int64)
    y[50:150] = 1
    return x, y


def sizes(published: float, of: float = 1.0, digits: int = 6) -> set[int]:
    """Which numbers of people from 330 to 339 have a part whose share times ``of`` is what was published."""
    half = 0.5000001 * 10.0**-digits
    return {
        n for n in range(330, 340) for part in (round(published / of * n),) if abs(part / n * of - published) <= half
    }


ALL = set(range(330, 340))


def test_an_exact_mean_would_give_the_number_of_people_away() -> None:
    assert sizes(round(1.7 * ILL / N, 6), 1.7) == {N}  # what the other tests would find


def consistent(published: float, of: float, grid: float) -> set[int]:
    """Which numbers of people have a part whose share times ``of`` rounds to what was published on ``grid``."""
    near = range(round(published / of * 330) - 3, round(published / of * 339) + 4)
    return {n for n in range(330, 340) for part in near if abs(part / n * of - published) <= grid / 2 + 1e-9}


def test_attributions_of_a_flag_fit_every_number_of_people(subject: Subject) -> None:
    x, y = group()
    whole = attribute(plane(), x, FLAGS)
    made = Explanation(whole, permute_columns(plane(), x, y, FLAGS)).evidence(subject)
    published = made.values["attribution"]["ill"]
    assert published == pytest.approx(1.7 * ILL / N, abs=0.005)
    assert consistent(published, 1.7, grid_of(whole.rows[:, 0])) == ALL
    assert whole.magnitude()["ill"] == pytest.approx(1.7 * ILL / N, abs=1e-5)  # exact for whoever holds the rows


def test_attributions_of_rows_that_stand_for_nobody_keep_their_digits() -> None:
    whole = attribute(plane(), public_rows(FLAGS, 500), FLAGS, public=True)
    assert whole.values()["attribution"]["ill"] == round(whole.magnitude()["ill"], 6)


def test_the_uncertainty_of_the_brier_score_does_not_give_the_base_rate_away() -> None:
    x, y = group()
    logits = plane()(x)[:, 0].detach().numpy()
    record = measure_calibration(Predictions(logits, y.numpy()), split=True, resamples=20).values()
    rate = int(y.sum()) / N
    for name in ("reliability", "resolution", "uncertainty", "within_bins"):
        for end in ("value", "low", "high"):
            assert record["split"][name][end] == pytest.approx(round(record["split"][name][end] / 0.005) * 0.005)
    assert record["split"]["uncertainty"]["value"] == pytest.approx(rate * (1 - rate), abs=0.0026)
    assert record["brier"]["value"] == pytest.approx(round(record["brier"]["value"] / 0.005) * 0.005)
    assert record["ece"]["value"] == pytest.approx(round(record["ece"]["value"] / 0.005) * 0.005)


def test_the_mean_prediction_of_a_bin_fits_other_numbers_of_people() -> None:
    # two answers in one bin: their mean is a share
    logits = np.concatenate([np.full(13, 0.05), np.full(10, 0.3), np.full(14, -3.0)])
    labels = np.array([0, 1] * 18 + [0])
    (record,) = [b for b in measure_calibration(Predictions(logits, labels), resamples=5).values()["bins"] if b["low"]]
    grid = 0.05 * (record["high"] - record["low"])
    assert (record["predicted"] - record["low"]) / grid == pytest.approx(
        round((record["predicted"] - record["low"]) / grid)
    )


def test_a_drop_in_auc_has_no_more_digits_than_there_are_pairs() -> None:
    x, y = group()
    record = permute_columns(plane(), x[:60], y[:60].clone().bernoulli_(0.5), FLAGS).columns["ill"].values()
    for end in ("value", "low", "high"):
        assert record[end] * 500 == pytest.approx(round(record[end] * 500), abs=1e-3)  # 20 x 20 pairs or more: 0.002


def test_curves_and_strengths_over_people_are_on_a_grid() -> None:
    x, _ = group()
    fields = Fields.of(FLAGS)
    curve = partial_dependence(plane(), x, fields, "old", points=torch.tensor([[0.0], [1.0]]))
    exact = -0.5 + 1.7 * ILL / N
    assert curve.curve[0].value == pytest.approx(exact, abs=1e-6)
    assert curve.values()["partial_dependence"][0]["value"] == pytest.approx(exact, abs=0.005)
    assert consistent(curve.values()["partial_dependence"][0]["value"] + 0.5, 1.7, 0.01) == ALL
    number = torch.linspace(-1, 1, 50)[:, None]
    moved = local_effects(nn.Linear(1, 1), number, Fields.single(1), "x0").values()["accumulated_local_effects"]
    assert all(point["low"] <= point["value"] <= point["high"] for point in moved)
    strength = measure_strength(
        estimate_shapley(plane(), x, Background(x[:20], public=False, source="people"), fields, walks=4, seed=0)
    )
    for estimate in strength.columns.values():
        assert estimate.values()["value"] / estimate.grid == pytest.approx(
            round(estimate.values()["value"] / estimate.grid)
        )


AGED = Encoding.of(
    Schema.parse(HEAD + '[columns.age]\ntype = "integer"\nbounds = [18, 90]\nsensitivity = "personal"\n')
)


def aged(people: int, seed: int) -> torch.Tensor:
    years = np.clip(np.random.default_rng(seed).normal(45, 13, people).round(), 18, 90)
    return torch.from_numpy(((years - 18) / 36 - 1).astype(np.float32))[:, None]


def test_the_points_of_a_curve_are_no_finer_than_one_person_moves_the_mean_of_a_bin() -> None:
    x = aged(1013, 5)
    for found in (local_effects(nn.Linear(1, 1), x, AGED, "age"), partial_dependence(nn.Linear(1, 1), x, AGED, "age")):
        points = np.ravel(found.values()["points"])
        assert len(points) > 8
        assert points * 50 == pytest.approx((points * 50).round(), abs=1e-4)  # 2 x 0.01, of a hundred people or fewer
        assert "rounded to the range" in found.how()["points"]


def test_two_versions_of_a_curve_do_not_tell_the_value_of_who_left() -> None:
    x = aged(1013, 5)
    oldest = int(x[:, 0].argmax())
    with torch.no_grad():
        model = nn.Linear(1, 1)
        model.weight.fill_(3.0)
    before, after = (
        local_effects(model, part, AGED, "age").values() for part in (x, x[torch.arange(len(x)) != oldest])
    )
    assert before["points"] == after["points"]
    # with known weights an effect tells where it is measured, and at which mean it is 0: no finer than the mean of all
    effects = np.array([each["value"] for each in before["accumulated_local_effects"]])
    assert effects * 100 == pytest.approx((effects * 100).round(), abs=1e-3)
    assert effects == pytest.approx(3 * (np.array(before["points"]) - float(x.mean())), abs=0.006)


def test_a_narrow_column_keeps_several_points() -> None:
    x = aged(1000, 1) * 0.05 + 0.3
    assert len(local_effects(nn.Linear(1, 1), x, AGED, "age").points) >= 3


def test_the_bands_of_curves_do_not_count_ten_people() -> None:
    class Product(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z[:, 0] * (1 + 2 * z[:, 1])

    x = torch.zeros(200, 2)
    x[:103, 1] = 1  # the ten around the median are some of both
    found = partial_dependence(Product(), x, FLAGS, "ill", points=torch.tensor([[0.0], [1.0]]))
    assert found.bands[0.5][1] not in (1.0, 3.0)
    assert found.values()["bands"]["0.5"][1] * 2 == round(found.values()["bands"]["0.5"][1] * 2)


def test_what_deletion_shows_of_people_is_on_a_grid_and_of_nobody_is_not() -> None:
    x, _ = group()
    told = attribute(plane(), x, FLAGS).rows
    seen, free = (
        measure_faithfulness(plane(), x, told, baseline=torch.zeros(2), rows=N, public=public).values()
        for public in (False, True)
    )
    for name in ("scale", "curves"):
        published, exact = (
            np.array(list(side[name].values())[1:] if name == "curves" else [side[name]]) for side in (seen, free)
        )
        assert published == pytest.approx(exact, abs=0.0126)
        assert published * 40 == pytest.approx((published * 40).round())
        assert exact * 40 != pytest.approx((exact * 40).round())


def bent() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))


def two_digits(value: float) -> bool:
    return float(f"{value:.1e}") == value


def test_the_gap_of_people_is_rounded_up_and_the_largest_is_not_published(subject: Subject) -> None:
    x, _ = group()
    told = attribute(bent(), x, FLAGS)
    made = Explanation(told).evidence(subject)
    valid = check_validity(bent(), x, FLAGS, told, models=2).evidence(subject)
    shap = estimate_shapley(bent(), x, Background(x[:20], public=False, source="people"), FLAGS, walks=4, seed=0)
    strong = measure_strength(shap).evidence(subject)
    for record in (told.values(), made.values, made.error, valid.values, shap.values(), strong.values, strong.error):
        assert "completeness_gap_max" not in record
        if record is not valid.values:
            assert two_digits(record["completeness_gap"])
    assert 0 < told.completeness_gap <= told.values()["completeness_gap"] < told.completeness_gap * 1.11
    assert told.completeness_gap_max > told.completeness_gap  # for whoever holds the rows
    assert str(shap.values()["standard_error_max"]).strip("0.e-")[0] in "125"


def test_the_gap_of_rows_that_stand_for_nobody_keeps_its_digits() -> None:
    told = attribute(bent(), public_rows(FLAGS, 300), FLAGS, public=True)
    assert told.values()["completeness_gap"] == round(told.completeness_gap, 9)
    assert told.values()["completeness_gap_max"] == round(told.completeness_gap_max, 9)


def test_correlations_over_people_are_on_the_grid_of_rates(subject: Subject) -> None:
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (200, 4)).astype(np.float32))
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    told = attribute(model, x, Fields.single(4))
    valid = check_validity(model, x, Fields.single(4), told, models=3, thorough=True)
    found = valid.values()["randomisation"]
    numbers = [found["spearman"], found["spearman_absolute"], *(found["cascade"][end] for end in ("low", "high"))]
    assert np.array(numbers[:2]) * 200 == pytest.approx((np.array(numbers[:2]) * 200).round(), abs=1e-3)
    assert np.array(numbers[2:]) * 50 == pytest.approx((np.array(numbers[2:]) * 50).round(), abs=1e-3)  # of 64
    assert all(two_digits(error) for error in valid.evidence(subject).error.values())


def test_what_a_surrogate_says_of_people_fits_other_numbers_of_people() -> None:
    rows = public_rows(FLAGS, 93, seed=4)  # as if they were people
    found = fit_surrogate(plane(), rows, FLAGS)
    assert found.rules
    for rule in found.rules:
        assert rule.share * 50 == pytest.approx(round(rule.share * 50))  # of 65: 0.02
        assert rule.value * 20 == pytest.approx(round(rule.value * 20))  # of ten or more, of 1 or less: 0.05 or more
    told = found.values()["r2"]
    for end in ("value", "low", "high"):
        assert told[end] * 20 == pytest.approx(round(told[end] * 20), abs=1e-3)
    assert found.faithful == (told["low"] >= 0.9)  # decided by what is published


@pytest.mark.parametrize("people", [1, 9])
def test_an_explanation_of_fewer_than_ten_people_is_not_published(people, subject) -> None:
    x, _ = group()
    told = Explanation(attribute(plane(), x[:people], FLAGS))
    with pytest.raises(BadData, match="fewer than 10 people is theirs"):
        told.evidence(subject)
    with pytest.raises(BadData, match="fewer than 10 people is theirs"):
        check_validity(plane(), x[:people], FLAGS, told, models=1).evidence(subject)
    free = Explanation(attribute(plane(), public_rows(FLAGS, people), FLAGS, public=True))
    assert free.evidence(subject).tier == "public"


def test_a_published_mean_lies_in_its_interval_and_an_exact_zero_stays_zero() -> None:
    rng = np.random.default_rng(0)
    for size in (10, 11, 99, 2345):
        for scale in (1e-5, 0.3, 7.0, 1e6):
            values = rng.normal(size=size) * scale
            found = mean(values)
            record = found.values()
            assert record["low"] <= record["value"] <= record["high"]
            assert record["low"] <= round(found.low, 6)
            assert record["high"] >= round(found.high, 6)
            assert abs(record["value"] - found.value) <= found.grid / 2 + 1e-6
            assert found.grid >= np.abs(values).max() / size * 0.999
    assert mean(np.zeros(50)).values() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 50}
    assert math.isclose(grid_of(np.full(100, 0.7)), 0.01)


def test_what_is_shown_of_strengths_and_interactions_has_no_count_and_no_exact_value() -> None:
    x, _ = group()
    people = Background(x[:20], public=False, source="people")
    shown = [
        measure_strength(estimate_shapley(plane(), x, people, FLAGS, walks=4, seed=0)),
        exact_interactions(bent(), x, people, FLAGS),
        attribute(bent(), x, FLAGS),
        check_validity(bent(), x, FLAGS, attribute(bent(), x, FLAGS), models=1),
    ]
    for each in shown:
        assert str(N) not in repr(each)
    strength = next(iter(shown[0].columns.values()))
    assert repr(strength.value) not in repr(shown[0])
    assert repr(strength.values()["value"]) in repr(strength)
    for pair in shown[1].values()["pairs"]:
        for end in ("value", "low", "high"):
            grid = shown[1].strength[tuple(pair["fields"])].grid
            assert pair["strength"][end] / grid == pytest.approx(round(pair["strength"][end] / grid), abs=1e-3)


def test_what_does_not_fit_the_rows_is_refused_without_their_number() -> None:
    x, y = group()
    answers = Predictions(plane()(x)[:, 0].detach().numpy(), y.numpy())
    short = np.array(["a"] * (N - 1))
    told = attribute(plane(), x, FLAGS).rows
    asks = (
        lambda: Predictions(answers.logits, y[:-1].numpy()),
        lambda: permute_columns(plane(), x, y[:-1], FLAGS),
        lambda: compare_groups(answers, {"sex": short}),
        lambda: find_slices(np.zeros(N), {"sex": short}),
        lambda: attribute(plane(), x[:, 0], FLAGS),
        lambda: measure_faithfulness(plane(), x, told[:-1], baseline=torch.zeros(2)),
        lambda: compare_attributions(told, told[:-1]),
    )
    for ask in asks:
        with pytest.raises(BadData) as caught:
            ask()
        said = f"{caught.value} {caught.value.fix}"
        assert str(N) not in said
        assert str(N - 1) not in said


def test_a_column_named_as_a_pair_of_others_is_refused_and_not_overwritten() -> None:
    x, y = group()
    answers = Predictions(plane()(x)[:, 0].detach().numpy(), y.numpy())
    half = np.where(np.arange(N) % 2 == 0, "a", "b")
    with pytest.raises(BadData, match="as the pair of two others"):
        compare_groups(answers, {"a": half, "b": half, "a × b": half}, intersections=True)
    assert "a × b" in compare_groups(answers, {"a": half, "a × b": half}).columns
