"""A linear model needs no attribution: its weights are read out, exactly, in the units that the schema declares."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.inputs import check_encoding
from pellucid.explain.intervals import Floats, versions
from pellucid.explain.model import frozen
from pellucid.schema import MISSING, Code, Encoding

__all__ = ["Readout", "Term", "read_out"]

NOISE: Final = (
    "the weights hold the noise of training; no standard error is claimed, since the noise of all steps went through "
    "the optimizer and not only that of the last one"
)


@dataclass(frozen=True, slots=True)
class Term:
    """What one column adds to the log-odds.

    Exactly one of the first two is there, but for a linear column that may be missing, which has a level for that.

    Attributes:
        column: Its name.
        slope: Of a number: log-odds a unit of ``unit``.
        levels: Of a category, a bin or a boolean: log-odds against the reference level, which has 0.
        reference: That level; for a number None.
        unit: What the slope is per: ``1`` of the declared units, or ``log(1 + value - low)`` of a log column.
    """

    column: str
    slope: float | None
    levels: Mapping[str, float]
    reference: str | None
    unit: str | None

    def values(self) -> dict[str, Any]:
        """The term as JSON; what does not apply is absent."""
        found: dict[str, Any] = {}
        if self.slope is not None:
            found |= {"slope": self.slope, "per": self.unit}
        if self.levels:
            found["levels"] = dict(self.levels)
        if self.reference is not None:
            found["reference"] = self.reference
        return found


@dataclass(frozen=True, slots=True)
class Readout:
    """A linear model in declared units: the log-odds of class 1 are the intercept and what the terms add.

    Attributes:
        intercept: Log-odds where every number is 0 (a log column: at its lower bound) and every other column at its
            reference level.
        terms: One a column, in the order of the encoding.
    """

    intercept: float
    terms: tuple[Term, ...]

    def log_odds(self, row: Mapping[str, Any], encoding: Encoding) -> float:
        """Log-odds of a person whose columns have these values: numbers, or the labels of levels; None for missing.

        Raises:
            BadData: A column is missing, or its value is no number or no level; no value is shown.
        """
        total = self.intercept
        for term, code in zip(self.terms, encoding.codes, strict=True):
            if term.column not in row:
                raise BadData("this column is missing", where=term.column)
            value = row[term.column]
            if term.slope is not None and isinstance(value, numbers.Real):
                number = float(value)
                if not math.isfinite(number) or (code.how == "log" and number < code.low):
                    raise BadData(
                        "this value is no number, or below the bound where the column's log scale begins",
                        where=term.column,
                        fix="None stands for a missing value",
                    )
                total += term.slope * (math.log1p(number - code.low) if code.how == "log" else number)
            else:
                level = MISSING if value is None else str(value)
                if level not in term.levels:
                    raise BadData("this value is no level of the column", where=term.column)
                total += term.levels[level]
        return total

    def values(self) -> dict[str, Any]:
        """The readout as JSON, unrounded: what is read is the model, and not an estimate of it."""
        return {
            "kind": "linear",
            "intercept": self.intercept,
            "terms": {term.column: term.values() for term in self.terms},
        }

    def how(self) -> Mapping[str, Any]:
        """How it was made."""
        return {
            "method": "weights of a linear model, in declared units",
            "exact": "equal to the model's log-odds up to rounding of float32",
            "noise": NOISE,
            "libraries": versions("numpy", "torch"),
        }

    coverage = "post-processing"


def read_out(model: nn.Module, encoding: Encoding) -> Readout:
    """Read out a linear model.

    Args:
        model: One ``nn.Linear``, alone or as the only part with parameters of an ``nn.Sequential``; 1 or 2 outputs.
        encoding: Of its inputs. Nobody's data is looked at.

    Raises:
        UnsupportedModel: The model is not linear, has more than two classes, or other inputs than the encoding.
    """
    check_encoding(encoding)
    layer = _linear(frozen(model))
    if layer.in_features != encoding.width or layer.out_features not in (1, 2):
        raise UnsupportedModel(
            f"the layer takes {layer.in_features} numbers and gives {layer.out_features}, where the encoding has "
            f"{encoding.width} and two classes give 1 or 2",
            where="model",
        )
    weights = _score(layer.weight)
    bias: Tensor | None = layer.bias  # torch declares it as always there
    intercept = float(_score(bias[:, None])[0]) if bias is not None else 0.0
    terms = []
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        constant, term = _term(code, weights[place])
        intercept += constant
        terms.append(term)
    return Readout(intercept, tuple(terms))


def _linear(model: nn.Module) -> nn.Linear:
    parts = list(model) if isinstance(model, nn.Sequential) else [model]
    layers = [part for part in parts if not isinstance(part, nn.Identity | nn.Dropout)]
    if len(layers) != 1 or type(layers[0]) is not nn.Linear:
        raise UnsupportedModel(
            "only a linear model can be read out",
            where="model",
            fix='train one (kind = "logistic"), or fit a surrogate and look at its fidelity',
        )
    return layers[0]


def _score(rows: Tensor) -> Floats:
    """Weights (inputs,) of the log-odds from those (outputs, inputs) of 1 or 2 logits, in float64."""
    found = rows.double().cpu()
    single: Floats = (found[0] if len(found) == 1 else found[1] - found[0]).numpy()
    return single


def _term(code: Code, weights: Floats) -> tuple[float, Term]:
    """What a column adds to the intercept, and its term."""
    if code.how in ("linear", "log"):
        span = code.high - code.low
        scale = 2 / (math.log1p(span) if code.how == "log" else span)
        slope = float(weights[0]) * scale
        constant = -float(weights[0]) - (slope * code.low if code.how == "linear" else 0.0)
        # a missing value is encoded as 0 in the slot of the number
        levels = {MISSING: float(weights[-1]) - constant} if code.missing else {}
        unit = "1" if code.how == "linear" else f"log(1 + {code.column} - {code.low:g})"
        return constant, Term(code.column, slope, levels, None, unit)
    if code.how == "boolean":
        gone = {MISSING: float(weights[-1])} if code.missing else {}
        return 0.0, Term(code.column, None, {"false": 0.0, "true": float(weights[0]), **gone}, "false", None)
    names = [label.removeprefix(f"{code.column}=").removeprefix(f"{code.column} in ") for label in code.labels]
    levels = dict(zip(names, (weights - weights[0]).tolist(), strict=True))
    return float(weights[0]), Term(code.column, None, levels, names[0], None)
