"""A likely mistake is answered with what, where and what next; what can be asked of any model is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.errors import BadData, Misuse, PellucidError, UnsupportedModel
from pellucid.explain import Background, Explanation, Fields, Predictions, attribute, patches
from pellucid.schema import Encoding, Schema

SCHEMA = Schema.parse(
    """
[dataset]
target = "loan"
units = 1000
purposes = ["credit scoring"]
[columns]
a = { type = "number", bounds = [-10, 10], sensitivity = "personal" }
b = { type = "number", bounds = [-10, 10], sensitivity = "personal" }
c = { type = "number", bounds = [-10, 10], sensitivity = "personal" }
loan = { type = "category", categories = ["no", "yes"], sensitivity = "personal" }
"""
)
ENCODING = Encoding.of(SCHEMA)
FIELDS = Fields.single(3)
X = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
Y = (X[:, 0] > 0).long()
STAND = Background(X[:20], public=False, source="held-out rows")


def net(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for layer in layers:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return nn.Sequential(*layers)


MODEL = net(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
THREE = net(nn.Linear(3, 3))
IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CNN = net(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
PATCHES = patches((1, 8, 8), 4)


class Words(nn.Module):
    """A classifier of token ids."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embedding, self.head = nn.Embedding(50, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.embedding(x).mean(dim=1))


class Steps(nn.Module):
    """A recurrent classifier."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.lstm, self.head = nn.LSTM(4, 8, batch_first=first), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


WORDS = Words()
TOKENS = torch.randint(0, 50, (200, 6), generator=torch.Generator().manual_seed(0))
SAID = TOKENS[:, 0] % 2
PLACES = Fields.single(6)
PREDICTIONS = explain.predict(MODEL, X, Y)

MISTAKES: dict[str, tuple[Callable[[], Any], str, str, str]] = {
    "no fields": (lambda: attribute(MODEL, X, None), "fields", "NoneType", "Fields.single"),
    "a schema": (lambda: attribute(MODEL, X, SCHEMA), "fields", "Schema", "Encoding.of"),
    "a bare background": (lambda: explain.estimate_shapley(MODEL, X, X, FIELDS), "background", "Tensor", "Background("),
    "rows that record": (lambda: explain.predict(MODEL, X.clone().requires_grad_(), Y), "x", "gradients", "detach"),
    "groups without a name": (
        lambda: explain.compare_groups(PREDICTIONS, np.array(["a", "b"] * 100)),
        "groups",
        "ndarray",
        "mapping",
    ),
    "a series of groups": (
        lambda: explain.measure_calibration(PREDICTIONS, groups=pd.Series(["a", "b"] * 100)),
        "groups",
        "Series",
        "mapping",
    ),
    "uncertainty by nothing": (
        lambda: explain.measure_uncertainty(PREDICTIONS, groups=["a", "b"] * 100),
        "groups",
        "list",
        "mapping",
    ),
    "validity of nothing": (
        lambda: explain.check_validity(MODEL, X, ENCODING, X),
        "explanation",
        "Tensor",
        "what attribute returned",
    ),
    "an image without channels": (lambda: patches((8, 8), 2), "patches", "has 2 numbers", "one channel"),
    "two targets": (lambda: attribute(MODEL, X, FIELDS, target=(0, 1)), "target", "tuple", "from 0 to 1"),
    "a class by name": (lambda: attribute(THREE, X, FIELDS, target="no"), "target", "str", "from 0 to 2"),
    "a truth as class": (lambda: attribute(MODEL, X, FIELDS, target=True), "target", "bool", "from 0 to 1"),
    "an unknown method": (lambda: attribute(MODEL, X, FIELDS, method="lime"), "method", "lime", "kernel_shap"),
    "fields where numbers are moved": (
        lambda: explain.measure_robustness(MODEL, X, Y, FIELDS),
        "encoding",
        "Fields",
        "Encoding.of",
    ),
    "fields of a surrogate": (lambda: explain.fit_surrogate(MODEL, X, FIELDS), "encoding", "Fields", "Encoding.of"),
    "fields of a change": (
        lambda: explain.find_counterfactual(MODEL, X[0], FIELDS, mutable="x0"),
        "encoding",
        "Fields",
        "Encoding.of",
    ),
    "fields without ranges": (lambda: explain.public_rows(FIELDS), "encoding", "Fields", "Encoding.of"),
    "fields without units": (lambda: explain.read_out(THREE, FIELDS), "encoding", "Fields", "Encoding.of"),
    "more classes than one score": (
        lambda: explain.partial_dependence(THREE, X, FIELDS, "x0"),
        "model",
        "this question is about one score",
        "target=",
    ),
    "a curve along a patch": (
        lambda: explain.partial_dependence(CNN, IMAGES, PATCHES, PATCHES.names[0]),
        "x",
        "(1, 8, 8)",
        "occlusion",
    ),
    "an effect of several slots": (
        lambda: explain.local_effects(MODEL, X, Fields(("a", "b"), ((0, 1), (2,))), "a"),
        "effects",
        "2 slots",
        "declared_points",
    ),
    "mixed tokens": (lambda: Background(TOKENS[:5], public=True, source="mine"), "x", "token ids", "attribute"),
    "moved tokens": (
        lambda: explain.measure_sensitivity(lambda m, x: x.numpy(), WORDS, TOKENS),
        "x",
        "token ids",
        "attribute",
    ),
    "steps before rows": (
        lambda: explain.predict(Steps(first=False), torch.rand(40, 6, 4), SAID[:40]),
        "model",
        "other rows of its batch",
        "LSTM (lstm) with batch_first=True",
    ),
    "probabilities of two": (
        lambda: Predictions(torch.softmax(MODEL(X), 1).detach().numpy(), Y.numpy()),
        "logits",
        "probabilities",
        "softmax",
    ),
    "probabilities of three": (
        lambda: Predictions(torch.softmax(THREE(X), 1).detach().numpy(), Y.numpy()),
        "logits",
        "probabilities",
        "softmax",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_likely_mistake_is_answered_with_what_where_and_what_next(mistake: str) -> None:
    ask, where, says, fix = MISTAKES[mistake]
    with pytest.raises(PellucidError) as caught:
        ask()
    assert caught.value.where == where
    assert says in caught.value.what
    assert fix in (caught.value.fix or "")


def test_batch_statistics_are_mended_by_another_norm_and_not_by_the_order_of_dimensions() -> None:
    class Mean(nn.Module):
        def forward(self, x):
            return (x - x.mean(dim=0)).sum(dim=1)

    with pytest.raises(UnsupportedModel) as caught:
        explain.predict(Mean(), X, Y)
    assert "GroupNorm" in (caught.value.fix or "")


def test_rows_come_first_and_a_recurrent_model_is_scored() -> None:
    assert len(explain.predict(Steps(first=True), torch.rand(40, 6, 4), SAID[:40])) == 40


def test_logits_that_only_look_a_little_like_probabilities_are_taken() -> None:
    logits = torch.softmax(THREE(X), 1).detach().numpy()
    logits[0, 0] += 0.01
    assert Predictions(logits, Y.numpy()).classes == 3


def test_an_encoding_stands_for_its_columns_wherever_fields_are_asked_for() -> None:
    by_fields = explain.estimate_shapley(MODEL, X[:20], STAND, Fields.of(ENCODING))
    assert (explain.estimate_shapley(MODEL, X[:20], STAND, ENCODING).rows == by_fields.rows).all()
    assert explain.exact_shapley(MODEL, X[:20], STAND, ENCODING).fields.names == ("a", "b", "c")
    assert explain.exact_interactions(MODEL, X[:20], STAND, ENCODING) is not None
    assert explain.partial_dependence(MODEL, X, ENCODING, "a").name == "a"


def test_walks_and_seed_have_defaults_that_are_recorded() -> None:
    found = explain.estimate_shapley(MODEL, X[:20], STAND, FIELDS)
    assert (found.walks, found.seed) == ((8, 8), 0)


def test_importance_without_a_schema_is_that_of_the_slots() -> None:
    found = explain.permute_columns(MODEL, X, Y, FIELDS)
    named = explain.permute_columns(MODEL, X, Y, ENCODING)
    assert list(found.columns.values()) == list(named.columns.values())
    assert found.values() == {
        "importance": {name: estimate.values() for name, estimate in found.columns.items()},
        "importance_method": "permutation, drop in AUC",
    }


def test_validity_of_an_attribution_alone_and_without_a_schema() -> None:
    attribution = attribute(MODEL, X, FIELDS)
    found = explain.check_validity(MODEL, X, FIELDS, attribution, models=2, thorough=True)
    whole = explain.check_validity(MODEL, X, ENCODING, Explanation(attribute(MODEL, X, ENCODING)), models=2)
    assert found.randomisation == pytest.approx(whole.randomisation)
    assert found.faithfulness is not None
    assert found.sensitivity is None  # nobody said which slots are numbers


def test_validity_of_more_than_two_classes_is_of_the_class_that_was_explained() -> None:
    attribution = attribute(THREE, X, FIELDS, target=2)
    found = explain.check_validity(THREE, X, FIELDS, attribution, models=2, thorough=True)
    assert found.faithfulness is not None
    assert found.faithfulness.deletion.value > 0


def test_predictions_say_how_many_people_and_classes_and_nobody_s_score() -> None:
    assert PREDICTIONS.values() == {"n": 200, "classes": 2}
    assert "log-odds" in PREDICTIONS.how()["score"]


def test_a_frame_of_columns_is_a_table_and_so_are_groups() -> None:
    frame = pd.DataFrame({"a": np.arange(200) % 2, "b": np.arange(200) % 3})
    wrong = (np.arange(200) % 2).astype(float)
    columns = {name: frame[name].to_numpy() for name in frame}
    assert explain.find_slices(wrong, frame).values() == explain.find_slices(wrong, columns).values()
    groups = pd.DataFrame({"side": ["left", "right"] * 100})
    assert explain.compare_groups(PREDICTIONS, groups).values()["columns"].keys() == {"side"}


def test_a_single_column_may_change_by_its_name() -> None:
    one = explain.find_counterfactual(MODEL, X[0], ENCODING, mutable="a")
    assert one.values() == explain.find_counterfactual(MODEL, X[0], ENCODING, mutable=["a"]).values()
    with pytest.raises(PellucidError, match='no feature column "income"'):
        explain.find_counterfactual(MODEL, X[0], ENCODING, mutable="income")


def test_images_have_shapley_values_by_patch_equal_to_those_of_flat_rows() -> None:
    stand = Background(IMAGES[:8], public=False, source="others")
    shaped = explain.exact_shapley(CNN, IMAGES[:4], stand, PATCHES)
    flat_rows = explain.exact_shapley(
        nn.Sequential(nn.Unflatten(1, (1, 8, 8)), CNN),
        IMAGES[:4].flatten(1),
        Background(IMAGES[:8].flatten(1), public=False, source="others"),
        PATCHES,
    )
    assert (shaped.rows == flat_rows.rows).all()
    assert shaped.completeness_gap < 1e-5
    sampled = explain.estimate_shapley(CNN, IMAGES[:4], stand, PATCHES, walks=64)
    assert sampled.rows == pytest.approx(shaped.rows, abs=5 * float(sampled.standard_error.max()) + 1e-6)


def test_images_have_permutation_importance_by_patch() -> None:
    found = explain.permute_columns(CNN, IMAGES, torch.arange(40) % 2, PATCHES)
    flat_rows = explain.permute_columns(
        nn.Sequential(nn.Unflatten(1, (1, 8, 8)), CNN), IMAGES.flatten(1), torch.arange(40) % 2, PATCHES
    )
    assert found == flat_rows
    assert tuple(found.columns) == PATCHES.names


def test_text_has_errors_groups_labels_importance_and_an_explanation_that_is_tested() -> None:
    said = explain.predict(WORDS, TOKENS, SAID)
    assert explain.measure_calibration(said).values()["ece"]["n"] == 200
    assert explain.measure_uncertainty(said).values()
    assert explain.find_label_errors(said, [str(row) for row in range(200)], key=b"k" * 32).rate.n == 200
    assert explain.losses(WORDS, TOKENS, SAID).shape == (200,)
    assert tuple(explain.permute_columns(WORDS, TOKENS, SAID, PLACES).columns) == PLACES.names
    found = explain.check_validity(
        WORDS, TOKENS, PLACES, attribute(WORDS, TOKENS, PLACES, baseline=torch.tensor(0)), models=2, thorough=True
    )
    assert found.faithfulness is not None
    # from the zero vector there is no token that could stand for a place that is taken away
    other = explain.check_validity(WORDS, TOKENS, PLACES, attribute(WORDS, TOKENS, PLACES), models=2, thorough=True)
    assert other.faithfulness is None


def test_the_refusal_of_an_incomplete_attribution_names_the_way_to_explain_a_randomised_model() -> None:
    kinks = net(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 1))
    with pytest.raises(UnsupportedModel) as caught:
        attribute(kinks, X, FIELDS, tolerance=1e-12, limit=32)
    assert "again(model, x, attribution)" in (caught.value.fix or "")
    like = attribute(kinks, X, FIELDS)
    assert explain.randomise_layers(lambda m, x: explain.again(m, x, like), kinks, X, draws=2).stages


def test_what_needs_an_encoding_says_where_one_is_made() -> None:
    with pytest.raises(Misuse) as caught:
        explain.measure_robustness(MODEL, X, Y, FIELDS)
    assert "docs/explaining.md" in (caught.value.fix or "")
    with pytest.raises(BadData, match="by name"):
        explain.find_slices(np.zeros(200), np.zeros((200, 2)))
