"""How much of an answer does each field carry? Shapley values, exactly, by all coalitions of fields.

The game of a row x gives a coalition S of fields the mean answer over background rows b to "S of x, the rest of b"
(interventional; Lundberg and Lee 2017; Janzing, Minorics and Blöbaum 2020). A field is a column with all slots of its
code, so nobody is asked about a person with two jobs. Beyond a dozen fields see :mod:`pellucid.explain.walks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import Misuse
from pellucid.evidence import round_down
from pellucid.explain.background import Background
from pellucid.explain.coalitions import differing, flat, prepared, score_name
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import GAPS, Floats, gaps, order, versions
from pellucid.schema import Encoding

__all__ = ["MOST_FIELDS", "ShapleyValues", "exact_shapley", "few", "members", "weighted_games"]

MOST_FIELDS: Final = 14  # 2^14 coalitions for each row and background row
GAMES: Final = 1 << 22  # numbers of the games of a block of rows: 32 megabytes
EXACT: Final = "exact interventional Shapley values by all coalitions (Shapley 1953; Lundberg and Lee 2017)"


@dataclass(frozen=True, slots=True, eq=False)
class ShapleyValues:
    """Shapley values of N rows. One row a person: never shown by ``repr``.

    Attributes:
        rows: (N, fields) share of each field in f(x) − mean f(background).
        fields: What the columns of ``rows`` are.
        standard_error: (N, fields) of ``rows``, from the sampling of orders and background rows; None if exact.
        answers: (N,) f(x): the log-odds of class 1 of two, or the score of ``target``.
        base: Mean f(background).
        background: What x is compared with.
        target: The class whose score is explained; None for the log-odds of class 1.
        public: The rows x were made without the data.
        method: In words, with source.
        walks: The least and the largest number of pairs of walks of a row; None if exact.
        seed: Public; None if exact.
        tolerance: The largest standard error that was asked for, if one was.
    """

    rows: Floats = field(repr=False)
    fields: Fields
    standard_error: Floats | None = field(repr=False)
    answers: Floats = field(repr=False)
    base: float = field(repr=False)
    background: Background
    target: int | None
    public: bool
    method: str
    walks: tuple[int, int] | None = None
    seed: int | None = None
    tolerance: float | None = None

    @property
    def n(self) -> int:
        """How many rows were explained, rounded down to ten unless they are public."""
        return len(self.rows) if self.public else round_down(len(self.rows))

    @property
    def covered(self) -> bool:
        """Whether neither a row nor a background row is a person's."""
        return self.public and self.background.public

    @property
    def reached(self) -> bool | None:
        """Whether the largest standard error is within the tolerance; None if none was asked for."""
        if self.tolerance is None or self.standard_error is None:
            return None
        return bool(self.standard_error.max() <= self.tolerance)

    @property
    def completeness_gap(self) -> float:
        """Mean |Σ values − (f(x) − base)| over mean |f(x) − base|: the axiom of efficiency."""
        miss, size = self._miss()
        return float(miss.mean()) / size if size else float(miss.mean())

    @property
    def completeness_gap_max(self) -> float:
        """The same with the largest miss of a row instead of the mean one."""
        miss, size = self._miss()
        return float(miss.max()) / size if size else float(miss.max())

    def values(self) -> dict[str, Any]:
        """What may be said without showing a value; see also :func:`pellucid.explain.strength.measure_strength`."""
        found: dict[str, Any] = {
            "method": "shapley",
            **gaps(self.completeness_gap, self.completeness_gap_max, public=self.covered),
        }
        if self.standard_error is not None:
            largest = float(self.standard_error.max())
            # the largest error of people is one person's: its order alone is shown
            found["standard_error_max"] = round(largest, 9) if self.covered or largest == 0.0 else order(largest)
        if self.reached is not None:
            found["tolerance_reached"] = self.reached
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        found: dict[str, Any] = {
            "method": self.method,
            "score": score_name(self.target),
            "background": dict(self.background.how()),
            "field": "all slots of a field are replaced together",
            "rows": "made from the declared schema, without the data" if self.public else "held-out split",
            "n": self.n,
            "libraries": versions("numpy", "torch"),
        }
        if self.walks is not None:
            found["walks"] = {"least": self.walks[0], "most": self.walks[1]}
            found["seed"] = self.seed
        if self.tolerance is not None:
            found["tolerance"] = self.tolerance
        if not self.covered:
            found["gap"] = GAPS
        return found

    def _miss(self) -> tuple[Floats, float]:
        whole = self.answers - self.base
        return np.abs(self.rows.sum(axis=1) - whole), float(np.abs(whole).mean())


def exact_shapley(
    model: nn.Module,
    x: Tensor,
    background: Background,
    fields: Fields | Encoding,
    *,
    target: int | None = None,
    public: bool = False,
) -> ShapleyValues:
    """Exact interventional Shapley values of every row of ``x``, relative to all background rows.

    A field in which a row is as every background row has exactly 0.

    Args:
        model: Standard modules, not wrapped for private training. It is not touched.
        x: (N, …) float32.
        background: At least one row; with one row it is a baseline.
        fields: Of a (flattened) row, at most fourteen: each coalition is asked about once for each row and background
            row. An encoding stands for its columns.
        target: The class whose score is explained; by default the log-odds of class 1 of two.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type, shape or range, or NaN.
        Misuse: More than fourteen fields.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    model, x, background, fields = flat(model, x, background, fields)
    few(fields)
    found, own, others = weighted_games(model, x, background, fields, target, _weights(len(fields)))
    b = background.rows.cpu()
    met = differing(x.cpu(), b[0], fields) | differing(b, b[0], fields).any(dim=0)
    found[~met.numpy()] = 0.0
    return ShapleyValues(
        rows=found,
        fields=fields,
        standard_error=None,
        answers=own,
        base=float(others.mean()),
        background=background,
        target=target,
        public=public,
        method=EXACT,
    )


def few(fields: Fields) -> None:
    """Check that there are few enough ``fields`` for all their coalitions.

    Raises:
        Misuse: There are not.
    """
    if len(fields) > MOST_FIELDS:
        raise Misuse(
            f"{len(fields)} fields have 2^{len(fields)} coalitions, and at most {MOST_FIELDS} fields are explained "
            "exactly",
            where="fields",
            fix="use estimate_shapley or estimate_interactions, which say their standard error",
        )


def weighted_games(
    model: nn.Module, x: Tensor, background: Background, fields: Fields, target: int | None, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """The game of every row, (N, 2^fields), times ``weights`` (2^fields, K), in blocks of rows.

    Returns:
        The products (N, K), the scores of ``x`` (N,) and those of the background (n,).

    Raises:
        BadData: As :func:`exact_shapley`.
        UnsupportedModel: As :func:`exact_shapley`.
    """
    mix, own, others = prepared(model, x, background, fields, target)
    taken = torch.from_numpy(members(len(fields)))
    size = max(1, GAMES // len(taken))
    x, b = x.cpu(), background.rows.cpu()
    blocks = [mix.table(x[start : start + size], b, taken).numpy() @ weights for start in range(0, len(x), size)]
    return np.concatenate(blocks), own, others


def members(fields: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(2^fields, fields): which fields are in which coalition: bit i of its number says that field i is."""
    numbers = np.arange(1 << fields)[:, None]
    found: np.ndarray[Any, np.dtype[np.bool_]] = (numbers >> np.arange(fields) & 1).astype(bool)
    return found


def _weights(fields: int) -> Floats:
    """(2^fields, fields): Shapley values are the games times this.

    A coalition of s others is met by field i with the chance s! (F−s−1)! / F! that exactly they come before it.
    """
    inside = members(fields)
    chance = np.array([1.0 / (fields * math.comb(fields - 1, others)) for others in range(fields)])
    size = inside.sum(axis=1)[:, None]
    with_it = chance[np.clip(size - 1, 0, fields - 1)]
    without = chance[np.clip(size, 0, fields - 1)]
    found: Floats = np.where(inside, with_it, -without)
    return found
