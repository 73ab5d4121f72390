"""For whom does the model fail? Every conjunction of up to three column values is looked at.

:func:`find_slices` is the question, :class:`Slices` its answer. One idea a file: ``columns`` (values to codes and
words), ``cells`` (sums over all conjunctions), ``significance`` (Welch, Benjamini and Hochberg), ``search`` (what
stands out on one half), ``distinct`` (what stronger ones do not explain), ``halves`` (who is where), ``figures`` (what
may be published), ``cards`` (the answer), ``finding`` (the question).
"""

from __future__ import annotations

from pellucid.explain.slices.cards import Slice, Slices
from pellucid.explain.slices.finding import find_slices

__all__ = ["Slice", "Slices", "find_slices"]
