"""Does the explanation hold when the input moves a little? Max-sensitivity and its mean.

Yeh et al. 2019 (NeurIPS, definition 2): the largest ‖Φ(y) − Φ(x)‖₂ over the y with ‖y − x‖∞ <= r, found by sampling, so
a lower bound. Implementations differ in the scale; here the change is published over ‖Φ(x)‖₂, a pure number, and
unnormalised beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData
from pellucid.evidence import Estimate, round_down
from pellucid.explain.answers import CHUNK
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import Floats, mean, versions
from pellucid.explain.model import frozen
from pellucid.explain.steady import steady
from pellucid.explain.validity.explainer import Explainer, ask, chosen, repeats, said, twice
from pellucid.schema import Encoding

__all__ = ["NUMBERS", "Sensitivity", "measure_sensitivity"]

NUMBERS: Final = ("linear", "log")  # encodings of a number that can move a little


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How far attributions move when the input moves by at most ``radius``; 0 is not at all.

    Attributes:
        largest: Mean over rows of the largest relative change. Absent where fewer than two rows have an attribution.
        average: Mean over rows of the mean relative change.
        largest_absolute: As ``largest``, not divided: in the unit of the attributions.
        own: Mean over rows of the relative change when nothing moves: the explainer's own noise. Absent for one that
            gives the same twice.
        radius: Largest move of a number, in its encoded unit.
        draws: Moves tried a row.
        rows: On how many rows, rounded down to ten unless they are public.
        seed: Public.
        public: The rows stand for nobody.
    """

    largest: Estimate | None
    average: Estimate | None
    largest_absolute: Estimate | None
    own: Estimate | None
    radius: float
    draws: int
    rows: int
    seed: int
    public: bool

    def values(self) -> dict[str, Any]:
        """The values of this test; what is absent has no key."""
        found: dict[str, Any] = {"radius": self.radius}
        for name in ("largest", "average", "largest_absolute", "own"):
            if (estimate := getattr(self, name)) is not None:
                found[name] = estimate.values()
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "method": "max-sensitivity (Yeh et al. 2019, definition 2), by sampling: a lower bound of the largest",
            "change": "Euclidean norm of the difference over that of the attribution; rows without any are left out",
            "moves": "uniform in the cube of the radius, numbers only, cut to the declared range",
            "interval": "normal, over rows",
            "explainer": said(self.own is None),
            "draws": self.draws,
            "rows": self.rows,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }


def measure_sensitivity(
    explain: Explainer,
    model: nn.Module,
    x: Tensor,
    *,
    encoding: Encoding | None = None,
    bounds: tuple[float, float] | None = None,
    radius: float = 0.02,
    draws: int = 10,
    rows: int = 64,
    seed: int = 0,
    public: bool = False,
) -> Sensitivity:
    """Explain rows and their neighbours within ``radius``, and compare.

    Neighbours stay in the declared range. With ``encoding`` only numbers move: a category has no neighbour, and a value
    that is missing stays missing.

    Args:
        explain: The explainer under test.
        model: The model that it explains. It is not touched.
        x: (N, …) float32.
        encoding: Of a table: says which slots are numbers, in [-1, 1].
        bounds: Without ``encoding``: lowest and highest value a slot can take; by default any.
        radius: Largest move of a slot, above 0, in its encoded unit: 0.02 is a hundredth of a declared range.
        draws: Neighbours a row.
        rows: Rows to look at, at most; of more, a sample drawn with ``seed``.
        seed: Public.
        public: ``x`` was made without the data.

    Raises:
        BadData: Wrong type or shape, NaN, a row outside the declared range, no slot that can move, or attributions
            that are not one finite number a row and field.
        UnsupportedModel: The model is random in eval mode or mixes rows.
    """
    check_rows(x, encoding)
    if not radius > 0 or draws < 1:
        raise BadData("the radius must be above 0 and draws at least one", where="measure_sensitivity")
    if encoding is not None:
        bounds = (-1.0, 1.0)
    part = x[torch.from_numpy(chosen(len(x), rows, seed))].cpu()
    free = torch.ones_like(part, dtype=torch.bool) if encoding is None else _numbers(part, encoding)
    low, high = bounds or (-np.inf, np.inf)
    if bool(((part < low - 1e-6) | (part > high + 1e-6))[free].any()):
        raise BadData("a row lies outside the declared range", where="x", fix="encode it with the declared schema")
    if not bool(free.any()):
        raise BadData("no slot of these rows is a number that can move a little", where="x")
    twin = frozen(model)
    steady(twin, part)
    own = ask(explain, twin, part)
    generator = torch.Generator().manual_seed(seed)
    size = max(1, CHUNK // draws)
    moved = []
    for start in range(0, len(part), size):
        here, able = part[start : start + size, None], free[start : start + size, None]
        shares = torch.rand((len(here), draws, *part.shape[1:]), generator=generator, dtype=torch.float32)
        noise = (2 * shares - 1) * radius
        near = torch.where(able, (here + noise).clamp(low, high), here)
        found = ask(explain, twin, near.flatten(0, 1)).reshape(len(here), draws, -1)
        moved.append(np.linalg.norm(found - own[start : start + size, None], axis=2))
    change = np.concatenate(moved)
    norm = np.linalg.norm(own, axis=1)
    there = norm > 0
    noise_of_its_own = None
    if not repeats(explain, twin, part):
        one, other = twice(explain, twin, part)
        noise_of_its_own = _mean(np.linalg.norm(one - other, axis=1)[there] / norm[there])
    relative = change[there] / norm[there, None]
    return Sensitivity(
        largest=_mean(relative.max(axis=1)),
        average=_mean(relative.mean(axis=1)),
        largest_absolute=_mean(change.max(axis=1)),
        own=noise_of_its_own,
        radius=radius,
        draws=draws,
        rows=len(part) if public else round_down(len(part)),
        seed=seed,
        public=public,
    )


def _numbers(x: Tensor, encoding: Encoding) -> Tensor:
    """(N, width) which cells hold a number that is there: no category, no indicator, nothing missing."""
    free = torch.zeros_like(x, dtype=torch.bool)
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        if code.how in NUMBERS:
            free[:, place.start] = x[:, place.start + 1] == 0 if code.missing else True
    return free


def _mean(changes: Floats) -> Estimate | None:
    return mean(changes, low=0.0) if changes.size > 1 else None
