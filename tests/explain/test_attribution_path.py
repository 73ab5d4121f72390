"""Integrated gradients: against Captum, in pieces, in place, and in float64 where rounding is in the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.attribution import attribute, integrated_gradients
from pellucid.explain.attribution.affine import split
from pellucid.explain.fields import Fields
from pellucid.explain.model import frozen


class Lines(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lines, self.head = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.lines(x)[0][:, -1])


class Shift(nn.Linear):
    """A subclass of a linear layer that is not linear."""

    def forward(self, x):
        return super().forward(x).square()


def nets() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    return {
        "linear": (nn.Linear(6, 1), (6,)),
        "mlp": (nn.Sequential(nn.Linear(6, 9), nn.SiLU(), nn.Linear(9, 2)), (6,)),
        "relu": (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)), (6,)),
        "in place": (nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Linear(9, 2)), (6,)),
        "nested": (nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 9), nn.Tanh()), nn.Linear(9, 1)), (2, 3)),
        "rows of rows": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)), (2, 3)),
        "cnn": (
            nn.Sequential(nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4), nn.GELU(), nn.Flatten(), nn.Linear(16, 2)),
            (1, 3, 3),
        ),
        "lstm": (Lines(), (4, 3)),
        "subclass": (nn.Sequential(Shift(6, 4), nn.Linear(4, 2)), (6,)),
    }


@pytest.mark.parametrize("name", nets())
def test_integrated_gradients_equal_captum(name) -> None:
    from captum.attr import IntegratedGradients

    model, shape = nets()[name]
    model = frozen(model).double()  # in float32 a path point on the edge of a ReLU may fall on either side
    x, start = torch.randn(15, *shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)

    def score(rows):
        found = model(rows)
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found[:, 0]

    peer = IntegratedGradients(score).attribute(
        x, baselines=start.expand_as(x).clone(), n_steps=24, method="gausslegendre"
    )
    assert integrated_gradients(model, x, start, 24) == pytest.approx(peer.numpy(), abs=1e-7)
    single = integrated_gradients(frozen(nets()[name][0]), x.float(), start.float(), 24)
    assert np.median(np.abs(single - peer.numpy())) < 1e-5


@pytest.mark.parametrize("name", nets())
def test_points_in_flight_change_nothing(name, monkeypatch) -> None:
    model, shape = nets()[name]
    twin, x = frozen(model).double(), torch.randn(15, *shape, dtype=torch.float64)
    whole = integrated_gradients(twin, x, torch.zeros(shape, dtype=torch.float64), 16)
    for points in (1, 5, 40):
        monkeypatch.setattr("pellucid.explain.attribution.path.POINTS", points)
        found = integrated_gradients(twin, x, torch.zeros(shape, dtype=torch.float64), 16)
        assert found == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("name", nets())
def test_head_and_tail_are_the_model(name) -> None:
    model, shape = nets()[name]
    head, tail = split(frozen(model))
    x = torch.randn(7, *shape)
    assert torch.equal(tail(head(x)), model(x))
    assert isinstance(head, nn.Identity) == (name in ("cnn", "lstm", "subclass"))


def test_a_hook_or_a_patched_forward_keeps_the_model_whole() -> None:
    hooked, patched = (nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)) for _ in range(2))
    hooked[0].register_forward_hook(lambda *args: args[-1] ** 2)
    patched[0].forward = lambda x: x[:, :4] ** 2
    for model in (hooked, patched):
        assert isinstance(split(model)[0], nn.Identity)
        found = attribute(model, torch.rand(9, 6) + 0.5, Fields.single(6))
        assert found.completeness_gap <= 0.01


class Jump(nn.Linear):
    """Has a jump, which no gradient sees, and casts to float32 itself."""

    def forward(self, x):
        return super().forward(x.float()) + 9.0 * (x[:, :1].float() > 0)


def test_the_gap_of_float64_is_taken_where_float32_does_not_add_up(monkeypatch) -> None:
    from pellucid.explain.attribution import path

    asked: list[torch.dtype] = []
    plain = path.integrated_gradients

    def rounding(model, x, *args, **kwargs):
        asked.append(x.dtype)
        found = plain(model, x, *args, **kwargs)
        return found if x.dtype == torch.float64 else found * 1.02  # an error that no number of points removes

    monkeypatch.setattr(path, "integrated_gradients", rounding)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
    found = attribute(model, torch.randn(9, 6), Fields.single(6), limit=64)
    assert asked == [torch.float32, torch.float32, torch.float64]
    assert found.precision == "float64"
    assert found.how()["precision"] == "float64"
    assert found.completeness_gap < 1e-4


def test_a_gap_that_cannot_be_tried_in_float64_is_refused_as_it_is() -> None:
    with pytest.raises(UnsupportedModel, match=r"with 32 steps, above the tolerance"):
        attribute(Jump(3, 1), torch.rand(9, 3) + 0.1, Fields.single(3), limit=32)


def test_memory_that_does_not_hold_the_points_holds_half_of_them(monkeypatch) -> None:
    asked: list[int] = []

    class Greedy(nn.Linear):
        def forward(self, x):
            asked.append(len(x))
            if len(x) > 16:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return super().forward(x)

    model = Greedy(6, 1)
    monkeypatch.setattr("pellucid.explain.steady.PROBED", 10)
    x = torch.randn(40, 6)
    found = attribute(model, x, Fields.single(6))
    assert found.rows == pytest.approx((x * model.weight).detach().numpy(), abs=1e-5)
    assert max(asked) > 16


def test_memory_that_does_not_hold_one_row_is_a_clear_error() -> None:
    class Insatiable(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.empty(2**50).sum()

    with pytest.raises(UnsupportedModel, match="does not hold one row"):
        attribute(Insatiable(6, 1), torch.randn(1, 6), Fields.single(6))


def test_fields_of_a_sequence_are_summed_and_of_another_width_refused() -> None:
    model, shape = nets()["lstm"]
    x = torch.randn(10, *shape)
    steps = Fields(tuple(f"step {t}" for t in range(4)), tuple(tuple(range(3 * t, 3 * t + 3)) for t in range(4)))
    whole = attribute(model, x, Fields.single(12)).rows.reshape(10, 4, 3).sum(axis=2)
    assert attribute(model, x, steps).rows == pytest.approx(whole, abs=1e-6)
    with pytest.raises(BadData, match="12 slots, and the fields speak of 5"):
        attribute(model, x, Fields.single(5))


def test_the_class_that_is_named_is_explained() -> None:
    torch.manual_seed(1)
    three, two = nn.Linear(6, 3), nn.Linear(6, 2)
    x = torch.randn(10, 6)
    found = attribute(three, x, Fields.single(6), target=2)
    assert found.rows == pytest.approx((x * three.weight[2]).detach().numpy(), abs=1e-5)
    assert found.values()["target"] == 2
    assert "class 2" in found.how()["method"]
    odds = (x * (two.weight[1] - two.weight[0])).detach().numpy()
    for target, sign in ((None, 1), (1, 1), (0, -1)):
        assert attribute(two, x, Fields.single(6), target=target).rows == pytest.approx(sign * odds, abs=1e-5)
    for model, target in ((three, 3), (two, 2), (three, -1)):
        with pytest.raises(BadData, match="there is no class"):
            attribute(model, x, Fields.single(6), target=target)


@pytest.mark.parametrize(("slot", "value"), [(0, 1.5), (0, -1.01), (2, -0.5), (2, 1.5), (5, -1.0), (6, 2.0)])
def test_a_baseline_outside_of_what_the_schema_declares_is_refused(slot, value, linear, sample, people) -> None:
    start = torch.zeros(7)
    start[slot] = value
    with pytest.raises(BadData, match="outside of what the schema declares"):
        attribute(linear, sample[0], people, baseline=start)


def test_a_baseline_at_the_ends_of_what_the_schema_declares_is_taken(linear, sample, people) -> None:
    start = torch.tensor([-1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    assert attribute(linear, sample[0], people, baseline=start).completeness_gap < 1e-5
