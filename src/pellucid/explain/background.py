"""What a person is compared with: the rows that stand in for a field whose value is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pellucid.evidence import round_down
from pellucid.explain.inputs import check_rows

__all__ = ["Background"]


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Background rows, and what they are: an explanation relative to people is not covered by private training.

    Attributes:
        rows: (n, width) float32, n >= 1. Never shown by ``repr``.
        public: The rows were made without the data, as by :func:`pellucid.explain.public_rows`.
        source: What the rows are, in words: "held-out rows", "made from the declared schema".

    Raises:
        BadData: ``rows`` is not finite float32 (n, width).
    """

    rows: Tensor = field(repr=False)
    public: bool
    source: str

    def __post_init__(self) -> None:
        check_rows(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n(self) -> int:
        """How many rows there are, rounded down to ten unless they are public."""
        return len(self.rows) if self.public else round_down(len(self.rows))

    def how(self) -> Mapping[str, Any]:
        """What the background is."""
        return {"source": self.source, "public": self.public, "n": self.n}
