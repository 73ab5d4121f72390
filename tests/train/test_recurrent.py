"""LSTM, GRU and RNN from watched parts: torch's own outputs, and every unit's gradient as autograd has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.watch import Watch, hold_gradients, near
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from pellucid.errors import UnsupportedModel
from pellucid.train.rules.recurrent import recurrent

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}

LEAST = {torch.float32: 1e-6, torch.float64: 1e-14}


def make(kind: str, seed: int, **options: Any) -> nn.RNNBase:
    torch.manual_seed(seed)
    if kind in ("tanh", "relu"):
        options["nonlinearity"] = kind
    return KINDS[kind](3, 4, **options)


def rows_of(layer: nn.RNNBase, result: Any) -> list[Tensor]:
    """Outputs and last states, rows first."""
    output, last = result
    if isinstance(output, PackedSequence):
        output = pad_packed_sequence(output, batch_first=True)[0]
    elif not layer.batch_first:
        output = output.transpose(0, 1)
    return [output, *(state.transpose(0, 1) for state in (last if isinstance(last, tuple) else (last,)))]


def states_of(layer: nn.RNNBase, rows: int, dtype: torch.dtype) -> Any:
    deep = layer.num_layers * (2 if layer.bidirectional else 1)
    h = torch.randn(deep, rows, layer.proj_size or 4, dtype=dtype, requires_grad=True)
    return (h, torch.randn(deep, rows, 4, dtype=dtype, requires_grad=True)) if isinstance(layer, nn.LSTM) else h


def hold_against_autograd(layer: nn.RNNBase, given_: Any, hx: Any, units: int, leaves: list[Tensor]) -> None:
    """Outputs, gradients at ``leaves``, and the gradient of each unit alone, against torch's own layer."""
    dtype = layer.weight_ih_l0.dtype
    watch = Watch()
    plain, twin = rows_of(layer, layer(given_, hx)), rows_of(layer, recurrent(layer, watch, given_, hx))
    for found, expected in zip(twin, plain, strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert torch.allclose(found, expected, rtol=0.0 if dtype == torch.float32 else 1e-14, atol=LEAST[dtype])
    hold_gradients(plain, twin, watch, leaves, list(layer.parameters()), units, together=True)


@st.composite
def layers(draw: st.DrawFn) -> nn.RNNBase:
    kind = draw(st.sampled_from(sorted(KINDS)))
    options = {name: draw(st.booleans()) for name in ("bidirectional", "bias", "batch_first")}
    proj = draw(st.sampled_from([0, 2])) if kind == "lstm" else 0
    extra = {"proj_size": proj} if proj else {}
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    layer = make(kind, draw(st.integers(0, 99)), num_layers=draw(st.integers(1, 3)), **options, **extra)
    return layer.to(dtype)


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, of its own layer
@settings(max_examples=60)
@given(layer=layers(), units=st.integers(1, 3), views=st.integers(1, 2), time=st.integers(1, 5), state=st.booleans())
def test_outputs_and_every_units_gradient_are_those_of_torch(
    layer: nn.RNNBase, units: int, views: int, time: int, state: bool
) -> None:
    rows, dtype = units * views, layer.weight_ih_l0.dtype
    x = torch.randn(*((rows, time) if layer.batch_first else (time, rows)), 3, dtype=dtype, requires_grad=True)
    hx = states_of(layer, rows, dtype) if state else None
    given_states = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
    hold_against_autograd(layer, x, hx, units, [x, *given_states])


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, of its own layer
@settings(max_examples=60)
@given(
    layer=layers(),
    lengths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    views=st.sampled_from([1, 2]),
    state=st.booleans(),
)
def test_ragged_sequences_are_exact_in_the_order_of_the_models_rows(
    layer: nn.RNNBase, lengths: list[int], views: int, state: bool
) -> None:
    lengths = lengths * views
    rows, dtype = len(lengths), layer.weight_ih_l0.dtype
    x = torch.randn(rows, max(lengths), 3, dtype=dtype, requires_grad=True)
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    hx = states_of(layer, rows, dtype) if state else None
    given_states = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
    hold_against_autograd(layer, packed, hx, rows // views, [x, *given_states])


def test_a_packed_sequence_comes_back_as_torch_gives_it() -> None:
    layer = make("gru", 0, batch_first=True)
    lengths = torch.tensor([2, 4, 1])
    for given_ in (
        pack_padded_sequence(torch.randn(3, 4, 3), lengths, batch_first=True, enforce_sorted=False),
        pack_padded_sequence(torch.randn(3, 4, 3), lengths.sort(descending=True).values, batch_first=True),
    ):
        expected, last = layer(given_)
        found, mine = recurrent(layer, Watch(), given_)
        assert isinstance(found, PackedSequence)
        assert torch.allclose(found.data, expected.data, atol=1e-6)
        assert torch.allclose(mine, last, atol=1e-6)
        assert torch.equal(found.batch_sizes, expected.batch_sizes)
        for order, wanted in zip(found[2:], expected[2:], strict=True):
            assert (order is None) == (wanted is None)
            assert order is None or torch.equal(order, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_is_drawn_as_torch_draws_it(kind: str) -> None:
    layer = make(kind, 1, num_layers=3, dropout=0.5, bidirectional=True)
    x = torch.randn(5, 2, 3)
    torch.manual_seed(2)
    expected = layer(x)[0]
    torch.manual_seed(2)
    found = recurrent(layer, Watch(), x)[0]
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, layer.eval()(x)[0], atol=1e-6)
    assert torch.allclose(recurrent(layer, Watch(), x)[0], layer(x)[0], atol=1e-6)


def hold_the_only_one_that_learns(layer: nn.RNNBase, only: str, x: Tensor) -> None:
    """All but one parameter frozen: it alone has contributions, and for two units they are autograd's."""
    layer.requires_grad_(False)
    wanted, watch = layer.get_parameter(only).requires_grad_(), Watch()
    output = recurrent(layer, watch, x)[0]
    seed = torch.randn_like(output)
    found = watch.per_unit([output], [seed], 2)
    assert set(found) == {wanted}
    assert near(found[wanted].sum(0), torch.autograd.grad(layer(x)[0], wanted, seed)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("only", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_frozen_parameters_have_no_contribution_and_hide_no_other(kind: str, only: str) -> None:
    hold_the_only_one_that_learns(make(kind, 3, batch_first=True), only, torch.randn(2, 4, 3))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("only", ["weight_hr_l0", "weight_hh_l0"])
def test_of_a_projected_lstm_one_weight_may_be_frozen(only: str) -> None:
    hold_the_only_one_that_learns(make("lstm", 3, proj_size=2), only, torch.randn(4, 2, 3))


def test_a_frozen_layer_is_out_of_the_graph_and_leaves_nothing() -> None:
    layer = make("lstm", 3)
    layer.requires_grad_(False)
    watch = Watch()
    assert not recurrent(layer, watch, torch.randn(4, 2, 3))[0].requires_grad
    assert not watch.edges


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_graph_the_output_is_the_same(kind: str) -> None:
    layer, watch = make(kind, 4), Watch()
    x = torch.randn(4, 2, 3)
    with torch.no_grad():
        assert torch.allclose(recurrent(layer, watch, x)[0], layer(x)[0], atol=1e-6)
    assert not watch.edges


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_computed_in_float32_and_given_back_in_the_type_of_the_input(kind: str) -> None:
    layer = make(kind, 5, batch_first=True).bfloat16()
    x, watch = torch.randn(2, 6, 3).bfloat16(), Watch()
    output, _ = recurrent(layer, watch, x)
    assert output.dtype == torch.bfloat16
    seed = torch.randn_like(output)
    found = watch.per_unit([output], [seed], 2)
    exact = make(kind, 5, batch_first=True)
    exact.load_state_dict(layer.state_dict())
    expected = exact(x.float())[0]
    assert torch.equal(output, expected.to(torch.bfloat16)) or torch.allclose(output.float(), expected, rtol=2**-7)
    gradients = torch.autograd.grad(expected, list(exact.parameters()), seed.float())
    for (parameter, gradient), wanted in zip(found.items(), (gradients[i] for i in order(layer, found)), strict=True):
        assert gradient.dtype == torch.float32
        assert near(gradient.sum(0), wanted), parameter.shape


def order(layer: nn.Module, found: Iterable[nn.Parameter]) -> list[int]:
    places = {parameter: i for i, parameter in enumerate(layer.parameters())}
    return [places[parameter] for parameter in found]


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_reach_the_recurrence(kind: str) -> None:
    layer, watch = make(kind, 6), Watch()
    x = torch.randn(5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = recurrent(layer, watch, x)[0]
    assert found.dtype == torch.float32
    assert torch.allclose(found, layer(x)[0], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_changed_in_place_is_an_error(kind: str) -> None:
    output = recurrent(make(kind, 7), Watch(), torch.randn(5, 2, 3))[0]
    with pytest.raises(RuntimeError, match="inplace"):
        output.mul_(2.0).sum().backward()


def test_an_input_changed_in_place_is_refused() -> None:
    watch, x = Watch(), torch.randn(2, 5, 3)
    output = recurrent(make("gru", 7, batch_first=True), watch, x)[0]
    x.mul_(2.0)
    with pytest.raises(UnsupportedModel, match="changed in place"):
        watch.per_unit([output], [torch.ones_like(output)], 2)


def test_a_backward_pass_may_be_repeated() -> None:
    layer, watch = make("lstm", 8), Watch()
    output = recurrent(layer, watch, torch.randn(5, 2, 3))[0]
    seed = torch.randn_like(output)
    first, second = (watch.per_unit([output], [seed], 2) for _ in range(2))
    assert all(torch.equal(first[parameter], second[parameter]) for parameter in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_in_one_unit_does_not_reach_another(kind: str) -> None:
    layer, x = make(kind, 9, batch_first=True, num_layers=2, bidirectional=True), torch.randn(3, 4, 3)
    gradients = []
    for value in (0.0, torch.nan):
        watch = Watch()
        x = x.clone()
        x[1, 2] = value
        output = recurrent(layer, watch, x)[0]
        gradients.append(watch.per_unit([output], [torch.ones_like(output)], 3))
    for parameter in layer.parameters():
        sound, broken = (found[parameter] for found in gradients)
        assert torch.equal(sound[[0, 2]], broken[[0, 2]])
    weight: Any = layer.weight_ih_l0
    assert not gradients[1][weight][1].isfinite().all()


def test_one_sequence_without_a_batch_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="without a batch dimension"):
        recurrent(make("gru", 0), Watch(), torch.randn(4, 3))


def test_an_initial_state_of_another_shape_is_refused() -> None:
    layer = make("lstm", 0)
    with pytest.raises(UnsupportedModel, match="another shape"):
        recurrent(layer, Watch(), torch.randn(4, 2, 3), (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)))
    with pytest.raises(UnsupportedModel, match="another shape"):
        recurrent(layer, Watch(), torch.randn(4, 2, 5))


def test_rows_that_are_not_the_models_are_refused() -> None:
    layer, watch = make("gru", 0), Watch()
    output = recurrent(layer, watch, torch.randn(2, 5, 3))[0]  # the model has 2 rows and 5 steps
    with pytest.raises(UnsupportedModel, match="batch_first"):
        watch.per_unit([output], [torch.ones_like(output)], 2)
