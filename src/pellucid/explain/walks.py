"""How much of an answer does each field carry, where there are too many fields for all coalitions? Random walks.

A walk goes from a background row to x, one field at a time in a random order, and pays each field what its step
changes: an unbiased draw of the Shapley values (Castro, Gómez and Tejada 2009). Three things make few walks enough.

- Antithetic pairs: the same order walked from x to the background row. All that two fields do together is then met
  exactly, and only what three or more do together is left to chance (Mitchell, Cooper, Frank and Holmes 2022).
- Background rows without replacement, each in turn. Every fourth is used twice at once, until all have been used:
  what differs between two walks with one background row tells the chance in the orders, and what differs between
  background rows tells the rest, so that the standard error is that of two-stage sampling (Cochran 1977, ch. 10).
- A control: what a background row does by itself. Its own Shapley values relative to a typical background row, drawn
  beforehand, are added, and their mean over all background rows is taken off: the expectation stays, whatever the
  drawn numbers are, and the values of a row sum to f(x) − mean f(background) with any number of walks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.explain.background import Background
from pellucid.explain.coalitions import Composites, differing, flat, prepared
from pellucid.explain.fields import Fields
from pellucid.explain.intervals import Floats
from pellucid.explain.shapley import ShapleyValues
from pellucid.schema import Encoding

__all__ = ["LIMIT", "estimate_shapley"]

WALKS: Final = 8  # pairs of walks a row, unless others are asked for
LEAST: Final = 4  # walks: three background rows, one of them twice, or fewer and more often
CONTROL: Final = 4  # walks of each background row that make the control
LIMIT: Final = 4096  # walks of a row at most, where a tolerance is to be reached
METHOD: Final = (
    "antithetic permutation walks, background rows without replacement, control by the background's own values; "
    "unbiased for a given number of walks (Castro et al. 2009; Mitchell et al. 2022; Cochran 1977, ch. 10)"
)

Ints = npt.NDArray[np.int64]


def estimate_shapley(
    model: nn.Module,
    x: Tensor,
    background: Background,
    fields: Fields | Encoding,
    *,
    walks: int = WALKS,
    seed: int = 0,
    target: int | None = None,
    tolerance: float | None = None,
    limit: int = LIMIT,
    public: bool = False,
) -> ShapleyValues:
    """Interventional Shapley values of every row of ``x`` with standard errors.

    Unbiased for a given number of walks, with unbiased squared standard errors; the values of a row sum to
    f(x) − mean f(background) but for rounding. A field in which a row is as every background row has exactly 0.
    Rows are drawn independently of each other, each from ``seed`` and its place, so that chunks change nothing.

    Args:
        model: Standard modules, not wrapped for private training. It is not touched.
        x: (N, …) float32.
        background: At least one row; with one row it is a baseline.
        fields: Of a (flattened) row; an encoding stands for its columns. Any number.
        walks: Antithetic pairs of walks a row, at least four; each asks the model 2·fields − 2 times.
        seed: Public; draws orders and background rows, no noise.
        target: The class whose score is explained; by default the log-odds of class 1 of two.
        tolerance: Go on with a row, ``walks`` more at a time, until its largest standard error is at most this.
        limit: Walks of a row at most, on the way to a tolerance. Where they do not reach it,
            :attr:`ShapleyValues.reached` says so.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type, shape or range, or NaN.
        UnsupportedModel: The model is random in eval mode, mixes rows, or has classes and no target is named.
    """
    if walks < LEAST or seed < 0 or not (tolerance is None or (tolerance > 0 and limit >= walks)):
        raise BadData(
            f"at least {LEAST} walks and no more than the limit, a seed of 0 or more and a tolerance above 0",
            where="estimate_shapley",
        )
    model, x, background, fields = flat(model, x, background, fields)
    mix, own, others = prepared(model, x, background, fields, target)
    x, b = x.cpu(), background.rows.cpu()
    sampler = _Sampler(mix, fields, b, others)
    turns = _turns(len(b), walks if tolerance is None else limit)
    if len(set(turns[:walks].tolist())) < len(b):
        sampler.control = _control(sampler, seed)
    found, error = np.zeros((len(x), len(fields))), np.zeros((len(x), len(fields)))
    most = walks
    for start in range(0, len(x), mix.pairs):
        block = np.arange(start, min(start + mix.pairs, len(x)))
        sources = [np.random.default_rng([seed, 0, int(row)]) for row in block]
        decks = np.stack([source.permutation(len(b)) for source in sources])
        tally = _Tally(len(block), int(turns.max()) + 1, len(fields), len(b))
        done = 0
        while len(block):
            goal = min(done + walks, len(turns))
            sampler.walk(tally, x[block], own[block], decks, sources, turns[done:goal])
            done = goal
            found[block], error[block] = tally.estimate()
            most = max(most, done)
            if done == len(turns) or tolerance is None:
                break
            open_ = error[block].max(axis=1) > tolerance
            block, decks = block[open_], decks[open_]
            sources = [source for source, more in zip(sources, open_, strict=True) if more]
            tally.keep(open_)
    return ShapleyValues(
        rows=found,
        fields=fields,
        standard_error=error,
        answers=own,
        base=float(others.mean()),
        background=background,
        target=target,
        public=public,
        method=METHOD,
        walks=(walks, most),
        seed=seed,
        tolerance=tolerance,
    )


def _turns(backgrounds: int, walks: int) -> Ints:
    """Which card of a row's shuffled deck of background rows each walk uses.

    0 0 1 2 3, 4 4 5 6 7, … until all were used; then those that were used once; then all, again and again.
    """
    first = [card for card in range(backgrounds) for _ in range(2 if card % 4 == 0 else 1)]
    first += [card for card in range(backgrounds) if card % 4]
    rest = np.resize(np.arange(backgrounds), max(0, walks - len(first)))
    return np.concatenate([np.array(first), rest])[:walks]


class _Sampler:
    """Walks with the rows and background rows of one question.

    Attributes:
        control: (n, fields) what is added to a walk with each background row; of mean 0 over them.
    """

    def __init__(self, mix: Composites, fields: Fields, b: Tensor, others: Floats) -> None:
        self.mix, self.fields, self.b, self.others = mix, fields, b, others
        self.control = np.zeros((len(b), len(fields)))

    def walk(
        self,
        tally: _Tally,
        x: Tensor,
        own: Floats,
        decks: Ints,
        sources: Sequence[np.random.Generator],
        turns: Ints,
    ) -> None:
        """Take the walks ``turns`` with every row, as many at a time as are asked about well, into ``tally``."""
        together = max(1, self.mix.pairs // len(x))
        unordered = np.arange(len(self.fields))
        for start in range(0, len(turns), together):
            cards = turns[start : start + together]
            blank = np.tile(unordered, (len(cards), 1))
            orders = np.stack([source.permuted(blank, axis=1) for source in sources])
            cast = decks[:, cards]
            rows = np.repeat(np.arange(len(x)), len(cards))
            drawn = self.draw(x[rows], own[rows], cast.ravel(), orders.reshape(len(rows), -1))
            tally.add(drawn.reshape(len(x), len(cards), -1), cards)

    def draw(self, x: Tensor, own: Floats, cast: Ints, orders: Ints) -> Floats:
        """(P, fields) draws of the Shapley values, each from a pair of walks."""
        b, order = self.b[cast], torch.from_numpy(orders)
        near, far = self.others[cast][None], own[None]
        there, back = self.mix.along(x, b, order).numpy()
        steps = np.diff(np.concatenate([near, there, far]), axis=0) - np.diff(np.concatenate([far, back, near]), axis=0)
        found = np.empty((len(x), len(self.fields)))
        np.put_along_axis(found, orders, steps.T / 2, axis=1)
        found[~differing(x, b, self.fields).numpy()] = 0.0
        return found + self.control[cast]


class _Tally:
    """Sums over walks, from which the estimate and its standard error follow."""

    def __init__(self, rows: int, cards: int, fields: int, backgrounds: int) -> None:
        self.backgrounds = backgrounds
        self.counts = np.zeros(cards, dtype=np.int64)
        self.sums = np.zeros((cards, rows, fields))
        self.squares = np.zeros((rows, fields))

    def add(self, drawn: Floats, cards: Ints) -> None:
        """Count ``drawn`` (rows, walks, fields), each with one of ``cards`` (walks,)."""
        for number, card in enumerate(cards):
            self.sums[card] += drawn[:, number]
            self.counts[card] += 1
        self.squares += np.einsum("rwf,rwf->rf", drawn, drawn)

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        """Go on with some rows only."""
        self.sums, self.squares = self.sums[:, rows], self.squares[rows]

    def estimate(self) -> tuple[Floats, Floats]:
        """(rows, fields) mean over background rows, and its standard error: two-stage sampling, Cochran 1977, 10.3.

        Of n background rows k were drawn, and background row b was used v_b times with fresh orders. With s² the
        variance between the k means and w² that within, the squared error is
        (1 − k/n) s²/k + (k/n) (w² mean 1/v)/k, whose expectation is that of the square of what the estimate misses.
        """
        used = self.counts > 0
        times = self.counts[used][:, None, None]
        means = self.sums[used] / times
        k, share = len(means), len(means) / self.backgrounds
        found: Floats = means.mean(axis=0)
        within = (self.squares - (means * means * times).sum(axis=0)) / (times.sum() - k)
        square = share * np.maximum(within, 0.0) * float((1.0 / times).mean()) / k
        if share < 1.0:
            square += (1.0 - share) * means.var(axis=0, ddof=1) / k
        return found, np.sqrt(square)


def _control(sampler: _Sampler, seed: int) -> Floats:
    """(n, fields) Shapley values of each background row relative to the most typical one, less their mean.

    Any numbers would leave the estimate unbiased; those of a few walks take most of its variance away.
    """
    b, others = sampler.b, sampler.others
    typical = int((b - b.mean(dim=0)).square().sum(dim=1).argmin())
    found = np.zeros((len(b), len(sampler.fields)))
    blank = np.tile(np.arange(len(sampler.fields)), (len(b) * CONTROL, 1))
    orders = np.random.default_rng([seed, 1]).permuted(blank, axis=1).reshape(CONTROL, len(b), -1)
    for start in range(0, len(b), sampler.mix.pairs):
        some = slice(start, start + sampler.mix.pairs)
        cast = np.full(len(b[some]), typical)
        for order in orders:
            found[some] += sampler.draw(b[some], others[some], cast, order[some]) / CONTROL
    centred: Floats = found - found.mean(axis=0)
    return centred
