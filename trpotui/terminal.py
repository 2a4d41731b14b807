"""Output that may go away, and signals that ask a run to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from trpotui.rl.control import Control
from trpotui.signals import handling


class Printer:
    """Lines to a stream that may go away: then nothing more is printed, and nothing fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = True

    def line(self, text: str) -> None:
        """Print one line, at once."""
        self.attempt(lambda: print(text, file=self._stream, flush=True))

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something that writes to the stream."""
        if not self._open:
            return
        try:
            action()
        except (OSError, ValueError):  # a closed pipe, a terminal that hung up, a closed file
            self._open = False
            if self._stream in (sys.stdout, sys.stderr):
                # python flushes both at exit, and would complain of what is still buffered
                sink = os.open(os.devnull, os.O_WRONLY)
                os.dup2(sink, self._stream.fileno())
                os.close(sink)


@contextmanager
def stop_on_signals(control: Control) -> Iterator[list[int]]:
    """Let SIGINT, SIGTERM and SIGHUP stop the run in order, and a second one end it at once.

    Yields:
        The numbers of the signals received so far.
    """
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise SystemExit(128 + number)
        control.stop()

    with handling(handle):
        yield received
