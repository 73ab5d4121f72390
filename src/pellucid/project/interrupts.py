"""Ctrl-C while a model learns: between two steps, never within one, so that the model of the steps taken is whole.

A request to end (SIGTERM, as torchrun sends it to the others when a worker is lost) is taken in the same way, and once
the run is on its way out it is let it finish: what was spent has to be written down.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """Defers the interrupt of a step under way to its end; a second one is not deferred.

    Does nothing outside the main thread, and where somebody else handles interrupts.

    Args:
        within: Whether weights are being moved.
    """

    def __init__(self, within: Callable[[], bool]) -> None:
        self._within = within
        self._asked = False
        self._before: Any = None
        self._before_end: Any = None

    def hold(self) -> None:
        """From here on."""
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._handle)
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._before_end = signal.signal(signal.SIGTERM, self._handle)

    def leave(self) -> None:
        """On the way out: a request to end is what happens already."""
        if self._before_end is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def release(self) -> None:
        """As before :meth:`hold`."""
        if self._before_end is not None:
            signal.signal(signal.SIGTERM, self._before_end)
            self._before_end = None
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def between(self) -> None:
        """Call between two steps.

        Raises:
            KeyboardInterrupt: It was asked for within a step.
        """
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: Any) -> None:
        if self._within() and not self._asked:
            self._asked = True
            return
        self._asked = False
        raise KeyboardInterrupt
