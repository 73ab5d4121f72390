"""What a page draws of an explanation beyond its figures: binned spreads, points in a column's own words, one example.

Nothing here is about one person: a cell of the spread counts at least ten people and is rounded down to ten, its edges
are round numbers, and the example is a made-up person whom somebody declared in ``model.toml``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import BadData, BadFile, nearest
from pellucid.evidence import Evidence, round_down
from pellucid.project import card

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from pellucid.explain import Attribution
    from pellucid.project.model import Trained
    from pellucid.schema import Code

__all__ = ["described", "example", "points", "spread"]

CELLS: Final = 24  # over the range of all columns
FEWEST: Final = 200  # people, below which a spread would be gaps rather than cells
BEYOND: Final = 0.005  # share of attributions that may lie outside and are counted in the last cells
LEVELS: Final = ("low", "middle", "high")


def described(
    evidence: Evidence, attribution: Attribution, x: torch.Tensor, codes: tuple[Code, ...], case: dict[str, Any] | None
) -> Evidence:
    """``explanation`` evidence with ``distribution``, the ``case`` of :func:`example` and, for each effect, ``at``."""
    added: dict[str, Any] = {}
    if (found := spread(attribution, x, codes)) is not None:
        added["distribution"] = found
    if case is not None:
        added["case"] = case
    named = {code.column: code for code in codes}
    if "effects" in evidence.values:
        added["effects"] = [
            {**effect, "at": points(named[effect["field"]], effect["points"])} for effect in evidence.values["effects"]
        ]
    return replace(evidence, values={**evidence.values, **added})


def spread(attribution: Attribution, x: torch.Tensor, codes: tuple[Code, ...]) -> dict[str, Any] | None:
    """How the attributions of each column lie over people: what a beeswarm shows, without a person in it.

    Args:
        attribution: Of the rows ``x``, or of a sample of them that its seed drew.
        x: (N, width) encoded rows.
        codes: Of the encoding.

    Returns:
        ``{edges, people, columns: {name: [{cell, level, n}]}}``; ``edges`` are round, and the first and the last cell
        hold what lies beyond them. ``level`` says where in its declared range a column's value lies; it is absent for
        categories, which have no order. None for fewer than 200 people.
    """
    import numpy as np

    rows = attribution.rows
    if len(rows) < FEWEST or attribution.public:
        return None
    if len(rows) < len(x):  # as pellucid.explain.attribute drew them
        chosen = np.sort(np.random.default_rng(attribution.seed).choice(len(x), len(rows), replace=False))
        x = x[chosen]
    reach = _round_up(float(np.quantile(np.abs(rows), 1 - BEYOND)))
    if reach == 0.0:
        return None
    edges = np.linspace(-reach, reach, CELLS + 1)
    places = np.clip(np.searchsorted(edges, rows, side="right") - 1, 0, CELLS - 1)
    columns, start = {}, 0
    for number, code in enumerate(codes):
        levels = _levels(x[:, start : start + code.width].numpy(), code)
        start += code.width
        columns[code.column] = [
            {"cell": cell, **({} if level is None else {"level": level}), "n": n}
            for level, inside in levels.items()
            for cell in range(CELLS)
            if (n := round_down(int(((places[:, number] == cell) & inside).sum())))
        ]
    return {"edges": [round(float(edge), 6) for edge in edges], "people": round_down(len(rows)), "columns": columns}


def points(code: Code, encoded: list[list[float]] | list[float]) -> list[str | float]:
    """The points of an effect in the column's own words: numbers in its unit, names of categories, ends of bins."""
    names = [label.removeprefix(f"{code.column}=") for label in code.labels]
    if code.how == "bins":
        low, high = code.edges[0], code.edges[-1]
        between = [f"{a:g} – {b:g}" for a, b in itertools.pairwise(code.edges)]
        names[: len(code.edges) + 1] = [f"< {low:g}", *between, f"≥ {high:g}"]
    found: list[str | float] = []
    for point in encoded:
        slots = list(point) if isinstance(point, list) else [point]
        if code.how in ("linear", "log"):
            share, span = (slots[0] + 1) / 2, code.high - code.low
            value = code.low + (share * span if code.how == "linear" else math.expm1(share * math.log1p(span)))
            found.append(float(f"{value:.4g}"))
        elif code.how == "boolean":
            found.append("true" if slots[0] >= 0.5 else "false")
        else:
            found.append(names[slots.index(max(slots))])
    return found


def example(trained: Trained, target: int | None = None) -> dict[str, Any] | None:
    """The declared example, its answer, and what each column carries of it; None where nobody declared one.

    The row is made up and the weights are private, so this is post-processing and costs nobody anything.

    Args:
        trained: The model.
        target: The class of more than two whose logit is explained; None for the log-odds of two.

    Raises:
        BadFile: A column is unknown or missing, or a value is not one that the schema admits.
    """
    from pellucid import explain, train

    found = card.find(trained.project.layout.root, trained.subject.name)
    if found is None or not found.example:
        return None
    features = trained.encoding.features
    for name in found.example:
        if name not in features:
            raise BadFile(
                f"the model has no such column{nearest(name, features)}", where=f"{found.name}: example.{name}"
            )
    try:
        row = train.encode_row(found.example, trained.encoding)
    except BadData as error:
        raise BadFile(error.what, where=f"{found.name}: example.{error.where}", fix=error.fix) from error
    # one row: completeness is shown beside the case, so a model without gradients is explained all the same
    made = explain.attribute(trained.module, row, trained.encoding, target=target, public=True, tolerance=0.05)
    (answer, chance), (base, _) = (_answer(trained.module, each, target) for each in (row, made.origin[None]))
    return {
        "of": {name: _said(found.example[name]) for name in features},
        "base": round(base, 6),
        "answer": round(answer, 6),
        "probability": round(chance, 6),
        "attribution": {name: round(float(v), 6) for name, v in zip(features, made.rows[0], strict=True)},
        "method": made.method,
        "baseline": made.baseline,
    }


def _answer(module: torch.nn.Module, row: torch.Tensor, target: int | None) -> tuple[float, float]:
    """Score and probability of class 1 of two, or of the class ``target`` of more."""
    import torch

    from pellucid import explain

    zero = torch.zeros(len(row), dtype=torch.int64)
    found = explain.predict(module, row.reshape(len(row), -1), zero)
    place = 0 if target is None else (0, target)
    return float(found.logits[place]), float(found.probability[place])


def _levels(slots: NDArray[Any], code: Code) -> Mapping[str | None, NDArray[Any]]:
    """Which rows lie where in the declared range of a column with an order; all rows otherwise."""
    import numpy as np

    width = code.width - code.missing
    if code.how == "onehot" or width < 1:
        return {None: np.ones(len(slots), dtype=bool)}
    if code.how in ("linear", "log"):
        share = (slots[:, 0] + 1) / 2
    elif code.how == "boolean":
        share = slots[:, 0]
    else:
        share = slots[:, :width].argmax(axis=1) / max(1, width - 1)
    third = np.minimum(2, (share * 3).astype(int))
    return {level: third == place for place, level in enumerate(LEVELS)}


def _round_up(value: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below ``value``."""
    if value <= 0:
        return 0.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 2, 5, 10) if step * size >= value * (1 - 1e-9))


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
