"""The gate inside the training loop: whether somebody ended this run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pellucid.project.project import Project

__all__ = ["EVERY", "Gate"]

EVERY: Final = 2.0
"""Seconds between two looks at the log, so that a step pays for reading a clock."""


class Gate:
    """Looks into the log when first asked, for a run that was ended before it went on, and every :data:`EVERY` seconds.

    In between, asking costs less than a microsecond.
    """

    def __init__(self, project: Project, reservation: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._project = project
        self._reservation = reservation
        self._clock = clock
        self._next = clock()

    def ended(self) -> str | None:
        """Why the run has to end before its next step, or None."""
        if self._clock() < self._next:
            return None
        self._project.refresh()
        for entry in self._project.counted():
            if entry.kind == "halt" and entry.body["reservation"] == self._reservation:
                return f"{entry.signer.person} ended this run"
            if entry.kind == "settle" and entry.body["reservation"] == self._reservation:
                return "this run was settled by somebody else, so that its plan is spent"
        self._next = self._clock() + EVERY
        return None
