"""What the attribution of some rows found, with all that is needed to judge it and to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from torch import Tensor

from pellucid.errors import Misuse
from pellucid.evidence import round_down
from pellucid.explain.attribution.completeness import Gap
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import GAPS, MEANS, Floats, coarse, gaps, grid_of, rounded_up, versions
from pellucid.schema import Encoding

__all__ = ["CITATIONS", "SEEDS", "Attribution", "by_column"]

CITATIONS: Final[Mapping[str, str]] = {
    "integrated_gradients": "integrated gradients (Sundararajan, Taly and Yan 2017)",
    "gradient_shap": "GradientShap (expected gradients, Erion et al. 2021)",
    "deep_lift": "DeepLift by the rescale rule (Shrikumar, Greenside and Kundaje 2017)",
    "shapley_sampling": "Shapley values by sampled orders (Castro, Gómez and Tejada 2009)",
    "kernel_shap": "KernelShap (Lundberg and Lee 2017) without selection of features",
    "occlusion": "occlusion (Zeiler and Fergus 2014)",
    "grad_cam": "Grad-CAM (Selvaraju et al. 2017), last convolution,",
    "layer_integrated_gradients": "integrated gradients at the embedding (Sundararajan, Taly and Yan 2017)",
    "token_occlusion": "occlusion of tokens (Zeiler and Fergus 2014)",
}
_LIBRARIES: Final = {
    "gradient_shap": ("captum", "torch"),
    "deep_lift": ("captum", "torch"),
    "shapley_sampling": ("captum", "torch"),
    "grad_cam": ("captum", "torch"),
    "kernel_shap": ("shap", "torch"),
}
SEEDS: Final = "public: it chooses rows, orders and points, and draws no noise"


@dataclass(frozen=True, eq=False, slots=True)
class Attribution:
    """Attributions of N rows, summed over the slots of each field.

    Attributes:
        rows: (N, fields) attribution to the score. One row a person: never shown by ``repr``.
        fields: What was attributed to.
        gap: What the attributions miss by; None for a method that does not claim to add up.
        steps: Points of the Gauss-Legendre rule on each path; 0 where there is no path.
        tolerance: The largest admissible gap.
        baseline: What the baseline is, in words.
        seed: Public seed of the sample of rows, where there were more than were attributed, and of the draws.
        public: Rows and baseline were made without the data, so that the result is post-processing of the weights.
        origin: (…) the baseline itself, or (M, …) where there are several; for tokens ids, -1 for the zero vector.
        method: A name of :data:`CITATIONS`.
        target: The class whose logit is explained; None for the log-odds of class 1 of two.
        draws: Draws a row; 0 where nothing is drawn.
        noise: (N, fields) standard errors over the draws; None where nothing is drawn.
        precision: Of the arithmetic.
    """

    rows: Floats = field(repr=False)
    fields: Fields = field(repr=False)
    gap: Gap | None = field(repr=False)
    steps: int
    tolerance: float
    baseline: str
    seed: int
    public: bool
    origin: Tensor = field(repr=False)
    method: str = "integrated_gradients"
    target: int | None = None
    draws: int = 0
    noise: Floats | None = field(default=None, repr=False)
    precision: str = "float32"

    @property
    def n(self) -> int:
        """How many rows were attributed, rounded down to ten unless they are public."""
        return len(self.rows) if self.public else round_down(len(self.rows))

    @property
    def covered(self) -> bool:
        """Whether no person was looked at."""
        return self.public

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields by name, in the order of ``rows``."""
        return self.fields.names

    @property
    def completeness_gap(self) -> float:
        """Mean |Σ attribution − (f(x) − f(baseline))| over mean |f(x) − f(baseline)|.

        Raises:
            Misuse: The method does not claim to add up, so that there is nothing to miss.
        """
        return self._claimed().mean

    @property
    def completeness_gap_max(self) -> float:
        """The same with the largest miss of a row instead of the mean one.

        Raises:
            Misuse: As :attr:`completeness_gap`.
        """
        return self._claimed().max

    def _claimed(self) -> Gap:
        if self.gap is None:
            raise Misuse(
                f"attributions by {self.method} do not claim to add up, and have no completeness gap",
                where="attribution",
                fix='ask with method="auto" where completeness is required',
            )
        return self.gap

    def magnitude(self) -> dict[str, float]:
        """Mean |attribution| by field: the global attribution."""
        return self._by_field(np.abs(self.rows).mean(axis=0))

    def standard_error(self) -> dict[str, float]:
        """Standard error of :meth:`magnitude` over rows; empty for a single row."""
        if len(self.rows) < 2:
            return {}
        return self._by_field(np.abs(self.rows).std(axis=0, ddof=1) / np.sqrt(len(self.rows)))

    def sampling_error(self) -> dict[str, float]:
        """Root mean square over rows of the standard error of a row's attribution; empty where nothing is drawn."""
        if self.noise is None:
            return {}
        return self._by_field(np.sqrt(np.square(self.noise).mean(axis=0)))

    def published(self, means: Mapping[str, float]) -> dict[str, float]:
        """Means over rows as they may be published: those over people on the grid of :func:`grid_of`, by field."""
        grids = self._by_field(np.array([0.0 if self.public else grid_of(column) for column in self.rows.T]))
        return {name: round(coarse(value, grids[name]), 6) for name, value in means.items()}

    def _by_field(self, values: Floats) -> dict[str, float]:
        return dict(zip(self.fields.names, values.tolist(), strict=True))

    def values(self) -> dict[str, Any]:
        """The global attribution as JSON, without a row; what was not measured is absent."""
        found: dict[str, Any] = {
            "method": self.method,
            "baseline": self.baseline,
            "attribution": self.published(self.magnitude()),
            "standard_error": self.published(self.standard_error()),
        }
        if self.target is not None:
            found["target"] = self.target
        if self.noise is not None:
            found["sampling_error"] = {
                name: round(value, 6) if self.public else rounded_up(value)
                for name, value in self.sampling_error().items()
            }
        return found if self.gap is None else found | self.gaps()

    def gaps(self) -> dict[str, float]:
        """The completeness gap as it may be published: that of people rounded up, and without the largest of a row.

        Raises:
            Misuse: As :attr:`completeness_gap`.
        """
        return gaps(self.completeness_gap, self.completeness_gap_max, public=self.public)

    def _libraries(self) -> tuple[str, ...]:
        exact = self.method == "kernel_shap" and not self.draws
        return ("torch",) if exact else _LIBRARIES.get(self.method, ("torch",))

    def how(self) -> Mapping[str, Any]:
        """How the attributions were made."""
        score = "the log-odds of class 1" if self.target is None else f"the score of class {self.target}"
        found: dict[str, Any] = {
            "method": f"{CITATIONS[self.method]} of {score}",
            "baseline": self.baseline,
            "column": "sum over the slots of a column; global: mean absolute value over rows",
            "rows": "made from the declared schema, without the data" if self.public else "held-out split",
            **({} if self.public else {"rounding": MEANS}),
            "n": self.n,
            "seed": self.seed,
            "libraries": versions(*self._libraries()),
        }
        if self.steps:
            found["path"] = f"Gauss-Legendre, {self.steps} points"
        if self.gap is not None:
            found |= {"tolerance": self.tolerance, **({} if self.public else {"gap": GAPS})}
        else:
            found["completeness"] = "not claimed: attributions need not sum to the answer"
        if self.draws:
            found |= {"draws": self.draws, "seed_policy": SEEDS}
        if self.precision != "float32":
            found["precision"] = self.precision
        return found


def by_column(slots: Floats, encoding: Encoding) -> Floats:
    """Attributions (N, width) summed over the slots of each column (N, columns): a one-hot is one feature."""
    return Fields.of(encoding).total(slots)
