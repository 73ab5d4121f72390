"""Can a model that people can read stand in for this one? A tree or an EBM fitted to its answers, and how far it errs.

A surrogate explains itself and not the model. How much of the model it tells is its fidelity: measured on rows that it
was not fitted to, always beside it, and below a stated bound it says of itself that it must not be read.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel, nearest
from pellucid.evidence import Estimate, round_down
from pellucid.explain.answers import outputs
from pellucid.explain.inputs import check_encoding, check_rows, check_seed
from pellucid.explain.intervals import MINIMUM_CELL, Floats, Z, coarse, grid_of, on_grid, rate, step, versions
from pellucid.explain.model import frozen, untouched
from pellucid.explain.rules import GRID, Rule, declared, grow, score
from pellucid.explain.steady import steady
from pellucid.schema import Encoding

__all__ = ["FAITHFUL", "KINDS", "Surrogate", "fit_surrogate"]

KINDS: Final = ("tree", "ebm")
FAITHFUL: Final = 0.9
"""Lower 95 % bound of R² from which a surrogate may be read as a description of the model."""
ROUNDING: Final = 1e-5  # of a score of size 1: what float32 does not tell apart
ROUNDED: Final = (
    "R², agreement and shares like rates over people, intervals outwards; log-odds and importance like means over "
    "people"
)
_DEPTH: Final = 4
_SHARE: Final = 0.01
_REACH: Final = 700.0  # log of the largest number, less what the lower bound may add
_HELD: Final = 0.3  # of the rows, where no others are given to measure on


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A readable model fitted to the log-odds of another.

    Attributes:
        kind: A name of :data:`KINDS`.
        r2: Share of the variance of the model's log-odds that it tells, on rows it was not fitted to; may be below 0.
        agreement: Share of those rows on which both decide alike.
        rules: Of a tree.
        importance: Of an EBM: mean size of what a column adds to the log-odds, over the rows fitted to.
        fitted: Rows fitted to; exact only if they are public.
        leaf: Least rows in a leaf.
        seed: Public.
        public: All rows were made without the data.
    """

    kind: str
    r2: Estimate
    agreement: Estimate
    rules: tuple[Rule, ...]
    importance: Mapping[str, float]
    fitted: int
    leaf: int
    seed: int
    public: bool
    _predict: Any = field(repr=False, compare=False)

    @property
    def faithful(self) -> bool:
        """Whether the lower bound of R² is at least :data:`FAITHFUL`."""
        return self.r2.low >= FAITHFUL

    @property
    def words(self) -> str:
        """The surrogate in words, fidelity first."""
        head = (
            f"It tells {self.r2.value:.0%} of the variance of the model's log-odds and decides like the model for "
            f"{self.agreement.value:.0%} of rows it was not fitted to."
        )
        warning = "" if self.faithful else " That is too little to read it as a description of the model."
        lines = [f"if {rule.words}: log-odds {rule.value:+.2f} ({rule.share:.0%} of rows)" for rule in self.rules]
        lines += [f"{name}: {size:.3g}" for name, size in self.importance.items()]
        return "\n".join([head + warning, *lines])

    def predict(self, x: Tensor) -> Floats:
        """(N,) its log-odds for encoded rows ``x`` (N, width)."""
        found: Floats = self._predict(x.double().cpu().numpy())
        return found

    def values(self) -> dict[str, Any]:
        """The surrogate as JSON."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "r2": self.r2.values(),
            "agreement": self.agreement.values(),
            "faithful": self.faithful,
        }
        if self.rules:
            found["rules"] = [rule.values() for rule in self.rules]
        if self.importance:
            found["importance"] = {name: round(size, 6) for name, size in self.importance.items()}
        return found

    def how(self) -> Mapping[str, Any]:
        """How it was made."""
        tree = self.kind == "tree"
        return {
            "method": "regression tree (CART) on the model's log-odds"
            if tree
            else "explainable boosting machine (Nori et al. 2019) on the model's log-odds, no interactions",
            "fidelity": "R² and agreement of decisions on rows it was not fitted to",
            "interval": "R²: normal, from its influence function; agreement: Wilson",
            **({} if self.public else {"rounding": ROUNDED}),
            "faithful": f"the lower bound of R² is at least {FAITHFUL}",
            "data": "made from the declared schema" if self.public else "held-out rows",
            "rows": self.fitted,
            "leaf": self.leaf,
            **({"thresholds": f"edges of a grid of {GRID} steps over the declared range"} if tree else {}),
            "seed": self.seed,
            "libraries": versions("numpy", "torch", "scikit-learn" if tree else "interpret-core"),
        }

    @property
    def coverage(self) -> str:
        """``post-processing`` only if no private row was looked at, else ``uncovered``."""
        return "post-processing" if self.public else "uncovered"


@untouched()  # importing what grows trees draws from Python's generator
def fit_surrogate(
    model: nn.Module,
    x: Tensor,
    encoding: Encoding,
    *,
    kind: str = "tree",
    held: Tensor | None = None,
    depth: int = _DEPTH,
    seed: int = 0,
    public: bool = False,
) -> Surrogate:
    """Fit a readable model to the answers of ``model``, and measure it on other rows.

    Args:
        model: A two-class model. It is not touched.
        x: (N, width) float32: rows to fit to. No labels are needed.
        encoding: Of the rows.
        kind: ``tree`` for a shallow decision tree, ``ebm`` for additive shape functions.
        held: (M, width) float32, other rows to measure on; by default three tenths of ``x``, drawn with ``seed``.
        depth: Of the tree, from 1 to 4: a deeper one is not read.
        seed: Public: draws rows, no noise.
        public: ``x`` and ``held`` were made without the data, as by :func:`pellucid.explain.public_rows`.

    Raises:
        BadData: Wrong type, shape or NaN, too few rows, an unknown kind, or a depth that is not read.
        Misuse: ``encoding`` is none.
        UnsupportedModel: The model is random in eval mode, mixes rows, has more than two classes, or says the same of
            every row, so that there is nothing to tell.
    """
    check_encoding(encoding)
    check_rows(x, encoding)
    check_seed(seed)
    if kind not in KINDS:
        raise BadData(f'there is no surrogate "{kind}"{nearest(kind, KINDS)}', where="kind")
    if not 1 <= depth <= _DEPTH:
        raise BadData(f"a tree that is read has a depth from 1 to {_DEPTH}", where="depth")
    if held is None:
        order = np.random.default_rng(seed).permutation(len(x))
        cut = round(len(x) * _HELD)
        x, held = x[np.sort(order[cut:])], x[np.sort(order[:cut])]
    check_rows(held, encoding)
    for rows in (x, held):
        _within_reach(rows, encoding)
    leaf = max(MINIMUM_CELL, math.ceil(_SHARE * len(x)))
    if len(x) < 2 * leaf or len(held) < MINIMUM_CELL:
        raise BadData(
            f"a surrogate needs {2 * leaf} rows to be fitted to and {MINIMUM_CELL} others to be measured on", where="x"
        )
    twin = frozen(model)
    steady(twin, x)
    told, truth = outputs(twin, x).numpy(), outputs(twin, held).numpy()
    if told.ndim != 1:
        raise UnsupportedModel("a surrogate is defined here for two classes", where="model")
    if min(float(np.ptp(told)), float(np.ptp(truth))) <= ROUNDING * max(1.0, float(np.abs(told).max())):
        raise UnsupportedModel("the model says the same of every row: there is nothing to tell", where="model")
    own, rest = x.double().cpu().numpy(), held.double().cpu().numpy()
    rules: tuple[Rule, ...] = ()
    importance: dict[str, float] = {}
    if kind == "tree":
        rules = grow(own, told, encoding, depth=depth, leaf=leaf, public=public)

        def predict(some: Floats) -> Floats:
            return score(rules, some)
    else:
        columns = _columns(own, encoding)
        fitted = _boosted(columns, told, encoding, leaf=leaf, seed=seed)
        sizes = zip(encoding.features, fitted.term_importances(), np.abs(fitted.eval_terms(columns)).T, strict=True)
        importance = {name: coarse(float(size), 0.0 if public else grid_of(adds)) for name, size, adds in sizes}

        def predict(some: Floats) -> Floats:
            found: Floats = fitted.predict(_columns(some, encoding))
            return found

    said = predict(rest)
    return Surrogate(
        kind=kind,
        r2=_r2(truth, said) if public else on_grid(_r2(truth, said), step(round_down(len(rest))), high=1.0),
        agreement=rate(float(((truth > 0) == (said > 0)).mean()), len(rest)),
        rules=rules,
        importance=importance,
        fitted=len(x) if public else round_down(len(x)),
        leaf=leaf,
        seed=seed,
        public=public,
        _predict=predict,
    )


def _within_reach(x: Tensor, encoding: Encoding) -> None:
    """Check that every number has a value in declared units: on a log scale it grows beyond all numbers soon."""
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        if code.how == "log":
            share = (float(x[:, place.start].max()) + 1) / 2
            if share * math.log1p(code.high - code.low) > _REACH:
                raise BadData(
                    "a number is so far above the declared range that it has no value in declared units",
                    where=code.column,
                    fix="encode the rows with the encoding that is handed in",
                )


def _r2(truth: Floats, said: Floats) -> Estimate:
    """1 less the ratio of mean squares, with the normal interval of its influence function."""
    wrong, spread = (truth - said) ** 2, (truth - truth.mean()) ** 2
    ratio = float(wrong.mean() / spread.mean())
    influence = (wrong - ratio * spread) / spread.mean()
    half = Z * float(influence.std(ddof=1)) / math.sqrt(truth.size)
    return Estimate(1 - ratio, 1 - ratio - half, min(1.0, 1 - ratio + half), round_down(truth.size))


def _columns(x: Floats, encoding: Encoding) -> npt.NDArray[np.object_]:
    """Rows ``x`` (N, width) by column: numbers in declared units, and labels of categories, bins and missing values."""
    found = np.empty((len(x), len(encoding.codes)), dtype=object)
    for place, (code, slots) in enumerate(zip(encoding.codes, encoding.slices().values(), strict=True)):
        part = x[:, slots]
        if code.how in ("linear", "log"):
            numbers = np.array([declared(code, value) for value in part[:, 0]])
            found[:, place] = np.where(part[:, -1] > 0.5, np.nan, numbers) if code.missing else numbers
        elif code.how == "boolean":
            state = (part[:, 0] > 0.5).astype(int)
            found[:, place] = np.array(["false", "true", "missing"])[
                np.where(part[:, -1] > 0.5, 2, state) if code.missing else state
            ]
        else:
            found[:, place] = np.array(code.labels)[part.argmax(axis=1)]
    return found


def _boosted(x: npt.NDArray[np.object_], scores: Floats, encoding: Encoding, *, leaf: int, seed: int) -> Any:
    from interpret.glassbox import ExplainableBoostingRegressor

    kinds = ["continuous" if code.how in ("linear", "log") else "nominal" for code in encoding.codes]
    with untouched(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Missing values detected", UserWarning)  # it is about plots: none is made
        return ExplainableBoostingRegressor(
            feature_names=list(encoding.features),
            feature_types=kinds,
            interactions=0,
            max_bins=256,
            outer_bags=4,
            smoothing_rounds=50,
            max_rounds=400,
            learning_rate=0.1,
            min_samples_leaf=leaf,
            n_jobs=1,
            random_state=seed,
        ).fit(x, scores)
