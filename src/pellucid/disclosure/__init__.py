"""Disclosure control: what a table, a report or two reports together would say about a few people. Pure."""

from pellucid.disclosure.differencing import apart, held_back
from pellucid.disclosure.lint import Column, Leak, lint
from pellucid.disclosure.suppression import MINIMUM_CELL, feasible, protect, suppressed_cells, suppressed_groups
from pellucid.disclosure.tokens import Token, key

__all__ = [
    "MINIMUM_CELL",
    "Column",
    "Leak",
    "Token",
    "apart",
    "feasible",
    "held_back",
    "key",
    "lint",
    "protect",
    "suppressed_cells",
    "suppressed_groups",
]
