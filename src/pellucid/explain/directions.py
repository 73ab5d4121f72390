"""Which way do the answers go with one column, everything else equal? Asked on rows that stand for nobody.

Every row is asked at every declared value of the column: individual conditional expectation (Goldstein, Kapelner,
Bleich and Pitkin 2015, JCGS 24(1)) over a public grid. What is found is post-processing of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import UnknownName, nearest
from pellucid.evidence import Estimate
from pellucid.explain.effects import ice_curves
from pellucid.explain.fields import Fields
from pellucid.explain.inputs import check_encoding
from pellucid.explain.intervals import Floats, mean, rate
from pellucid.schema import Encoding

__all__ = ["Course", "Lift", "course", "declared_points", "lift"]

POINTS: Final = 33  # of a number: the ends, and 31 between
ROUNDING: Final = 1e-5  # of a score of size 1: what float32 does not tell apart


@dataclass(frozen=True, slots=True)
class Course:
    """How the curves of a column go, in one direction.

    Attributes:
        share: Of rows whose curve never falls by more than the tolerance.
        largest_fall: Over rows, the most that a curve lies below what it had reached before; in units of the score.
        change: From the first to the last point, mean over rows.
        holds: No row's curve falls by more than the tolerance.
        flat: No curve moves at all.
    """

    share: Estimate
    largest_fall: float
    change: Estimate
    holds: bool
    flat: bool


@dataclass(frozen=True, slots=True)
class Lift:
    """What a category does to the score against the mean of the other categories.

    Attributes:
        effect: Mean over rows, in units of the score; exactly 0 where float32 tells nothing apart.
        share: Of rows for which the effect has the sign that was asked about.
    """

    effect: Estimate
    share: Estimate


def declared_points(encoding: Encoding, column: str) -> Tensor:
    """The declared values of ``column`` as its slots (G, slots), float32, rising; a missing value is none of them.

    Of a number 33, evenly spaced on its declared scale; of bins, a boolean or a category each one.

    Raises:
        Misuse: Not an encoding.
        UnknownName: There is no such column.
    """
    check_encoding(encoding)
    if column not in encoding.features:
        known = encoding.features
        raise UnknownName(f'no feature column "{column}"{nearest(str(column), known)}', where="column")
    (code,) = (code for code in encoding.codes if code.column == column)
    if code.how in ("linear", "log"):
        first = torch.linspace(-1.0, 1.0, POINTS, dtype=torch.float32)[:, None]
    elif code.how == "boolean":
        first = torch.tensor([[0.0], [1.0]], dtype=torch.float32)
    else:
        first = torch.eye(code.width - code.missing, dtype=torch.float32)
    return torch.cat([first, torch.zeros(len(first), int(code.missing), dtype=torch.float32)], dim=1)


def course(
    model: nn.Module,
    x: Tensor,
    encoding: Encoding,
    column: str,
    *,
    rising: bool = True,
    tolerance: float = 0.0,
    target: int | None = None,
    flip: bool = False,
) -> Course:
    """Whether the score never goes against a direction as ``column`` grows.

    A yes holds for the rows and points that were asked; a no is a proof, since each fall is one.

    Args:
        model: Standard modules. It is not touched.
        x: (N, width) float32, at least ten public rows.
        encoding: Of a row.
        column: A number, a boolean, or bins.
        rising: The direction.
        tolerance: The largest fall against it that is put up with, in units of the score.
        target: The class whose logit is meant; None for two classes.
        flip: The score is the log-odds of class 0, not 1.

    Raises:
        BadData, UnknownName, UnsupportedModel: As :func:`pellucid.explain.effects.ice_curves`.
    """
    curves = _curves(model, x, encoding, column, target, flip=flip)
    slack = _slack(curves)
    change = curves[:, -1] - curves[:, 0]
    ahead = curves if rising else -curves
    falls = (np.maximum.accumulate(ahead, axis=1) - ahead).max(axis=1)
    within = falls <= tolerance + slack
    largest = float(falls.max())
    return Course(
        share=rate(float(within.mean()), len(x)),
        largest_fall=largest if largest > slack else 0.0,
        change=mean(change),
        holds=bool(within.all()),
        flat=bool(np.ptp(curves, axis=1).max() <= slack),
    )


def lift(
    model: nn.Module,
    x: Tensor,
    encoding: Encoding,
    column: str,
    place: int,
    *,
    positive: bool = True,
    target: int | None = None,
    flip: bool = False,
) -> Lift:
    """What the category at ``place`` of the declared ones does to the score, against the mean of the others.

    Args:
        model: Standard modules. It is not touched.
        x: (N, width) float32, at least ten public rows.
        encoding: Of a row.
        column: A category or boolean.
        place: In :func:`declared_points`.
        positive: The sign that is asked about.
        target: The class whose logit is meant; None for two classes.
        flip: The score is the log-odds of class 0, not 1.

    Raises:
        BadData, UnknownName, UnsupportedModel: As :func:`pellucid.explain.effects.ice_curves`.
    """
    curves = _curves(model, x, encoding, column, target, flip=flip)
    others = np.delete(curves, place, axis=1).mean(axis=1)
    effects = curves[:, place] - others
    effects[np.abs(effects) <= _slack(curves)] = 0.0
    signed = effects if positive else -effects
    return Lift(mean(effects), rate(float((signed > 0).mean()), len(x)))


def _curves(model: nn.Module, x: Tensor, encoding: Encoding, column: str, target: int | None, *, flip: bool) -> Floats:
    found = ice_curves(model, x, Fields.of(encoding), column, declared_points(encoding, column), target=target)
    return -found if flip else found


def _slack(curves: Floats) -> float:
    return ROUNDING * max(1.0, float(np.abs(curves).max()))
