"""Evaluation against scikit-learn and loops, and what it refuses to publish."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Evidence, canonical
from pellucid.explain import Predictions, evaluate, losses, predict
from pellucid.explain.evaluation import roc_points


def made(n: int = 1000, seed: int = 1) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(np.int64)
    return Predictions(rng.normal(size=n) + 1.5 * labels - 1, labels)


def test_evaluation_equals_sklearn() -> None:
    found, p = evaluate(made()), made()
    assert found.auc.value == pytest.approx(roc_auc_score(p.labels, p.probability), abs=0.0025 + 1e-12)  # step 0.005
    assert found.accuracy.value == accuracy_score(p.labels, p.probability > 0.5)  # a thousand: the step divides it
    assert found.base_rate is not None
    assert found.base_rate.value == p.labels.mean()
    assert found.majority_accuracy.value == pytest.approx(1 - p.labels.mean())


def test_a_point_of_the_roc_curve_is_the_best_rate_allowed_by_sklearns_curve() -> None:
    p = made(5000)
    fpr, tpr, _ = roc_curve(p.labels, p.logits, drop_intermediate=False)
    for x, y in evaluate(p).roc[1:-1]:
        assert y == pytest.approx(tpr[fpr <= x + 1e-9].max(), abs=0.0006)  # step of 1500 positives is 0.001


def test_the_roc_curve_has_at_most_fifty_points_rises_and_no_step_is_one_person() -> None:
    for n in (60, 200, 5000):
        p = made(n)
        points = np.array(evaluate(p).roc)
        assert points[0].tolist() == [0, 0]
        assert points[-1].tolist() == [1, 1]
        assert len(points) <= 50
        assert (np.diff(points, axis=0) >= 0).all()
        assert (np.diff(points[:, 0]) * (p.labels == 0).sum() >= 10 - 1e-3).all()


def test_ties_on_the_roc_curve_never_claim_a_cut_inside_a_tie() -> None:
    scores, positive = np.zeros(60), np.arange(60) < 20
    assert {tpr for _, tpr in roc_points(scores, positive)[:-1]} == {0.0}


def test_one_class_is_refused_and_said_so() -> None:
    with pytest.raises(BadData, match="one class"):
        evaluate(Predictions(np.zeros(50), np.ones(50, dtype=np.int64)))


def test_fewer_than_ten_of_a_class_are_not_published() -> None:
    labels = (np.arange(100) < 9).astype(np.int64)
    with pytest.raises(BadData, match="fewer than 10"):
        evaluate(Predictions(np.zeros(100), labels))
    evaluate(Predictions(np.zeros(100), (np.arange(100) < 10).astype(np.int64)))


def test_more_than_two_classes_get_macro_auc_and_no_roc() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    found = evaluate(Predictions(rng.normal(size=(300, 3)) + np.eye(3)[labels], labels))
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.values().keys() == {"auc", "accuracy", "majority_accuracy"}


def test_evidence_is_uncovered_for_auditors_and_canonical(subject) -> None:
    found = evaluate(made(1234)).evidence(subject)
    assert (found.kind, found.coverage, found.tier) == ("evaluation", "uncovered", "auditor")
    assert Evidence.from_statement(json.loads(canonical(found.statement()))) == found
    assert found.values["auc"]["n"] == 1230
    assert set(found.values) == {"auc", "accuracy", "base_rate", "majority_accuracy", "roc", "threshold"}


def test_repr_of_predictions_shows_no_person() -> None:
    p = Predictions(np.array([0.123456789] * 25), np.array([1] * 25))
    assert repr(p) == "Predictions(n=20, classes=2)"


@pytest.mark.parametrize("shape", ["one", "column", "pair"])
def test_predict_reads_one_logit_a_column_of_logits_and_a_pair(shape: str) -> None:
    w = torch.tensor([[2.0, -1.0]])
    forms = {
        "one": lambda x: (x @ w.T)[:, 0],
        "column": lambda x: x @ w.T,
        "pair": lambda x: torch.cat([torch.ones(len(x), 1), x @ w.T + 1], dim=1),
    }

    class Model(torch.nn.Module):
        def forward(self, x):
            return forms[shape](x)

    x, y = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 2
    found = predict(Model(), x, y, chunk=7)
    assert found.logits == pytest.approx((x @ w.T)[:, 0].numpy(), abs=1e-5)
    assert found.probability == pytest.approx(torch.sigmoid(x @ w.T)[:, 0].numpy(), abs=1e-6)
    assert (found.predicted == (found.probability > 0.5)).all()


def test_the_size_of_a_chunk_changes_nothing(mlp, sample) -> None:
    x, y = sample
    assert predict(mlp, x, y, chunk=13).logits == pytest.approx(predict(mlp, x, y).logits, abs=1e-6)


def test_losses_equal_torch_cross_entropy(mlp, linear, sample) -> None:
    x, y = sample
    pair = torch.nn.functional.cross_entropy(mlp.eval()(x), y, reduction="none")
    assert losses(mlp, x, y, chunk=100) == pytest.approx(pair.detach().numpy(), abs=1e-5)
    single = torch.nn.functional.binary_cross_entropy_with_logits(linear(x)[:, 0], y.float(), reduction="none")
    assert losses(linear, x, y) == pytest.approx(single.detach().numpy(), abs=1e-5)
    many = torch.nn.Linear(x.shape[1], 5)
    classes = torch.arange(len(x)) % 5
    theirs = torch.nn.functional.cross_entropy(many(x), classes, reduction="none")
    assert losses(many, x, classes) == pytest.approx(theirs.detach().numpy(), abs=1e-5)


def test_losses_of_extreme_logits_stay_finite() -> None:
    class Huge(torch.nn.Module):
        def forward(self, x):
            return x * 1e4

    found = losses(Huge(), torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1]))
    assert found.tolist() == [1e4, 0.0]


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (torch.zeros(4, 7, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), "float32"),
        (np.zeros((4, 7), dtype=np.float32), torch.zeros(4, dtype=torch.int64), "float32"),
        (torch.full((4, 7), math.nan), torch.zeros(4, dtype=torch.int64), "NaN"),
        (torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64), "at least one row"),
        (torch.zeros(4, 7), torch.zeros(4), "int64"),
        (torch.zeros(4, 7), torch.zeros(5, dtype=torch.int64), "one number a row"),
        (torch.zeros(4, 7), torch.full((4,), 2), r"0\.\.1"),
        (torch.zeros(4, 7), torch.full((4,), -1), r"0\.\.1"),
    ],
)
def test_bad_rows_and_labels_are_refused(linear, x, y, match: str) -> None:
    with pytest.raises(BadData, match=match):
        predict(linear, x, y)


def test_a_model_that_answers_nan_or_another_shape_is_refused(linear) -> None:
    x, y = torch.ones(4, 7), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(UnsupportedModel, match="shape"):
        predict(torch.nn.Linear(3, 1), x, y)
    with pytest.raises(UnsupportedModel, match="returns"):
        predict(torch.nn.Unflatten(1, (7, 1)), x, y)
    with torch.no_grad():
        linear.weight.fill_(math.inf)
    with pytest.raises(UnsupportedModel, match="NaN or infinity"):
        predict(linear, x, y)
