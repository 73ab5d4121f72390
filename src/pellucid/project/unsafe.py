"""Doors that a governed run may go through and no release policy forgives: each warns and leaves its own evidence."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pellucid.evidence import Evidence, Subject
from pellucid.project.project import stamp

if TYPE_CHECKING:
    from pellucid.project.run import Run

__all__ = ["UnsafeScore", "unsafe_evidence"]


class UnsafeScore:
    """The exact accuracy on the private people held out, in the middle of a training, paid for by nobody.

    For experiments on data that is nobody's. Whoever stops or chooses by it has trained on those people too, and no
    epsilon counts them: the model carries evidence of kind ``unsafe``, which the shipped policy refuses.
    ``run.score(epsilon)`` says nearly the same and is covered.

    Args:
        run: Within its block, before it is finished.
    """

    def __init__(self, run: Run) -> None:
        warnings.warn(
            f"{run.label}: exact scores of private people are looked at, which no guarantee covers", stacklevel=2
        )
        self._run = run
        run.opened(type(self).__name__)

    def __repr__(self) -> str:
        return f"UnsafeScore({self._run.label!r})"

    def __call__(self) -> float:
        """The accuracy now, in [0, 1]."""
        from pellucid import explain

        predictions = explain.predict(*self._run.standing())
        return float((predictions.predicted == predictions.labels).mean())


def unsafe_evidence(door: str, subject: Subject) -> Evidence:
    """That a model was made with ``door`` open."""
    return Evidence(
        "unsafe", subject, {"door": door}, stamp({"method": "the door records that it was opened"}), "uncovered"
    )
