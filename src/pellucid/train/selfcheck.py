"""Before the first step: what the engine says of generated rows must be what autograd says.

A weight used behind its layer's back, rows mixed up, a rule that does not fit: all show here, before any budget is
spent.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any, Final

import torch
from torch import nn

from pellucid.errors import PellucidError, UnsupportedModel
from pellucid.train.contributions import Contribution, Room, by_person, layout
from pellucid.train.probe import forward, generated, generated_tree, in_training_mode
from pellucid.train.recorder import Recorder
from pellucid.train.workers import full, is_sharded

__all__ = ["check_gradients", "silent_parameters"]

_ENOUGH = 1 << 30  # bytes
ROWS: Final = 5
MORE: Final = 17
PEOPLE: Final = (3, 1, 5)  # rows of made-up people; the rest of MORE rows is one more person's
_Found = dict[str, torch.Tensor | None]


def check_gradients(recorder: Recorder, like: Any, *, people: bool = False) -> None:
    """Hold per-example gradients, their norms and their sum against autograd, on generated rows.

    Their sum must be the gradient of a loss over all rows, and each must be the gradient of a loss on the output of its
    row, in a pass over all rows that draws the same random numbers. Two numbers of rows are tried, because something of
    another length, such as the positions of a text, may have as many entries as there are rows.

    Args:
        recorder: Of the model; holds nothing afterwards.
        like: Shape and type of rows.
        people: Whether people may have several rows; then the same is held of made-up people.

    Raises:
        UnsupportedModel: They are not, or a backward pass fails. Names the parameter.
    """
    with in_training_mode(recorder.module), torch.enable_grad():
        try:
            for rows, singles in ((MORE, 1), (ROWS, ROWS)):
                _check(recorder, generated_tree(like, rows), rows, singles, people)
        finally:
            recorder.expect(None)
    recorder.learned = True


def _check(recorder: Recorder, x: Any, rows: int, singles: int, people: bool) -> None:
    names = {p: name for name, p in recorder.module.named_parameters() if p.requires_grad}
    found = {names[p]: contribution for p, contribution in _recorded(recorder, x).items()}
    everybody = {name: c.weighted_sum(torch.ones(rows, dtype=torch.float64)) for name, c in found.items()}
    _compare(everybody, _plain(recorder, x, slice(None)))
    _check_units(recorder, x, found, [slice(row, row + 1) for row in range(singles)])
    if people and rows == MORE:
        counts = torch.tensor([*PEOPLE, MORE - sum(PEOPLE)])
        ends = counts.cumsum(0).tolist()
        joined = {name: by_person(c, layout(counts)) for name, c in found.items()}
        _check_units(recorder, x, joined, [slice(a, b) for a, b in itertools.pairwise([0, *ends])])


def _check_units(recorder: Recorder, x: Any, found: dict[str, Contribution], rows: list[slice]) -> None:
    """Hold the norm and the gradient of the first units, each the mean over some rows, against autograd."""
    norms = {name: contribution.squared_norms(Room(_ENOUGH)).sqrt() for name, contribution in found.items()}
    one = torch.ones(1, dtype=torch.float64)
    for unit, part in enumerate(rows):
        samples = {name: c.select(torch.tensor([unit])).weighted_sum(one) for name, c in found.items()}
        sizes = {name: float(sample.detach().double().norm()) for name, sample in samples.items()}
        scale = max(sizes.values(), default=0.0)
        for name, size in sizes.items():
            norm = float(norms[name][unit])
            # it may be too large where terms cancel, never too small
            if not (1 - 1e-3) * size - 1e-6 * scale <= norm <= (1 + 1e-3) * size + 1e-3 * scale:
                raise _wrong(name)
        sums = _plain(recorder, x, part)
        _compare(samples, {name: None if g is None else g / (part.stop - part.start) for name, g in sums.items()})


def silent_parameters(recorder: Recorder, like: Any) -> list[str]:
    """Trainable parameters that a loss on generated rows does not reach: they would learn noise only."""
    with in_training_mode(recorder.module), torch.enable_grad():
        gradients = _plain(recorder, generated_tree(like), slice(None))
    return [name for name, gradient in gradients.items() if gradient is None]


def _loss(outputs: list[torch.Tensor], rows: slice) -> torch.Tensor:
    """A made-up loss that differs by row, summed over ``rows``."""
    total = torch.zeros((), dtype=torch.float64)
    for number, out in enumerate(outputs):
        weights = generated(tuple(out.shape[1:]), torch.float32, len(out), stream=30 + number)[rows].to(out.device)
        part = out[rows].float()
        total = total + (part * weights + part.square()).double().sum().cpu()
    return total


def _plain(recorder: Recorder, x: Any, rows: slice) -> _Found:
    """Autograd's gradients by parameter, without the engine, of a loss on the outputs of some rows."""
    parameters = {name: p for name, p in recorder.module.named_parameters() if p.requires_grad}
    with recorder.at_rest(plain=True):
        outputs = forward(recorder.module, x)
        found = _failing(lambda: _gradients(_loss(outputs, rows), list(parameters.values())))
    return dict(zip(parameters, found, strict=True))


def _gradients(loss: torch.Tensor, parameters: list[nn.Parameter]) -> list[torch.Tensor | None]:
    if not any(is_sharded(p) for p in parameters):
        return list(torch.autograd.grad(loss, parameters, allow_unused=True))
    for p in parameters:  # sharded gradients come by hooks, averaged over processes that were all given these rows
        p.grad = None
    loss.backward()  # type: ignore[no-untyped-call]  # torch carries no type here
    found = [None if p.grad is None else full(p.grad) for p in parameters]
    for p in parameters:
        p.grad = None
    return found


def _recorded(recorder: Recorder, x: Any) -> dict[nn.Parameter, Contribution]:
    recorder.expect(x)
    for p in recorder.module.parameters():
        p.grad = None
    views, recorder.views = recorder.views, 1
    mean, recorder.mean = recorder.mean, False
    try:
        outputs = forward(recorder.module, x)

        def read() -> dict[nn.Parameter, Contribution]:
            _loss(outputs, slice(None)).backward()  # type: ignore[no-untyped-call]  # torch carries no type here
            return recorder.gradients()

        found: dict[nn.Parameter, Contribution] = _failing(read)
    finally:
        recorder.views, recorder.mean = views, mean
    leaked = next((name for name, p in recorder.module.named_parameters() if p.grad is not None), None)
    for p in recorder.module.parameters():
        p.grad = None
    if leaked is not None:
        raise UnsupportedModel(
            "a gradient reaches this parameter past the model's output, where it cannot be clipped",
            where=leaked,
            fix="return everything that the loss uses; use activation checkpointing with use_reentrant=False",
        )
    return found


def _failing(compute: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compute()
    except PellucidError:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"a backward pass on generated rows failed: {type(error).__name__}: {error}",
            where="the model",
            fix="build the layer from torch.nn layers, and use activation checkpointing with use_reentrant=False",
        ) from error


def _compare(samples: dict[str, torch.Tensor], gradients: _Found) -> None:
    """Hold gradients against autograd's, up to the rounding of the type they were computed in."""
    present = [g for g in gradients.values() if g is not None and g.numel()]
    scale = max((float(g.abs().max()) for g in present), default=0.0)
    coarse = any(g.dtype in (torch.bfloat16, torch.float16) for g in present)
    for name, gradient in gradients.items():
        sample = samples.get(name)
        if sample is None and (gradient is None or not gradient.any()):
            continue
        expected = torch.zeros_like(sample) if gradient is None and sample is not None else gradient
        rtol, atol = (5e-2, 2e-2 * scale) if coarse else (1e-3, 1e-5 * scale)
        if sample is None or expected is None or sample.shape != expected.shape:
            raise _wrong(name)
        if not torch.allclose(sample.to(expected), expected, rtol=rtol, atol=atol):
            raise _wrong(name)


def _wrong(name: str) -> UnsupportedModel:
    return UnsupportedModel(
        "per-example gradients are not what the gradient says, so clipping would miss a part of it",
        where=name,
        fix="use the parameter only through the forward pass of its own layer, with the batch first",
    )
