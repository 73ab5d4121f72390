"""The model that is handed in is never touched, and models that cannot be explained are found out."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain import (
    Explanation,
    attribute,
    check_validity,
    losses,
    permute_columns,
    predict,
)
from pellucid.explain.answers import fitting, outputs, pick
from pellucid.explain.model import frozen


def snapshot(model: nn.Module) -> tuple[object, ...]:
    kinds = [k for k in vars(model) if k.endswith("_hooks")]
    return (
        {k: v.clone() for k, v in model.state_dict().items()},
        {n: (id(p), p.requires_grad, p.grad, getattr(p, "grad_sample", None)) for n, p in model.named_parameters()},
        {n: m.training for n, m in model.named_modules()},
        {(n, k): list(getattr(m, k)) for n, m in model.named_modules() for k in kinds},
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    )


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(p, q) for p, q in zip(a, b, strict=True))
    return a == b


def ask_everything(model, x, y, encoding) -> None:
    predict(model, x, y)
    losses(model, x, y)
    found = Explanation(attribute(model, x, encoding, tolerance=0.05), permute_columns(model, x, y, encoding))
    check_validity(model, x, encoding, found, models=2)


def test_no_parameter_gradient_hook_flag_or_generator_of_the_model_changes(mlp, sample, people) -> None:
    mlp.train()
    mlp(sample[0]).sum().backward()  # gradients that a training loop is about to use
    mlp[0].weight.grad_sample = torch.ones(3)
    mlp[3].bias.requires_grad_(requires_grad=False)
    mlp[3].register_forward_hook(lambda *_: None)
    before = snapshot(mlp)
    ask_everything(mlp, *sample, people)
    assert same(before, snapshot(mlp))


@pytest.mark.parametrize("mode", ["hooks", "functorch", "ew"])
def test_a_model_wrapped_for_private_training_is_refused_and_its_standard_copy_explained(
    mode, mlp, sample, people
) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opacus warns of its own deprecations
        from opacus.grad_sample import wrap_model

        wrapped = wrap_model(mlp, grad_sample_mode=mode)
        # hooks sit on the inner module too; expanded weights have none there
        for form in (wrapped,) if mode == "ew" else (wrapped, wrapped._module):
            with pytest.raises(UnsupportedModel, match="wrapped for private training"):
                predict(form, *sample)
        wrapped(sample[0]).sum().backward()
        standard = wrapped.to_standard_module()
    before = snapshot(standard)
    ask_everything(standard, *sample, people)
    assert same(before, snapshot(standard))


class AlwaysDropping(nn.Linear):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.3, training=True)


class Counting(nn.Linear):
    def __init__(self) -> None:
        super().__init__(7, 1)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) + self.calls


class NumpyNoise(nn.Linear):
    def forward(self, x):
        return super().forward(x) + float(np.random.normal())


class Centred(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (AlwaysDropping(7, 1), "second time"),
        (NumpyNoise(7, 1), "second time"),
        (Counting(), "second time"),
        (Centred(7, 1), "other rows"),
        (nn.Sequential(nn.BatchNorm1d(7, track_running_stats=False), nn.Linear(7, 1)), "other rows"),
    ],
)
def test_a_model_that_is_random_or_mixes_rows_in_eval_mode_is_refused(model, match, sample, people) -> None:
    before = snapshot(model)
    for ask in (
        lambda: predict(model, *sample),
        lambda: attribute(model, sample[0], people),
        lambda: permute_columns(model, *sample, people),
        lambda: losses(model, *sample),
    ):
        with pytest.raises(UnsupportedModel, match=match):
            ask()
    assert same(before, snapshot(model))


def test_dropout_and_batch_norm_that_follow_eval_mode_are_no_obstacle(sample) -> None:
    model = nn.Sequential(nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, 1))
    assert len(predict(model.train(), *sample)) == 600


def test_a_model_that_cannot_be_copied_is_refused(sample) -> None:
    model = nn.Linear(7, 1)
    model.lock = threading.Lock()
    with pytest.raises(UnsupportedModel, match="cannot be copied"):
        predict(model, *sample)


def test_a_recurrent_layer_answers_as_in_eval_mode(sample) -> None:
    class Lines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lines = nn.LSTM(1, 4, num_layers=2, dropout=0.5, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.lines(x[:, :, None])[0][:, -1])

    model = Lines().train()
    twin = frozen(model)
    assert torch.equal(twin(sample[0]), model.eval()(sample[0]))
    assert torch.equal(twin(sample[0]), twin(sample[0]))
    assert model.lines.dropout == 0.5


def test_a_model_whose_lazy_layers_have_no_weights_is_refused(sample) -> None:
    with pytest.raises(UnsupportedModel, match="no weights yet"):
        predict(nn.LazyLinear(2), *sample)


@pytest.mark.parametrize("text", ["CUDA: cannot allocate memory", "DefaultCPUAllocator: can't allocate memory"])
def test_work_that_memory_does_not_hold_is_done_in_halves(text) -> None:
    asked: list[int] = []

    def work(size: int) -> int:
        asked.append(size)
        if size > 3:
            raise RuntimeError(text)
        return size

    assert fitting(20, work) == 2
    assert asked == [20, 10, 5, 2]


def test_other_errors_than_memory_pass() -> None:
    def work(size: int) -> int:
        raise RuntimeError(f"shape {size}")

    with pytest.raises(RuntimeError, match="shape 20"):
        fitting(20, work)


def test_the_score_is_the_log_odds_of_a_class_or_its_logit() -> None:
    odds, logits = torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(pick(odds), odds)
    assert torch.equal(pick(odds, 1), odds)
    assert torch.equal(pick(odds, 0), -odds)
    assert pick(logits, 2).tolist() == [3.0]
    with pytest.raises(UnsupportedModel, match="3 classes"):
        pick(logits)
    with pytest.raises(BadData, match="no class 5"):
        pick(logits, 5)


def test_wide_rows_go_through_the_model_a_few_at_a_time() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.most = 0

        def forward(self, x):
            self.most = max(self.most, x.numel())
            return x.sum(dim=1)

    model = Wide()
    x = torch.ones(70, 2**16)
    assert outputs(model, x).tolist() == [2.0**16] * 70
    assert model.most <= 2**20
