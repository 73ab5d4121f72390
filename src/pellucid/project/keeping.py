"""When a run is checkpointed, and what it may do in between.

The first checkpoint makes a run one that can be resumed. From then on, every further step is announced before it is
taken (:mod:`pellucid.project.intents`), so that steps lost in a crash count as taken and the plan is never exceeded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import Misuse
from pellucid.keys import SigningKey
from pellucid.project.intents import Intents

if TYPE_CHECKING:
    from pellucid.privacy import Plan
    from pellucid.train.checkpoint import State

__all__ = ["Keeper", "check_every"]

GAP: Final = 60.0  # seconds between checkpoints
SHARE: Final = 100  # a checkpoint takes at most one part in so many of the time


class Keeper:
    """Writes the checkpoints and intents of one run.

    Args:
        folder: Of the run; made at the first checkpoint.
        reservation: The run's.
        signer: Of whoever reserved it.
        steps: The plan's.
        every: Steps between checkpoints; 0 for none; None for a minute, or as long as keeps their cost below 1 %.
        about: What a checkpoint belongs to, as JSON.
        capture: Gives the present state.
        mark: Steps that are spent already, of a resumed run.
    """

    def __init__(
        self,
        folder: Path,
        reservation: str,
        signer: SigningKey,
        *,
        steps: int,
        every: int | None,
        about: Mapping[str, Any],
        capture: Callable[[], State],
        mark: int | None = None,
    ) -> None:
        self._folder = folder
        self._signer = signer
        self._steps = steps
        self._every = every
        self._about = about
        self._capture = capture
        self._intents = Intents(folder, reservation, signer, steps=steps, mark=mark or 0)
        self._on = mark is not None
        self._next = time.monotonic() + GAP

    def begin(self) -> None:
        """Call before the first step: one that a checkpoint precedes is announced."""
        if self._on:
            self._intents.cover(self._intents.mark + 1)

    def stop(self) -> None:
        """From here on nothing is kept or announced: the run cannot be resumed."""
        self._every, self._on = 0, False

    def after(self, step: int) -> None:
        """Call after each step and before the next.

        Raises:
            OSError: The next step cannot be announced, so it must not be taken.
        """
        if self._due(step):
            self._write(step)
        elif self._on:
            self._intents.cover(step + 1)

    def _due(self, step: int) -> bool:
        if self._every == 0:
            return False
        if self._on and step == self._steps:
            return True
        return step % self._every == 0 if self._every else time.monotonic() >= self._next

    def _write(self, step: int) -> None:
        from pellucid.train import checkpoint

        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._intents.cover(step + 1)  # before the first checkpoint: there is never one without
        self._on = True
        try:
            checkpoint.write(self._folder, step, self._capture(), self._about, self._signer)
        except OSError as error:
            # a full disk ends the run only when its model cannot be saved
            sys.stderr.write(f"no checkpoint of step {step}: {error.strerror or error}; training goes on\n")
        ended = time.monotonic()
        self._next = ended + max(GAP, SHARE * (ended - began))


def check_every(every: int | None, plan: Plan) -> int | None:
    """``every`` itself if it can be meant; 0 for a plan that cannot be resumed.

    Banded noise cannot: going on takes the noise of the steps before, and noise is never stored.

    Raises:
        Misuse: It is not None and not a whole number of at least 0, or above 0 for such a plan.
    """
    if every is not None and (type(every) is not int or every < 0):
        raise Misuse(
            "this must be a whole number of steps", where="checkpoint_every", fix="0 for none, None for once a minute"
        )
    if plan.mechanism != "banded":
        return every
    if every:
        raise Misuse(
            "a run with banded noise cannot be resumed: going on would take noise that is never stored",
            where="checkpoint_every",
            fix='leave it out, or plan with mechanism="gaussian"',
        )
    return 0
