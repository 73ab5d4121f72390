"""Which two fields does the model read together? The pairwise Shapley interaction index.

The index of fields i and j for a row is what both bring together beyond what each brings alone, averaged over the
coalitions of the others as Shapley averages them (Grabisch and Roubens 1999): zero for a sum, and for a product of two
centred fields the product. All coalitions for up to a dozen fields; beyond, draws whose noise is not counted as size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnknownName
from pellucid.evidence import Estimate
from pellucid.explain.background import Background
from pellucid.explain.coalitions import Composites, flat, prepared, score_name
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import MEANS, MINIMUM_CELL, Floats, Mean, grid_of, mean, versions
from pellucid.explain.shapley import few, members, weighted_games
from pellucid.explain.strength import root_mean_square
from pellucid.schema import Encoding

__all__ = ["Interactions", "estimate_interactions", "exact_interactions"]

EPSILON: Final = 2.0**-23  # of float32, in which models answer
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Interactions:
    """The interaction of pairs of fields over rows.

    Attributes:
        strength: By pair, the root mean square of the index over rows, with its interval over rows and draws.
        signed: By pair, the mean index over rows: above zero where two fields reinforce each other.
        standard_error: By pair, of ``strength``.
        background: What the rows are compared with.
        public: The rows were made without the data.
        draws: Antithetic draws a row and pair; None if all coalitions were asked about.
        seed: Public; None if exact.
        target: The class whose score is meant; None for the log-odds of class 1.
    """

    strength: Mapping[Pair, Estimate]
    signed: Mapping[Pair, Estimate]
    standard_error: Mapping[Pair, float] = field(repr=False)
    background: Background
    public: bool
    draws: int | None
    seed: int | None
    target: int | None

    def values(self) -> dict[str, Any]:
        """Strongest pair first."""
        order = sorted(self.strength, key=lambda pair: -self.strength[pair].value)
        return {
            "pairs": [
                {"fields": list(pair), "strength": self.strength[pair].values(), "signed": self.signed[pair].values()}
                for pair in order
            ]
        }

    def how(self) -> Mapping[str, Any]:
        """How the interactions were measured."""
        found: dict[str, Any] = {
            "method": "pairwise Shapley interaction index (Grabisch and Roubens 1999), root mean square over rows",
            "coalitions": "all" if self.draws is None else "drawn, each with its complement",
            "score": score_name(self.target),
            "background": dict(self.background.how()),
            "rows": "made from the declared schema, without the data" if self.public else "held-out split",
            "interval": "normal on the squared scale, over rows and draws; what rounding can make counts as 0",
            "rounding": MEANS,
            "libraries": versions("numpy", "torch"),
        }
        if self.draws is not None:
            found |= {"draws": self.draws, "seed": self.seed}
        return found


def exact_interactions(
    model: nn.Module,
    x: Tensor,
    background: Background,
    fields: Fields | Encoding,
    *,
    target: int | None = None,
    public: bool = False,
) -> Interactions:
    """The exact index of all pairs of up to fourteen fields, over all rows of ``x`` and all background rows.

    Args:
        model: Standard modules, not wrapped for private training. It is not touched.
        x: (N, …) float32; at least two rows, or ten private ones.
        background: At least one row.
        fields: Of a (flattened) row; an encoding stands for its columns. Two to fourteen.
        target: The class whose score is meant; by default the log-odds of class 1 of two.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type, shape or range, NaN, too few rows, or one field.
        Misuse: More than fourteen fields.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    model, x, background, fields = flat(model, x, background, fields)
    pairs = _pairs(fields, None)
    _enough(x, public=public)
    few(fields)
    inside = members(len(fields))
    places = [(fields.names.index(one), fields.names.index(two)) for one, two in pairs]
    weights = np.stack([_pair_weights(inside, i, j) for i, j in places], axis=1)
    indices, own, others = weighted_games(model, x, background, fields, target, weights)
    indices[np.abs(indices) <= 8 * EPSILON * max(np.abs(own).max(), np.abs(others).max())] = 0.0
    found = {pair: (column, column**2) for pair, column in zip(pairs, indices.T, strict=True)}
    return _over_rows(found, background, target, public=public)


def estimate_interactions(
    model: nn.Module,
    x: Tensor,
    background: Background,
    fields: Fields | Encoding,
    *,
    pairs: Sequence[Pair] | None = None,
    draws: int = 8,
    seed: int = 0,
    target: int | None = None,
    public: bool = False,
) -> Interactions:
    """The index of pairs of any number of fields, from draws of a background row and a coalition of the others.

    Both halves of the draws of a row are independent, so that their product has the square of the index as
    expectation: a strength is not biased by noise, however few draws there are.

    Args:
        model: Standard modules, not wrapped for private training. It is not touched.
        x: (N, …) float32; at least two rows, or ten private ones.
        background: At least one row.
        fields: Of a (flattened) row; an encoding stands for its columns. At least two.
        pairs: Names of fields, two by two; by default all pairs.
        draws: Draws a row and pair, even; each asks the model eight times. With two draws of a few hundred rows the
            products are so skewed that intervals hold rather 90 % than 95 %.
        seed: Public; draws coalitions and background rows, no noise.
        target: The class whose score is meant; by default the log-odds of class 1 of two.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type, shape or range, NaN, too few rows, or one field.
        UnknownName: A pair of a field that is not there.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    model, x, background, fields = flat(model, x, background, fields)
    wanted = _pairs(fields, pairs)
    _enough(x, public=public)
    if draws < 2 or draws % 2 or seed < 0:
        raise BadData("draws must be even, at least two, and the seed 0 or more", where="estimate_interactions")
    mix, _, _ = prepared(model, x, background, fields, target)
    found = {}
    for one, two in wanted:
        places = fields.names.index(one), fields.names.index(two)
        rng = np.random.default_rng([seed, *places])
        drawn = np.stack([_drawn(mix, x.cpu(), background.rows.cpu(), len(fields), places, rng) for _ in range(draws)])
        first, second = drawn[: draws // 2].mean(axis=0), drawn[draws // 2 :].mean(axis=0)
        found[one, two] = ((first + second) / 2, first * second)
    return _over_rows(found, background, target, public=public, draws=draws, seed=seed)


def _pairs(fields: Fields, wanted: Sequence[Pair] | None) -> list[Pair]:
    if len(fields) < 2:
        raise BadData("an interaction needs two fields", where="fields")
    if wanted is None:
        return list(itertools.combinations(fields.names, 2))
    for pair in wanted:
        if len(set(pair)) != 2 or not set(pair) <= set(fields.names):
            raise UnknownName("a pair must be two different fields", where="pairs")
    return list(wanted)


def _enough(x: Tensor, *, public: bool) -> None:
    least = 2 if public else MINIMUM_CELL
    if len(x) < least:
        raise BadData(f"interactions over fewer than {least} rows are not published", where="x")


def _pair_weights(inside: np.ndarray[Any, np.dtype[np.bool_]], i: int, j: int) -> Floats:
    """(2^fields,): the index of i and j is the game times this. Others number s with chance s! (F−s−2)! / (F−1)!."""
    fields = inside.shape[1]
    chance = np.array([1.0 / ((fields - 1) * math.comb(fields - 2, others)) for others in range(fields - 1)])
    both = inside[:, i].astype(np.int64) + inside[:, j]
    sign = np.where(both == 1, -1.0, 1.0)
    found: Floats = sign * chance[inside.sum(axis=1) - both]
    return found


def _drawn(
    mix: Composites, x: Tensor, b: Tensor, fields: int, places: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """(N,) one draw of the index for every row: a coalition of random size, its complement, a background row."""
    i, j = places
    others = np.delete(np.arange(fields), places)
    marks = rng.random((len(x), len(others)))
    sizes = rng.integers(0, fields - 1, (len(x), 1))
    chosen = np.zeros((len(x), fields), dtype=bool)
    chosen[:, others] = marks.argsort(axis=1).argsort(axis=1) < sizes
    start = b[torch.from_numpy(rng.integers(0, len(b), len(x)))]
    taken = np.stack([chosen] * 4 + [~chosen] * 4)
    signs = np.empty(8)
    for number, (with_i, with_j) in enumerate(itertools.product((False, True), repeat=2)):
        taken[number::4, :, i], taken[number::4, :, j] = with_i, with_j
        signs[number::4] = 0.5 if with_i == with_j else -0.5
    asked = torch.from_numpy(taken.reshape(-1, fields))
    answers = mix.mixed(x.repeat(8, 1), start.repeat(8, 1), asked).numpy().reshape(8, len(x))
    found: Floats = signs @ answers
    found[np.abs(found) <= 8 * EPSILON * np.abs(answers).max()] = 0.0
    return found


def _over_rows(
    found: Mapping[Pair, tuple[Floats, Floats]],
    background: Background,
    target: int | None,
    *,
    public: bool,
    draws: int | None = None,
    seed: int | None = None,
) -> Interactions:
    """Estimates over rows from each row's index and an unbiased estimate of its square."""
    strength, errors = {}, {}
    for pair, (_, squares) in found.items():
        over, errors[pair] = root_mean_square(squares)
        grid = 0.0 if public and background.public else grid_of(np.sqrt(np.maximum(squares, 0.0)))
        strength[pair] = Mean(over.value, over.low, over.high, over.n, grid)
    signed = {pair: mean(indices) for pair, (indices, _) in found.items()}
    return Interactions(strength, signed, errors, background, public, draws, seed, target)
