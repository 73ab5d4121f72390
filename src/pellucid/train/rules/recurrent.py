"""LSTM, GRU and RNN: the same parameters and the same function, from parts whose gradients can be watched.

For each layer and direction the input is projected for all steps at once, and one loop over time
(:mod:`pellucid.train.rules.cells`) gives the gradient at every step's pre-activation. The rest is a linear layer with
one position a step: the input weight sees the inputs, the hidden weight the states before each step.

All options of torch's layers: several layers, both directions, ``proj_size``, no bias, ``batch_first`` either way,
dropout between layers, an initial state or none, and ragged sequences (``PackedSequence``), exactly. Computed in
float32 at least, also under autocast and with weights of half precision; the output has the type of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from pellucid.errors import UnsupportedModel
from pellucid.train.contributions import Direct, Outer
from pellucid.train.rules.cells import Gru, Lstm, Rnn
from pellucid.train.rules.positions import by_unit, caught, kept, trainable

if TYPE_CHECKING:
    from pellucid.train.rules import Pieces, Watch

__all__ = ["recurrent"]

_WHERE = "LSTM, GRU or RNN"


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Sequences of one batch.

    Attributes:
        values: ``(T, B, p)``, zero where a sequence has ended.
        sizes: Rows that still run at each step; None if all run to the end.
        lengths: Of the sequences, in this order; None if they were not packed.
        order: Where each row of the model's batch is among these rows; None if in the same place.
    """

    values: Tensor
    sizes: list[int] | None = None
    lengths: Tensor | None = None
    order: Tensor | None = None

    def by_unit(self, steps: Tensor, units: int) -> Tensor:
        """``(T, B, d)`` as ``(units, positions, d)``: rows in the model's order, a unit's views one after the other."""
        rows = (steps if self.order is None else steps.index_select(1, self.order)).transpose(0, 1)
        return by_unit(rows, units, _WHERE)


def recurrent(layer: nn.RNNBase, watch: Watch, input: Any, hx: Any = None) -> tuple[Any, Any]:
    """What ``layer(input, hx)`` gives, with every weight's pre-activation watched.

    Args:
        layer: ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``.
        watch: Catches the gradient of a tensor.
        input: ``(T, B, p)``, ``(B, T, p)`` if ``batch_first``, or a ``PackedSequence``.
        hx: Initial state ``(layers · directions, B, H)``, for an LSTM a pair of them; None for zeros.

    Returns:
        Outputs in the form of ``input``, and the last state in the form of ``hx``.

    Raises:
        UnsupportedModel: One sequence without a batch dimension, or rows that are not those of the model.
    """
    weight: Any = layer.weight_ih_l0
    device = weight.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return _run(layer, watch, input, hx)
    return _run(layer, watch, input, hx)


def _run(layer: nn.RNNBase, watch: Watch, given: Any, hx: Any) -> tuple[Any, Any]:
    sequence, kind = _unpacked(layer, given)
    rows = sequence.values.shape[1]
    states = None if hx is None else (tuple(hx) if isinstance(layer, nn.LSTM) else (hx,))
    states = _initial(layer, states, sequence.values, rows)
    if isinstance(given, PackedSequence) and given.sorted_indices is not None:
        states = tuple(state.index_select(1, given.sorted_indices) for state in states)
    last: list[tuple[Tensor, ...]] = []
    directions = 2 if layer.bidirectional else 1
    for level in range(layer.num_layers):
        outputs = []
        for direction in range(directions):
            cell = _Cell(layer, f"_l{level}{'_reverse' if direction else ''}", bool(direction), sequence)
            output, *ended = cell.run(watch, tuple(state[level * directions + direction] for state in states))
            outputs.append(output)
            last.append(tuple(ended))
        values = torch.cat(outputs, 2) if layer.bidirectional else outputs[0]
        if layer.dropout and layer.training and level < layer.num_layers - 1:
            values = nn.functional.dropout(values, layer.dropout)
        sequence = _Sequence(values, sequence.sizes, sequence.lengths, sequence.order)
    ends = tuple(torch.stack(state).to(kind) for state in zip(*last, strict=True))
    values = sequence.values.to(kind)
    if sequence.lengths is not None:
        ends = ends if sequence.order is None else tuple(end.index_select(1, sequence.order) for end in ends)
        output = given._replace(data=pack_padded_sequence(values, sequence.lengths).data)
    else:
        output = values.transpose(0, 1) if layer.batch_first else values
    return output, ends if isinstance(layer, nn.LSTM) else ends[0]


def _unpacked(layer: nn.RNNBase, given: Any) -> tuple[_Sequence, torch.dtype]:
    """The input by step, in the type to compute in; and its own type."""
    weight: Any = layer.weight_ih_l0
    compute = torch.promote_types(weight.dtype, torch.float32)
    if isinstance(given, PackedSequence):
        values, lengths = pad_packed_sequence(PackedSequence(given.data.to(compute), given.batch_sizes))
        sizes = given.batch_sizes.tolist()
        ragged = sizes[-1] < sizes[0]
        return _Sequence(values, sizes if ragged else None, lengths, given.unsorted_indices), given.data.dtype
    if given.dim() != 3:
        raise UnsupportedModel(
            "a recurrent layer was given one sequence without a batch dimension",
            where=type(layer).__name__,
            fix="give (rows, steps, features) with batch_first=True",
        )
    values = given.transpose(0, 1) if layer.batch_first else given
    return _Sequence(values.to(compute)), given.dtype


def _initial(layer: nn.RNNBase, states: Any, values: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Initial states ``(layers · directions, B, …)``, zeros unless given."""
    deep = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or layer.hidden_size, layer.hidden_size]
    expected = [(deep, rows, width) for width in widths[: 2 if isinstance(layer, nn.LSTM) else 1]]
    if values.shape[2] != layer.input_size or (states and [tuple(state.shape) for state in states] != expected):
        raise UnsupportedModel(
            "the input or the initial state has another shape than the layer takes",
            where=type(layer).__name__,
            fix=f"give {layer.input_size} features a step and an initial state {expected[0]}",
        )
    if states is None:
        return tuple(values.new_zeros(shape) for shape in expected)
    return tuple(state.to(values.dtype) for state in states)


class _Cell:
    """One layer in one direction.

    Attributes:
        weights: Input, hidden and projection weight; None where there is none.
        biases: Input and hidden bias, or both None.
    """

    def __init__(self, layer: nn.RNNBase, suffix: str, reverse: bool, sequence: _Sequence) -> None:
        def parameter(name: str) -> Any:
            return getattr(layer, name + suffix, None)

        self.layer, self.reverse, self.sequence = layer, reverse, sequence
        self.weights = (parameter("weight_ih"), parameter("weight_hh"), parameter("weight_hr"))
        self.biases = (parameter("bias_ih"), parameter("bias_hh"))

    def run(self, watch: Watch, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Hidden states ``(T, B, H)`` and the last of each kind of state."""
        values = self.sequence.values.flatten(0, 1)
        weight, hidden, projection, bias, inner_bias = (_as(p, values.dtype) for p in (*self.weights, *self.biases))
        if isinstance(self.layer, nn.GRU):
            pre = caught(nn.functional.linear(values, weight, bias), self.weights[0], self.biases[0])
            return self._gru(watch, pre, states, hidden.detach(), inner_bias)
        both = None if bias is None else bias + inner_bias
        pre = caught(nn.functional.linear(values, weight, both), *self.weights[:2], *self.biases)
        constant, sizes = hidden.detach(), self.sequence.sizes  # the cell has no gradient for weights
        if isinstance(self.layer, nn.LSTM):
            share, inner = None, None
            if projection is not None:
                share = caught(values.new_zeros(()).expand(len(values), len(projection)), self.weights[2])
                projection = projection.detach()
            output, *last, before, inner = _apply(Lstm, pre, *states, constant, share, projection, sizes, self.reverse)
            if share is not None:
                watch(share, self._pieces((self.weights[2], inner)))
        else:
            relu = self.layer.nonlinearity == "relu"
            output, *last, before = _apply(Rnn, pre, *states, constant, relu, sizes, self.reverse)
        watch(pre, self._pieces((self.weights[0], self.sequence.values), (self.weights[1], before), biases=self.biases))
        return output, *last

    def _gru(
        self, watch: Watch, pre: Tensor, states: tuple[Tensor, ...], hidden: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The reset gate is between the two shares of the candidate, so that each has a gradient of its own."""
        share = pre.new_zeros(()) if bias is None else bias
        share = caught(share.expand(pre.shape), self.weights[1], self.biases[1])
        output, last, before = _apply(Gru, pre, *states, hidden, share, self.sequence.sizes, self.reverse)
        watch(pre, self._pieces((self.weights[0], self.sequence.values), biases=self.biases[:1]))
        watch(share, self._pieces((self.weights[1], before), biases=self.biases[1:]))
        return output, last

    def _pieces(self, *products: tuple[Any, Tensor], biases: tuple[Any, ...] = ()) -> Callable[[Tensor, int], Pieces]:
        """What the gradient ``(T·B, d)`` at a pre-activation means for the weights of its products and its biases."""
        sequence = self.sequence
        factors = [(weight, kept(factor, _WHERE)) for weight, factor in products if trainable(weight)]

        def pieces(gradient: Tensor, units: int) -> Pieces:
            g = sequence.by_unit(gradient.reshape(*sequence.values.shape[:2], -1), units)
            for weight, factor in factors:
                yield weight, Outer(sequence.by_unit(factor(), units), g)
            wanted = [bias for bias in biases if trainable(bias)]
            if wanted:
                total = Direct(g.sum(1))
                for bias in wanted:
                    yield bias, total

        return pieces


def _as(parameter: Any, kind: torch.dtype) -> Any:
    return None if parameter is None else parameter.to(kind)


def _apply(cell: type[Function], *args: Any) -> Any:
    return cell.apply(*args)  # type: ignore[no-untyped-call]  # torch's is untyped
