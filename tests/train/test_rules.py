"""Every rule against a loop of autograd over single units."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.train.naive import whole
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Contribution, Convolution, Room
from pellucid.train.contributions import convolution as ways
from pellucid.train.contributions.base import chunks
from pellucid.train.rules import RULES, refuse

KINDS = st.sampled_from([torch.float32, torch.float64])
DRAWS = st.integers(0, 2**31)
few = settings(max_examples=40)


def real(shape: tuple[int, ...], kind: torch.dtype, draw: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(draw), dtype=torch.float64).to(kind)


def naive(layer: nn.Module, inputs: tuple[Any, ...], gradient: Tensor, units: int) -> dict[str, Tensor]:
    """Each unit's gradient by its own backward pass, in float64."""
    twin = type(layer).__new__(type(layer))
    twin.__dict__.update(layer.__dict__)
    twin._parameters = {
        name: None if p is None else nn.Parameter(p.detach().double()) for name, p in layer._parameters.items()
    }
    output = twin(*(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs))
    views = len(output) // units
    found: dict[str, list[Tensor]] = {name: [] for name, _ in twin.named_parameters()}
    for unit in range(units):
        alone = torch.zeros_like(output)
        alone[unit * views : (unit + 1) * views] = gradient[unit * views : (unit + 1) * views].double()
        gradients = torch.autograd.grad(output, list(twin.parameters()), alone, retain_graph=True)
        for name, g in zip(found, gradients, strict=True):
            found[name].append(g)
    return {name: torch.stack(gs) for name, gs in found.items()}


def agree(contribution: Contribution, expected: Tensor, tolerance: float) -> None:
    """Norms, sums and written-out gradients, with room and without, of all units and of some."""
    units = len(expected)
    scale = float(expected.abs().max())
    norms = expected.flatten(1).norm(dim=1)
    factors = torch.rand(units, generator=torch.Generator().manual_seed(units), dtype=torch.float64)
    summed = torch.einsum("u,u...->...", factors, expected)
    assert contribution.units == units
    assert contribution.shape == tuple(expected.shape[1:])
    torch.testing.assert_close(contribution.per_unit().double(), expected, rtol=0, atol=tolerance * scale)
    some = torch.arange(units - 1, -1, -2)
    for room in (Room(0), Room(1 << 30), Room(1 << 30, lasting=True)):
        found = contribution.select(torch.arange(units))
        squares = found.squared_norms(room)
        assert squares.dtype == torch.float64
        # terms that cancel leave a norm that may be raised to their rounding (not_below_rounding), and never lowered
        raised = torch.where(norms < 1e-3 * scale, 1e-3 * scale, norms * (1 + tolerance) + tolerance * scale)
        assert (squares.sqrt() >= norms * (1 - tolerance) - tolerance * scale).all()
        assert (squares.sqrt() <= raised).all()
        total = found.weighted_sum(factors)
        torch.testing.assert_close(
            total.double(), summed, rtol=0, atol=tolerance * max(scale, float(summed.abs().max()))
        )
        less = torch.einsum("u,u...->...", factors[some], expected[some])
        again = found.select(some).weighted_sum(factors[some])
        torch.testing.assert_close(again.double(), less, rtol=0, atol=tolerance * max(scale, float(less.abs().max())))


def check(layer: nn.Module, inputs: tuple[Any, ...], units: int, *, draw: int, kind: torch.dtype) -> dict[str, Any]:
    layer = layer.to(kind)
    with torch.no_grad():
        output = layer(*inputs)
    gradient = whole(tuple(output.shape), output.dtype, draw + 1)
    pieces = dict(RULES[type(layer)](layer, inputs, gradient, units))
    assert set(pieces) == set(layer.parameters())
    expected = naive(layer, inputs, gradient, units)
    tolerance = 1e-10 if kind == torch.float64 else 1e-5
    for name, p in layer.named_parameters():
        agree(pieces[p], expected[name], tolerance)
    return {name: pieces[p] for name, p in layer.named_parameters()}


@few
@given(
    units=st.integers(1, 5),
    views=st.integers(1, 3),
    middle=st.lists(st.integers(1, 4), max_size=2),
    p=st.integers(1, 5),
    d=st.integers(1, 5),
    bias=st.booleans(),
    kind=KINDS,
    draw=DRAWS,
)
def test_linear(
    units: int, views: int, middle: list[int], p: int, d: int, bias: bool, kind: torch.dtype, draw: int
) -> None:
    x = whole((units * views, *middle, p), kind, draw)
    check(nn.Linear(p, d, bias=bias), (x,), units, draw=draw, kind=kind)


@few
@given(units=st.integers(1, 4), views=st.integers(1, 2), middle=st.integers(0, 3), kind=KINDS, draw=DRAWS)
def test_bilinear(units: int, views: int, middle: int, kind: torch.dtype, draw: int) -> None:
    shape = (units * views, *([middle] if middle else []))
    inputs = (whole((*shape, 2), kind, draw), whole((*shape, 3), kind, draw + 2))
    check(nn.Bilinear(2, 3, 4), inputs, units, draw=draw, kind=kind)


@few
@given(
    units=st.integers(1, 4), views=st.integers(1, 2), shared=st.booleans(), flat=st.booleans(), kind=KINDS, draw=DRAWS
)
def test_prelu(units: int, views: int, shared: bool, flat: bool, kind: torch.dtype, draw: int) -> None:
    x = whole((units * views, 3, *([] if flat else [4])), kind, draw)
    check(nn.PReLU(1 if shared else 3), (x,), units, draw=draw, kind=kind)


@contextmanager
def way(name: str) -> Iterator[None]:
    """Make two of the three ways of a convolution too dear."""
    dear = {
        "patches": {"GROUPED": 10**15, "SQUARE": 10**15},
        "grouped": {"GROUPED": 0, "WIDE": 1, "PATCH": 10**12, "SQUARE": 10**15},
        "gram": {"PATCH": 10**15, "GROUPED": 10**15},
    }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")
        for constant, value in dear[name].items():
            patch.setattr(ways, constant, value)
        yield


@settings(max_examples=150)
@given(data=st.data(), kind=KINDS, draw=DRAWS, name=st.sampled_from(["patches", "grouped", "gram"]))
def test_convolution(data: st.DataObject, kind: torch.dtype, draw: int, name: str) -> None:
    dims = data.draw(st.integers(1, 3))
    groups = data.draw(st.sampled_from([1, 1, 2, 4]))
    units, views = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    kernel = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    stride = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    dilation = data.draw(st.tuples(*[st.integers(1, 2)] * dims))
    mode = data.draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    padding: Any = data.draw(st.one_of(st.tuples(*[st.integers(0, 2)] * dims), st.sampled_from(["same", "valid"])))
    if padding == "same":
        stride = (1,) * dims
    size = data.draw(st.tuples(*[st.integers(5, 7)] * dims))
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](
        4, 4, kernel, stride, padding, dilation, groups, data.draw(st.booleans()), mode
    )
    with way(name):
        pieces = check(layer, (whole((units * views, 4, *size), kind, draw),), units, draw=draw, kind=kind)
        weight = pieces["weight"]
        assert isinstance(weight, Convolution)
        room = Room(1 << 30)
        weight.squared_norms(room)
        assert (room.left == 1 << 30) == (name == "gram")
        assert weight._last == (name == "patches" or (name == "grouped" and kind == torch.float64))


@settings(max_examples=60)
@given(data=st.data(), kind=KINDS, draw=DRAWS)
def test_transposed_convolution(data: st.DataObject, kind: torch.dtype, draw: int) -> None:
    dims = data.draw(st.integers(1, 3))
    units, views = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    kernel = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    stride = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    dilation = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    padding = data.draw(st.tuples(*[st.integers(0, 1)] * dims))
    more = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size = data.draw(st.tuples(*[st.integers(3, 5)] * dims))
    layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1](
        4, 6, kernel, stride, padding, more, data.draw(st.sampled_from([1, 2])), data.draw(st.booleans()), dilation
    )
    check(layer, (whole((units * views, 4, *size), kind, draw),), units, draw=draw, kind=kind)


@few
@given(
    units=st.integers(1, 4),
    views=st.integers(1, 2),
    middle=st.lists(st.integers(1, 5), max_size=2),
    padding=st.none() | st.integers(0, 5),
    kind=KINDS,
    draw=DRAWS,
)
def test_embedding(
    units: int, views: int, middle: list[int], padding: int | None, kind: torch.dtype, draw: int
) -> None:
    index = whole((units * views, *middle), torch.float32, draw).abs().long()
    check(nn.Embedding(6, 3, padding_idx=padding), (index,), units, draw=draw, kind=kind)


@settings(max_examples=60)
@given(data=st.data(), mode=st.sampled_from(["sum", "mean"]), kind=KINDS, draw=DRAWS)
def test_embedding_bag(data: st.DataObject, mode: str, kind: torch.dtype, draw: int) -> None:
    units, views = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    sizes = data.draw(st.lists(st.integers(0, 4), min_size=units * views, max_size=units * views))
    ragged, last = data.draw(st.booleans()), data.draw(st.booleans())
    padding = data.draw(st.none() | st.integers(0, 5))
    layer = nn.EmbeddingBag(6, 3, mode=mode, include_last_offset=last and ragged, padding_idx=padding)
    if ragged:
        assume(sum(sizes))
        index = whole((sum(sizes),), torch.float32, draw).abs().long()
        starts = [sum(sizes[:i]) for i in range(len(sizes) + last)]
        inputs: tuple[Tensor, ...] = (index, torch.tensor(starts))
    else:
        inputs = (whole((units * views, 3), torch.float32, draw).abs().long(),)
    if mode == "sum" and data.draw(st.booleans()):
        weights = whole(tuple(inputs[0].shape), kind, draw + 2)
        layer = layer.to(kind)
        forward = layer.forward
        layer.forward = lambda *given: forward(*given[:-1], per_sample_weights=given[-1])  # as a keyword
        with torch.no_grad():
            output = layer(*inputs, weights)
        gradient = whole(tuple(output.shape), kind, draw + 1)
        found = dict(RULES[nn.EmbeddingBag](layer, (*inputs, weights), gradient, units))[layer.weight]
        expected = []
        for unit in range(units):
            alone = torch.zeros_like(gradient)
            alone[unit * views : (unit + 1) * views] = gradient[unit * views : (unit + 1) * views]
            expected.append(torch.autograd.grad(layer(*inputs, weights), layer.weight, alone)[0].double())
        agree(found, torch.stack(expected), 1e-10 if kind == torch.float64 else 1e-5)
    else:
        check(layer, inputs, units, draw=draw, kind=kind)


@settings(max_examples=60)
@given(
    norm=st.sampled_from(["layer", "layer2", "rms", "rms_eps", "group", "instance1", "instance2", "instance3"]),
    units=st.integers(1, 4),
    views=st.integers(1, 2),
    places=st.integers(4, 6),
    kind=KINDS,
    draw=DRAWS,
)
def test_normalisation(norm: str, units: int, views: int, places: int, kind: torch.dtype, draw: int) -> None:
    rows = units * views
    layer, shape = {
        "layer": (nn.LayerNorm(6), (rows, places, 6)),
        "layer2": (nn.LayerNorm((3, 4), bias=False), (rows, 3, 4)),
        "rms": (nn.RMSNorm(6), (rows, places, 6)),
        "rms_eps": (nn.RMSNorm((3, 4), eps=0.1), (rows, places, 3, 4)),
        "group": (nn.GroupNorm(2, 4), (rows, 4, places)),
        "instance1": (nn.InstanceNorm1d(4, affine=True), (rows, 4, places)),
        "instance2": (nn.InstanceNorm2d(4, affine=True), (rows, 4, 2, places)),
        "instance3": (nn.InstanceNorm3d(4, affine=True), (rows, 4, 2, 2, places)),
    }[norm]
    # RMSNorm without an epsilon takes that of its type: the twin in float64 is to take the same
    if norm == "rms":
        layer.eps = torch.finfo(kind).eps
    check(layer, (real(shape, kind, draw),), units, draw=draw, kind=kind)


def test_rms_norm_without_epsilon_is_autograds() -> None:
    layer, x = nn.RMSNorm(3), torch.tensor([[1e-4, -2e-4, 3e-4]])
    gradient = torch.ones(1, 3)
    (_, found), *_ = RULES[nn.RMSNorm](layer, (x,), gradient, 1)
    (expected,) = torch.autograd.grad(layer(x), layer.weight, gradient)
    torch.testing.assert_close(found.per_unit()[0], expected)


def test_a_layer_without_scale_gives_nothing() -> None:
    for layer in (nn.LayerNorm(3, elementwise_affine=False), nn.GroupNorm(1, 3, affine=False), nn.InstanceNorm1d(3)):
        x = torch.ones(2, 3, 3)
        assert list(RULES[type(layer)](layer, (x,), x, 2)) == []


LAYERS: list[tuple[nn.Module, Tensor]] = [
    (nn.Linear(3, 2), torch.ones(2, 3)),
    (nn.Conv1d(3, 2, 1), torch.ones(2, 3, 4)),
    (nn.ConvTranspose1d(3, 2, 1), torch.ones(2, 3, 4)),
    (nn.LayerNorm(3), torch.ones(2, 3)),
    (nn.GroupNorm(1, 3), torch.ones(2, 3)),
    (nn.PReLU(), torch.ones(2, 3)),
    (nn.Embedding(3, 2), torch.ones(2, 3, dtype=torch.long)),
    (nn.EmbeddingBag(3, 2), torch.ones(2, 3, dtype=torch.long)),
]


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda value: type(value).__name__)
def test_frozen_parameters_are_left_out(layer: nn.Module, x: Tensor) -> None:
    gradient = torch.ones_like(layer(x)).detach()
    parameters = list(layer.parameters())
    for frozen in parameters:
        frozen.requires_grad_(False)
        found = [p for p, _ in RULES[type(layer)](layer, (x,), gradient, 2)]
        frozen.requires_grad_(True)
        assert {id(p) for p in found} == {id(p) for p in parameters if p is not frozen}


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda value: type(value).__name__)
def test_half_types_are_promoted(layer: nn.Module, x: Tensor) -> None:
    given_ = x.bfloat16() if x.is_floating_point() else x
    gradient = torch.full(layer(x).shape, 0.1).bfloat16()
    for p, found in RULES[type(layer)](layer, (given_,), gradient, 2):
        expected = dict(RULES[type(layer)](layer, (x,), gradient.float(), 2))[p]
        assert found.per_unit().dtype == found.weighted_sum(torch.ones(2, dtype=torch.float64)).dtype == torch.float32
        torch.testing.assert_close(found.per_unit(), expected.per_unit())
        torch.testing.assert_close(found.squared_norms(Room(0)), expected.squared_norms(Room(0)))


def test_an_input_of_lower_type_than_the_gradient_is_promoted() -> None:
    layer = nn.Linear(3, 2)
    x = torch.randn(4, 3).bfloat16()
    for p, found in RULES[nn.Linear](layer, (x,), torch.ones(4, 2), 4):
        assert found.per_unit().dtype == torch.float32
        if p is layer.weight:
            torch.testing.assert_close(found.per_unit(), x.float()[:, None].expand(-1, 2, -1))


@pytest.mark.parametrize("shape", [(5,), (1, 5)])
def test_positions_that_all_rows_share_are_refused_with_the_remedy(shape: tuple[int, ...]) -> None:
    layer = nn.Embedding(6, 3)
    index = torch.zeros(shape, dtype=torch.long)
    with pytest.raises(UnsupportedModel, match="expand"):
        list(RULES[nn.Embedding](layer, (index,), torch.ones(*shape, 3), 4))
    linear = nn.Linear(3, 3)
    with pytest.raises(UnsupportedModel, match="expand"):
        list(RULES[nn.Linear](linear, (torch.ones(*shape, 3),), torch.ones(*shape, 3), 4))


def test_positions_expanded_over_the_batch_are_right() -> None:
    index = torch.arange(5).expand(4, -1)
    check(nn.Embedding(6, 3), (index,), 4, draw=3, kind=torch.float64)


def test_one_example_without_a_batch_is_refused() -> None:
    for layer, x in (
        (nn.Conv2d(3, 2, 1), torch.ones(3, 4, 4)),
        (nn.ConvTranspose1d(3, 2, 1), torch.ones(3, 4)),
        (nn.InstanceNorm1d(3, affine=True), torch.ones(3, 4)),
        (nn.Linear(3, 2), torch.ones(3)),
        (nn.LayerNorm((3, 4)), torch.ones(3, 4)),
    ):
        gradient = torch.ones_like(layer(x)).detach()
        with pytest.raises(UnsupportedModel, match="batch"):
            list(RULES[type(layer)](layer, (x,), gradient, 2))


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        (nn.Embedding(5, 2, max_norm=1.0), "max_norm"),
        (nn.Embedding(5, 2, scale_grad_by_freq=True), "scale_grad_by_freq"),
        (nn.Embedding(5, 2, sparse=True), "sparse"),
        (nn.EmbeddingBag(5, 2, max_norm=1.0), "max_norm"),
        (nn.EmbeddingBag(5, 2, mode="max"), "max"),
        (nn.EmbeddingBag(5, 2, scale_grad_by_freq=True), "scale_grad_by_freq"),
        (nn.InstanceNorm1d(2, affine=True, track_running_stats=True), "running"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else value,
)
def test_what_no_rule_could_make_right_is_refused(layer: nn.Module, word: str) -> None:
    with pytest.raises(UnsupportedModel, match=word):
        refuse(layer)
    x = torch.zeros(2, 2, dtype=torch.long) if "Embedding" in type(layer).__name__ else torch.ones(2, 2, 3)
    with pytest.raises(UnsupportedModel, match=word):
        list(RULES[type(layer)](layer, (x,), torch.ones(2, 2), 2))


def test_what_has_a_rule_is_not_refused() -> None:
    for layer, _ in LAYERS:
        refuse(layer)


def test_the_way_of_a_convolution_follows_its_shape() -> None:
    def chosen(channels: int, out: int, side: int, batch: int) -> str:
        layer = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        x = torch.ones(batch, channels, side, side)
        ((_, weight),) = RULES[nn.Conv2d](layer, (x,), torch.ones(batch, out, side, side), batch)
        weight.squared_norms(Room(1 << 30))
        assert isinstance(weight, Convolution)
        return "gram" if not weight._kept else "patches" if weight._last else "grouped"

    assert chosen(3, 16, 16, 2) == "patches"
    assert chosen(32, 32, 32, 2) == "grouped"
    assert chosen(256, 256, 8, 1) == "gram"


def test_chunks_of_units_give_what_one_gives() -> None:
    layer = nn.Conv2d(4, 4, 3, bias=False)
    units = 8
    x, g = whole((units, 4, 6, 6), torch.float32, 1), whole((units, 4, 4, 4), torch.float32, 2)
    expected = naive(layer, (x,), g, units)["weight"]
    for name in ("patches", "grouped", "gram"):
        with way(name), pytest.MonkeyPatch.context() as patch:
            patch.setattr(ways, "chunks", lambda units, size: chunks(units, size, 3 * size))
            ((_, found),) = RULES[nn.Conv2d](layer, (x,), g, units)
            agree(found, expected, 1e-5)
