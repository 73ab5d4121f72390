"""Disclosure control: what a table, a report or two reports together would say about a few people. Pure."""

from pellucid.disclosure.lint import Column, Leak, lint
from pellucid.disclosure.suppression import MINIMUM_CELL, feasible, protect, suppressed_cells, suppressed_groups
from pellucid.disclosure.tokens import Token, key

__all__ = [
    "MINIMUM_CELL",
    "Column",
    "Leak",
    "Token",
    "feasible",
    "key",
    "lint",
    "protect",
    "suppressed_cells",
    "suppressed_groups",
]
