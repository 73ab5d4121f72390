"""Can the explanation be believed? Completeness, agreement with a second method, and a randomised model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Coverage, Evidence, Subject, Tier, round_down
from pellucid.explain.attribution import by_column, integrated_gradients
from pellucid.explain.explanation import Explanation
from pellucid.explain.intervals import Floats
from pellucid.explain.model import check_rows, frozen, untouched
from pellucid.explain.ranking import spearman
from pellucid.schema import Encoding

__all__ = ["Validity", "check_validity", "randomised", "top_overlap"]

ROWS: Final = 256
MODELS: Final = 20


@dataclass(frozen=True, slots=True)
class Validity:
    """How far an explanation can be trusted.

    Attributes:
        completeness_gap_max: The largest miss of a row over the mean size of what attributions must sum to.
        spearman: Rank correlation over columns of mean |attribution| and permutation importance; absent with fewer
            than three columns or without importance.
        top3: Share of the three most important columns (or all, if fewer) that both methods name.
        randomisation: Mean rank correlation, over rows, of the signed attributions of the model and of copies with
            a re-drawn last layer. Near 0 if attributions depend on what was learned; near 1 if they do not.
        randomisation_absolute: The same of |attribution|; stays higher, for a large input gets large attributions
            from any model.
        randomisation_error: Standard error of :attr:`randomisation` over the copies.
        models: How many re-drawn copies.
        rows: On how many rows.
        seed: Public seed of the re-drawn layers.
        covered: No held-out person was looked at.
    """

    completeness_gap_max: float
    spearman: float | None
    top3: float | None
    randomisation: float | None
    randomisation_absolute: float | None
    randomisation_error: float | None
    models: int
    rows: int
    seed: int
    covered: bool

    def values(self) -> dict[str, Any]:
        """The values of ``validity`` evidence, version 1; what has no meaning for the model is absent."""
        agreement = {"spearman": self.spearman, "top3": self.top3}
        random = {"spearman": self.randomisation, "spearman_absolute": self.randomisation_absolute}
        return {
            "completeness_gap_max": round(self.completeness_gap_max, 9),
            "agreement": {name: round(value, 6) for name, value in agreement.items() if value is not None},
            "randomisation": {name: round(value, 6) for name, value in random.items() if value is not None},
        }

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "agreement": "over columns: mean |integrated gradients| against permutation importance",
            "randomisation": "last layer drawn anew (Adebayo et al. 2018); Spearman over columns, mean over rows",
            "models": self.models,
            "rows": self.rows,
            "seed": self.seed,
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: as the explanation it is about, post-processing or uncovered."""
        coverage: Coverage = "post-processing" if self.covered else "uncovered"
        tier: Tier = "public" if self.covered else "auditor"
        error: dict[str, float] = {}
        if self.randomisation_error is not None:
            error["randomisation_standard_error"] = round(self.randomisation_error, 6)
        return Evidence("validity", subject, self.values(), self.how(), coverage, error, tier)


def check_validity(
    model: nn.Module, x: Tensor, encoding: Encoding, explanation: Explanation, *, models: int = MODELS, seed: int = 0
) -> Validity:
    """Test an explanation of ``model``.

    Args:
        model: The model that was explained. It is not touched.
        x: (N, width) float32, the rows that were explained; the first 256 are used.
        encoding: As for the explanation.
        explanation: What :class:`pellucid.explain.Explanation` holds.
        models: How many times the last layer is drawn anew, at least one.
        seed: Public: weights drawn with it are never released.

    Raises:
        BadData: Wrong type, shape or columns.
        UnsupportedModel: No layer of the model has parameters.
    """
    check_rows(x, encoding)
    if encoding.features != explanation.attribution.columns:
        raise BadData("the explanation is of other columns than the encoding", where="explanation")
    if models < 1:
        raise BadData("at least one re-drawn model is needed", where="models")
    rows, path = x[:ROWS], (explanation.attribution.origin, explanation.attribution.steps)
    learned = by_column(integrated_gradients(frozen(model), rows, *path), encoding)
    signed: list[float] = []  # one mean a copy
    absolute: list[float] = []
    for number in range(models):
        twin = randomised(model, rows[:2], seed=seed + number)
        other = by_column(integrated_gradients(twin, rows, *path), encoding)
        if (mean := _mean_correlation(learned, other)) is not None:
            signed.append(mean)
        if (mean := _mean_correlation(np.abs(learned), np.abs(other))) is not None:
            absolute.append(mean)
    rank, top = None, None
    if explanation.importance is not None:
        attributed = np.array(list(explanation.attribution.magnitude().values()))
        permuted = np.array([estimate.value for estimate in explanation.importance.columns.values()])
        rank, top = spearman(attributed, permuted), top_overlap(attributed, permuted)
    public = explanation.attribution.public
    return Validity(
        completeness_gap_max=explanation.attribution.completeness_gap_max,
        spearman=rank,
        top3=top,
        randomisation=float(np.mean(signed)) if signed else None,
        randomisation_absolute=float(np.mean(absolute)) if absolute else None,
        randomisation_error=float(np.std(signed, ddof=1) / np.sqrt(len(signed))) if len(signed) > 1 else None,
        models=models,
        rows=len(rows) if public else round_down(len(rows)),
        seed=seed,
        covered=public and explanation.importance is None,
    )


def randomised(model: nn.Module, x: Tensor, *, seed: int) -> nn.Module:
    """A frozen copy of ``model`` whose last layer is drawn anew, by its own initialisation where it has one.

    The last layer is the last module with parameters of its own that a forward pass reaches.

    Raises:
        UnsupportedModel: No module has parameters.
    """
    twin = frozen(model)
    reached: list[nn.Module] = []
    handles = [
        module.register_forward_hook(lambda module, *_: reached.append(module))
        for module in twin.modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    device = next((tensor.device for tensor in twin.parameters()), torch.device("cpu"))
    with torch.inference_mode(), untouched():
        twin(x.to(device))
    for handle in handles:
        handle.remove()
    if not reached:
        raise UnsupportedModel("no layer of the model has parameters to draw anew", where="model")
    with untouched(), torch.no_grad():
        torch.manual_seed(seed)
        reset = getattr(reached[-1], "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            for tensor in reached[-1].parameters(recurse=False):
                tensor.normal_(std=float(tensor.square().mean().sqrt()) or 1.0)
    return twin


def top_overlap(left: Floats, right: Floats, count: int = 3) -> float:
    """Share of the ``count`` largest entries of ``left`` that are among those of ``right`` (all, if fewer)."""
    count = min(count, left.size)
    both = set(np.argsort(-left, kind="stable")[:count]) & set(np.argsort(-right, kind="stable")[:count])
    return len(both) / count


def _mean_correlation(left: Floats, right: Floats) -> float | None:
    """Mean over rows of Spearman's correlation over columns; None where no row has one."""
    found = [value for a, b in zip(left, right, strict=True) if (value := spearman(a, b)) is not None]
    return float(np.mean(found)) if found else None
