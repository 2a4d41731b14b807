"""How often a run may be drawn, so that it hardly becomes slower by it."""

from __future__ import annotations

import time
from collections.abc import Callable

SCREEN_SHARE = 0.02
"""Of the time may go into drawing: a dear screen is drawn more rarely. What else the screen does
during a run comes to about a hundredth."""


class DrawingBudget:
    """Tells when the next drawing is due; the dearer the last one was, the later.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = self._at = self._began = 0.0

    def is_due(self) -> bool:
        """Whether enough time has gone by since the last drawing."""
        return self._clock() >= self._next

    def begin(self) -> None:
        """A drawing begins."""
        self._at = self._next = self._clock()
        self._began = time.thread_time()  # of this thread alone: the run works in the meantime

    def end(self) -> None:
        """It has ended, what it had to paint included."""
        self._next = self._at + (time.thread_time() - self._began) / SCREEN_SHARE
