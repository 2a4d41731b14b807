"""What Textual's driver leaves out: a terminal that goes away must not hold up the end."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from textual.driver import Driver
from textual.events import Key, MouseDown, MouseUp
from textual.message import Message

from trpotui.tui.giving_way import GivingWay

REST_SECONDS = 0.1
"""Between two reads of a terminal that has gone."""


class LastingOutput:
    """A terminal to write to; once it has hung up, what is written goes nowhere.

    Textual writes in a thread that would end with the first error, and the app would then wait for
    that thread for ever: before it has saved the run, or when it wants to exit.

    It is written to by a buffer of its own: with `python -u` (PYTHONUNBUFFERED) the file has none,
    and what a signal, a resized window's for one, cut off of a long text would never be written.
    """

    def __init__(self, file: TextIO) -> None:
        with contextlib.suppress(OSError):
            file.flush()
        # terminals take UTF-8 whatever the locale says, which may know nothing but ASCII
        self._file = open(  # noqa: SIM115 - it lasts as long as the app
            file.fileno(), "w", encoding="utf-8", errors="replace", newline="", closefd=False
        )

    def write(self, text: str) -> None:
        """Write if there still is anybody to read."""
        try:
            self._file.write(text)
        except OSError:
            self._let_go()

    def flush(self) -> None:
        """Send what was written."""
        try:
            self._file.flush()
        except OSError:
            self._let_go()

    def fileno(self) -> int:
        """Of the terminal."""
        return self._file.fileno()

    def _let_go(self) -> None:
        # what is left in buffers is flushed at exit, and the exit code would tell if that failed
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, self._file.fileno())
        os.close(sink)


class Ending(threading.Event):
    """Set when the driver ends; the thread that reads keys asks for it before each read.

    A terminal that has hung up can be read from for ever, which gives nothing, so then asking rests
    for a moment.

    Args:
        fileno: of the terminal.
        hung_up: called once, when the terminal has gone.
    """

    def __init__(self, fileno: int, hung_up: Callable[[], object]) -> None:
        super().__init__()
        self._fileno = fileno
        self._hung_up = hung_up
        self._gone = False

    def is_set(self) -> bool:
        """Whether the driver ends."""
        if not self._gone and not os.isatty(self._fileno):
            self._gone = True
            self._hung_up()
        if self._gone:
            self.wait(REST_SECONDS)
        return super().is_set()


def lasting(driver: type[Driver], hung_up: Callable[[], object], way: GivingWay) -> type[Driver]:
    """The driver, made to last until the app ends even where the terminal does not.

    Args:
        driver: as Textual has chosen it; only the one for terminals is changed.
        hung_up: called in the app's thread when the terminal has gone.
        way: is told what was pressed, and that something was shown.
    """
    if sys.platform == "win32":
        return driver
    from textual.drivers.linux_driver import LinuxDriver  # noqa: PLC0415 - needs termios

    if driver is not LinuxDriver:
        return driver

    class LastingDriver(LinuxDriver):
        """Outlives its terminal."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._file: Any = LastingOutput(self._file)
            self.exit_event = Ending(self.fileno, lambda: self._app.call_later(hung_up))

        def _sigcont_application(self, *_: object) -> None:
            """Draw again after a suspension; a terminal that hangs up sends this signal too."""
            if os.isatty(self.fileno):
                super()._sigcont_application()

        def process_message(self, message: Message) -> None:
            """Hand on what was read; this is the thread that reads."""
            if isinstance(message, Key | MouseDown | MouseUp):
                way.ask()
            super().process_message(message)

        def flush(self) -> None:
            """The end of what is shown at once."""
            super().flush()
            way.shown()

        def run_input_thread(self) -> None:
            """Read keys; that no more can be read is no reason to panic."""
            with contextlib.suppress(OSError):
                super().run_input_thread()
            self.exit_event.is_set()  # tells of a terminal that has gone

    return LastingDriver
