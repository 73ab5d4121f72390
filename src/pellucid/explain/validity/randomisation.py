"""Does an explanation depend on what the model learned? The model-parameter randomisation test.

Adebayo et al. 2018 (NeurIPS, section 3): draw the layers anew, from the last to the first, and see whether the
explanation falls apart. One that stays is a picture of the input, whatever the model has learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import MINIMUM_CELL, Floats, on_grid, rounded_up, step, versions
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady
from pellucid.explain.validity import rowwise
from pellucid.explain.validity.explainer import Explainer, ask, check_input, chosen, repeats, said
from pellucid.explain.validity.redraw import layers, redraw

__all__ = ["BOUND", "Randomisation", "Stage", "randomise_layers"]

BOUND: Final = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """What is left of the explanation when some layers were drawn anew: mean rank correlation over rows and draws.

    Absent where no row has a correlation: constant attributions, or fewer than three fields.

    Attributes:
        layers: The layers of this stage, last first.
        cascade: Signed attributions, with this stage and all after it drawn anew.
        cascade_absolute: The same of |attribution|; stays higher, for a large input gets large attributions from any
            model.
        alone: Signed attributions, with this stage alone drawn anew.
        alone_absolute: The same of |attribution|.
    """

    layers: tuple[str, ...]
    cascade: Estimate | None
    cascade_absolute: Estimate | None
    alone: Estimate | None
    alone_absolute: Estimate | None

    def values(self) -> dict[str, Any]:
        """The record of one stage; what is absent has no key."""
        found: dict[str, Any] = {"layers": list(self.layers)}
        for name in ("cascade", "cascade_absolute", "alone", "alone_absolute"):
            if (estimate := getattr(self, name)) is not None:
                found[name] = estimate.values()
        return found


@dataclass(frozen=True, slots=True)
class Randomisation:
    """The model-parameter randomisation test of one explainer on one model.

    Attributes:
        stages: From the last layers to the first.
        average: Correlation of the signed attributions, averaged over the stages of the cascade.
        standard_error: Of the correlation after the whole cascade, over draws.
        draws: How many randomised models at each stage.
        rows: On how many rows, rounded down to ten unless they are public.
        seed: Public.
        deterministic: The explainer gives the same twice.
        public: The rows stand for nobody.
    """

    stages: tuple[Stage, ...]
    average: Estimate | None
    standard_error: float | None
    draws: int
    rows: int
    seed: int
    deterministic: bool
    public: bool

    @property
    def cascade(self) -> Estimate | None:
        """Correlation of the signed attributions once every layer was drawn anew."""
        return self.stages[-1].cascade

    @property
    def passes(self) -> bool | None:
        """Whether :attr:`average` and :attr:`cascade` stay below 0.5 up to their 95 % bounds; None if one is absent.

        A last layer is as often drawn as its negative, so an attribution that is odd in the output (gradients,
        integrated gradients, Shapley values) is expected to correlate with nothing from the first stage on. One that
        copies the input stays high until the layers next to the input are drawn anew, and lower even then: the end of
        the cascade alone would let it through. Too few draws leave wide bounds, which do not pass.
        """
        if self.average is None or self.cascade is None:
            return None
        return max(self.average.high, self.cascade.high) < BOUND

    def values(self) -> dict[str, Any]:
        """The values of this test; what is absent has no key."""
        found: dict[str, Any] = {"stages": [stage.values() for stage in self.stages]}
        last = self.stages[-1]
        parts = {"cascade": last.cascade, "cascade_absolute": last.cascade_absolute, "average": self.average}
        for name, estimate in parts.items():
            if estimate is not None:
                found[name] = estimate.values()
        if self.passes is not None:
            found["passes"] = self.passes
        return found

    def error(self) -> dict[str, float]:
        """How wrong the correlation after the whole cascade may be."""
        return {} if self.standard_error is None else {"cascade_standard_error": round(self.standard_error, 6)}

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "method": "model-parameter randomisation (Adebayo et al. 2018), cascading from the last layer to the "
            "first, and each stage alone",
            "layer": "by its own initialisation; what that leaves fixed is drawn normal at the scale of what was "
            "learned",
            "correlation": "Spearman over fields, mean over rows; absolute: of |attribution|",
            "interval": "Student's t over draws",
            "passes": f"the upper bounds of the signed correlation after the whole cascade and of its mean over the "
            f"stages are below {BOUND}",
            "explainer": said(self.deterministic),
            "draws": self.draws,
            "rows": self.rows,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }


def randomise_layers(
    explain: Explainer,
    model: nn.Module,
    x: Tensor,
    *,
    draws: int = 20,
    stages: int = 8,
    rows: int = 64,
    seed: int = 0,
    public: bool = False,
) -> Randomisation:
    """Explain ``model`` and copies of it whose layers were drawn anew, and correlate.

    Args:
        explain: The explainer under test.
        model: The model that it explains. It is not touched.
        x: (N, …) float32, or int64 token ids.
        draws: Randomised models a stage, at least two.
        stages: Stages at most: of more layers, neighbours share one.
        rows: Rows to look at, at most; of more, a sample drawn with ``seed``.
        seed: Public: weights drawn with it are never released.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type or shape, NaN, or attributions that are not one finite number a row and field.
        UnsupportedModel: The model is random in eval mode, mixes rows, or no layer of it has parameters.
    """
    check_input(x)
    if draws < 2 or stages < 1:
        raise BadData("at least two draws and one stage are needed", where="randomise_layers")
    part = x[torch.from_numpy(chosen(len(x), rows, seed))]
    twin = frozen(model)
    steady(twin, part)
    learned = ask(explain, twin, part)
    found = list(layers(twin, part[:2]).items())[::-1]
    groups = [group.tolist() for group in np.array_split(np.arange(len(found)), min(stages, len(found)))]
    tables = np.full((4, len(groups), draws), np.nan)  # signed and absolute in cascade, then alone
    for number in range(draws):
        deeper = frozen(model)
        for depth, group in enumerate(groups):
            single = frozen(model)
            for place in group:
                drawn = int(np.random.SeedSequence([seed, number, place]).generate_state(1)[0])
                redraw(deeper, found[place][1], drawn)
                redraw(single, found[place][1], drawn)
            tables[:2, depth, number] = _correlations(learned, ask(explain, deeper, part))
            # the first stage of the cascade is that stage alone
            alone = ask(explain, single, part) if depth else None
            tables[2:, depth, number] = tables[:2, 0, number] if alone is None else _correlations(learned, alone)
    made = tuple(
        Stage(
            tuple(found[place][0] or "model" for place in group),
            *(_interval(tables[kind, depth], len(part), public=public)[0] for kind in range(4)),
        )
        for depth, group in enumerate(groups)
    )
    return Randomisation(
        stages=made,
        average=_interval(tables[0].mean(axis=0), len(part), public=public)[0],
        standard_error=_interval(tables[0, -1], len(part), public=public)[1],
        draws=draws,
        rows=len(part) if public else round_down(len(part)),
        seed=seed,
        deterministic=repeats(explain, twin, part),
        public=public,
    )


def _interval(means: Floats, rows: int, *, public: bool) -> tuple[Estimate | None, float | None]:
    """Mean over draws (draws,) with Student's 95 % interval, and its standard error; None with fewer than two.

    Of people it is on the grid of rates over them, the interval outwards, and the error rounded up.
    """
    there = means[~np.isnan(means)]
    if there.size < 2:
        return None, None
    from scipy.special import stdtrit

    error = float(there.std(ddof=1)) / math.sqrt(there.size)
    value, half = float(there.mean()), float(stdtrit(there.size - 1, 0.975)) * error
    low, high = max(-1.0, value - half), min(1.0, value + half)
    if public or rows < MINIMUM_CELL:  # of fewer people nothing is published
        return Estimate(value, low, high, round_down(rows)), error
    found = on_grid(Estimate(value, low, high, round_down(rows)), step(round_down(rows)), high=1.0)
    return found, rounded_up(error)


def _correlations(left: Floats, right: Floats) -> tuple[float, float]:
    """Mean over rows of the rank correlation of signed and of absolute attributions; NaN where no row has one."""
    pairs = ((left, right), (np.abs(left), np.abs(right)))
    signed, absolute = (rowwise.spearman(a, b) for a, b in pairs)
    return (float(signed.mean()) if signed.size else math.nan, float(absolute.mean()) if absolute.size else math.nan)
