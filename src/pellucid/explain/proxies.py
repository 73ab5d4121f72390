"""Can a special column be guessed from what the model is given, and does the model go by the guess?

Leaving a column out does not leave it out of what the others say (indirect discrimination). Two models that are not
ours try to guess it from the features; each person is guessed by models fitted on other people. The guess is then held
against the score of the model in question among people of the same outcome: a score that goes with the guess where the
outcome is the same, uses what is in it. That is an association; it does not say that the model was meant to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.errors import BadData, MissingExtra
from pellucid.evidence import Estimate, round_down
from pellucid.explain.intervals import MINIMUM_CELL, Floats, Z, step, versions
from pellucid.explain.model import untouched
from pellucid.explain.ranking import auc, midranks, publish_auc

__all__ = ["Guess", "guess", "how", "partial_correlation"]

FOLDS: Final = 5
CONSTANT: Final = 1e-6  # relative: what float32 does not tell apart
ROWS: Final = 10_000  # people at most: more would cost minutes, and narrow no interval that matters


@dataclass(frozen=True, slots=True)
class Guess:
    """How well one category is guessed, and how far the model's score goes with the guess.

    Attributes:
        auc: By the model that guesses (``logistic``, ``boosting``): out of fold, DeLong's interval.
        use: The absolute partial correlation of score and better guess, given the outcome; in [0, 1].
    """

    auc: Mapping[str, Estimate]
    use: Estimate

    def values(self) -> dict[str, Any]:
        """Both as JSON."""
        return {"auc": {name: found.values() for name, found in self.auc.items()}, "use": self.use.values()}


def guess(
    x: Floats, member: npt.NDArray[np.bool_], score: Floats, labels: npt.NDArray[np.int64], *, seed: int = 0
) -> Guess:
    """Guess who is a member from the features, and hold the guess against the score.

    Args:
        x: (N, width) features as the model is given them.
        member: (N,) who belongs to the category, at least ten people who do and ten who do not.
        score: (N,) of the model in question.
        labels: (N,) the outcome: association through it is taken out.
        seed: Public: folds, and a sample of people where there are more than 10,000.

    Raises:
        BadData: Fewer than ten people on either side.
        MissingExtra: scikit-learn is not installed.
    """
    rng = np.random.default_rng(seed)
    if len(x) > ROWS:
        chosen = np.sort(rng.choice(len(x), ROWS, replace=False))
        x, member, score, labels = x[chosen], member[chosen], score[chosen], labels[chosen]
    smallest = int(min(member.sum(), (~member).sum()))
    if smallest < MINIMUM_CELL:
        raise BadData(f"fewer than {MINIMUM_CELL} held-out people are of this category, or are not", where="proxy")
    guesses = _out_of_fold(x, member, seed)
    exact = {name: auc(found, member) for name, found in guesses.items()}
    best = max(exact, key=lambda name: exact[name].value)
    return Guess(
        {name: publish_auc(found, smallest) for name, found in exact.items()},
        partial_correlation(score, guesses[best], labels),
    )


def partial_correlation(left: Floats, right: Floats, labels: npt.NDArray[np.int64]) -> Estimate:
    """|Pearson's correlation| of two vectors (N,), N >= 10, after the mean of each class was taken off both.

    The interval is Fisher's (1924, Metron 3) for a partial correlation, on the grid of rates over N and outwards. Where
    one of the two is constant within every class, nothing goes with anything, and the correlation is 0.
    """
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    a, b = (values - (np.bincount(places, values) / counts)[places] for values in (left, right))
    free = len(labels) - (len(counts) - 1) - 3
    scale = math.sqrt(float(a @ a) * float(b @ b))
    n = round_down(len(labels))
    constant = min(_spread(a, left), _spread(b, right)) <= CONSTANT
    if constant or free < 1:
        return Estimate(0.0, 0.0, 0.0 if constant else 1.0, n)
    centre = math.atanh(min(max(float(a @ b) / scale, -1 + 1e-12), 1 - 1e-12))
    ends = [math.tanh(centre + side * Z / math.sqrt(free)) for side in (-1, 1)]
    low, high = (0.0 if ends[0] <= 0 <= ends[1] else min(map(abs, ends))), max(map(abs, ends))
    grid = step(n)
    return Estimate(
        round(round(abs(math.tanh(centre)) / grid) * grid, 9),
        round(math.floor(low / grid) * grid, 9),
        round(min(1.0, math.ceil(high / grid) * grid), 9),
        n,
    )


def how(seed: int) -> Mapping[str, Any]:
    """How guesses are made."""
    return {
        "guess": "logistic regression (L2, C = 1) and gradient-boosted trees (60 rounds), on the features as encoded",
        "auc": f"out of fold over {FOLDS} stratified folds, ranks within each; DeLong 1988, rounded outwards",
        "use": "absolute partial correlation of score and better guess given the outcome, Fisher's interval, rounded",
        "people_at_most": ROWS,
        "seed": seed,
        "libraries": versions("scikit-learn", "numpy"),
    }


def _spread(centred: Floats, values: Floats) -> float:
    return float(np.abs(centred).max()) / max(1.0, float(np.abs(values).max()))


def _out_of_fold(x: Floats, member: npt.NDArray[np.bool_], seed: int) -> dict[str, Floats]:
    """By model, the rank of each person's guess in the fold, in (0, 1): scores of different fits do not compare."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        raise MissingExtra("a proxy is guessed with scikit-learn", fix="pip install 'pellucid[train]'") from error

    makers: dict[str, Callable[[], Any]] = {
        "logistic": lambda: LogisticRegression(C=1.0, max_iter=2000),
        "boosting": lambda: HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed),
    }
    found = {name: np.empty(len(x)) for name in makers}
    with untouched():
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for inside, outside in folds.split(x, member):
            for name, make in makers.items():
                scores = make().fit(x[inside], member[inside]).predict_proba(x[outside])[:, 1]
                found[name][outside] = midranks(scores) / (len(outside) + 1)
    return found
