"""Multi-head attention from watched parts: torch's own outputs, and every unit's gradient as autograd has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.watch import Watch, hold_gradients, near
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.train.rules.attention import attention

LEAST = {torch.float32: 2e-6, torch.float64: 1e-14}
WIDTH, HEADS = 4, 2


def make(seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(seed)
    layer = nn.MultiheadAttention(WIDTH, HEADS, **options).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():  # torch starts biases at zero, where a mistake would not show
            parameter.normal_()
    return layer


def hold_against_autograd(
    layer: nn.MultiheadAttention, inputs: tuple[Tensor, ...], leaves: list[Tensor], units: int, **options: Any
) -> None:
    """Outputs, gradients at ``leaves``, and the gradient of each unit alone, against torch's own layer."""
    dtype, watch = inputs[0].dtype, Watch()

    def rows_of(result: tuple[Tensor, Tensor | None]) -> list[Tensor]:
        output, weights = result
        return [output if layer.batch_first else output.transpose(0, 1), *([] if weights is None else [weights])]

    plain, twin = rows_of(layer(*inputs, **options)), rows_of(attention(layer, watch, *inputs, **options))
    assert len(plain) == len(twin)
    for found, expected in zip(twin, plain, strict=True):
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, rtol=LEAST[dtype], atol=LEAST[dtype])
    # gradients of key biases are zero but for rounding, so that one cannot be measured by itself
    hold_gradients(plain, twin, watch, leaves, list(layer.parameters()), units, together=True)


@st.composite
def masks(draw: st.DrawFn, rows: int, queries: int, keys: int, dtype: torch.dtype) -> dict[str, Any]:
    """Masks and what is returned; no query is left without a key."""
    options: dict[str, Any] = {
        "need_weights": draw(st.booleans()),
        "average_attn_weights": draw(st.booleans()),
    }
    boolean = draw(st.booleans())  # torch warns where the types of two masks differ
    shape = draw(st.sampled_from([None, (queries, keys), (rows * HEADS, queries, keys)]))
    if shape is not None:
        mask = torch.rand(shape) < 0.3
        mask[..., 0] = False
        options["attn_mask"] = mask if boolean else torch.randn(shape, dtype=dtype)
    if draw(st.booleans()):
        mask = torch.rand(rows, keys) < 0.3
        mask[:, 0] = False
        options["key_padding_mask"] = mask if boolean else torch.randn(rows, keys, dtype=dtype)
    return options


@settings(max_examples=150)
@given(data=st.data())
def test_outputs_and_every_units_gradient_are_those_of_torch(data: st.DataObject) -> None:
    draw = data.draw
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    names = ("bias", "add_bias_kv", "add_zero_attn", "batch_first")
    same = draw(st.sampled_from(["all", "key and value", "none", "other widths", "one twice"]))
    widths = {"kdim": 3, "vdim": 5} if same == "other widths" else {}
    layer = make(draw(st.integers(0, 99)), dtype, **widths, **{name: draw(st.booleans()) for name in names})
    units, views, queries = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    keys = queries if same == "all" else draw(st.integers(1, 4))
    rows = units * views

    def tokens(count: int, width: int) -> Tensor:
        shape = (rows, count) if layer.batch_first else (count, rows)
        return torch.randn(*shape, width, dtype=dtype, requires_grad=True)

    query = tokens(queries, WIDTH)
    key = query if same == "all" else tokens(keys, widths.get("kdim", WIDTH))
    value = key if same in ("all", "key and value") else tokens(keys, widths.get("vdim", WIDTH))
    if same == "one twice" and queries == keys:
        value = query
    leaves = list(dict.fromkeys((query, key, value)))
    hold_against_autograd(layer, (query, key, value), leaves, units, **draw(masks(rows, queries, keys, dtype)))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("extra", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_a_causal_hint_means_what_it_means_to_torch(need_weights: bool, padding: bool, extra: dict[str, bool]) -> None:
    layer = make(batch_first=True, **extra)
    x = torch.randn(2, 3, WIDTH, requires_grad=True)
    options: dict[str, Any] = {"attn_mask": torch.ones(3, 3, dtype=torch.bool).triu(1)}
    if padding:
        options["key_padding_mask"] = torch.tensor([[False, False, True], [False, True, False]])
    hold_against_autograd(layer, (x, x, x), [x], 2, is_causal=True, need_weights=need_weights, **options)


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_is_that_of_the_layer_and_off_in_evaluation(need_weights: bool) -> None:
    layer = make(dropout=0.5, batch_first=True)
    x = torch.randn(2, 3, WIDTH, requires_grad=True)
    torch.manual_seed(1)
    expected = layer(x, x, x, need_weights=need_weights)[0]
    torch.manual_seed(1)
    found = attention(layer, Watch(), x, x, x, need_weights=need_weights)[0]
    assert torch.allclose(found, expected, atol=1e-6)  # the same numbers are drawn, so the same weights are dropped
    assert not torch.allclose(found, attention(layer.eval(), Watch(), x, x, x, need_weights=need_weights)[0], atol=1e-3)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 3, "vdim": 5}])
def test_frozen_parameters_have_no_contribution_and_hide_no_other(same: bool, widths: dict[str, int]) -> None:
    layer = make(add_bias_kv=True, batch_first=True, **widths)
    query = torch.randn(2, 3, WIDTH)
    key = query if same and not widths else torch.randn(2, 3, widths.get("kdim", WIDTH))
    value = key if same and not widths else torch.randn(2, 3, widths.get("vdim", WIDTH))
    for name, wanted in layer.named_parameters():
        layer.requires_grad_(False)
        wanted.requires_grad_()
        watch = Watch()
        output = attention(layer, watch, query, key, value)[0]
        seed = torch.randn_like(output)
        found = watch.per_unit([output], [seed], 2)
        assert set(found) == {wanted}, name
        expected = torch.autograd.grad(layer(query, key, value)[0], wanted, seed)[0]
        assert near(found[wanted].sum(0), expected, max(1.0, float(expected.abs().max()))), name


def test_a_frozen_layer_is_out_of_the_graph_and_leaves_nothing() -> None:
    layer, watch = make().requires_grad_(False), Watch()
    x, y = torch.randn(3, 2, WIDTH), torch.randn(3, 2, WIDTH)
    assert not attention(layer, watch, x, y, y)[0].requires_grad
    assert not attention(layer, watch, x, x, x)[0].requires_grad
    assert not watch.edges


def test_without_a_graph_the_output_is_the_same() -> None:
    layer, watch = make(add_bias_kv=True), Watch()
    x, y = torch.randn(3, 2, WIDTH), torch.randn(3, 2, WIDTH)
    with torch.no_grad():
        assert torch.allclose(attention(layer, watch, x, y, y)[0], layer(x, y, y)[0], atol=1e-6)
        assert torch.allclose(attention(layer, watch, x, x, x)[0], layer(x, x, x)[0], atol=1e-6)


def test_a_projection_that_the_loss_does_not_use_has_the_gradient_zero_and_hides_no_other() -> None:
    layer, watch = make(batch_first=True), Watch()
    x, y = torch.randn(2, 3, WIDTH), torch.randn(2, 3, WIDTH)
    weights = attention(layer, watch, x, y, y)[1]
    assert weights is not None
    seed = torch.randn_like(weights)
    found = watch.per_unit([weights], [seed], 2)[layer.in_proj_weight]
    expected = torch.autograd.grad(layer(x, y, y)[1], layer.in_proj_weight, seed)[0]
    assert not found[:, 2 * WIDTH :].any()
    assert near(found.sum(0), expected)


def test_an_output_changed_in_place_hides_nothing() -> None:
    layer, watch = make(batch_first=True), Watch()
    x = torch.randn(2, 3, WIDTH)
    output = attention(layer, watch, x, x, x)[0].relu_()
    seed = torch.randn_like(output)
    found = watch.per_unit([output], [seed], 2)
    expected = torch.autograd.grad(layer(x, x, x)[0].relu(), list(layer.parameters()), seed)
    scale = max(float(gradient.abs().max()) for gradient in expected)
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert near(found[parameter].sum(0), gradient, scale)


@pytest.mark.parametrize("same", [True, False])
def test_an_input_changed_in_place_is_refused(same: bool) -> None:
    watch, x = Watch(), torch.randn(2, 3, WIDTH)
    query = x if same else torch.randn(2, 3, WIDTH)
    output = attention(make(batch_first=True), watch, query, x, x)[0]
    x.mul_(2.0)
    with pytest.raises(UnsupportedModel, match="changed in place"):
        watch.per_unit([output], [torch.ones_like(output)], 2)


@pytest.mark.parametrize("need_weights", [True, False])
def test_half_precision_contributes_in_float32(need_weights: bool) -> None:
    layer, watch = make(batch_first=True, add_bias_kv=True), Watch()
    x, y = torch.randn(2, 3, WIDTH), torch.randn(2, 3, WIDTH)
    mask = torch.zeros(3, 3).masked_fill_(torch.ones(3, 3).triu(1) > 0, -torch.inf)
    options: dict[str, Any] = {"attn_mask": mask, "need_weights": need_weights}
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(layer, watch, x, y, y, **options)[0]
        assert output.dtype == layer(x, y, y, **options)[0].dtype
    seed = torch.randn_like(output)
    found = watch.per_unit([output], [seed], 2)
    expected = torch.autograd.grad(layer(x, y, y, **options)[0], list(layer.parameters()), seed.float())
    scale = max(float(gradient.abs().max()) for gradient in expected)
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert found[parameter].dtype == torch.float32
        assert float((found[parameter].sum(0) - gradient).abs().max()) <= 0.05 * scale


@pytest.mark.parametrize("batch_first", [True, False])
def test_encoder_and_decoder_layers_are_served_in_either_layout(batch_first: bool) -> None:
    torch.manual_seed(3)
    options: dict[str, Any] = {"dim_feedforward": 8, "dropout": 0.0, "batch_first": batch_first}
    encoder = nn.TransformerEncoderLayer(WIDTH, HEADS, **options)
    decoder = nn.TransformerDecoderLayer(WIDTH, HEADS, **options)
    x = torch.randn(2, 3, WIDTH, requires_grad=True)
    x = x if batch_first else x.transpose(0, 1)
    causal = nn.Transformer.generate_square_subsequent_mask(3)

    def run() -> Tensor:
        output = decoder(x, encoder(x, src_mask=causal), tgt_mask=causal, tgt_is_causal=True)
        return output if batch_first else output.transpose(0, 1)

    layers = [encoder.self_attn, decoder.self_attn, decoder.multihead_attn]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    plain = run()
    watch = Watch()
    for layer in layers:
        layer.forward = lambda *args, _layer=layer, **named: attention(_layer, watch, *args, **named)  # type: ignore[method-assign]
    twin = run()
    assert torch.allclose(twin, plain, atol=1e-5)
    hold_gradients([plain], [twin], watch, [x], parameters, 2, together=True)


def test_what_is_not_finite_in_one_unit_does_not_reach_another() -> None:
    layer, x = make(batch_first=True, add_bias_kv=True), torch.randn(3, 4, WIDTH)
    gradients = []
    for value in (0.0, torch.nan):
        watch = Watch()
        x = x.clone()
        x[1, 2] = value
        output = attention(layer, watch, x, x, x)[0]
        gradients.append(watch.per_unit([output], [torch.ones_like(output)], 3))
    for parameter in layer.parameters():
        sound, broken = (found[parameter] for found in gradients)
        assert torch.allclose(sound[[0, 2]], broken[[0, 2]], rtol=1e-6)
    assert not gradients[1][layer.in_proj_weight][1].isfinite().all()


def test_one_sequence_without_a_batch_is_refused() -> None:
    x = torch.randn(3, WIDTH)
    with pytest.raises(UnsupportedModel, match="without a batch dimension"):
        attention(make(), Watch(), x, x, x)


def test_a_causal_hint_without_a_mask_is_refused() -> None:
    x = torch.randn(3, 2, WIDTH)
    with pytest.raises(UnsupportedModel, match="is_causal"):
        attention(make(), Watch(), x, x, x, is_causal=True)


def test_rows_that_are_not_the_models_are_refused() -> None:
    layer, watch = make(), Watch()
    x = torch.randn(2, 5, WIDTH)  # the model has 2 rows and 5 positions, the layer has it the other way round
    output = attention(layer, watch, x, x, x)[0]
    with pytest.raises(UnsupportedModel, match="batch_first"):
        watch.per_unit([output], [torch.ones_like(output)], 2)
