"""What a plan may choose: how a unit's gradient is bounded, and how noise runs over the steps."""

from __future__ import annotations

from typing import Final, TypedDict

__all__ = ["CLIPPINGS", "MECHANISMS", "Options"]

CLIPPINGS: Final = ("flat", "per_layer", "automatic", "adaptive")
"""Ways to bound a unit's gradient; in all of them the sum of a step has the L2 sensitivity ``clip``.

``flat``: the whole gradient to norm ``clip``. ``per_layer``: each of L layers to ``clip / sqrt(L)``, whose squares add
up to that of ``clip``. ``automatic``: the whole, times ``clip / (norm + 0.01)``, so that its norm is below ``clip`` (Bu
et al. 2023, arXiv 2206.07136). ``adaptive``: as flat, and from ``clip`` on it follows a quantile of the norms, which
costs noise; see :mod:`pellucid.privacy.adaptive`.
"""
MECHANISMS: Final = ("gaussian", "banded")
"""Independent noise in every step, or noise that cancels over steps; see :mod:`pellucid.privacy.banded`."""


class Options(TypedDict, total=False):
    """The fields of a plan that have a default."""

    clipping: str
    mechanism: str
    bands: int
    augmentations: int
