"""The only door to SHAP: KernelShap, for models of which nothing is known but their answers.

SHAP is asked about coalitions of fields, not about slots: a row of zeros and ones says which fields are the person's
and which the baseline's, so that a one-hot column is in or out as a whole. Its selection of features (``l1_reg``) is
off: it would set attributions to zero without saying so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pellucid.errors import MissingExtra
from pellucid.explain.answers import CHUNK, outputs, pick
from pellucid.explain.attribution.completeness import incomplete, measure
from pellucid.explain.attribution.draws import BATCHES, Batches, seeds
from pellucid.explain.attribution.question import Answer, Question
from pellucid.explain.background import Background
from pellucid.explain.intervals import Floats
from pellucid.explain.model import untouched
from pellucid.explain.shapley import MOST_FIELDS, exact_shapley

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["kernel_shap"]


def kernel_shap(question: Question) -> Answer:
    """Shapley values by a weighted regression on coalitions, against the mean over the baselines.

    With no more coalitions than draws, all are taken and the values are exact: the regression over all coalitions has
    the Shapley values for solution (Lundberg and Lee 2017, theorem 2), so up to fourteen fields they are looked up as
    such, without SHAP, for all rows together.

    Raises:
        MissingExtra: SHAP is not installed, and coalitions have to be drawn.
        UnsupportedModel: The values do not add up within the tolerance.
    """
    count = len(question.fields)
    every = count < 30 and 2**count - 2 <= question.draws
    if every and count <= MOST_FIELDS:
        stand = Background(question.start, public=True, source="baselines")
        exact = exact_shapley(question.model, question.x, stand, question.fields, target=question.target)
        return Answer(exact.rows, measure(exact.rows.sum(axis=1), question.change()))
    explainer = _explainer()
    coalitions = question.draws if every else max(2 * count + 2, question.draws // BATCHES)

    def estimate(seed: int) -> Floats:
        with untouched(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.empty((len(question.x), count))
            for number, row in enumerate(question.x):
                np.random.seed(seeds(seed, number))  # SHAP draws from the global generator
                method = explainer(_coalition_value(question, row), np.zeros((1, count)))
                found[number] = method.shap_values(np.ones((1, count)), nsamples=coalitions, l1_reg=False, silent=True)[
                    0
                ]
        return found

    if every:
        rows, noise, draws = estimate(question.seed), None, 0
    else:
        batches = Batches(estimate, question.seed)
        batches.grow(BATCHES)
        rows, noise, draws = batches.mean, batches.error, BATCHES * coalitions
    gap = measure(rows.sum(axis=1), question.change())
    if not gap.mean <= question.tolerance:
        raise incomplete(gap, "KernelShap", question.tolerance)
    return Answer(rows, gap, draws=draws, noise=noise)


def _coalition_value(question: Question, row: Tensor) -> Callable[[Floats], Floats]:
    """Coalitions (k, fields) of zeros and ones → the mean answer (k,) over baselines with these fields of ``row``."""
    membership = torch.from_numpy(question.fields.membership() > 0)
    starts = question.start.flatten(1)
    group = max(1, CHUNK // len(starts))

    def value(coalitions: Floats) -> Floats:
        parts = []
        for some in torch.split(torch.from_numpy(np.asarray(coalitions) > 0), group):
            taken = some.float() @ membership.float() > 0
            points = torch.where(taken[:, None], row.flatten(), starts).flatten(0, 1)
            answers = pick(outputs(question.model, points.reshape(-1, *row.shape)), question.target)
            parts.append(answers.reshape(len(some), -1).mean(dim=1))
        return torch.cat(parts).numpy()

    return value


def _explainer() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing SHAP imports plotting libraries with deprecations of their own
            from shap import KernelExplainer
    except ImportError as error:
        raise MissingExtra(
            "KernelShap needs the package shap", fix="pip install 'pellucid[train]', or ask by shapley_sampling"
        ) from error
    return KernelExplainer
