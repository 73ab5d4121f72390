"""What a plan may choose: how a unit's gradient is bounded, how noise runs over the steps, and what is drawn."""

from __future__ import annotations

from typing import Final, TypedDict

__all__ = ["CLIPPINGS", "MECHANISMS", "SAMPLINGS", "Options"]

CLIPPINGS: Final = ("flat", "per_layer", "automatic", "adaptive")
"""Ways to bound a unit's gradient; in all of them the sum of a step has the L2 sensitivity ``clip``.

``flat``: the whole gradient to norm ``clip``. ``per_layer``: each of L layers to ``clip / sqrt(L)``, whose squares add
up to that of ``clip``. ``automatic``: the whole, times ``clip / (norm + 0.01)``, so that its norm is below ``clip`` (Bu
et al. 2023, arXiv 2206.07136). ``adaptive``: as flat, and from ``clip`` on it follows a quantile of the norms, which
costs noise; see :mod:`pellucid.privacy.adaptive`.
"""
MECHANISMS: Final = ("gaussian", "banded")
"""Independent noise in every step, or noise that cancels over steps; see :mod:`pellucid.privacy.banded`."""
SAMPLINGS: Final = ("user", "example")
"""What is drawn and clipped, where a unit has several rows (Charles et al. 2024, arXiv 2407.07737).

``user``: a unit with all its rows, whose mean gradient is clipped as one; the accounting of units with one row holds.
``example``: every row on its own; a unit then adds to a step as many clipped gradients as rows of theirs were drawn,
which is accounted as a mixture of Gaussians; see :mod:`pellucid.privacy.mixture`.
"""


class Options(TypedDict, total=False):
    """The fields of a plan that have a default, and that nothing has to be compared for."""

    clipping: str
    mechanism: str
    bands: int
    augmentations: int
    unit_rows: int
    rows: int | None
