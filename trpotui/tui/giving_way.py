"""A learner that makes room for the person: while a key is answered, it waits.

It shares Python's interpreter with the screen, which one thread has at a time and passes on after
5 ms at the earliest if it is never asked to wait for anything else. A key that takes the screen
20 ms took 40 that way.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trpotui.rl.control import Control

LONGEST_SECONDS = 0.05
"""That one key holds the learner up; most are answered in half of it."""
WRITING_SECONDS = 0.001
"""In which the thread that writes to the terminal gets the interpreter, before anyone else."""


class GivingWay:
    """Asked for by the thread that reads keys, granted by the learner's, ended by the screen's."""

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._answered.set()
        self._until = 0.0

    def ask(self) -> None:
        """Something was pressed: the screen needs the interpreter."""
        self._until = time.monotonic() + LONGEST_SECONDS
        self._answered.clear()

    def shown(self) -> None:
        """Something was shown, most likely the answer: let it out, and then the learner go on."""
        if not self._answered.is_set():
            time.sleep(WRITING_SECONDS)
            self._answered.set()

    def wait(self) -> None:
        """Wait for the answer to what was pressed, unless that takes long."""
        if not self._answered.is_set():
            self._answered.wait(self._until - time.monotonic())
            self._answered.set()

    def control(self) -> Control:
        """What steers a run that gives way wherever it could be stopped."""
        from trpotui.rl.control import Control  # noqa: PLC0415 - not before a run starts

        wait = self.wait

        class GivingControl(Control):
            """Waits before it looks whether the run is to stop."""

            def raise_if_stopping(self) -> None:
                """Give way, then raise `Interrupted` when the run was asked to stop."""
                wait()
                super().raise_if_stopping()

        return GivingControl()
