"""Integrated gradients: the mean gradient on the straight way from a baseline to a row, times the way.

Sundararajan, Taly and Yan (2017, ICML), equation 1. By the fundamental theorem of calculus the attributions of a row
sum to f(x) − f(baseline); how far a rule with so many points is from that is measured, and the points are doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import UnsupportedModel
from pellucid.explain.answers import exhausted, fitting, scored
from pellucid.explain.attribution.affine import split
from pellucid.explain.attribution.completeness import REMEDY, Gap, incomplete, measure
from pellucid.explain.attribution.question import Answer, Question
from pellucid.explain.intervals import Floats
from pellucid.explain.model import device_of, in_precision, precision_of, untouched

__all__ = ["Score", "explain", "integrated_gradients", "mean_gradient", "refine", "room"]

# Points (n, …) and the rows (n,) on whose way they lie -> scores (n,)
Score = Callable[[Tensor, Tensor], Tensor]
# The rows asked for, points on each way, arithmetic -> attributions by slot (n, slots)
Rule = Callable[[slice, int, torch.dtype], Floats]

POINTS: Final = 8192  # path points in flight at most
SAVED: Final = 2**23  # bytes that a backward pass may find: more do not stay in the cache of a CPU
ROUNDS: Final = "the model rounds its own answers: explain model.float(), or raise the tolerance and say so"
PILOT: Final = 256  # rows on which the number of steps is found


def explain(question: Question) -> Answer:
    """Integrated gradients at the input.

    Raises:
        UnsupportedModel: The model has no gradient, or the gap stays above the tolerance.
    """
    models: dict[torch.dtype, nn.Module] = {}

    def rule(rows: slice, steps: int, precision: torch.dtype) -> Floats:
        if precision not in models:
            models[precision] = in_precision(question.model, precision)
        x, start = question.x[rows].to(precision), question.start[0].to(precision)
        return question.fields.total(
            integrated_gradients(models[precision], x, start, steps, target=question.target).reshape(len(x), -1)
        )

    return refine(rule, question.change(), question)


def refine(rule: Rule, change: Floats, question: Question) -> Answer:
    """Double the steps until the gap is within the tolerance, first on a few rows, then on all.

    If the last doubling does not reach it either, rounding may be what is in the way: the last one is then tried in
    float64. The gap is always that to the answers ``change`` (N,) of the model as it is.

    Raises:
        UnsupportedModel: The gap stays above the tolerance.
    """
    steps, tolerance = question.steps, question.tolerance
    while True:
        found, gap = _whole(rule, change, steps, tolerance, torch.float32)
        if gap.mean <= tolerance:
            return Answer(found, gap, steps)
        if steps * 2 > question.limit:
            break
        steps *= 2
    try:
        found, exact = _whole(rule, change, steps, tolerance, torch.float64)
    except UnsupportedModel:  # a model that casts to float32 itself
        raise incomplete(gap, f"{steps} steps", tolerance) from None
    if not exact.mean <= tolerance:
        low = precision_of(question.model) in (torch.bfloat16, torch.float16)
        raise incomplete(exact, f"{steps} steps", tolerance, fix=ROUNDS if low else REMEDY)
    return Answer(found, exact, steps, precision="float64")


def _whole(rule: Rule, change: Floats, steps: int, tolerance: float, precision: torch.dtype) -> tuple[Floats, Gap]:
    """Attributions and their gap: of a few rows, and of all if those add up."""
    found = rule(slice(0, PILOT), steps, precision)
    gap = measure(found.sum(axis=1), change[:PILOT])
    if gap.mean <= tolerance and len(change) > PILOT:
        found = np.concatenate([found, rule(slice(PILOT, None), steps, precision)])
        gap = measure(found.sum(axis=1), change)
    return found, gap


def integrated_gradients(
    model: nn.Module, x: Tensor, baseline: Tensor, steps: int, *, target: int | None = None
) -> Floats:
    """Integrated gradients (N, …) of a :func:`pellucid.explain.model.frozen` model, in chunks of path points.

    Args:
        model: Frozen, rows independent of each other.
        x: (N, …) floats, of the precision of the model.
        baseline: (…).
        steps: Gauss-Legendre points a path.
        target: The class, as for :func:`pellucid.explain.model.pick`.

    Raises:
        UnsupportedModel: The model has no gradient with respect to its input, or memory does not hold one row.
    """
    head, tail = split(model)
    score, device = scored(tail, target, spare=True), device_of(model)
    # a module that works in place must not write into the points themselves
    give = torch.clone if any(getattr(part, "inplace", False) for part in tail.modules()) else _as_is

    def work(points: int) -> Floats:
        parts = []
        for part in torch.split(x, max(1, points // steps)):
            ends = part.to(device)
            start = baseline.to(device)[None]
            with torch.no_grad():
                first, last = head(start), head(ends)
            gradient = mean_gradient(lambda at, _: score(give(at)), first.expand_as(last), last, steps, points)
            if not isinstance(head, nn.Identity):
                here = ends.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(head(here), here, gradient)
            parts.append((gradient * (ends - start)).cpu().double())
        return torch.cat(parts).numpy()

    with untouched():
        return fitting(room(lambda at: score(give(head(at))), x[:1].to(device)), work)


def mean_gradient(score: Score, first: Tensor, last: Tensor, steps: int, points: int) -> Tensor:
    """The mean gradient (n, …) of ``score`` on the straight ways from ``first`` to ``last`` (n, …).

    Rows are independent, so the gradient of the sum of their scores is the gradient of each, and one backward pass
    serves as many points as memory holds. Parameters take no gradient, so none is computed for them.

    Raises:
        UnsupportedModel: There is no gradient.
    """
    nodes, weights = _rule(steps)
    at = torch.from_numpy((nodes + 1) / 2).to(last).reshape(-1, *[1] * last.ndim)
    share = torch.from_numpy(weights / 2).to(last)
    rows = torch.arange(len(last), device=last.device)
    total = torch.zeros_like(last)
    group = max(1, points // len(last))
    for begin in range(0, steps, group):
        part, weight = at[begin : begin + group], share[begin : begin + group]
        here = torch.lerp(first, last, part).flatten(0, 1).requires_grad_()
        answers = score(here, rows.repeat(len(part)))
        try:
            (gradient,) = torch.autograd.grad(answers.sum(), here)
        except RuntimeError as error:
            if exhausted(error):
                raise
            raise UnsupportedModel(
                f"the model has no gradient with respect to its input ({type(error).__name__})",
                where="model",
                fix='keep rounding, argmax and detach out of forward, or ask with method="shapley_sampling"',
            ) from error
        total += torch.tensordot(weight, gradient.reshape(len(part), *last.shape), dims=1)
    return total


@lru_cache(maxsize=16)
def _rule(steps: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return nodes, weights


def _as_is(points: Tensor) -> Tensor:
    return points


def room(score: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """How many points like the first row of ``x`` go through the model at a time.

    As many as leave so little for the backward pass that it stays in the cache. What is kept for four points less what
    is kept for two is that of two points: weights are kept once.
    """
    held = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal held
        held += tensor.nbytes
        return tensor

    kept = []
    for points in (2, 4):
        here, held = torch.cat([x[:1].detach()] * points).requires_grad_(), 0
        try:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                score(here)
        except (RuntimeError, MemoryError) as error:
            if not exhausted(error):
                raise
            return 1
        kept.append(held)
    one = max(x[0].nbytes, (kept[1] - kept[0]) // 2)
    return max(1, min(POINTS, (SAVED if x.device.type == "cpu" else 64 * SAVED) // one))
