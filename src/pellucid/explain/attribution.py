"""Which columns carried each answer? Integrated gradients, the only door to Captum.

Gradients go to the inputs of a deep copy whose parameters take none, so that neither a gradient, a per-sample
gradient, a hook nor a generator of the model itself is touched. Every attribution carries its completeness gap: by
the fundamental theorem of calculus the attributions of a row sum to f(x) − f(baseline), and what they miss by is
measured and held against a tolerance before anything is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import round_down
from pellucid.explain.intervals import Floats, versions
from pellucid.explain.model import check_rows, frozen, log_odds, outputs, steady, untouched
from pellucid.schema import Encoding

__all__ = ["Attribution", "attribute", "by_column", "integrated_gradients"]

MIDPOINT: Final = "encoded midpoint: zeros"
POINTS: Final = 8192  # path points in flight at a time
PILOT: Final = 256  # rows on which the number of steps is found
ROWS: Final = 10_000  # rows attributed at most


@dataclass(frozen=True, eq=False)
class Attribution:
    """Integrated gradients of N rows, summed over the slots of each column.

    Attributes:
        rows: (N, columns) attribution to the log-odds of class 1. One row a person: never shown by ``repr``.
        columns: The columns, in the order of ``rows``.
        completeness_gap: mean |Σ attribution − (f(x) − f(baseline))| over mean |f(x) − f(baseline)|.
        completeness_gap_max: The same with the largest miss of a row instead of the mean one.
        steps: Points of the Gauss-Legendre rule on each path.
        tolerance: The largest admissible gap.
        baseline: What the baseline is, in words.
        seed: Public seed of the sample of rows, where there were more than were attributed.
        public: The rows were made without the data, so that the result is post-processing of the weights.
        origin: (width,) the baseline itself.
    """

    rows: Floats = field(repr=False)
    columns: tuple[str, ...]
    completeness_gap: float
    completeness_gap_max: float
    steps: int
    tolerance: float
    baseline: str
    seed: int
    public: bool
    origin: Tensor = field(repr=False)

    @property
    def n(self) -> int:
        """How many rows were attributed, rounded down to ten unless they are public."""
        return len(self.rows) if self.public else round_down(len(self.rows))

    def magnitude(self) -> dict[str, float]:
        """Mean |attribution| by column: the global attribution."""
        return dict(zip(self.columns, np.abs(self.rows).mean(axis=0).tolist(), strict=True))

    def standard_error(self) -> dict[str, float]:
        """Standard error of :meth:`magnitude` over rows; empty for a single row."""
        if len(self.rows) < 2:
            return {}
        spread = np.abs(self.rows).std(axis=0, ddof=1) / np.sqrt(len(self.rows))
        return dict(zip(self.columns, spread.tolist(), strict=True))

    def how(self) -> Mapping[str, Any]:
        """How the attributions were made."""
        return {
            "method": "integrated gradients (Sundararajan, Taly and Yan 2017) of the log-odds of class 1",
            "path": f"Gauss-Legendre, {self.steps} points",
            "baseline": self.baseline,
            "column": "sum over the slots of a column; global: mean absolute value over rows",
            "rows": "made from the declared schema, without the data" if self.public else "held-out split",
            "n": self.n,
            "seed": self.seed,
            "tolerance": self.tolerance,
            "libraries": versions("captum", "torch"),
        }


def attribute(
    model: nn.Module,
    x: Tensor,
    encoding: Encoding,
    *,
    baseline: Tensor | None = None,
    tolerance: float = 0.01,
    steps: int = 32,
    limit: int = 512,
    rows: int = ROWS,
    seed: int = 0,
    public: bool = False,
) -> Attribution:
    """Integrated gradients with as many steps as completeness needs.

    The steps are doubled from ``steps`` until the gap is within ``tolerance``, first on a few rows, then on all.

    Args:
        model: A two-class model; standard modules, not wrapped for private training. It is not touched.
        x: (N, width) float32.
        encoding: Says which slots belong to which column.
        baseline: (width,) float32; by default zeros: the midpoint of every declared range, and no category at all.
        tolerance: The largest admissible completeness gap, above 0.
        steps: Points on a path to begin with.
        limit: Points on a path at most.
        rows: Rows to attribute at most; of more, a sample drawn with ``seed``.
        seed: Public; draws rows, no noise.
        public: ``x`` was made without the data, as by :func:`pellucid.explain.public_rows`.

    Raises:
        BadData: Wrong type, shape, or NaN.
        UnsupportedModel: The model is random in eval mode, mixes rows, has no gradient or more than two classes, or
            its completeness gap stays above ``tolerance`` at ``limit`` steps.
    """
    check_rows(x, encoding)
    if not (tolerance > 0 and 1 <= steps <= limit and rows >= 1):
        raise BadData("tolerance must be above 0, 1 <= steps <= limit and rows >= 1", where="attribute")
    words = MIDPOINT if baseline is None else "given by the caller"
    start = torch.zeros(encoding.width) if baseline is None else baseline
    if start.shape != (encoding.width,) or start.dtype != torch.float32 or not bool(torch.isfinite(start).all()):
        raise BadData("the baseline must be finite float32 with one number a slot", where="baseline")
    if len(x) > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(len(x), rows, replace=False))
        x = x[torch.from_numpy(chosen)]
    twin = frozen(model)
    steady(twin, x)
    gap = largest = np.inf
    found = np.empty(0)
    while steps <= limit:
        part = x[:PILOT]
        found, gap, largest = _measured(twin, part, start, steps)
        if gap <= tolerance and len(part) < len(x):
            found, gap, largest = _measured(twin, x, start, steps)
        if gap <= tolerance:
            break
        steps *= 2
    if not gap <= tolerance:
        raise UnsupportedModel(
            f"attributions miss the model's answers by {gap:.3g} of their size with {steps // 2} steps, "
            f"above the tolerance of {tolerance:g}",
            where="attribution",
            fix="use a smoother activation, or raise the tolerance and say so",
        )
    return Attribution(
        rows=by_column(found, encoding),
        columns=encoding.features,
        completeness_gap=gap,
        completeness_gap_max=largest,
        steps=steps,
        tolerance=tolerance,
        baseline=words,
        seed=seed,
        public=public,
        origin=start,
    )


def by_column(slots: Floats, encoding: Encoding) -> Floats:
    """Attributions (N, width) summed over the slots of each column (N, columns): a one-hot is one feature."""
    return np.stack([slots[:, place].sum(axis=1) for place in encoding.slices().values()], axis=1)


def integrated_gradients(model: nn.Module, x: Tensor, baseline: Tensor, steps: int) -> Floats:
    """Integrated gradients (N, width) of a :func:`pellucid.explain.model.frozen` model, in chunks of path points.

    Args:
        model: Frozen, two classes, rows independent of each other.
        x: (N, width) float32.
        baseline: (width,) float32.
        steps: Gauss-Legendre points a path.

    Raises:
        UnsupportedModel: The model has no gradient with respect to its input.
    """
    from captum.attr import IntegratedGradients

    score = log_odds(model)
    # Rows are independent, so the gradient of their sum is the gradient of each: one backward instead of one a row.
    method = IntegratedGradients(lambda rows: score(rows).sum().reshape(1))
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    chunk = max(1, POINTS // steps)
    parts = []
    for first in range(0, len(x), chunk):
        part = x[first : first + chunk].to(device)
        start = baseline.to(device).expand_as(part)
        try:
            with untouched():
                found = method.attribute(part, baselines=start, n_steps=steps, method="gausslegendre")
        except RuntimeError as error:
            raise UnsupportedModel(
                f"the model has no gradient with respect to its input ({type(error).__name__})",
                where="model",
                fix="keep rounding, argmax and detach out of forward",
            ) from error
        parts.append(found.detach().double().cpu())
    return torch.cat(parts).numpy()


def _measured(model: nn.Module, x: Tensor, baseline: Tensor, steps: int) -> tuple[Floats, float, float]:
    """Attributions (N, width), and the mean and the largest miss over the mean size of what they must sum to."""
    found = integrated_gradients(model, x, baseline, steps)
    change = (outputs(model, x) - outputs(model, baseline[None])).numpy()
    miss, size = np.abs(found.sum(axis=1) - change), float(np.abs(change).mean())
    if size == 0.0:
        # A model that answers every row as the baseline is explained exactly by zeros, and by nothing else.
        exact = float(miss.max()) == 0.0
        return found, 0.0 if exact else np.inf, 0.0 if exact else np.inf
    return found, float(miss.mean()) / size, float(miss.max()) / size
