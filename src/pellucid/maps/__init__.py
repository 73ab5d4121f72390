"""Regulation maps: for each clause of a rule book, the evidence or the human statement that speaks to it.

The maps are data (``data/*.toml``): versioned, dated, with a source for each row. Resolving one against a model's
evidence says for every row what there is: evidence, the word of a person, not applicable with a reason, or missing. A
row says what the evidence shows, never that the law is met: that is for people to judge.
"""

from pellucid.maps.reading import MAPS, RegulationMap, Row, Term, Terms, read, rows, terms
from pellucid.maps.resolving import STATUSES, Resolved, Status, resolve, standing

__all__ = [
    "MAPS",
    "STATUSES",
    "RegulationMap",
    "Resolved",
    "Row",
    "Status",
    "Term",
    "Terms",
    "read",
    "resolve",
    "rows",
    "standing",
    "terms",
]
