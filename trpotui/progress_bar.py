"""A bar on standard error for work that takes long, where somebody may be watching."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trpotui.signals import handling
from trpotui.terminal import Printer

LONG = 1.0
"""Seconds of work after which a bar appears."""
REDRAW_SECONDS = 0.1


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far some work has come, once it has taken long, where standard error is a terminal.

    Until the context ends SIGTERM and SIGHUP raise SystemExit, so that the terminal is given back;
    one that was lost is raised again by the next report.

    Args:
        what: is counted, such as "episodes".
        total: their number.

    Yields:
        A function to be told, as often as one likes, how many are done.
    """
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda done: None  # noqa: ARG005
        return
    bar = _Bar(console, what, total)
    with ending_in_order() as go_on:

        def report(done: int) -> None:
            go_on()
            bar.report(done)

        try:
            yield report
        finally:
            bar.stop()


class _Bar:
    def __init__(self, console: Console, what: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,  # drawn from this thread only, where a lost terminal can be caught
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,  # nothing to put back where the terminal is lost
        )
        self._task = self._progress.add_task(what, total=total)
        self._out = Printer(sys.stderr)
        self._next_draw = time.monotonic() + LONG
        self._shown = False

    def report(self, done: int) -> None:
        now = time.monotonic()
        if now < self._next_draw:
            return
        self._next_draw = now + REDRAW_SECONDS
        if not self._shown:
            self._shown = True
            self._out.attempt(self._progress.start)
        self._progress.update(self._task, completed=done)
        self._out.attempt(self._progress.refresh)

    def stop(self) -> None:
        if self._shown:
            self._out.attempt(self._progress.stop)


@contextmanager
def ending_in_order() -> Iterator[Callable[[], None]]:
    """Let SIGINT, SIGTERM and SIGHUP raise an exception, so that what was begun is undone.

    Yields:
        A function to be called now and then, which raises it once more: where a library in C calls
        back, an exception can be lost.
    """
    received: list[int] = []

    def go_on() -> None:
        if received:
            _raise_for(received[0])

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        received.append(number)
        _raise_for(number)

    with handling(end):
        yield go_on


def _raise_for(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
