"""Probes of a model on generated rows: what no list of forbidden layers can find.

The probes never see a private row, and leave the model, its mode and the global random state as they were.
"""

from __future__ import annotations

import abc
import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import nn

from pellucid.errors import UnsupportedModel

__all__ = ["PerExample", "changed_state", "check_gradients", "coupled_rows", "generated", "in_training_mode"]


class PerExample(nn.Module):
    """A module that leaves per-example gradients in ``parameter.grad_sample`` after a backward pass."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Drop what forward and backward passes left behind."""

    @abc.abstractmethod
    def expect(self, rows: torch.Tensor | None) -> None:
        """Admit gradients of exactly these rows, or, with None, of any until the next batch, which drops them."""


ROWS: Final = 4
SEED: Final = 20_311_231  # public; only makes two forward passes draw the same dropout mask


def generated(shape: tuple[int, ...], dtype: torch.dtype, rows: int = ROWS, stream: int = 0) -> torch.Tensor:
    """Rows that no person stands behind, as a tensor of shape ``(rows, *shape)``.

    Floats are uniform in [-1, 1], the range of the encoding; integers are 0 or 1, which every vocabulary has.
    """
    generator = torch.Generator().manual_seed(SEED + stream)
    if dtype.is_floating_point:
        return (torch.rand((rows, *shape), generator=generator, dtype=torch.float64) * 2 - 1).to(dtype)
    return torch.randint(0, 2, (rows, *shape), generator=generator).to(dtype)


@contextlib.contextmanager
def in_training_mode(model: nn.Module) -> Iterator[None]:
    """The model in training mode inside; afterwards modes, buffers and the global random state as before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[]):
        try:
            model.train()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def changed_state(model: nn.Module, x: torch.Tensor) -> str | None:
    """The name of a buffer, or of a tensor kept in an attribute, that a training forward pass on ``x`` changes.

    Such a tensor learns from the data outside of the clipped, noisy gradient. None if there is none.
    """
    with in_training_mode(model), torch.no_grad():
        before = {name: (tensor, tensor.detach().clone()) for name, tensor in _tensors(model)}
        try:
            forward(model, x)
            return next((name for name, tensor in _tensors(model) if _differs(tensor, before.get(name))), None)
        finally:
            _restore(model, before)


def coupled_rows(model: nn.Module, x: torch.Tensor) -> bool:
    """Whether the output for one row of ``x`` depends on another row, in training mode.

    Every row is held fixed in turn while all the others are replaced, once by rows of like size, once by much larger
    ones, and once taken away. Dropout draws the same mask each time.
    """
    with in_training_mode(model), torch.no_grad():
        whole = forward(model, x)
        for row in range(len(x)):
            for stream, scale in ((1, 1), (2, -7)):
                other = generated(tuple(x.shape[1:]), x.dtype, len(x), stream)
                other = other * scale if x.dtype.is_floating_point else 1 - other
                other[row] = x[row]
                if not _close(forward(model, other)[row], whole[row]):
                    return True
        # with fewer rows dropout draws another mask, so that only models without chance can be asked this
        steady = _close(forward(model, x, SEED + 1), whole)
        return steady and not _close(forward(model, x[:1])[0], whole[0])


def forward(model: nn.Module, x: torch.Tensor, seed: int = SEED) -> torch.Tensor:
    """One forward pass with a fixed random state.

    Raises:
        UnsupportedModel: It fails, or does not give one tensor with one row of floats for each row of ``x``.
    """
    torch.manual_seed(seed)
    name = type(model).__name__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = model(x)
    except Exception as error:
        raise UnsupportedModel(
            f"a forward pass on {len(x)} generated rows of shape {tuple(x.shape[1:])} failed: "
            f"{type(error).__name__}: {error}",
            where=name,
            fix="make the model accept any number of encoded rows, also one",
        ) from error
    if not isinstance(out, torch.Tensor) or out.dim() < 1 or len(out) != len(x) or not out.dtype.is_floating_point:
        raise UnsupportedModel(
            "the model must give one tensor of floats with one row for each input row",
            where=name,
            fix="return logits of shape (rows, classes)",
        )
    return out


def check_gradients(model: PerExample, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """On generated rows, per-example gradients must be what autograd says.

    Their mean must be the gradient of the mean loss and, unless chance plays a part such as dropout, each must be the
    gradient of its row alone. A weight used behind its layer's back, or rows mixed up, shows here.

    Raises:
        UnsupportedModel: They are not, or a backward pass fails.
    """
    x = generated(shape, dtype)
    with in_training_mode(model), torch.enable_grad():
        try:
            out, samples, gradients = _backward(model, x, slice(None))
            _compare(samples, gradients, None, len(x))
            for row in range(len(x)):
                alone, _, gradients = _backward(model, x[row : row + 1], slice(row, row + 1))
                if _close(alone[0], out[row]):
                    _compare(samples, gradients, row, len(x))
        finally:
            for p in model.parameters():
                p.grad = None
            model.forget()


_Gradients = dict[str, torch.Tensor | None]


def _backward(model: PerExample, x: torch.Tensor, rows: slice) -> tuple[torch.Tensor, dict[str, Any], _Gradients]:
    """Output, per-example gradients and gradients by parameter, of a made-up loss that differs by row."""
    model.forget()
    for p in model.parameters():
        p.grad = None
    out = forward(model, x)
    weights = generated(tuple(out.shape[1:]), out.dtype, ROWS, stream=3)[rows]
    try:
        loss = (out * weights + out.square()).reshape(len(x), -1).sum(1).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch carries no type here
    except Exception as error:
        raise UnsupportedModel(
            f"per-example gradients failed on generated rows: {type(error).__name__}: {error}",
            where="the model",
            fix="build the layer from torch.nn layers, or use Opacus's DP variant of it",
        ) from error
    named = [(name.removeprefix("_module."), p) for name, p in model.named_parameters() if p.requires_grad]
    return out.detach(), {n: getattr(p, "grad_sample", None) for n, p in named}, {n: p.grad for n, p in named}


def _compare(samples: dict[str, Any], gradients: _Gradients, row: int | None, rows: int) -> None:
    """Hold per-example gradients (of ``row``, or their mean) against gradients, up to float32 rounding."""
    scale = max((float(g.abs().max()) for g in gradients.values() if g is not None and g.numel()), default=0.0)
    for name, gradient in gradients.items():
        sample = samples[name]
        if sample is None and (gradient is None or not gradient.any()):
            continue
        right = isinstance(sample, torch.Tensor) and len(sample) == rows
        if right:
            found = sample.mean(0) if row is None else sample[row]
            expected = torch.zeros_like(found) if gradient is None else gradient
            right = bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-5 * scale))
        if not right:
            raise UnsupportedModel(
                "per-example gradients are not what the gradient says, so clipping would miss a part of it",
                where=name,
                fix="use the parameter only through the forward pass of its own layer, with the batch first",
            )


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    found = list(model.named_buffers())
    for prefix, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                found.append((f"{prefix}.{key}" if prefix else key, value))
    return found


def _restore(model: nn.Module, before: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Put back tensors that the forward pass replaced by others; :func:`in_training_mode` restores their values."""
    for name, tensor in _tensors(model):
        prefix, _, key = name.rpartition(".")
        module = model.get_submodule(prefix)
        if name not in before:
            delattr(module, key)
        elif before[name][0] is not tensor:
            setattr(module, key, before[name][0])
        if name in before:
            before[name][0].copy_(before[name][1])


def _differs(tensor: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor] | None) -> bool:
    if before is None or before[0] is not tensor or tensor.shape != before[1].shape:
        return True
    return not torch.equal(tensor.nan_to_num(), before[1].nan_to_num())


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    # kernels may sum in another order when the shape changes, so the last bits are not held against the model
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True))
