"""Disclosure control: what a table, a report or two reports together would say about a few people. Pure."""

from pellucid.disclosure.suppression import MINIMUM_CELL, feasible, protect, suppressed_cells, suppressed_groups

__all__ = ["MINIMUM_CELL", "feasible", "protect", "suppressed_cells", "suppressed_groups"]
