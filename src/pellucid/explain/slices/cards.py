"""The answer: slice cards, and how they were come by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.evidence import Estimate, Evidence, Subject
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, versions
from pellucid.explain.slices.distinct import EXAMINED
from pellucid.explain.slices.figures import SMALLEST, Figures

__all__ = ["Slice", "Slices"]


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice card.

    Attributes:
        where: The predicate in words, such as ``age 25 to 35 and job = sales``.
        columns: The columns it speaks of.
        found: On half A, on which it was chosen: biased upwards.
        confirmed: On half B, which had no part in choosing it: the figures to quote.
        overlap: Other cards by number from 0, and Jaccard's index with them where ten people or more are in both.
    """

    where: str
    columns: tuple[str, ...]
    found: Figures
    confirmed: Figures
    overlap: Mapping[int, float]

    @property
    def n(self) -> int:
        """People in both halves, rounded down."""
        return self.found.n + self.confirmed.n

    @property
    def error(self) -> Estimate:
        """Mean loss on half B."""
        return self.confirmed.error

    @property
    def lift(self) -> Estimate | None:
        """Lift on half B."""
        return self.confirmed.lift

    def values(self) -> dict[str, Any]:
        """The record of one card."""
        found: dict[str, Any] = {"where": self.where, "columns": list(self.columns), "n": self.n}
        found["error"] = self.error.values()
        if self.lift is not None:
            found["lift"] = self.lift.values()
        found["half_a"], found["half_b"] = self.found.values(), self.confirmed.values()
        found["overlap"] = [{"slice": number, "jaccard": index} for number, index in self.overlap.items()]
        return found


@dataclass(frozen=True, slots=True)
class Slices:
    """Where the model fails, as far as chance does not explain it.

    Attributes:
        slices: The cards, the strongest on half A first.
        error: Mean loss of everybody.
        binary: Losses are 0 or 1, so that means are rates.
        searched: Conjunctions searched on half A (slices, not people).
        candidates: Slices of half A that were held against half B.
        confirmed: How many of them half B confirmed; more than ``slices`` if there are more than were asked for.
        columns: The columns searched.
        order: Most columns in a conjunction.
        minimum: Fewest people of a slice in each half.
        q: The false discovery rate on each half.
        seed: Public; it draws the halves.
        unit: ``row`` or ``person``.
    """

    slices: tuple[Slice, ...]
    error: Estimate
    binary: bool
    searched: int
    candidates: int
    confirmed: int
    columns: tuple[str, ...]
    order: int
    minimum: int
    q: float
    seed: int
    unit: str

    def values(self) -> dict[str, Any]:
        """The values of ``slices`` evidence, version 1. An empty list was searched for and not found."""
        return {
            "slices": [one.values() for one in self.slices],
            "error": self.error.values(),
            "searched": self.searched,
            "candidates": self.candidates,
            "confirmed": self.confirmed,
        }

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "data": "held-out split, halved at random",
            "loss": "0 or 1; means are error rates" if self.binary else "a loss of each row, 0 or above",
            "method": f"all conjunctions of up to {self.order} columns; Welch 1947, one-sided, against the rest and "
            "against what is left of each conjunction one value shorter (the largest p-value counts; Berger 1982); "
            "chosen on half A, confirmed on half B",
            "false_discovery": f"Benjamini and Hochberg 1995 at q = {self.q:g} over all slices searched on half A, "
            "and again over the candidates on half B",
            "redundancy": f"of the {EXAMINED} strongest on half A, those that stronger ones explain are dropped",
            "variance": "by row"
            if self.unit == "row"
            else "by person on half B, cluster-robust (Liang and Zeger 1986)",
            "columns": list(self.columns),
            "order": self.order,
            "searched": self.searched,
            "candidates": self.candidates,
            "q": self.q,
            "seed": self.seed,
            "words": "of a range the lower edge is inside, the upper outside; edges are declared, or the roundest "
            "numbers near quantiles",
            "rates": ROUNDING,
            "p": f"rounded up to a power of ten, at least {SMALLEST:g}",
            "suppression": f"a slice has at least {self.minimum} people in each half, everybody else and what is left "
            f"of a shorter conjunction at least {MINIMUM_CELL}; an overlap of fewer is not shown",
            "libraries": versions("numpy", "scipy"),
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("slices", subject, self.values(), self.how(), "uncovered", tier="auditor")
