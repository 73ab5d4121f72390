"""Models, rows and settings that a person gets wrong: a clear answer or a clear error, never a traceback or a guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.explain.conftest import HEAD
from torch import nn

from pellucid.errors import BadData, PellucidError, UnsupportedModel
from pellucid.explain import (
    Background,
    Fields,
    Predictions,
    attribute,
    evaluate,
    exact_shapley,
    find_counterfactual,
    fit_surrogate,
    measure_calibration,
    measure_robustness,
    permute_columns,
    predict,
    public_rows,
)
from pellucid.explain.calibration import Calibration
from pellucid.explain.intervals import mean
from pellucid.explain.validity.check import top_overlap
from pellucid.schema import Encoding, Schema

METHODS = ("auto", "gradient_shap", "deep_lift", "shapley_sampling", "kernel_shap", "occlusion")


def net(outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, outputs))


def rows(n: int = 50) -> torch.Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1


def truth(x: torch.Tensor) -> torch.Tensor:
    return (x[:, 0] > 0).long()


class Asking(nn.Module):
    """A model that does something with its input that a batch of rows does not admit."""

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        super().__init__()
        self.ask, self.line = ask, nn.Linear(2, 1)

    def forward(self, x):
        return self.line(self.ask(x))


def wrong(x: Any) -> Any:
    assert x.ndim == 3, "three dimensions"


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize(
    "ask", [lambda x: x["age"], lambda x: x.input_ids, wrong, lambda x: {}["age"], lambda: None], ids=range(5)
)
def test_a_model_that_wants_something_else_than_a_batch_of_rows_is_refused(ask, plane) -> None:
    for question in (lambda m: attribute(m, rows(), plane), lambda m: predict(m, rows(), truth(rows()))):
        with pytest.raises(UnsupportedModel, match="as one tensor"):
            question(Asking(ask))


@pytest.mark.parametrize("thing", [None, lambda x: x, "model.pt"])
def test_what_is_no_module_is_refused(thing, plane) -> None:
    with pytest.raises(UnsupportedModel, match=r"torch\.nn\.Module"):
        attribute(thing, rows(), plane)


def test_a_model_on_a_device_without_values_is_refused(plane) -> None:
    for model in (nn.Linear(2, 1, device="meta"), nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1, device="meta"))):
        with pytest.raises(UnsupportedModel, match="meta device"):
            attribute(model, rows(), plane)
        with pytest.raises(UnsupportedModel, match="meta device"):
            predict(model, rows(), truth(rows()))
    with pytest.raises(BadData, match="meta device"):
        attribute(net(), rows().to("meta"), plane)


def test_rows_that_record_gradients_are_refused(plane) -> None:
    x = rows().requires_grad_()
    for question in (attribute, fit_surrogate):
        with pytest.raises(BadData, match="records gradients"):
            question(net(), x, plane)
    assert x.grad is None


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16, torch.float16])
def test_a_model_of_another_precision_is_asked_in_its_own(precision, plane) -> None:
    x, model = rows(), net().to(precision)
    own = model(x.to(precision))[:, 0].double().detach().numpy()
    assert predict(model, x, truth(x)).logits == pytest.approx(own, abs=1e-12)
    found = attribute(model, x, plane, tolerance=0.05)
    assert found.rows.sum(axis=1) == pytest.approx(own - model(x[:1].to(precision) * 0).item(), abs=0.05)
    if precision == torch.bfloat16:
        with pytest.raises(UnsupportedModel, match="rounds its own answers"):
            attribute(model, x, plane, tolerance=1e-4)
    exact = exact_shapley(model, x[:5], Background(x[:3], public=True, source="rows"), Fields.of(plane))
    assert exact.completeness_gap < 0.02
    assert permute_columns(model, x, truth(x), plane).columns["a"].value == pytest.approx(
        permute_columns(net(), x, truth(x), plane).columns["a"].value, abs=0.02
    )
    assert measure_robustness(model, x, truth(x), plane, attack=(0.0, 0.1)).pgd


@pytest.mark.parametrize(
    "setting", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
@pytest.mark.parametrize("method", METHODS)
def test_an_answer_does_not_depend_on_what_the_caller_has_switched_on(setting, method, plane) -> None:
    x = rows(8)
    plain = attribute(net(), x, plane, method=method, tolerance=0.2)
    with setting():
        found = attribute(net(), x * 1, plane, method=method, tolerance=0.2)
    assert found.rows == pytest.approx(plain.rows, abs=1e-6)
    assert found.steps == plain.steps


@pytest.mark.parametrize("setting", [torch.no_grad, torch.inference_mode])
def test_attacks_are_measured_where_the_caller_records_no_gradients(setting, plane) -> None:
    x = rows()
    plain = measure_robustness(net(), x, truth(x), plane)
    with setting():
        found = measure_robustness(net(), x * 1, truth(x), plane)
    assert found.values() == plain.values()
    assert found.fgsm
    assert found.pgd


def test_the_default_precision_of_torch_changes_nothing(plane) -> None:
    x = rows(8)
    plain = [attribute(net(), x, plane, method=method, tolerance=0.2).rows for method in METHODS]
    before = torch.get_default_dtype()
    model = net()
    try:
        torch.set_default_dtype(torch.float64)
        found = [attribute(model, x, plane, method=method, tolerance=0.2).rows for method in METHODS]
        assert public_rows(plane, 5).dtype == torch.float32
    finally:
        torch.set_default_dtype(before)
    for one, two in zip(found, plain, strict=True):
        assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize(
    ("outputs", "last"),
    [
        (1, nn.Sigmoid()),
        (1, nn.Sequential(nn.Sigmoid(), nn.Flatten(0))),
        (2, nn.Softmax(dim=1)),
        (3, nn.Softmax(dim=1)),
        (3, nn.Sigmoid()),
    ],
    ids=str,
)
def test_a_model_that_returns_probabilities_is_refused(outputs, last, plane) -> None:
    model = nn.Sequential(net(outputs), last)
    for question in (lambda: predict(model, rows(), truth(rows())), lambda: attribute(model, rows(), plane, target=0)):
        with pytest.raises(UnsupportedModel, match="returns probabilities"):
            question()


def test_a_sigmoid_inside_or_beside_the_score_is_none_of_probabilities(plane) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.last = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1)), 0.0

        def forward(self, x):
            found = self.net(x)
            self.last = found.sigmoid()
            return found

    assert attribute(Beside(), rows(), plane).gap.mean <= 0.01
    scaled = nn.Sequential(net(), nn.Sigmoid(), nn.Linear(1, 1))
    assert attribute(scaled, rows(), plane).gap.mean <= 0.01
    logs = nn.Sequential(net(3), nn.LogSoftmax(dim=1))  # logits like any others
    assert attribute(logs, rows(), plane, target=1).gap.mean <= 0.01


class Mixing(nn.Module):
    def forward(self, x):
        return (x - x.mean(dim=0)).sum(dim=1) + x.sum(dim=1)


@pytest.mark.parametrize("x", [rows(1), rows(1).repeat(20, 1)], ids=["one row", "the same row"])
def test_a_model_that_mixes_rows_is_found_by_rows_that_are_alike(x, plane) -> None:
    with pytest.raises(UnsupportedModel, match="other rows of its batch"):
        attribute(Mixing(), x, plane)
    with pytest.raises(UnsupportedModel, match="other rows of its batch"):
        find_counterfactual(Mixing(), x[0], plane, mutable=["a"])


JOB = Encoding.of(
    Schema.parse(HEAD + '[columns.job]\ntype = "category"\ncategories = ["x", "y"]\nsensitivity = "personal"\n')
)


@pytest.mark.parametrize("baseline", [torch.ones(2), torch.tensor([-0.5, 1.0]), [0.0, 1.0], np.zeros(2, np.float32)])
def test_a_baseline_with_two_jobs_less_than_none_or_no_tensor_is_refused(baseline) -> None:
    with pytest.raises(BadData):
        attribute(nn.Linear(2, 1), torch.eye(2), JOB, baseline=baseline)
    assert attribute(nn.Linear(2, 1), torch.eye(2), JOB, baseline=torch.tensor([0.5, 0.5])).gap.mean <= 0.01


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.line = nn.Embedding(10, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.line(torch.tanh(self.words(x)).mean(dim=1))


def test_a_baseline_of_tokens_has_one_or_as_many_as_the_rows() -> None:
    tokens, fields = torch.randint(0, 10, (6, 5)), Fields.single(5)
    for baseline in (torch.tensor(3), torch.tensor([3] * 5)):
        assert attribute(Text(), tokens, fields, baseline=baseline).gap.mean <= 0.01
    with pytest.raises(BadData, match="one token id, or 5"):
        attribute(Text(), tokens, fields, baseline=torch.tensor([1, 2, 3]))


def test_token_ids_can_be_scored() -> None:
    tokens = torch.randint(0, 10, (6, 5))
    assert predict(Text(), tokens, torch.tensor([0, 1] * 3)).logits.shape == (6,)


class Greedy(nn.Module):
    """Holds two rows at a time."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        if len(x) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return self.inner(x)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_holds_two_rows_at_a_time_is_explained_by_every_method(method, plane) -> None:
    x = rows(6)
    found = attribute(Greedy(net()), x, plane, method=method, tolerance=0.3)
    if method != "gradient_shap":  # its draws come in another order
        assert found.rows == pytest.approx(attribute(net(), x, plane, method=method, tolerance=0.3).rows, abs=1e-5)


def test_a_text_model_or_an_attack_that_memory_does_not_hold_is_done_in_pieces(plane) -> None:
    tokens, fields = torch.randint(0, 10, (6, 5)), Fields.single(5)
    text = Text()
    for method in ("auto", "token_occlusion"):
        plain = attribute(text, tokens, fields, method=method).rows
        assert attribute(Greedy(text), tokens, fields, method=method).rows == pytest.approx(plain, abs=1e-6)
    x = rows(40)
    assert (
        measure_robustness(Greedy(net()), x, truth(x), plane).values()
        == measure_robustness(net(), x, truth(x), plane).values()
    )


def test_logits_of_two_columns_are_log_odds_and_other_things_no_logits() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    labels = np.array([0, 1] * 30)
    two, one = evaluate(Predictions(x, labels)), evaluate(Predictions(x[:, 1] - x[:, 0], labels))
    assert two == one
    assert evaluate(Predictions(x[:, :1], labels)) == evaluate(Predictions(x[:, 0], labels))
    assert Predictions(x, labels.astype(np.uint64)).labels.dtype == np.int64
    for logits in (np.array(["a"] * 60), np.full((60, 2), np.inf), np.full(60, np.nan), np.zeros((60, 0)), x[None]):
        with pytest.raises(PellucidError):
            Predictions(logits, labels)


def test_a_surrogate_of_a_model_that_says_the_same_of_everybody_is_refused(plane) -> None:
    with pytest.raises(UnsupportedModel, match="the same of every row"):
        fit_surrogate(net(), rows(60) * 0, plane)


def test_a_mean_at_its_bound_is_not_certain() -> None:
    found = mean(np.zeros(20), low=0.0, high=1.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0.1 < found.high < 0.2
    assert mean(np.ones(20), low=-1.0, high=1.0).low < 0.8


def perfect(classes: int) -> Predictions:
    labels = np.repeat(np.arange(classes), 20)
    return Predictions(
        np.where(labels == 1, 800.0, -800.0) if classes == 2 else np.eye(classes)[labels] * 900.0, labels
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_a_model_that_is_right_about_forty_people_is_not_certain_to_be_right(classes) -> None:
    p = perfect(classes)
    found: Calibration = measure_calibration(p, resamples=20)
    assert found.ece.value == found.ece.low == 0.0
    assert found.ece.high > 0.05
    assert found.brier.value == found.brier.low == 0.0
    assert found.brier.high > 0.05
    assert evaluate(p).auc.value == 1.0
    assert evaluate(p).auc.low <= 0.85


def test_rankings_that_tell_nothing_apart_agree_on_nothing() -> None:
    assert top_overlap(np.zeros(6), np.zeros(6)) is None
    assert top_overlap(np.array([3.0, 2, 1, 0, 0, 0]), np.full(6, -0.1)) is None
    assert top_overlap(np.array([3.0, 2, 1, 0, 0, 0]), np.array([3.0, 1, 2, -1, -2, 0])) == 1.0
