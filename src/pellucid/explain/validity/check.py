"""All that was measured of one explanation, as one piece of evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.evidence import Coverage, Evidence, Subject, Tier, round_down
from pellucid.explain.attribution import Attribution, again
from pellucid.explain.explanation import Explanation
from pellucid.explain.fields import Fields, as_fields
from pellucid.explain.inputs import check_numbers_or_tokens, is_tokens
from pellucid.explain.intervals import MINIMUM_CELL, Floats, coarse, rounded_up, step
from pellucid.explain.model import frozen
from pellucid.explain.ranking import spearman
from pellucid.explain.validity.agreement import Agreement
from pellucid.explain.validity.explainer import ask
from pellucid.explain.validity.faithfulness import Faithfulness, measure_faithfulness
from pellucid.explain.validity.leakage import Leakage, measure_leakage
from pellucid.explain.validity.randomisation import Randomisation, randomise_layers
from pellucid.explain.validity.rankings import Rankings, compare_rankings, top_overlap
from pellucid.explain.validity.redraw import randomised
from pellucid.explain.validity.sensitivity import NUMBERS, Sensitivity, measure_sensitivity
from pellucid.explain.validity.stability import Stability
from pellucid.schema import Encoding

__all__ = ["Validity", "check_validity"]

ROWS: Final = 256
CORRELATIONS: Final = "correlations like rates over people, intervals outwards, errors rounded up to two digits"
MODELS: Final = 20
DRAWS: Final = 10  # of every layer, where all are drawn anew
POINTS: Final = 16  # on a path, where only the order of the columns is compared


_Part = Randomisation | Faithfulness | Sensitivity | Agreement | Stability | Leakage
_ALONE: Final = ("faithfulness", "sensitivity", "stability", "leakage")  # the others stand under today's names


@dataclass(frozen=True, slots=True)
class Validity:
    """How far an explanation can be trusted.

    Attributes:
        completeness_gap_max: The largest miss of a row over the mean size of what attributions must sum to; not
            published of people.
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
        covered: No held-out person was looked at in the tests above.
        public: The rows stand for nobody.
        cascade: All layers drawn anew, one after the other; like the parts below, absent unless it was asked for.
        faithfulness: Deletion and insertion against a random order.
        sensitivity: Change under small moves of the input.
        methods: Agreement by row with a second method.
        stability: Ranks over several runs.
        leakage: Membership from explanations.
        rankings: Whether all methods at hand rank the columns alike; absent with one method, or two columns.
    """

    completeness_gap_max: float = field(repr=False)
    spearman: float | None
    top3: float | None
    randomisation: float | None
    randomisation_absolute: float | None
    randomisation_error: float | None
    models: int
    rows: int
    seed: int
    covered: bool
    public: bool
    cascade: Randomisation | None = None
    faithfulness: Faithfulness | None = None
    sensitivity: Sensitivity | None = None
    methods: Agreement | None = None
    stability: Stability | None = None
    leakage: Leakage | None = None
    rankings: Rankings | None = None

    def values(self) -> dict[str, Any]:
        """The values of ``validity`` evidence, version 1; what has no meaning for the model is absent."""
        agreement = _measured({"spearman": self.spearman, "top3": self.top3})
        random = {
            name: round(coarse(value, self._grid), 6)
            for name, value in _measured(
                {"spearman": self.randomisation, "spearman_absolute": self.randomisation_absolute}
            ).items()
        }
        if self.methods is not None:
            agreement["rows"] = self.methods.values()
        if self.rankings is not None:
            agreement["ranking"] = self.rankings.values()
        if self.cascade is not None:
            random.update(self.cascade.values())
        parts = self._parts()
        return {
            # the largest miss is a person's, where the rows are people
            **({"completeness_gap_max": round(self.completeness_gap_max, 9)} if self.public else {}),
            "agreement": agreement,
            "randomisation": random,
            **{name: parts[name].values() for name in _ALONE if name in parts},
        }

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "agreement": "over columns: mean |integrated gradients| against permutation importance",
            "randomisation": "last layer drawn anew (Adebayo et al. 2018); Spearman over columns, mean over rows",
            "path": f"at most {POINTS} points where only orders are compared",
            "models": self.models,
            "rows": self.rows,
            "seed": self.seed,
            **({} if self.public else {"rounding": CORRELATIONS}),
            **({} if self.rankings is None else {"ranking": dict(self.rankings.how())}),
            **{name: dict(part.how()) for name, part in self._parts().items()},
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: post-processing if nothing here looked at a person, else uncovered.

        Raises:
            BadData: It was tested on fewer than ten people.
        """
        parts = (self.cascade, self.faithfulness, self.sensitivity, self.methods, self.stability)
        covered = self.covered and self.leakage is None and all(part is None or part.public for part in parts)
        if not self.public and self.rows < MINIMUM_CELL:
            raise BadData(
                f"what was tested on fewer than {MINIMUM_CELL} people is theirs, and is not published",
                where="validity",
                fix="test on more held-out people, or on rows made from the schema",
            )
        coverage: Coverage = "post-processing" if covered else "uncovered"
        tier: Tier = "public" if covered else "auditor"
        error: dict[str, float] = {}
        if self.randomisation_error is not None:
            error["randomisation_standard_error"] = (
                round(self.randomisation_error, 6) if self.public else rounded_up(self.randomisation_error)
            )
        if self.cascade is not None:
            error.update(self.cascade.error())
        return Evidence("validity", subject, self.values(), self.how(), coverage, error, tier)

    @property
    def _grid(self) -> float:
        """Mean correlations over people are published at its multiples; 0 rounds nothing."""
        return 0.0 if self.public or self.rows < MINIMUM_CELL else step(self.rows)

    def _parts(self) -> dict[str, _Part]:
        """The parts that were asked for."""
        parts: dict[str, _Part | None] = {
            "cascade": self.cascade,
            "faithfulness": self.faithfulness,
            "sensitivity": self.sensitivity,
            "methods": self.methods,
            "stability": self.stability,
            "leakage": self.leakage,
        }
        return {name: part for name, part in parts.items() if part is not None}


def check_validity(
    model: nn.Module,
    x: Tensor,
    encoding: Encoding | Fields,
    explanation: Explanation | Attribution,
    *,
    models: int = MODELS,
    seed: int = 0,
    thorough: bool = False,
    methods: Agreement | None = None,
    stability: Stability | None = None,
    members: Tensor | None = None,
) -> Validity:
    """Test an explanation of ``model``, by the method that made it.

    Args:
        model: The model that was explained. It is not touched.
        x: (N, …) float32 or token ids (N, T), the rows that were explained; the first 256 are used.
        encoding: As for the explanation; with fields alone nobody knows which numbers may move, and sensitivity is not
            measured.
        explanation: What :class:`pellucid.explain.Explanation` holds, or an attribution alone.
        models: How many times the last layer is drawn anew, at least one.
        seed: Public: weights drawn with it are never released.
        thorough: Also draw every layer anew, measure deletion and insertion, and move the numbers a little (where
            there are numbers).
        methods: What :func:`pellucid.explain.validity.compare_attributions` found beside a second method.
        stability: What :func:`pellucid.explain.validity.compare_runs` found over several runs.
        members: (M, width) rows that were trained on, to be told from ``x`` by their explanations.

    Raises:
        BadData: Wrong type, shape or columns; members beside rows that stand for nobody.
        UnsupportedModel: No layer of the model has parameters.
    """
    fields = as_fields(encoding)
    check_numbers_or_tokens(x, encoding if isinstance(encoding, Encoding) else None)
    if isinstance(explanation, Attribution):
        explanation = Explanation(explanation)
    if not isinstance(explanation, Explanation):
        raise BadData(
            f"what is tested is an Explanation or an Attribution, and this is a {type(explanation).__name__}",
            where="explanation",
            fix="hand over what attribute returned",
        )
    if fields.names != explanation.attribution.columns:
        raise BadData("the explanation is of other columns than the encoding", where="explanation")
    if models < 1:
        raise BadData("at least one re-drawn model is needed", where="models")
    public = explanation.attribution.public
    if public and members is not None:
        raise BadData(
            "members can only be told from other people, and these rows stand for nobody",
            where="members",
            fix="hand over held-out rows",
        )
    rows = x[:ROWS]

    whole = explanation.attribution
    fewer = dataclasses.replace(whole, steps=min(whole.steps, POINTS))

    def explain(asked: nn.Module, some: Tensor) -> Floats:
        return again(asked, some, fewer)

    learned = ask(explain, frozen(model), rows)
    signed: list[float] = []  # one mean a copy
    absolute: list[float] = []
    for number in range(models):
        other = ask(explain, randomised(model, rows[:2], seed=seed + number), rows)
        if (mean := _mean_correlation(learned, other)) is not None:
            signed.append(mean)
        if (mean := _mean_correlation(np.abs(learned), np.abs(other))) is not None:
            absolute.append(mean)
    rank, top = None, None
    if explanation.importance is not None:
        attributed = np.array(list(explanation.attribution.magnitude().values()))
        permuted = np.array([estimate.value for estimate in explanation.importance.columns.values()])
        rank, top = spearman(attributed, permuted), top_overlap(attributed, permuted)
    cascade, faithfulness, sensitivity = None, None, None
    if thorough:
        cascade = randomise_layers(explain, model, rows, draws=max(2, min(models, DRAWS)), seed=seed, public=public)
        if (start := _row(whole.origin, rows)) is not None:
            faithfulness = measure_faithfulness(
                model,
                rows,
                again(model, rows, whole),
                baseline=start,
                fields=fields,
                target=whole.target,
                seed=seed,
                public=public,
            )
        if isinstance(encoding, Encoding) and any(code.how in NUMBERS for code in encoding.codes):
            sensitivity = measure_sensitivity(explain, model, rows, encoding=encoding, seed=seed, public=public)
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
        public=public,
        cascade=cascade,
        faithfulness=faithfulness,
        sensitivity=sensitivity,
        methods=methods,
        stability=stability,
        leakage=None if members is None else measure_leakage(explain, model, members, x, seed=seed),
        rankings=compare_rankings(explanation),
    )


def _row(origin: Tensor, rows: Tensor) -> Tensor | None:
    """The baseline as a row; of numbers zeros where attributions start elsewhere; None where it is no token."""
    if is_tokens(rows):
        return origin.to(rows.dtype).expand(rows.shape[1:]) if bool((origin >= 0).all()) else None
    fits = origin.shape == rows.shape[1:] and origin.dtype == rows.dtype
    return origin if fits else torch.zeros_like(rows[0])


def _mean_correlation(left: Floats, right: Floats) -> float | None:
    """Mean over rows of Spearman's correlation over columns; None where no row has one."""
    found = [value for a, b in zip(left, right, strict=True) if (value := spearman(a, b)) is not None]
    return float(np.mean(found)) if found else None


def _measured(found: Mapping[str, float | None]) -> dict[str, Any]:
    return {name: round(value, 6) for name, value in found.items() if value is not None}
