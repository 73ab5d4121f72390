"""Recurrent cells run over time: one forward and one backward loop each, so that autograd keeps no book a step.

All take the input's share of the pre-activations for every step at once, ``pre`` ``(T·B, gates·H)``, and return the
gradient at it. That gradient is all that the weights' gradients need: step ``t`` adds ``d pre_t ⊗ x_t`` to the input
weight's and ``d pre_t ⊗ h_(t-1)`` to the hidden weight's (back-propagation through time: Werbos 1990). Time comes first
within, ``T`` steps of ``B`` rows. ``sizes`` are the rows that are still running at each step, largest first, as in
``PackedSequence``; the state of a row that is not is kept. ``reverse`` runs from the last step to the first.

No gradient is returned for the weights. ``pre`` is overwritten, and so must be nobody else's, and no view: a view that
is written to gets another place in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

__all__ = ["Gru", "Lstm", "Rnn"]

# elementwise and fused: grad · (1 - y) · y, grad · (1 - y²) and grad · (y > 0), from the output y
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input


class Lstm(Function):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; gates in torch's order i, f, g, o).

    ``apply(pre, h0, c0, weight, share, projection, sizes, reverse)`` with ``pre`` ``(T·B, 4·H)``, ``h0`` ``(B, P)``,
    ``c0`` ``(B, H)``, hidden weight ``(4·H, P)``. With a ``projection`` ``(P, H)`` (``proj_size``; Sak et al. 2014) the
    hidden state is ``P`` wide, and ``share``, zeros ``(T·B, P)``, receives the gradient at what the projection adds;
    else both are None and ``P = H``.

    Returns hidden states ``(T, B, P)``, the last ``(B, P)`` and the last cell state ``(B, H)``; and, without gradient,
    the hidden states before each step and what is projected ``(T, B, H)`` or None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pre: Tensor,
        h0: Tensor,
        c0: Tensor,
        weight: Tensor,
        share: Tensor | None,
        projection: Tensor | None,
        sizes: list[int] | None,
        reverse: bool,
    ) -> tuple[Tensor | None, ...]:
        """Step by step; keeps the gates and the states."""
        rows, width = c0.shape
        time = len(pre) // rows
        gates = pre.detach().view(time, rows, 4 * width)
        hidden, cells = _states(h0, time, reverse), _states(c0, time, reverse)
        squashed = torch.empty_like(cells[1:])
        # zeros: a row that has ended adds 0 · 0, and not 0 times what was in memory
        inner = None if projection is None else torch.zeros_like(squashed)
        i, f, g, o = (_steps(gate, sizes) for gate in gates.view(time, rows, 4, width).unbind(2))
        forgetting = _steps(gates[..., : 2 * width], sizes)
        every, h_before, h_after = _steps(gates, sizes), *_around(hidden, sizes, reverse)
        c_before, c_after = _around(cells, sizes, reverse)
        flat, inside = _steps(squashed, sizes), h_after if inner is None else _steps(inner, sizes)
        across, out = weight.t(), None if projection is None else projection.t()
        for t in _order(time, reverse):
            every[t].addmm_(h_before[t], across)
            forgetting[t].sigmoid_()
            g[t].tanh_()
            o[t].sigmoid_()
            torch.mul(f[t], c_before[t], out=c_after[t])
            c_after[t].addcmul_(i[t], g[t])
            torch.tanh(c_after[t], out=flat[t])
            torch.mul(o[t], flat[t], out=inside[t])
            if out is not None:
                torch.mm(inside[t], out, out=h_after[t])
            _keep(sizes, t, rows, reverse, hidden, cells)
        before, after, last = _parts(hidden, reverse)
        ctx.save_for_backward(gates, cells, squashed, weight, *(() if projection is None else (projection,)))
        ctx.sizes, ctx.reverse = sizes, reverse
        ctx.mark_non_differentiable(*(tensor for tensor in (before, inner) if tensor is not None))
        return after, last, _parts(cells, reverse)[2], before, inner

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Step by step, the other way; no gradient for the weights."""
        gates, cells, squashed, weight, *rest = ctx.saved_tensors
        sizes, reverse, projection = ctx.sizes, ctx.reverse, rest[0] if rest else None
        time, rows, width = squashed.shape
        d_out, dh, dc = _steps(grads[0], sizes), grads[1].clone(), grads[2].clone()
        d_gates = torch.zeros_like(gates) if sizes else torch.empty_like(gates)
        d_share = None if projection is None else grads[0].new_zeros(grads[0].shape)
        i, f, g, o = (_steps(gate, sizes) for gate in gates.view(time, rows, 4, width).unbind(2))
        di, df, dg, do = (_steps(gate, sizes) for gate in d_gates.view(time, rows, 4, width).unbind(2))
        forgetting, d_forgetting = _steps(gates[..., : 2 * width], sizes), _steps(d_gates[..., : 2 * width], sizes)
        every, flat, shares = _steps(d_gates, sizes), _steps(squashed, sizes), _steps(d_share, sizes)
        c_before = _around(cells, sizes, reverse)[0]
        scratch, inward = torch.empty_like(dc), dh if projection is None else torch.empty_like(dc)
        for t in _order(time, not reverse):
            n = len(every[t])
            h, c, s, r = dh[:n], dc[:n], scratch[:n], inward[:n]
            h.add_(d_out[t])
            if projection is not None:
                shares[t].copy_(h)
                torch.mm(h, projection, out=r)
            torch.mul(r, flat[t], out=do[t])
            _sigmoid_backward(do[t], o[t], grad_input=do[t])
            torch.mul(r, o[t], out=s)
            _tanh_backward(s, flat[t], grad_input=s)
            c.add_(s)
            torch.mul(c, g[t], out=di[t])
            torch.mul(c, c_before[t], out=df[t])
            _sigmoid_backward(d_forgetting[t], forgetting[t], grad_input=d_forgetting[t])
            torch.mul(c, i[t], out=dg[t])
            _tanh_backward(dg[t], g[t], grad_input=dg[t])
            c.mul_(f[t])
            torch.mm(every[t], weight, out=h)
        return d_gates.flatten(0, 1), dh, dc, None, None if d_share is None else d_share.flatten(0, 1), None, None, None


class Gru(Function):
    """Gated recurrent unit (Cho et al. 2014; torch's form, gates r, z, n, reset after the product).

    ``apply(pre, h0, weight, share, sizes, reverse)`` with ``pre`` ``(T·B, 3·H)``, ``h0`` ``(B, H)``, hidden weight
    ``(3·H, H)`` and ``share`` ``(T·B, 3·H)``, the hidden bias (or zero) expanded over time and rows: the gradient at it
    is not that at ``pre``, for the reset gate stands between.

    Returns hidden states ``(T, B, H)``, the last ``(B, H)``; and, without gradient, the hidden states before each step.
    """

    @staticmethod
    def forward(
        ctx: Any, pre: Tensor, h0: Tensor, weight: Tensor, share: Tensor, sizes: list[int] | None, reverse: bool
    ) -> tuple[Tensor, ...]:
        """Step by step; keeps the gates and the states."""
        rows, width = h0.shape
        time = len(pre) // rows
        gates, hidden = pre.detach().view(time, rows, 3 * width), _states(h0, time, reverse)
        candidate = pre.new_empty(time, rows, width)
        r, z, n = (_steps(gate, sizes) for gate in gates.view(time, rows, 3, width).unbind(2))
        opening, inner = _steps(gates[..., : 2 * width], sizes), _steps(candidate, sizes)
        before, after = _around(hidden, sizes, reverse)
        across, bias, scratch = weight.t(), share.detach()[0], pre.new_empty(rows, 3 * width)
        for t in _order(time, reverse):
            product = scratch[: len(r[t])]
            torch.addmm(bias, before[t], across, out=product)
            opening[t].add_(product[:, : 2 * width]).sigmoid_()
            inner[t].copy_(product[:, 2 * width :])
            n[t].addcmul_(r[t], inner[t])
            n[t].tanh_()
            torch.sub(before[t], n[t], out=after[t])
            after[t].mul_(z[t]).add_(n[t])
            _keep(sizes, t, rows, reverse, hidden)
        first, out, last = _parts(hidden, reverse)
        ctx.save_for_backward(gates, hidden, candidate, weight)
        ctx.sizes, ctx.reverse = sizes, reverse
        ctx.mark_non_differentiable(first)
        return out, last, first

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Step by step, the other way; no gradient for the weights."""
        gates, hidden, candidate, weight = ctx.saved_tensors
        sizes, reverse = ctx.sizes, ctx.reverse
        time, rows, width = candidate.shape
        d_out, dh = _steps(grads[0], sizes), grads[1].clone()
        d_pre, d_share = (torch.zeros_like(gates) if sizes else torch.empty_like(gates) for _ in range(2))
        r, z, n = (_steps(gate, sizes) for gate in gates.view(time, rows, 3, width).unbind(2))
        dr, dz, dm = (_steps(gate, sizes) for gate in d_share.view(time, rows, 3, width).unbind(2))
        dn, every, inner = _steps(d_pre[..., 2 * width :], sizes), _steps(d_share, sizes), _steps(candidate, sizes)
        before, scratch = _around(hidden, sizes, reverse)[0], torch.empty_like(dh)
        for t in _order(time, not reverse):
            rest = len(every[t])
            h, kept = dh[:rest], scratch[:rest]
            h.add_(d_out[t])
            torch.mul(h, z[t], out=kept)
            torch.sub(h, kept, out=dn[t])
            _tanh_backward(dn[t], n[t], grad_input=dn[t])
            torch.sub(before[t], n[t], out=dz[t])
            dz[t].mul_(h)
            _sigmoid_backward(dz[t], z[t], grad_input=dz[t])
            torch.mul(dn[t], inner[t], out=dr[t])
            _sigmoid_backward(dr[t], r[t], grad_input=dr[t])
            torch.mul(dn[t], r[t], out=dm[t])
            torch.addmm(kept, every[t], weight, out=h)
        d_pre[..., : 2 * width] = d_share[..., : 2 * width]
        return d_pre.flatten(0, 1), dh, None, d_share.flatten(0, 1), None, None


class Rnn(Function):
    """Plain recurrent network (Elman 1990) with tanh or relu.

    ``apply(pre, h0, weight, relu, sizes, reverse)`` with ``pre`` ``(T·B, H)``, ``h0`` ``(B, H)``, hidden weight
    ``(H, H)``. Returns hidden states ``(T, B, H)``, the last ``(B, H)``; and, without gradient, those before each step.
    """

    @staticmethod
    def forward(
        ctx: Any, pre: Tensor, h0: Tensor, weight: Tensor, relu: bool, sizes: list[int] | None, reverse: bool
    ) -> tuple[Tensor, ...]:
        """Step by step; keeps the gates and the states."""
        rows, width = h0.shape
        time = len(pre) // rows
        hidden, gates = _states(h0, time, reverse), _steps(pre.detach().view(time, rows, width), sizes)
        before, after = _around(hidden, sizes, reverse)
        across = weight.t()
        for t in _order(time, reverse):
            gates[t].addmm_(before[t], across)
            if relu:
                torch.clamp_min(gates[t], 0.0, out=after[t])
            else:
                torch.tanh(gates[t], out=after[t])
            _keep(sizes, t, rows, reverse, hidden)
        first, out, last = _parts(hidden, reverse)
        ctx.save_for_backward(hidden, weight)
        ctx.relu, ctx.sizes, ctx.reverse = relu, sizes, reverse
        ctx.mark_non_differentiable(first)
        return out, last, first

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Step by step, the other way; no gradient for the weights."""
        hidden, weight = ctx.saved_tensors
        sizes, reverse = ctx.sizes, ctx.reverse
        dh = grads[1].clone()
        d_pre = torch.zeros_like(hidden[1:]) if sizes else torch.empty_like(hidden[1:])
        d_out, every, after = _steps(grads[0], sizes), _steps(d_pre, sizes), _around(hidden, sizes, reverse)[1]
        for t in _order(len(hidden) - 1, not reverse):
            h = dh[: len(every[t])]
            h.add_(d_out[t])
            if ctx.relu:
                _threshold_backward(h, after[t], 0.0, grad_input=every[t])
            else:
                _tanh_backward(h, after[t], grad_input=every[t])
            torch.mm(every[t], weight, out=h)
        return d_pre.flatten(0, 1), dh, None, None, None, None


def _order(time: int, reverse: bool) -> Iterable[int]:
    return range(time - 1, -1, -1) if reverse else range(time)


def _states(initial: Tensor, time: int, reverse: bool) -> Tensor:
    """Room for the states ``(T + 1, B, H)`` around ``T`` steps; the initial one is where the loop starts."""
    states = initial.new_empty(time + 1, *initial.shape)
    states[time if reverse else 0] = initial
    return states


def _steps(tensor: Tensor | None, sizes: list[int] | None) -> Any:
    """Views of the rows that run at each step; made once, for a slice costs as much as a small operation."""
    if tensor is None:
        return ()
    return tensor.unbind(0) if sizes is None else [tensor[t, :n] for t, n in enumerate(sizes)]


def _around(states: Tensor, sizes: list[int] | None, reverse: bool) -> tuple[Any, Any]:
    """Views of the states before and after each step."""
    before, after, _ = _parts(states, reverse, copy=False)
    return _steps(before, sizes), _steps(after, sizes)


def _parts(states: Tensor, reverse: bool, copy: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """The states before each step, after each step, and the last one (its own memory, unless ``copy`` is False)."""
    early, late = states[:-1], states[1:]
    last = states[0 if reverse else -1]
    last = last.clone() if copy else last
    return (late, early, last) if reverse else (early, late, last)


def _keep(sizes: list[int] | None, t: int, rows: int, reverse: bool, *states: Tensor) -> None:
    """Hand on the state of rows that do not run at step ``t``."""
    if sizes is not None and sizes[t] < rows:
        for state in states:
            state[t + 1 - reverse, sizes[t] :] = state[t + reverse, sizes[t] :]
