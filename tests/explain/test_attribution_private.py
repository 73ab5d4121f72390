"""Models that learned privately are explained to the tolerance, also while they learn, and never notice."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import train
from pellucid.explain.attribution import attribute, patches
from pellucid.explain.fields import Fields
from pellucid.privacy import Plan

N = 128


class Lines(nn.Module):
    """An LSTM over the rows of a small image, as in examples/05_sequences.py."""

    def __init__(self) -> None:
        super().__init__()
        self.lines, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.lines(x)[0][:, -1])


class Reader(nn.Module):
    """A transformer encoder over token ids, as in examples/04_text.py."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 8), nn.Embedding(6, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, ids):
        places = self.places(torch.arange(ids.shape[1]).expand_as(ids))
        return self.head(self.encoder(self.words(ids) + places).mean(1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2)
    )


def numbers(*shape: int) -> torch.Tensor:
    return torch.rand(N, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


MODELS = {
    "mlp": (mlp, numbers(5), Fields.single(5)),
    "cnn": (cnn, numbers(1, 4, 4), patches((1, 4, 4), 2)),
    "lstm": (Lines, numbers(4, 4), Fields.single(16)),
    "transformer": (Reader, torch.randint(0, 20, (N, 6)), Fields.single(6)),
}


@pytest.fixture(params=MODELS)
def learning(request: pytest.FixtureRequest) -> Iterator[tuple]:
    """Module, private model, optimizer, batches, inputs and fields of a run with twelve steps."""
    torch.manual_seed(3)
    make, x, fields = MODELS[request.param]
    y = (x.flatten(1)[:, 0] > x.float().mean()).long()
    module = make()
    plan = Plan(epsilon=1.0, delta=1e-6, units=N, test=0.0, batch=32, epochs=3.0, clip=1.0, noise_multiplier=0.6)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, stepper, batches = train.private(module, optimizer, plan, x, y)
    yield module, model, stepper, batches, x, fields
    batches.close()


def state(module: nn.Module, optimizer: object) -> tuple:
    """All that a step could read or an explanation could have moved."""
    hooks = [kind for kind in vars(module) if kind.endswith("_hooks")]
    return (
        {name: (id(value), value.detach().clone()) for name, value in module.named_parameters()},
        {name: value.clone() for name, value in module.named_buffers()},
        {
            name: (value.requires_grad, value.grad, getattr(value, "grad_sample", None))
            for name, value in module.named_parameters()
        },
        {name: (part.training, vars(part).get("forward")) for name, part in module.named_modules()},
        {(name, kind): list(getattr(part, kind)) for name, part in module.named_modules() for kind in hooks},
        {
            place: {name: torch.as_tensor(value).clone() for name, value in slots.items() if value is not None}
            for place, slots in enumerate(optimizer.state_dict()["state"].values())
        },
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    )


def same(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return left == right


def test_explaining_between_backward_and_step_changes_nothing_and_the_run_goes_on(learning) -> None:
    module, model, optimizer, batches, x, fields = learning
    for number, (rows, labels) in enumerate(batches):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), labels).backward()
        if number == 2:
            before = state(module, optimizer)
            # by either name: what private() returned, and the module that it patched
            found = [attribute(form, x[:20], fields, tolerance=0.5).rows for form in (model, module)]
            assert (found[0] == found[1]).all()
            assert same(before, state(module, optimizer))
        optimizer.step()
    assert number == 11
    assert all(bool(torch.isfinite(value).all()) for value in module.parameters())
    assert not same(before[0], state(module, optimizer)[0])  # the comparison sees a step


def test_what_learned_privately_is_explained_within_one_per_cent(learning) -> None:
    _, model, optimizer, batches, x, fields = learning
    for rows, labels in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
    for form in (model, train.standard(model)):
        found = attribute(form, x, fields)
        assert found.completeness_gap < 0.01
        assert found.rows.shape == (N, len(fields))
