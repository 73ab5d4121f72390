"""What calls of layers add to the gradient of a parameter, unit by unit, in a few algebraic forms.

A form says the norm of every unit's gradient and a weighted sum of all of them, and seldom writes one out
(book-keeping, Bu et al. 2023, arXiv 2210.00038).
"""

from __future__ import annotations

from pellucid.train.contributions.base import Contribution, Direct, Room
from pellucid.train.contributions.combined import Stacked, Sum, Tied, combine
from pellucid.train.contributions.convolution import Convolution
from pellucid.train.contributions.outer import Outer
from pellucid.train.contributions.persons import Layout, Split, by_person, layout
from pellucid.train.contributions.rows import Rows

__all__ = [
    "Contribution",
    "Convolution",
    "Direct",
    "Layout",
    "Outer",
    "Room",
    "Rows",
    "Split",
    "Stacked",
    "Sum",
    "Tied",
    "by_person",
    "combine",
    "layout",
]
