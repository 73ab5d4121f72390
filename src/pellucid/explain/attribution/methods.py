"""The only door to Captum: GradientShap, DeepLift, Shapley sampling and Grad-CAM.

Captum asks once for each row where rows are independent, and draws from global generators. Here the score is summed
over rows where a gradient is wanted, the generators are seeded inside and put back outside, and every result is held
against the model's answers by ourselves.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.answers import fitting, outputs, scored
from pellucid.explain.attribution.completeness import incomplete, measure
from pellucid.explain.attribution.draws import BATCHES, Batches
from pellucid.explain.attribution.path import room
from pellucid.explain.attribution.preflight import table
from pellucid.explain.attribution.question import Answer, Question
from pellucid.explain.intervals import Floats
from pellucid.explain.model import device_of, untouched

__all__ = ["deep_lift", "grad_cam", "gradient_shap", "shapley_sampling"]

MOST: Final = 64  # times the draws asked for, until a gap is refused
PATH: Final = 'integrated gradients: method="auto"'


def gradient_shap(question: Question) -> Answer:
    """The mean of gradient times way at random points of the ways from random baselines; an estimate.

    The draws are doubled until the completeness gap, which is their noise, is within the tolerance.

    Raises:
        UnsupportedModel: It is not within 64 times the draws asked for.
    """
    from captum.attr import GradientShap

    score = scored(question.model, question.target)
    # Rows are independent, so the gradient of their sum is the gradient of each: one backward instead of one a row.
    method = GradientShap(lambda points: score(points).sum().reshape(1))
    a_batch = max(1, question.draws // BATCHES)

    def estimate(seed: int) -> Floats:
        def some(x: Tensor, start: Tensor, points: int) -> Tensor:
            total = torch.zeros_like(x)
            for draws in _pieces(a_batch, max(1, points // len(x))):
                total += draws * _tensor(method.attribute(x, baselines=start, n_samples=draws, stdevs=0.0))
            return total / a_batch

        return question.fields.total(_by_rows(question, some, a_batch, seed))

    batches, change, count = Batches(estimate, question.seed), question.change(), BATCHES
    while True:
        batches.grow(count)
        gap = measure(batches.mean.sum(axis=1), change)
        if gap.mean <= question.tolerance:
            return Answer(batches.mean, gap, draws=count * a_batch, noise=batches.error)
        if count >= MOST * BATCHES:
            raise incomplete(gap, f"{count * a_batch} draws", question.tolerance, fix=f"draw more, or ask by {PATH}")
        count *= 2


def deep_lift(question: Question) -> Answer:
    """Differences from the baseline, passed back module by module; exact only where every module has a rule.

    Raises:
        UnsupportedModel: A module has no rule, or the gap is above the tolerance all the same.
    """
    from captum.attr import DeepLift

    found = table(question.model, question.x, zero_baseline=not bool(question.start.any()))
    if (obstacle := found.obstacle) is not None:
        raise UnsupportedModel(
            f"DeepLift has no exact rule here: {obstacle.why}",
            where=obstacle.name or "model",
            fix=f"ask by {PATH}",
        )
    method = DeepLift(_Score(question.model, question.target))

    def some(x: Tensor, start: Tensor, _: int) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the hooks that it sets on the copy
            return _tensor(method.attribute(x, baselines=start, target=0))

    rows = question.fields.total(_by_rows(question, some, 2, question.seed))
    gap = measure(rows.sum(axis=1), question.change())
    if not gap.mean <= question.tolerance:
        raise incomplete(gap, "DeepLift", question.tolerance, fix=f"ask by {PATH}")
    return Answer(rows, gap)


def shapley_sampling(question: Question) -> Answer:
    """Shapley values of the fields against one baseline: the mean over random orders in which they are put in.

    Every order adds up exactly. With no more orders than draws, all are taken, and nothing is drawn.
    """
    from captum.attr import ShapleyValues, ShapleyValueSampling

    score, fields, marks = scored(question.model, question.target), question.fields, question.marks()
    leading = [group[0] for group in fields.slots]
    every = math.factorial(len(fields)) <= question.draws
    a_batch = max(1, question.draws // BATCHES)
    method: Any = (ShapleyValues if every else ShapleyValueSampling)(score)
    asked: dict[str, int] = {} if every else {"n_samples": a_batch}

    def estimate(seed: int) -> Floats:
        def some(x: Tensor, start: Tensor, points: int) -> Tensor:
            together = max(1, min(len(fields), points // len(x) - 1))
            return _tensor(
                method.attribute(
                    x, baselines=start, feature_mask=marks.to(x.device), perturbations_per_eval=together, **asked
                )
            )

        with torch.no_grad():
            # each slot of a field is given what belongs to the whole field
            return _by_rows(question, some, len(fields) + 1, seed)[:, leading]

    if every:
        rows, noise, draws = estimate(question.seed), None, 0
    else:
        batches = Batches(estimate, question.seed)
        batches.grow(BATCHES)
        rows, noise, draws = batches.mean, batches.error, BATCHES * a_batch
    gap = measure(rows.sum(axis=1), question.change())
    if not gap.mean <= question.tolerance:
        raise incomplete(gap, "Shapley sampling", question.tolerance)
    return Answer(rows, gap, draws=draws, noise=noise)


def grad_cam(question: Question) -> Answer:
    """Where the last convolution is both active and wanted, summed over the pixels of each patch.

    Raises:
        BadData: The rows are no images (N, C, H, W).
        UnsupportedModel: The model reaches no convolution.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    if question.x.ndim != 4:
        raise BadData("Grad-CAM is for images (N, C, H, W)", where="x", fix='ask with method="occlusion"')
    layer = _last_convolution(question.model, question.x[:2])
    method = LayerGradCam(scored(question.model, question.target), layer)
    channels, *size = question.x.shape[1:]

    def some(x: Tensor, _: Tensor, __: int) -> Tensor:
        found = _tensor(method.attribute(x, relu_attributions=True))
        whole = _tensor(LayerAttribution.interpolate(found, tuple(size), interpolate_mode="bilinear"))
        return whole.expand(-1, channels, -1, -1) / channels

    return Answer(question.fields.total(_by_rows(question, some, 1, question.seed)))


def _by_rows(question: Question, some: Callable[[Tensor, Tensor, int], Tensor], each: int, seed: int) -> Floats:
    """Attributions (N, slots) of all rows, a few rows at a time, of which each makes ``each`` points.

    ``some`` is told how many points memory holds: fewer than ``each`` where a single row makes too many.
    """
    device = device_of(question.model)
    x, start = question.x.to(device), question.start.to(device)

    def work(points: int) -> Floats:
        # Captum draws from the global generators, which untouched() puts back
        torch.manual_seed(seed % 2**63)
        np.random.seed(seed % 2**32)
        rows = torch.split(x, max(1, points // each))
        parts = [some(part, start, points).detach().cpu().double() for part in rows]
        return torch.cat(parts).flatten(1).numpy()

    with untouched():
        return fitting(room(scored(question.model, question.target), x[:1]), work)


def _pieces(total: int, size: int) -> Iterator[int]:
    return (min(size, total - done) for done in range(0, total, size))


def _last_convolution(model: nn.Module, x: Tensor) -> nn.Module:
    reached: list[nn.Module] = []
    handles = [
        part.register_forward_hook(lambda part, *_: reached.append(part))
        for part in model.modules()
        if isinstance(part, nn.Conv2d)
    ]
    outputs(model, x)
    for handle in handles:
        handle.remove()
    if not reached:
        raise UnsupportedModel(
            "Grad-CAM looks at the last convolution, and the model reaches none",
            where="model",
            fix='ask with method="occlusion"',
        )
    return reached[-1]


class _Score(nn.Module):
    """A model with one output: DeepLift takes modules only."""

    def __init__(self, model: nn.Module, target: int | None) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = scored(self.model, self.target)(x)
        return found[:, None]


def _tensor(found: Any) -> Tensor:
    tensor: Tensor = found
    return tensor
